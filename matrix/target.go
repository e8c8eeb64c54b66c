package main

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"github.com/slotferry/slotferry/internal/sandbox"
)

const (
	masters     = 3
	nodeTimeout = time.Minute // a busy machine, or a busy master, is not down
	busyTooLong = 3 * time.Second
)

// target is a cluster of one version, used for all sources in turn.
type target struct {
	*version
	cluster *sandbox.Cluster
	watch   *watch
}

func startTarget(ctx context.Context, dir string, v *version) (*target, error) {
	t := &target{version: v}
	return t, t.start(ctx, dir)
}

func (t *target) start(ctx context.Context, dir string) error {
	v := t.version
	c, err := sandbox.StartCluster(ctx, sandbox.ClusterOptions{
		Options: sandbox.Options{Binary: v.binary, Dir: dir}, Masters: masters, NodeTimeout: nodeTimeout,
	})
	if err != nil {
		return fmt.Errorf("%s as a target: %w", v.title, err)
	}
	w, err := startWatch(ctx, c.Nodes)
	if err != nil {
		c.Stop()
		return fmt.Errorf("%s as a target: %w", v.title, err)
	}
	t.cluster, t.watch = c, w
	return nil
}

// ended returns the last words of a master that is no longer there.
func (t *target) ended() string {
	for _, n := range t.cluster.Nodes {
		if !n.Running() {
			return n.LogTail(1)
		}
	}
	return ""
}

// restart starts an empty cluster in place of one that has lost masters.
func (t *target) restart(ctx context.Context, dir string) error {
	t.stop()
	return t.start(ctx, dir)
}

func (t *target) stop() {
	t.watch.stop()
	t.cluster.Stop()
}

// each does something with all masters at once.
func (t *target) each(ctx context.Context, f func(ctx context.Context, i int, c *redis.Client) error) error {
	g, ctx := errgroup.WithContext(ctx)
	for i, n := range t.cluster.Nodes {
		g.Go(func() error {
			if err := f(ctx, i, n.Client()); err != nil {
				return fmt.Errorf("%s, master %s: %w", t.title, n.Addr, err)
			}
			return nil
		})
	}
	return g.Wait()
}

// empty removes all keys and functions, and forgets what was seen.
func (t *target) empty(ctx context.Context) error {
	err := t.each(ctx, func(ctx context.Context, _ int, c *redis.Client) error {
		if t.functions {
			if err := c.FunctionFlush(ctx).Err(); err != nil {
				return err
			}
		}
		if err := c.Do(ctx, "SLOWLOG", "RESET").Err(); err != nil {
			return err
		}
		return c.FlushAll(ctx).Err()
	})
	if err == nil {
		_, err = t.watch.take(ctx)
	}
	return err
}

// busy names what kept a master from all other work for long.
func (t *target) busy(ctx context.Context) (what [masters]string, err error) {
	err = t.each(ctx, func(ctx context.Context, i int, c *redis.Client) error {
		slow, err := c.SlowLogGet(ctx, -1).Result()
		for _, s := range slow {
			if s.Duration > busyTooLong {
				what[i] += fmt.Sprintf("%s for %q; ", s.Duration.Round(100*time.Millisecond), s.Args[:min(2, len(s.Args))])
			}
		}
		return err
	})
	return what, err
}

// found is what a cluster holds.
type found struct {
	keys      map[string]value
	libraries [masters][]string
}

// contents reads everything.
func (t *target) contents(ctx context.Context) (found, error) {
	f := found{keys: map[string]value{}}
	var parts [masters]map[string]value
	err := t.each(ctx, func(ctx context.Context, i int, c *redis.Client) error {
		names, err := c.Keys(ctx, "*").Result()
		if err != nil {
			return err
		}
		parts[i] = map[string]value{}
		for _, name := range names {
			v, err := read(ctx, c, name)
			if err != nil {
				return err
			}
			if v.expireAt, err = t.expiry(ctx, c, name); err != nil {
				return fmt.Errorf("expiry of %q: %w", name, err)
			}
			parts[i][name] = v
		}
		if t.functions {
			f.libraries[i], err = libraries(ctx, c)
		}
		return err
	})
	for _, part := range parts {
		for name, v := range part {
			f.keys[name] = v
		}
	}
	return f, err
}

// pttl is the PTTL of a key with the time that it was taken at.
var pttl = redis.NewScript(`local t = redis.call('TIME') return {redis.call('PTTL', KEYS[1]), t[1], t[2]}`)

// expiry is when a key expires, in Unix milliseconds, 0 for never.
func (v *version) expiry(ctx context.Context, c *redis.Client, name string) (int64, error) {
	if v.expireTime {
		at, err := c.Do(ctx, "PEXPIRETIME", name).Int64()
		return max(0, at), err
	}
	r, err := pttl.Eval(ctx, c, []string{name}).Int64Slice()
	if err != nil || r[0] < 0 {
		return 0, err
	}
	return r[0] + r[1]*1000 + r[2]/1000, nil
}
