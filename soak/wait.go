package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/slotferry/slotferry/internal/sandbox"
)

const (
	healLimit = 90 * time.Second
	pollEvery = 50 * time.Millisecond
)

// until asks again and again; an error only counts when time is up.
func until(ctx context.Context, limit time.Duration, what string, done func(context.Context) (bool, error)) error {
	deadline := time.Now().Add(limit)
	for {
		ok, err := done(ctx)
		if ok && err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return errors.Join(fmt.Errorf("%s after %s", what, limit), err)
		}
		if err := pause(ctx, pollEvery); err != nil {
			return err
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// promoted waits until a replica has become a master.
func promoted(ctx context.Context, n *sandbox.Server) error {
	return until(ctx, healLimit, n.Addr+" does not become a master", func(ctx context.Context) (bool, error) {
		info, err := n.Client().Info(ctx, "replication").Result()
		return strings.Contains(info, "role:master"), err
	})
}

// killClients cuts connections to a server, but for the one that asks for it.
func killClients(ctx context.Context, n *sandbox.Server, kind string) error {
	o := n.ClientOptions()
	o.MaxRetries = -1
	c := redis.NewClient(o)
	defer func() { _ = c.Close() }()
	return c.Do(ctx, "CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes").Err()
}
