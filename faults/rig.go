package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"github.com/slotferry/slotferry/importer/route"
	"github.com/slotferry/slotferry/internal/sandbox"
	"github.com/slotferry/slotferry/rdbparse"
)

const (
	masters     = 3
	nodeTimeout = 3 * time.Second
	healLimit   = 60 * time.Second
	pollEvery   = 20 * time.Millisecond
)

// rig is what the faults are made to: the source, and the cluster of the day.
type rig struct {
	dir       string
	source    *sandbox.Server
	truth     truth // of the source, without what passes
	passing   truth // of the present run
	libraries string
	cluster   *sandbox.Cluster
	living    int  // keys of a source that is written to, another for each run; 0: it stands still
	replicas  int  // of each master of the cluster
	worn      bool // the cluster is not to be used again
}

// livingShare is by how much a source that is written to is smaller than one
// that stands still.
const livingShare = 6

func startRig(ctx context.Context, dir string, o options, living bool) (*rig, error) {
	r := &rig{dir: dir}
	if living {
		r.living = o.keys / livingShare // each run starts its own
		return r, nil
	}
	var err error
	if r.source, err = sandbox.Start(ctx, sandbox.Options{Dir: dir, Password: sourcePassword}); err != nil {
		return nil, fmt.Errorf("starting the source: %w", err)
	}
	if err = fill(ctx, r.source.Client(), o.keys, o.seed); err == nil {
		r.truth, err = readTruth(ctx, r.source.Client())
	}
	if err == nil {
		r.libraries, err = functions(ctx, r.source.Client())
	}
	if err == nil && len(r.truth) != o.keys {
		err = fmt.Errorf("the source holds %d keys, %d were written", len(r.truth), o.keys)
	}
	if err != nil {
		r.stop()
		return nil, err
	}
	return r, nil
}

// renewSource starts a source that will be written to, in place of the one
// before.
func (r *rig) renewSource(ctx context.Context, seed uint64) (err error) {
	if r.source != nil {
		r.source.Stop()
	}
	r.source, err = sandbox.Start(ctx, sandbox.Options{
		Dir: r.dir, Password: sourcePassword, Args: []string{"--repl-backlog-size", "64mb", "--repl-diskless-sync-delay", "0"},
	})
	if err != nil {
		return fmt.Errorf("starting a source: %w", err)
	}
	return fill(ctx, r.source.Client(), r.living, seed)
}

func (r *rig) stop() {
	if r.source != nil {
		r.source.Stop()
	}
	if r.cluster != nil {
		r.cluster.Stop()
	}
}

func (r *rig) vendor() rdbparse.Vendor {
	if r.source.Version.Name == "Valkey" {
		return rdbparse.Valkey
	}
	return rdbparse.Redis
}

// prepare puts the source right and gives an empty cluster with so many
// replicas of each master: the one before, unless that is worn or has others.
func (r *rig) prepare(ctx context.Context, replicas int, seed uint64) error {
	mend := r.healSource
	if r.living > 0 {
		mend = func(ctx context.Context) error { return r.renewSource(ctx, seed) }
	}
	if err := mend(ctx); err != nil {
		return fmt.Errorf("putting the source right: %w", err)
	}
	if r.cluster != nil && !r.worn && r.replicas == replicas {
		err := r.empty(ctx)
		if err == nil || ctx.Err() != nil {
			return err
		}
		say("taking another cluster, as this one can't be emptied: %v", err)
	}
	if r.cluster != nil {
		r.cluster.Stop()
	}
	c, err := sandbox.StartCluster(ctx, sandbox.ClusterOptions{
		Options: sandbox.Options{
			Dir: r.dir, Password: targetPassword, AppendOnly: true, Args: []string{"--appendfsync", "everysec"},
		},
		Masters: masters, Replicas: replicas, NodeTimeout: nodeTimeout,
	})
	if err != nil {
		r.cluster = nil
		return err
	}
	r.cluster, r.replicas, r.worn = c, replicas, false
	return nil
}

func (r *rig) healSource(ctx context.Context) error {
	if !r.source.Running() {
		if err := r.source.Restart(ctx); err != nil {
			return err
		}
	}
	c := r.source.Client()
	if err := c.Do(ctx, "REPLICAOF", "NO", "ONE").Err(); err != nil {
		return err
	}
	keys, err := c.DBSize(ctx).Result()
	if err == nil && keys < int64(len(r.truth)) {
		err = fmt.Errorf("it holds %d keys, not %d", keys, len(r.truth))
	}
	return err
}

// usual is what the faults change, as it should be. appendfsync and the rest
// they leave alone.
var usual = []string{
	"cluster-node-timeout", strconv.FormatInt(nodeTimeout.Milliseconds(), 10),
	"maxmemory", "0",
	"cluster-replica-no-failover", "no",
	"key-load-delay", "0",
	"masterauth", targetPassword,
}

// settle brings back the nodes that are gone and waits until the cluster agrees
// with itself.
func (r *rig) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, healLimit, fmt.Errorf("the cluster was not well after %s", healLimit))
	defer cancel()
	for _, n := range r.cluster.Nodes {
		if !n.Running() {
			if err := n.Restart(ctx); err != nil {
				return err
			}
		}
		_ = n.Resume() // it may not be paused
	}
	for _, n := range r.cluster.Nodes {
		args := []any{"CONFIG", "SET"}
		for _, word := range usual {
			args = append(args, word)
		}
		if err := n.Client().Do(ctx, args...).Err(); err != nil {
			return fmt.Errorf("configuring %s: %w", n.Addr, err)
		}
	}
	return until(ctx, healLimit, "the cluster is not well", func(ctx context.Context) (bool, error) {
		for _, n := range r.cluster.Nodes {
			if well, err := r.well(ctx, n); !well || err != nil {
				return false, err
			}
		}
		return true, nil
	})
}

// well reports whether a node finds the whole cluster, which may have grown,
// well.
func (r *rig) well(ctx context.Context, n *sandbox.Server) (bool, error) {
	pipe := n.Client().Pipeline()
	state, nodes, info := pipe.ClusterInfo(ctx), pipe.ClusterNodes(ctx), pipe.Info(ctx, "replication")
	if _, err := pipe.Exec(ctx); err != nil {
		return false, err
	}
	for line := range strings.Lines(nodes.Val()) {
		words := append(strings.Fields(line), "", "", "")
		for flag := range strings.SplitSeq(words[2], ",") {
			if flag == "fail" || flag == "fail?" || flag == "handshake" {
				return false, nil
			}
		}
	}
	linked := field(info.Val(), "role") == "master" || field(info.Val(), "master_link_status") == "up"
	return linked && field(state.Val(), "cluster_state") == "ok" && field(state.Val(), "cluster_slots_ok") == strconv.Itoa(route.Slots) &&
		field(state.Val(), "cluster_known_nodes") == strconv.Itoa(len(r.cluster.Nodes)), nil
}

// empty settles the cluster and removes all keys and libraries, from the
// append-only files too, which would be loaded by what is restarted.
func (r *rig) empty(ctx context.Context) error {
	if err := r.settle(ctx); err != nil {
		return err
	}
	on, err := r.cluster.Masters(ctx)
	if err != nil {
		return err
	}
	for _, m := range on {
		for _, command := range [][]any{{"FLUSHALL", "SYNC"}, {"FUNCTION", "FLUSH"}} {
			if err := m.Client().Do(ctx, command...).Err(); err != nil {
				return fmt.Errorf("emptying %s: %w", m.Addr, err)
			}
		}
	}
	g, gctx := errgroup.WithContext(ctx)
	for _, n := range r.cluster.Nodes {
		g.Go(func() error { return emptied(gctx, n) })
	}
	return g.Wait()
}

// emptied waits until a node holds nothing, in memory or on the disk.
func emptied(ctx context.Context, n *sandbox.Server) error {
	asked := false
	return until(ctx, healLimit, n.Addr+" is not empty", func(ctx context.Context) (bool, error) {
		if keys, err := n.Client().DBSize(ctx).Result(); err != nil || keys > 0 {
			return false, err
		}
		if !asked {
			err := n.Client().BgRewriteAOF(ctx).Err()
			asked = err == nil
			return false, nil // one is running already, or this one just begins
		}
		info, err := n.Client().Info(ctx, "persistence").Result()
		return field(info, "aof_rewrite_in_progress") == "0" && field(info, "aof_rewrite_scheduled") == "0", err
	})
}

// replicaOf returns a replica of a master.
func (r *rig) replicaOf(ctx context.Context, master *sandbox.Server) (*sandbox.Server, error) {
	replicas, err := r.cluster.Replicas(ctx, master)
	if err == nil && len(replicas) == 0 {
		err = fmt.Errorf("%s has no replica", master.Addr)
	}
	if err != nil {
		return nil, err
	}
	return replicas[0], nil
}

// isMaster reports whether a node takes itself for one.
func isMaster(ctx context.Context, n *sandbox.Server) (bool, error) {
	info, err := n.Client().Info(ctx, "replication").Result()
	return field(info, "role") == "master", err
}

// promoted waits until a replica has become a master.
func promoted(ctx context.Context, n *sandbox.Server) error {
	return until(ctx, healLimit, n.Addr+" does not become a master", func(ctx context.Context) (bool, error) {
		return isMaster(ctx, n)
	})
}

// cli runs redis-cli as an operator would, the password in the environment.
func (r *rig) cli(ctx context.Context, args ...string) error {
	path := filepath.Join(filepath.Dir(r.source.Binary), "redis-cli")
	if _, err := os.Stat(path); err != nil {
		path = "redis-cli"
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(os.Environ(), "REDISCLI_AUTH="+targetPassword)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("redis-cli %s: %w\n%s", strings.Join(args, " "), err, tail(out))
	}
	return nil
}

// field returns one field of an INFO reply.
func field(info, name string) string {
	for line := range strings.Lines(info) {
		if v, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

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

// configure sets one setting of some nodes.
func configure(ctx context.Context, name, value string, nodes ...*sandbox.Server) error {
	for _, n := range nodes {
		if err := n.Client().ConfigSet(ctx, name, value).Err(); err != nil {
			return fmt.Errorf("setting %s of %s: %w", name, n.Addr, err)
		}
	}
	return nil
}

// killClients cuts all ordinary connections to a server, the one that asks for
// it too.
func killClients(ctx context.Context, n *sandbox.Server) error {
	o := n.ClientOptions()
	o.MaxRetries = -1
	c := redis.NewClient(o)
	defer func() { _ = c.Close() }()
	return c.Do(ctx, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes").Err()
}
