package sandbox_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/slotferry/slotferry/internal/sandbox"
	"github.com/slotferry/slotferry/internal/sandbox/sandboxtest"
)

func TestClusterWithReplicas(t *testing.T) {
	dir := t.TempDir()
	c := sandboxtest.Cluster(t, sandbox.ClusterOptions{
		Options: sandbox.Options{Dir: dir, Password: odd, AppendOnly: true}, Replicas: 1,
		NodeArgs: func(i int) []string { return []string{"--maxmemory-samples", itoa(i + 1)} },
	})
	ctx := t.Context()
	masters, err := c.Masters(ctx)
	if err != nil || len(masters) != 3 || len(c.Nodes) != 6 {
		t.Fatalf("%d masters of %d nodes, %v", len(masters), len(c.Nodes), err)
	}
	for i, m := range masters {
		if m != c.Nodes[i] {
			t.Errorf("Nodes[%d] is no master", i)
		}
		replicas, err := c.Replicas(ctx, m)
		if err != nil || len(replicas) != 1 {
			t.Errorf("%d replicas of %s, %v", len(replicas), m.Addr, err)
		}
	}
	for i := range 300 {
		if err := c.Client().Set(ctx, "key:"+itoa(i), i, 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	owner, err := c.OwnerOf(ctx, 12182) // the slot of foo
	if err != nil || owner != masters[2] {
		t.Fatalf("OwnerOf = %v, %v", owner, err)
	}
	if err := owner.Client().Set(ctx, "foo", "bar", 0).Err(); err != nil {
		t.Error(err)
	}
	if got := c.Nodes[4].Client().ConfigGet(ctx, "maxmemory-samples").Val()["maxmemory-samples"]; got != "5" {
		t.Errorf("maxmemory-samples of node 4 = %s", got)
	}
	var pids []int
	for _, s := range c.Nodes {
		pids = append(pids, s.PID())
	}
	c.Stop()
	for _, pid := range pids {
		wantGone(t, pid)
	}
	wantEmpty(t, dir)
}

func TestClusterFailover(t *testing.T) {
	c := sandboxtest.Cluster(t, sandbox.ClusterOptions{Replicas: 1, NodeTimeout: 2 * time.Second})
	ctx := t.Context()
	old, err := c.OwnerOf(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	replicas, err := c.Replicas(ctx, old)
	if err != nil || len(replicas) != 1 {
		t.Fatalf("%d replicas, %v", len(replicas), err)
	}
	if err := old.Kill(); err != nil {
		t.Fatal(err)
	}
	for { // the test's own time limit ends this
		now, err := c.OwnerOf(ctx, 0)
		if err == nil && now == replicas[0] {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if err := old.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	if err := c.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	if masters, err := c.Masters(ctx); err != nil || len(masters) != 3 {
		t.Errorf("%d masters, %v", len(masters), err)
	}
}

func TestClusterLayouts(t *testing.T) {
	for name, tc := range map[string]struct {
		o     sandbox.ClusterOptions
		owner map[int]int // slot → node
		holes bool
	}{
		"uneven and fragmented": {o: sandbox.ClusterOptions{Slots: [][]sandbox.SlotRange{
			{{First: 0, Last: 10}, {First: 100, Last: 100}},
			{{First: 11, Last: 99}, {First: 101, Last: 8000}, {First: 8002, Last: 16383}},
			{{First: 8001, Last: 8001}}, nil,
		}}, owner: map[int]int{0: 0, 10: 0, 11: 1, 100: 0, 8001: 2, 16383: 1}},
		"with replicas": {o: sandbox.ClusterOptions{Replicas: 1, Slots: [][]sandbox.SlotRange{
			{{First: 0, Last: 16382}}, {{First: 16383, Last: 16383}},
		}, Masters: 2}, owner: map[int]int{16382: 0, 16383: 1}},
		"one master":   {o: sandbox.ClusterOptions{Masters: 1}, owner: map[int]int{0: 0, 16383: 0}},
		"holes":        {o: sandbox.ClusterOptions{Slots: [][]sandbox.SlotRange{{{First: 0, Last: 16000}}}}, owner: map[int]int{7: 0}, holes: true},
		"TLS":          {o: sandbox.ClusterOptions{Options: sandbox.Options{TLS: true, Password: "x"}}, owner: map[int]int{0: 0}},
		"five masters": {o: sandbox.ClusterOptions{Masters: 5}, owner: map[int]int{0: 0, 16383: 4}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := sandboxtest.Cluster(t, tc.o)
			for slot, node := range tc.owner {
				if got, err := c.OwnerOf(t.Context(), slot); err != nil || got != c.Nodes[node] {
					t.Errorf("OwnerOf(%d) is not node %d: %v", slot, node, err)
				}
			}
			err := c.Client().Set(t.Context(), "foo", "bar", 0).Err()
			if tc.holes && err == nil || !tc.holes && err != nil {
				t.Errorf("SET foo: %v", err)
			}
			if _, err := c.OwnerOf(t.Context(), 16383); tc.holes && err == nil {
				t.Error("a hole has an owner")
			}
		})
	}
}

func TestClusterFailsClean(t *testing.T) {
	t.Run("one node can't start", func(t *testing.T) {
		dir := t.TempDir()
		c, err := sandbox.StartCluster(t.Context(), sandbox.ClusterOptions{
			Options: sandbox.Options{Dir: dir},
			NodeArgs: func(i int) []string {
				if i == 2 {
					return []string{"--no-such-setting", "1"}
				}
				return nil
			},
		})
		if err == nil {
			c.Stop()
			t.Fatal("it started")
		}
		wantEmpty(t, dir)
	})
	t.Run("no such slot", func(t *testing.T) {
		dir := t.TempDir()
		ranges := []sandbox.SlotRange{{First: 0, Last: 16384}}
		if _, err := sandbox.StartCluster(t.Context(), sandbox.ClusterOptions{
			Options: sandbox.Options{Dir: dir}, Slots: [][]sandbox.SlotRange{ranges},
		}); err == nil {
			t.Error("slot 16384 was taken")
		}
		wantEmpty(t, dir)
	})
	t.Run("cancelled while joining", func(t *testing.T) {
		dir := t.TempDir()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := sandbox.StartCluster(ctx, sandbox.ClusterOptions{Options: sandbox.Options{Dir: dir}}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("err = %v", err)
		}
		wantEmpty(t, dir)
	})
}
