package target

import (
	"testing"

	"github.com/slotferry/slotferry/internal/sandbox"
	"github.com/slotferry/slotferry/internal/sandbox/sandboxtest"
)

// TestCountOnly has keys in and beside the chosen slots, some of which are the
// tool's own, and one in a slot that is on its way.
func TestCountOnly(t *testing.T) {
	nodes := sandboxtest.Cluster(t, sandbox.ClusterOptions{Masters: 3})
	client, ctx := nodes.Client(), t.Context()
	set := func(keys ...string) {
		t.Helper()
		for _, key := range keys {
			if err := client.Set(ctx, key, "1", 0).Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
	tag := tagOf
	chosen := func(slot uint16) bool { return slot >= 100 && slot <= 200 || slot == 16000 }
	counts := func(o Options) (facts, now int64) {
		t.Helper()
		c := New(o)
		defer c.Close()
		c.CountOnly(chosen)
		view, found := c.Inspect(ctx)
		if len(found) > 0 {
			t.Errorf("found %+v", found)
		}
		now, err := c.Keys(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return view.Keys, now
	}
	set("other"+tag(99), "other"+tag(201), "other"+tag(8000))
	set("slotferry:"+tag(150)+":checkpoint", "slotferry:"+tag(150)+":lock", "slotferry:tmp:"+tag(16000)+":x")
	if facts, now := counts(options(nodes)); facts != 0 || now != 0 {
		t.Errorf("%d and %d keys, want none", facts, now)
	}

	// Slot 200 goes from the first master to the second one; keys are on both.
	set("here" + tag(200))
	from, err := nodes.OwnerOf(ctx, 200)
	if err != nil {
		t.Fatal(err)
	}
	to, err := nodes.OwnerOf(ctx, 8000)
	if err != nil {
		t.Fatal(err)
	}
	idFrom, err1 := nodes.NodeID(ctx, from)
	idTo, err2 := nodes.NodeID(ctx, to)
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	do(t, to, "CLUSTER", "SETSLOT", "200", "IMPORTING", idFrom)
	do(t, from, "CLUSTER", "SETSLOT", "200", "MIGRATING", idTo)
	set("there"+tag(200), "slotferry:"+tag(100)+":other")
	if n := to.Client().ClusterCountKeysInSlot(ctx, 200).Val(); n != 1 { // new ones are made there
		t.Fatalf("%d keys of the slot are on its next master", n)
	}
	if facts, now := counts(options(nodes)); facts != 3 || now != 3 {
		t.Errorf("%d and %d keys, want 3", facts, now)
	}

	for i := range 2 * fewKeys {
		set(numbered(i).key + tag(101))
	}
	if facts, now := counts(options(nodes)); facts != 2*fewKeys+5 || now != facts { // with so many, its own don't matter
		t.Errorf("%d and %d keys, want %d", facts, now, 2*fewKeys+5)
	}

	t.Run("without the right", func(t *testing.T) {
		for _, n := range nodes.Nodes {
			do(t, n, "ACL", "SETUSER", "blind", "on", ">ferrys", "~*", "+@all", "-cluster|countkeysinslot")
		}
		o := options(nodes)
		o.Endpoint.Username, o.Endpoint.Password = "blind", "ferrys"
		c := New(o)
		defer c.Close()
		c.CountOnly(chosen)
		if _, found := c.Inspect(ctx); !found.Has("target_rights") || len(found.Blockers()) == 0 {
			t.Errorf("found %+v", found)
		}
	})
}
