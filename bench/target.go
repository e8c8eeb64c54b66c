package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"github.com/slotferry/slotferry/importer/route"
	"github.com/slotferry/slotferry/internal/sandbox"
)

// Passwords keep nobody out of servers on loopback that live for minutes; they
// are there because the tool meets them in earnest.
const (
	sourcePassword = "bench-source"
	targetPassword = "bench-target"
)

const (
	flushLimit = 5 * time.Minute
	settle     = time.Second // after a flush, for the masters to give memory back
)

// target is the cluster that is written to.
type target struct {
	cluster *sandbox.Cluster
	table   *route.Table
}

// startTarget starts masters without replicas, which save nothing to the disk.
func startTarget(ctx context.Context, dir string, masters int) (*target, error) {
	layout := make([][]sandbox.SlotRange, masters)
	for i := range layout {
		layout[i] = []sandbox.SlotRange{{First: i * route.Slots / masters, Last: (i+1)*route.Slots/masters - 1}}
	}
	c, err := sandbox.StartCluster(ctx, sandbox.ClusterOptions{
		Options: sandbox.Options{
			Dir: dir, Password: targetPassword, Args: []string{"--save", "", "--appendonly", "no"},
		},
		Masters: masters, Slots: layout,
	})
	if err != nil {
		return nil, err
	}
	t := &target{cluster: c, table: route.NewTable()}
	for i, n := range c.Nodes {
		r := layout[i][0]
		t.table.Assign(route.Master{ID: n.Addr, Addr: n.Addr}, route.Range{Start: uint16(r.First), End: uint16(r.Last)})
	}
	return t, nil
}

// empty removes all keys.
func (t *target) empty(ctx context.Context) error {
	g, gctx := errgroup.WithContext(ctx)
	for _, n := range t.cluster.Nodes {
		g.Go(func() error {
			if err := n.Client().WithTimeout(flushLimit).Do(gctx, "FLUSHALL", "SYNC").Err(); err != nil {
				return fmt.Errorf("emptying %s: %w", n.Addr, err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	keys, err := t.keys(ctx)
	if err == nil && keys != 0 {
		err = fmt.Errorf("the cluster holds %d keys after FLUSHALL", keys)
	}
	return err
}

// settle waits until the masters are quiet.
func (t *target) settle(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(settle):
		return nil
	}
}

func (t *target) keys(ctx context.Context) (int64, error) {
	var sum int64
	for _, n := range t.cluster.Nodes {
		keys, err := n.Client().DBSize(ctx).Result()
		if err != nil {
			return 0, fmt.Errorf("counting the keys of %s: %w", n.Addr, err)
		}
		sum += keys
	}
	return sum, nil
}

// processorTime is what all masters have spent since they started.
func (t *target) processorTime(ctx context.Context) (time.Duration, error) {
	var sum time.Duration
	for _, n := range t.cluster.Nodes {
		spent, err := processorTime(ctx, n.Client(), "")
		if err != nil {
			return 0, fmt.Errorf("asking %s for its processor time: %w", n.Addr, err)
		}
		sum += spent
	}
	return sum, nil
}

var errNoField = errors.New("INFO cpu doesn't say")

// mainThread names the fields of the thread that runs the commands.
const mainThread = "_main_thread"

// processorTime reads user and system time from INFO cpu: the process's, or
// that of the thread whose fields end like part.
func processorTime(ctx context.Context, c *redis.Client, part string) (time.Duration, error) {
	info, err := c.Info(ctx, "cpu").Result()
	if err != nil {
		return 0, err
	}
	var sum time.Duration
	for _, name := range []string{"used_cpu_user" + part + ":", "used_cpu_sys" + part + ":"} {
		_, after, ok := strings.Cut(info, name)
		text, _, _ := strings.Cut(after, "\r\n")
		seconds, err := strconv.ParseFloat(text, 64)
		if !ok || err != nil {
			return 0, fmt.Errorf("%w: %q", errNoField, name)
		}
		sum += time.Duration(seconds * float64(time.Second))
	}
	return sum, nil
}
