package target

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/slotferry/slotferry/importer/preflight"
	"github.com/slotferry/slotferry/internal/sandbox"
	"github.com/slotferry/slotferry/internal/sandbox/sandboxtest"
)

func inspect(t *testing.T, o Options) (preflight.Target, preflight.Findings) {
	t.Helper()
	c := New(o)
	defer c.Close()
	return c.Inspect(t.Context())
}

// finds tells that an inspection finds a blocker, or a warning, which says
// something and what to do, and doesn't show a password.
func finds(t *testing.T, o Options, code, says string) {
	t.Helper()
	_, found := inspect(t, o)
	for _, f := range found {
		if o.Endpoint.Password != "" && strings.Contains(f.Message, o.Endpoint.Password) {
			t.Errorf("%s shows the password: %s", f.Code, f.Message)
		}
		if f.Code == code && strings.Contains(f.Message, says) && f.Remedy != "" {
			return
		}
	}
	t.Errorf("found %+v, want %s with %q", found, code, says)
}

func nobody(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	return l.Addr().String()
}

func TestInspect(t *testing.T) {
	const secret = "s3cret"
	nodes := sandboxtest.Cluster(t, sandbox.ClusterOptions{Options: sandbox.Options{Password: secret}})
	alone := sandboxtest.Server(t, sandbox.Options{})
	good := options(nodes)
	good.Endpoint.Password = secret
	user := func(t *testing.T, rights ...any) Options {
		t.Helper()
		for _, n := range nodes.Nodes {
			do(t, n, append([]any{"ACL", "SETUSER", "ferry", "reset", "on", ">ferrys"}, rights...)...)
		}
		o := good
		o.Endpoint.Username, o.Endpoint.Password = "ferry", "ferrys"
		return o
	}

	t.Run("a good one", func(t *testing.T) {
		for i := range 100 {
			if err := nodes.Client().Set(t.Context(), numbered(i).key, "1", 0).Err(); err != nil {
				t.Fatal(err)
			}
		}
		defer empty(t, nodes)
		facts, found := inspect(t, good)
		if len(found) > 0 {
			t.Errorf("found %+v", found)
		}
		if facts.Keys != 100 || len(facts.Masters) != 3 || len(facts.IDs) != 3 {
			t.Errorf("%+v", facts)
		}
		slots := 0
		for _, m := range facts.Masters {
			slots += m.Slots
			if !m.Server.Cluster || m.ID == "" {
				t.Errorf("%+v", m)
			}
		}
		if slots != 16384 {
			t.Errorf("%d slots", slots)
		}
	})
	t.Run("some seeds do not answer", func(t *testing.T) {
		o := good
		o.Seeds = []string{nobody(t), nodes.Nodes[1].Addr, nobody(t), nodes.Nodes[2].Addr}
		if _, found := inspect(t, o); len(found.Blockers()) > 0 {
			t.Errorf("found %+v", found)
		}
	})
	t.Run("no seed answers", func(t *testing.T) {
		o := good
		o.Seeds = []string{nobody(t), nobody(t)}
		finds(t, o, "target_unreachable", o.Seeds[0])
		finds(t, o, "target_unreachable", o.Seeds[1])
	})
	t.Run("not a cluster", func(t *testing.T) {
		finds(t, Options{Seeds: []string{alone.Addr}}, "target_not_cluster", alone.Addr)
	})
	t.Run("wrong password", func(t *testing.T) {
		o := good
		o.Endpoint.Password = "wr0ng"
		finds(t, o, "target_auth", "WRONGPASS")
	})
	t.Run("no password", func(t *testing.T) {
		o := good
		o.Endpoint.Password = ""
		finds(t, o, "target_auth", "NOAUTH")
	})
	t.Run("the rights that the remedy names", func(t *testing.T) {
		o := user(t, "~*", "-@all", "+restore", "+asking", "+cluster|slots", "+cluster|info", "+cluster|nodes", "+info", "+time", "+dbsize")
		if _, found := inspect(t, o); len(found) > 0 {
			t.Errorf("found %+v", found)
		}
		empty(t, nodes)
		s := begin(t, nodes, o)
		s.must(s.numbered(1000))
		s.finish()
		empty(t, nodes)
	})
	t.Run("no right to write", func(t *testing.T) {
		finds(t, user(t, "~*", "+@all", "-restore"), "target_rights", "RESTORE")
	})
	t.Run("no right to see the cluster", func(t *testing.T) {
		finds(t, user(t, "~*", "+@all", "-cluster"), "target_rights", "NOPERM")
	})
	t.Run("a right to some keys", func(t *testing.T) {
		o := user(t, "~app:*", "+@all")
		finds(t, o, "target_key_rights", preflight.ProbeKey)
		if _, found := inspect(t, o); len(found.Blockers()) > 0 {
			t.Errorf("found %+v", found)
		}
	})
	t.Run("no right to ASKING", func(t *testing.T) {
		o := user(t, "~*", "+@all", "-asking")
		o.RetryFor = 10 * patience
		a, b := nodes.Nodes[0], nodes.Nodes[1]
		const slot = 77
		do(t, b, "CLUSTER", "SETSLOT", slot, "IMPORTING", id(t, nodes, a))
		do(t, a, "CLUSTER", "SETSLOT", slot, "MIGRATING", id(t, nodes, b))
		defer do(t, b, "CLUSTER", "SETSLOT", slot, "STABLE")
		defer do(t, a, "CLUSTER", "SETSLOT", slot, "STABLE")
		s := begin(t, nodes, o)
		s.must(s.pair(pair{key: tagOf(slot), value: "1"}))
		if err := s.ended(); err == nil || !strings.Contains(err.Error(), "ASKING") {
			t.Errorf("the lanes ended with %v", err)
		}
	})
	t.Run("eviction", func(t *testing.T) {
		n := nodes.Nodes[0]
		do(t, n, "CONFIG", "SET", "maxmemory-policy", "allkeys-lru", "maxmemory", "1gb")
		defer do(t, n, "CONFIG", "SET", "maxmemory-policy", "noeviction", "maxmemory", "0")
		finds(t, good, "eviction", n.Addr)
	})
	t.Run("a master does not answer", func(t *testing.T) {
		n := nodes.Nodes[2]
		if err := n.Pause(); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = n.Resume() }()
		o := good
		o.Endpoint.DialTimeout = 500 * time.Millisecond
		finds(t, o, "master_unreachable", n.Addr)
	})
}
