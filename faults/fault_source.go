package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/slotferry/slotferry/internal/sandbox"
)

var live = []string{fromScan}

var sourceFaults = []*fault{
	{
		name: "source-restart", about: "the source is shut down and started again with its data",
		sources: live, met: (*trial).warned,
		strike: func(ctx context.Context, t *trial) error { return t.rig.source.Restart(ctx) },
	},
	{
		name: "source-kill", about: "kill -9 of the source, which had saved its data and is started again a moment later",
		sources: live, short: live, strike: killSource, met: (*trial).warned,
	},
	{
		name: "source-replica", about: "the source becomes a replica of a server with the same data, which it loads anew, and a master again",
		sources: live, strike: replicate, met: (*trial).warned,
	},
	{
		name: "source-clients", about: "CLIENT KILL TYPE normal on the source, three times",
		sources: live, met: (*trial).warned,
		strike: func(ctx context.Context, t *trial) error {
			for range 3 {
				if err := killClients(ctx, t.rig.source); err != nil {
					return err
				}
				if err := pause(ctx, t.between(50*time.Millisecond, 500*time.Millisecond)); err != nil {
					return err
				}
			}
			return nil
		},
	},
}

func killSource(ctx context.Context, t *trial) error {
	if _, err := t.rig.source.Save(ctx); err != nil {
		return err
	}
	if err := t.rig.source.Kill(); err != nil {
		return err
	}
	if err := pause(ctx, t.between(0, time.Second)); err != nil {
		return err
	}
	return t.rig.source.Restart(ctx)
}

// replicate makes the source load its data from another server. Its run ID
// stays the same meanwhile.
func replicate(ctx context.Context, t *trial) error {
	copied := filepath.Join(t.dir, "other.rdb")
	if err := t.rig.saveTo(ctx, copied); err != nil {
		return err
	}
	other, err := sandbox.Start(ctx, sandbox.Options{Dir: t.rig.dir, Password: sourcePassword, RDB: copied})
	if err != nil {
		return err
	}
	defer other.Stop()
	if err := t.hit(); err != nil { // starting it took a while
		return err
	}
	c := t.rig.source.Client()
	if err := c.Do(ctx, "REPLICAOF", other.Host, other.Port).Err(); err != nil {
		return err
	}
	err = until(ctx, healLimit, "the source is not linked to its new master", func(ctx context.Context) (bool, error) {
		info, err := c.Info(ctx, "replication").Result()
		return field(info, "master_link_status") == "up", err
	})
	if err != nil {
		return err
	}
	if err := pause(ctx, t.between(0, time.Second)); err != nil {
		return err
	}
	if err := c.Do(ctx, "REPLICAOF", "NO", "ONE").Err(); err != nil {
		return fmt.Errorf("making the source a master again: %w", err)
	}
	return nil
}
