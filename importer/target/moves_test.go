package target

import (
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/slotferry/slotferry/internal/sandbox"
	"github.com/slotferry/slotferry/internal/sandbox/sandboxtest"
)

// id returns a node's name in the cluster.
func id(t *testing.T, c *sandbox.Cluster, s *sandbox.Server) string {
	t.Helper()
	name, err := c.NodeID(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// settle gives slots to a master by hand, without their keys, in the order that
// the documentation of CLUSTER SETSLOT asks for, the new owner first.
func settle(t *testing.T, c *sandbox.Cluster, to *sandbox.Server, slots ...int) {
	t.Helper()
	name := id(t, c, to)
	for _, slot := range slots {
		do(t, to, "CLUSTER", "SETSLOT", slot, "NODE", name)
	}
	for _, s := range c.Nodes {
		for _, slot := range slots {
			if s != to {
				do(t, s, "CLUSTER", "SETSLOT", slot, "NODE", name)
			}
		}
	}
}

// moveKeys does what a reshard does with the keys of a slot.
func moveKeys(t *testing.T, from, to *sandbox.Server, slot int) {
	t.Helper()
	for {
		keys, err := from.Client().ClusterGetKeysInSlot(t.Context(), slot, 100).Result()
		if err != nil {
			t.Fatal(err)
		}
		if len(keys) == 0 {
			return
		}
		args := []any{"MIGRATE", to.Host, to.Port, "", 0, 5000, "REPLACE", "KEYS"}
		for _, key := range keys {
			args = append(args, key)
		}
		do(t, from, args...)
	}
}

func TestMoves(t *testing.T) {
	nodes := sandboxtest.Cluster(t, sandbox.ClusterOptions{})
	a, b := nodes.Nodes[0], nodes.Nodes[1]
	fresh := func(t *testing.T) {
		empty(t, nodes)
		if err := nodes.WaitReady(t.Context()); err != nil {
			t.Fatal(err)
		}
	}

	t.Run("slots given to another master", func(t *testing.T) {
		fresh(t)
		s := begin(t, nodes, options(nodes))
		s.migrate = true
		s.prefix = func(i int) string { return tagOf(i % 200) }
		s.while(func() {
			for slot := range 40 {
				do(t, b, "CLUSTER", "SETSLOT", slot, "IMPORTING", id(t, nodes, a))
				do(t, a, "CLUSTER", "SETSLOT", slot, "MIGRATING", id(t, nodes, b))
				moveKeys(t, a, b, slot)
				settle(t, nodes, b, slot)
			}
		})
		s.finish()
		if s.c.Retries().Moved == 0 {
			t.Errorf("%+v, but slots have moved", s.c.Retries())
		}
	})

	t.Run("a stale table at the start", func(t *testing.T) {
		fresh(t)
		s := prepare(t, nodes, options(nodes))
		var slots []int
		for slot := 100; slot < 200; slot++ {
			slots = append(slots, slot)
		}
		settle(t, nodes, b, slots...)
		s.run()
		s.must(s.numbered(20_000))
		s.finish()
		if s.c.Retries().Moved == 0 {
			t.Errorf("%+v, but slots have moved", s.c.Retries())
		}
		if m, err := s.c.Table().Owner(150); err != nil || m.Addr != b.Addr {
			t.Errorf("slot 150 belongs to %v, %v", m, err)
		}
	})

	t.Run("a slot on its way", func(t *testing.T) {
		fresh(t)
		const slot = 300
		tag := tagOf(slot)
		s := begin(t, nodes, options(nodes))
		s.migrate = true
		s.must(s.pair(pair{key: tag + "before", value: "1"}))
		s.c.Flush()
		eventually(t, "the first key", func() bool { return s.tracker.Totals().Written == 1 })
		do(t, b, "CLUSTER", "SETSLOT", slot, "IMPORTING", id(t, nodes, a))
		do(t, a, "CLUSTER", "SETSLOT", slot, "MIGRATING", id(t, nodes, b))
		for i := range 300 {
			p := numbered(i)
			p.key = tag + p.key
			s.must(s.pair(p))
		}
		large := pair{key: tag + "large", value: string(make([]byte, 1<<20))}
		r := large.record()
		r.Owned = true
		s.must(s.record(r))
		s.want[large.key] = large
		s.must(s.pair(pair{key: tag + "before", value: "2"})) // still on the old owner, which takes it
		s.must(s.numbered(5000))
		s.c.Flush()
		eventually(t, "all keys", func() bool { return int(s.tracker.Totals().Written) == len(s.want)+1 })
		if n := b.Client().ClusterCountKeysInSlot(t.Context(), slot).Val(); n != 301 {
			t.Errorf("%d keys are with the new owner, want 301", n)
		}
		if ask := s.c.Retries().Ask; ask != 301 {
			t.Errorf("%d answers were ASK, want 301", ask)
		}
		moveKeys(t, a, b, slot)
		settle(t, nodes, b, slot)
		s.must(s.pair(pair{key: tag + "after", value: "3"}))
		s.finish()
	})

	t.Run("slots on their way while connections are cut and memory is short", func(t *testing.T) {
		fresh(t)
		o := options(nodes)
		o.Memory, o.Window = 2<<20, 64<<10
		s := begin(t, nodes, o)
		s.migrate = true
		const first, last = 1000, 1040
		s.prefix = func(i int) string { return tagOf(first + i%(3*(last-first))) } // a third of them moves
		s.while(func() {
			for slot := first; slot < last; slot++ {
				do(t, b, "CLUSTER", "SETSLOT", slot, "IMPORTING", id(t, nodes, a))
				do(t, a, "CLUSTER", "SETSLOT", slot, "MIGRATING", id(t, nodes, b))
				ask := s.c.Retries().Ask
				eventually(t, "an ASK", func() bool { return s.c.Retries().Ask > ask })
				for _, n := range nodes.Nodes {
					killClients(t, n)
				}
				moveKeys(t, a, b, slot)
				settle(t, nodes, b, slot)
			}
		})
		s.finish()
		s.counts(len(s.want), 0)
		if r := s.c.Retries(); r.Moved == 0 || r.Lost == 0 {
			t.Errorf("%+v", r)
		}
	})

	t.Run("redis-cli reshard", func(t *testing.T) {
		fresh(t)
		cli := filepath.Join(filepath.Dir(a.Binary), "redis-cli")
		s := begin(t, nodes, options(nodes))
		s.migrate = true
		var slots []int // redis-cli takes the first ones
		for slot := 0; len(slots) < 1000; slot++ {
			if m, err := s.c.Table().Owner(uint16(slot)); err == nil && m.Addr == a.Addr {
				slots = append(slots, slot)
			}
		}
		s.prefix = func(i int) string { return tagOf(slots[i%20*50]) } // few, so that keys come while their slot moves
		s.while(func() {
			out, err := exec.CommandContext(t.Context(), cli, "--cluster", "reshard", a.Addr, "--cluster-from", id(t, nodes, a),
				"--cluster-to", id(t, nodes, b), "--cluster-slots", "1000", "--cluster-yes", "--cluster-replace").CombinedOutput()
			if err != nil {
				t.Errorf("reshard: %v\n%.2000s", err, out)
			}
		})
		s.finish()
		if r := s.c.Retries(); r.Moved == 0 || r.Ask == 0 {
			t.Errorf("%+v, want both kinds of redirections", r)
		}
	})

	t.Run("a hole for a while", func(t *testing.T) {
		fresh(t)
		const slot = 7000
		for _, n := range nodes.Nodes {
			do(t, n, "CONFIG", "SET", "cluster-require-full-coverage", "no")
			defer do(t, n, "CONFIG", "SET", "cluster-require-full-coverage", "yes")
		}
		owner, err := nodes.OwnerOf(t.Context(), slot)
		if err != nil {
			t.Fatal(err)
		}
		punch := func() {
			for _, n := range nodes.Nodes {
				do(t, n, "CLUSTER", "DELSLOTS", slot)
			}
		}
		o := options(nodes)
		core, logs := observer.New(zap.WarnLevel)
		o.Log = zap.New(core)
		s := begin(t, nodes, o)
		s.must(s.numbered(2000))
		punch()
		for i := range 100 {
			p := numbered(i)
			p.key = tagOf(slot) + p.key
			s.must(s.pair(p))
		}
		s.must(s.numbered(5000))
		s.c.Flush()
		eventually(t, "all keys of other slots", func() bool { return s.tracker.Totals().Written >= 6900 })
		eventually(t, "many pauses", func() bool { return s.c.Retries().Paused > 500 })
		do(t, owner, "CLUSTER", "ADDSLOTS", slot)
		s.finish()
		if n := logs.FilterMessageSnippet("holds its share back").Len(); n == 0 || n > 8 {
			t.Errorf("%d warnings", n)
		}

		t.Run("for too long", func(t *testing.T) {
			fresh(t)
			punch()
			defer do(t, owner, "CLUSTER", "ADDSLOTS", slot)
			o := options(nodes)
			o.RetryFor = 500 * time.Millisecond
			s := newSending(t, nodes, o)
			finds(t, o, "slots_uncovered", "1 of 16384 slots have no master: 7000")
			if _, found := s.c.Inspect(t.Context()); len(found.Blockers()) != 1 {
				t.Errorf("found %v", found)
			}
			s.run()
			s.must(s.pair(pair{key: tagOf(slot), value: "1"}))
			s.impatient("CLUSTERDOWN")
		})
	})
}
