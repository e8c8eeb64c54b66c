package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/slotferry/slotferry/internal/sandbox"
)

const (
	livingKills = 10
	fewKills    = 2                // with --short
	beyondReply = 24 * time.Second // the tool waits 20 for a reply
	sourceStops = 3 * time.Second
	leastSpool  = "64MiB"
	smallDisk   = "24m"
)

var onlySync = []string{fromSync}

// livingFaults are made while a writer changes the source, which the tool
// follows.
var livingFaults = []*fault{
	{
		name: "live-kill", about: "kill -9 of the tool ten times in a row, each time up to two seconds after it went on",
		sources: livingKinds, short: livingKinds, strike: killLiving,
	},
	{
		name: "live-kill-copy", about: "kill -9 of the tool during its full copy",
		sources: livingKinds, copying: true, strike: func(ctx context.Context, t *trial) error { return t.killTool(ctx) },
	},
	{
		name: "live-term", about: "SIGTERM to the tool, which must end with 75, three times",
		sources: livingKinds, strike: func(ctx context.Context, t *trial) error {
			for range 3 {
				if err := t.terminateTool(ctx); err != nil {
					return err
				}
				if err := t.launch(ctx); err != nil {
					return err
				}
				if err := t.reachLiving(ctx); err != nil {
					return err
				}
			}
			return nil
		},
	},
	{
		name: "live-link", about: "CLIENT KILL TYPE replica on the source, five times",
		sources: onlySync, strike: killLinks(5), met: interruptedLink,
	},
	{
		name: "live-link-copy", about: "the same, once, while the tool is in its full copy",
		sources: onlySync, copying: true, strike: killLinks(1), met: interruptedLink,
	},
	{
		name: "live-backlog", about: "the source forgets what it wrote while the tool has no connection: its backlog is the smallest that there is",
		sources: onlySync, short: onlySync, before: smallBacklog, strike: outrun, met: copiedAgain,
	},
	{
		name: "live-clients", about: "CLIENT KILL of all ordinary connections to the source, and of those that listen to notifications, three times",
		sources: livingKinds, strike: killListeners,
	},
	{
		name: "live-cut", about: "connections to the source are cut after a few hundred KB received at most",
		sources: livingKinds, before: sourceBehindCutter(limits{down: 300 << 10}), strike: cutConnections,
	},
	{
		name: "live-cut-copy", about: "connections to the source are cut twice in the middle of the full copy",
		sources: onlySync, copying: true, before: copyBehindCutter, strike: func(context.Context, *trial) error { return nil },
		met: func(t *trial) bool { return t.cut.cuts.Load() > 0 },
	},
	{
		name: "live-source-stop", about: "SIGSTOP of the source for 3 s",
		sources: livingKinds, strike: func(ctx context.Context, t *trial) error {
			if err := t.rig.source.Pause(); err != nil {
				return err
			}
			return errors.Join(pause(ctx, sourceStops), t.rig.source.Resume())
		},
	},
	{
		name: "live-source-restart", about: "the source is shut down and started again with its data",
		sources: livingKinds, met: (*trial).warned,
		strike: func(ctx context.Context, t *trial) error { return t.rig.source.Restart(ctx) },
	},
	{
		name: "live-source-kill", about: "kill -9 of the source, which then lacks what was written after it had saved its data",
		sources: livingKinds, met: (*trial).warned, strike: killSource,
	},
	{
		name: "live-failover", about: "CLUSTER FAILOVER: a replica takes over by agreement",
		sources: livingKinds, strike: failover(),
	},
	{
		name: "live-master-kill", about: "kill -9 of a master; its replica takes over, and it comes back as a replica",
		sources: livingKinds, short: onlySync, strike: killMaster, met: (*trial).lostConnections,
	},
	{
		name: "live-master-kill-copy", about: "the same during the full copy",
		sources: livingKinds, copying: true, strike: killMaster,
	},
	{
		name: "live-master-loss", about: "a master whose replica hears nothing for a while is killed, so that writes which it acknowledged are lost",
		sources: livingKinds, strike: loseMaster, met: (*trial).lost,
	},
	{
		name: "live-loss-while-gone", about: "the tool is killed, or ended by SIGTERM, and before it goes on, a master loses writes that it acknowledged",
		sources: livingKinds, strike: loseWhileGone, met: (*trial).lost,
	},
	{
		name: "live-master-crash", about: "kill -9 of a master, which is started again at once with what its append-only file has",
		sources: livingKinds, strike: func(ctx context.Context, t *trial) error {
			m, err := t.anyMaster(ctx)
			if err != nil {
				return err
			}
			return errors.Join(m.Kill(), m.Restart(ctx))
		},
	},
	{
		name: "live-master-stop", about: "SIGSTOP of a master for longer than the tool waits for a reply; nobody takes over",
		sources: livingKinds, runs: 2,
		strike: func(ctx context.Context, t *trial) error { return stop(ctx, t, beyondReply, false) },
	},
	{
		name: "live-master-stop-long", about: "SIGSTOP of a master for 20 s; its replica takes over, and then it wakes up",
		sources: onlySync, runs: 2,
		strike: func(ctx context.Context, t *trial) error { return stop(ctx, t, stopped, true) },
	},
	{
		name: "live-master-clients", about: "CLIENT KILL TYPE normal on all masters, four times",
		sources: livingKinds, strike: killAllClients, met: (*trial).lostConnections,
	},
	{
		name: "live-master-full", about: "a master has more than its maxmemory and evicts nothing; a while later it gets more",
		sources: livingKinds, strike: fillUp, met: func(t *trial) bool { return t.full },
	},
	{
		name: "live-spool", about: "a master stands still while more is written than the spool may hold",
		sources: onlySync, runs: 2, args: []string{"--spool-max", leastSpool}, strike: flood, met: func(t *trial) bool { return t.logged("all that it may") },
	},
	{
		name: "live-disk", about: "a master stands still while more is written than the disk of the spool can take",
		sources: onlySync, runs: 2, before: onSmallDisk, strike: flood, met: func(t *trial) bool { return t.logged("no space left") },
	},
	{
		name: "live-reshard", about: "redis-cli --cluster reshard moves hundreds of slots from one master to another",
		sources: livingKinds, moves: true, wears: true, strike: reshard, met: func(t *trial) bool { return t.retries.Moved > 0 },
	},
	{
		name: "live-reshard-copy", about: "the same during the full copy",
		sources: onlySync, copying: true, moves: true, wears: true, strike: reshard, met: func(t *trial) bool { return t.retries.Moved > 0 },
	},
}

func (t *trial) lostConnections() bool { return t.retries.Lost > 0 }

func interruptedLink(t *trial) bool { return t.logged("stream is interrupted", "connection broke") }

func copiedAgain(t *trial) bool { return t.logged("making a full copy again") }

func killLiving(ctx context.Context, t *trial) error {
	kills := livingKills
	if t.short {
		kills = fewKills
	}
	for kill := range kills {
		if kill > 0 {
			if err := t.launch(ctx); err != nil {
				return err
			}
			if err := pause(ctx, t.between(200*time.Millisecond, 2*time.Second)); err != nil {
				return err
			}
		}
		if err := t.killTool(ctx); err != nil {
			return err
		}
	}
	return nil
}

// killLinks cuts the tool's connection as a replica.
func killLinks(times int) func(context.Context, *trial) error {
	return func(ctx context.Context, t *trial) error {
		for range times {
			if err := t.rig.source.Client().Do(ctx, "CLIENT", "KILL", "TYPE", "replica").Err(); err != nil {
				return err
			}
			if err := pause(ctx, t.between(50*time.Millisecond, 700*time.Millisecond)); err != nil {
				return err
			}
		}
		return nil
	}
}

const leastBacklog = "16384" // bytes

func smallBacklog(ctx context.Context, t *trial) error {
	return configure(ctx, "repl-backlog-size", leastBacklog, t.rig.source)
}

// outrun writes more than the backlog holds in the moment of the cut.
func outrun(ctx context.Context, t *trial) error {
	_, err := t.rig.source.Client().TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.Do(ctx, "CLIENT", "KILL", "TYPE", "replica")
		p.Set(ctx, "outrun", strings.Repeat("x", 100<<10), 0)
		return nil
	})
	return err
}

func killListeners(ctx context.Context, t *trial) error {
	for range 3 {
		if err := t.rig.source.Client().Do(ctx, "CLIENT", "KILL", "TYPE", "pubsub").Err(); err != nil {
			return err
		}
		if err := killClients(ctx, t.rig.source); err != nil {
			return err
		}
		if err := pause(ctx, t.between(50*time.Millisecond, 700*time.Millisecond)); err != nil {
			return err
		}
	}
	return nil
}

// sourceBehindCutter puts a proxy between the tool and the source.
func sourceBehindCutter(l limits) func(context.Context, *trial) error {
	return func(_ context.Context, t *trial) (err error) {
		if t.cut, err = newCutter([]string{t.sourceAddr}, l, t.r); err == nil {
			t.sourceAddr = t.cut.proxies[0].addr
		}
		return err
	}
}

// copyBehindCutter cuts what carries most, which is the full copy.
func copyBehindCutter(ctx context.Context, t *trial) error {
	err := sourceBehindCutter(limits{down: 2 << 20, cuts: 2})(ctx, t)
	if err == nil {
		t.cut.armed.Store(true)
	}
	return err
}

const (
	floodValue = 256 << 10 // bytes
	floodNames = 40
	floodRate  = 40 // values a second
)

// flood writes large values while a master stands still.
func flood(ctx context.Context, t *trial) error {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- writeLarge(ctx, t.rig.source) }()
	err := stop(ctx, t, stopped, false)
	cancel()
	return errors.Join(err, <-ended)
}

func writeLarge(ctx context.Context, source *sandbox.Server) error {
	v := strings.Repeat("a large value ", floodValue/len("a large value "))
	for n := 0; ctx.Err() == nil; n++ {
		key := fmt.Sprintf("large:%d", n%floodNames)
		if err := source.Client().Set(context.WithoutCancel(ctx), key, strconv.Itoa(n)+v, 0).Err(); err != nil {
			return err
		}
		_ = pause(ctx, time.Second/floodRate)
	}
	return nil
}

// onSmallDisk gives the tool a spool on a file system of its own, in a mount
// namespace that ends with it (https://man7.org/linux/man-pages/man1/unshare.1.html).
func onSmallDisk(ctx context.Context, t *trial) error {
	words := []string{"unshare", "--map-root-user", "--mount"}
	if out, err := exec.CommandContext(ctx, words[0], append(words[1:], "true")...).CombinedOutput(); err != nil {
		return fmt.Errorf("this system lets nobody mount a small file system to fill: %w: %s", err, out)
	}
	if err := os.Mkdir(t.dir+"/spool", 0o700); err != nil {
		return err
	}
	t.tool.within = append(words, "sh", "-c", "mount -t tmpfs -o size="+smallDisk+` none "$0" && exec "$@"`, t.dir+"/spool")
	t.args = append(t.args, "--spool-dir", t.dir+"/spool")
	return nil
}
