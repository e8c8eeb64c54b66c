package main

import (
	"context"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/slotferry/slotferry/internal/dataset"
	"github.com/slotferry/slotferry/internal/sandbox"
)

// Passwords are looked for in all that the service writes and answers.
const (
	mirroredPassword = "Tulip-Quay-4711"
	followedPassword = "Larch-Buoy-2390"
	targetPassword   = "Heron-Mole-0815"
	serviceToken     = "Osprey-Lock-5528-Weir"
)

var secrets = []string{mirroredPassword, followedPassword, targetPassword, serviceToken}

// What the keys of each source are named, and what those of the followed one
// become.
const (
	mirroredNames = "a:"
	followedNames = "b:"
	renamedNames  = "live:"
)

// Commands a second.
const (
	mirroredRate = 500
	followedRate = 2000
)

// rig is what the service works with: two sources that are written to, and the
// cluster.
type rig struct {
	mirrored, followed *sandbox.Server
	cluster            *sandbox.Cluster
	writers            []*writer // of mirrored and followed
}

func startRig(ctx context.Context, dir string, o options) (*rig, error) {
	r := &rig{}
	if err := r.start(ctx, dir, o); err != nil {
		r.stop()
		return nil, err
	}
	return r, nil
}

func (r *rig) start(ctx context.Context, dir string, o options) (err error) {
	if r.mirrored, err = sandbox.Start(ctx, sandbox.Options{Dir: dir, Password: mirroredPassword}); err != nil {
		return fmt.Errorf("starting the mirrored source: %w", err)
	}
	r.followed, err = sandbox.Start(ctx, sandbox.Options{
		Dir: dir, Password: followedPassword, Args: []string{"--repl-backlog-size", "64mb", "--repl-diskless-sync-delay", "0"},
	})
	if err != nil {
		return fmt.Errorf("starting the followed source: %w", err)
	}
	r.cluster, err = sandbox.StartCluster(ctx, sandbox.ClusterOptions{
		Options: sandbox.Options{
			Dir: dir, Password: targetPassword, AppendOnly: true, Args: []string{"--appendfsync", "everysec"},
		},
		Masters: 3, Replicas: 1, NodeTimeout: o.nodeTimeout,
	})
	if err != nil {
		return fmt.Errorf("starting the cluster: %w", err)
	}
	for _, side := range []struct {
		server *sandbox.Server
		names  string
		rate   int
	}{{r.mirrored, mirroredNames, mirroredRate}, {r.followed, followedNames, followedRate}} {
		d := dataset.Mixed(o.keys)
		d.Seed, d.Prefix = int64(o.seed), side.names
		if _, err := dataset.Fill(ctx, side.server.Client(), d); err != nil {
			return fmt.Errorf("filling a source: %w", err)
		}
		r.writers = append(r.writers, write(ctx, side.server, side.names, side.rate, o.seed))
	}
	return nil
}

func (r *rig) stop() {
	for _, w := range r.writers {
		w.stop()
	}
	for _, s := range []*sandbox.Server{r.mirrored, r.followed} {
		if s != nil {
			s.Stop()
		}
	}
	if r.cluster != nil {
		r.cluster.Stop()
	}
}

// heal brings everything back and waits until the cluster agrees with itself.
func (r *rig) heal(ctx context.Context) error {
	for _, n := range append([]*sandbox.Server{r.mirrored, r.followed}, r.cluster.Nodes...) {
		if n.Running() {
			_ = n.Resume() // it may not be frozen
		} else if err := n.Restart(ctx); err != nil {
			return err
		}
	}
	for _, n := range []*sandbox.Server{r.mirrored, r.followed} {
		if err := until(ctx, healLimit, n.Addr+" does not answer", func(ctx context.Context) (bool, error) {
			err := n.Client().Ping(ctx).Err()
			return err == nil, err
		}); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, healLimit, fmt.Errorf("the cluster was not well after %s", healLimit))
	defer cancel()
	return r.cluster.WaitReady(ctx)
}

// writer changes keys of a server until it is stopped.
type writer struct {
	end   context.CancelFunc
	done  chan struct{}
	count atomic.Int64 // commands that were answered
	once  sync.Once
}

func write(ctx context.Context, s *sandbox.Server, names string, rate int, seed uint64) *writer {
	ctx, end := context.WithCancel(ctx)
	w := &writer{end: end, done: make(chan struct{})}
	go func() {
		defer close(w.done)
		for ctx.Err() == nil {
			// The server may be gone or frozen for a while.
			n, _ := dataset.Churn(ctx, s.Client(), dataset.ChurnOptions{Seed: seed, Rate: rate, Prefix: names}, nil)
			w.count.Add(n)
			seed++
			_ = pause(ctx, 100*time.Millisecond)
		}
	}()
	return w
}

// stop returns when nothing is written any more.
func (w *writer) stop() {
	w.once.Do(w.end)
	<-w.done
}

// secretFiles writes the passwords where the settings name them.
func secretFiles(dir string) error {
	for name, secret := range map[string]string{
		"mirrored.password": mirroredPassword, "followed.password": followedPassword,
		"target.password": targetPassword, "token": serviceToken,
	} {
		if err := os.WriteFile(dir+"/"+name, []byte(secret+"\n"), 0o600); err != nil {
			return err
		}
	}
	return nil
}
