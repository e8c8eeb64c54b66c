package target

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/slotferry/slotferry/importer/route"
	"github.com/slotferry/slotferry/internal/sandbox"
	"github.com/slotferry/slotferry/internal/sandbox/sandboxtest"
)

// master returns what the lane of a node has done.
func (s *sending) master(n *sandbox.Server) Master {
	for _, m := range s.c.Masters() {
		if m.Addr == n.Addr {
			return m
		}
	}
	s.t.Fatalf("%s is no master", n.Addr)
	return Master{}
}

// killClients cuts all connections of a node but the one that says so.
func killClients(t *testing.T, n *sandbox.Server) {
	t.Helper()
	do(t, n, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
}

// onNode returns a key of a slot that a master of a usual cluster owns.
func onNode(t *testing.T, s *sending, n *sandbox.Server) string {
	t.Helper()
	for slot := range route.Slots {
		if m, err := s.c.Table().Owner(uint16(slot)); err == nil && m.Addr == n.Addr {
			return tagOf(slot)
		}
	}
	t.Fatalf("%s has no slots", n.Addr)
	return ""
}

func TestSetbacks(t *testing.T) {
	nodes := sandboxtest.Cluster(t, sandbox.ClusterOptions{Options: sandbox.Options{AppendOnly: true}})
	a, b := nodes.Nodes[0], nodes.Nodes[1]
	fresh := func(t *testing.T) {
		if err := nodes.WaitReady(t.Context()); err != nil {
			t.Fatal(err)
		}
		empty(t, nodes)
	}

	t.Run("out of memory for a while", func(t *testing.T) {
		fresh(t)
		defer do(t, a, "CONFIG", "SET", "maxmemory", "0")
		s := begin(t, nodes, options(nodes))
		s.while(func() {
			do(t, a, "CONFIG", "SET", "maxmemory", "1mb")
			eventually(t, "the reason", func() bool { return strings.HasPrefix(s.master(a).Status, "OOM") })
			before, others := s.master(a).Keys, s.master(b).Keys
			eventually(t, "the others' going on", func() bool { return s.master(b).Keys > others+1000 })
			if after := s.master(a).Keys; after > before {
				t.Errorf("%d keys more on a node without memory", after-before)
			}
			do(t, a, "CONFIG", "SET", "maxmemory", "0")
			eventually(t, "the end of the pause", func() bool { return s.master(a).Status == "" })
		})
		s.finish()
		if r := s.c.Retries(); r.Paused == 0 || r.Lost != 0 {
			t.Errorf("%+v", r)
		}
	})

	t.Run("out of memory for too long", func(t *testing.T) {
		fresh(t)
		defer do(t, a, "CONFIG", "SET", "maxmemory", "0")
		o := options(nodes)
		o.RetryFor = 500 * time.Millisecond
		s := begin(t, nodes, o)
		do(t, a, "CONFIG", "SET", "maxmemory", "1mb")
		s.must(s.numbered(500))
		s.impatient("OOM")
	})

	t.Run("too many clients", func(t *testing.T) {
		fresh(t)
		defer do(t, a, "CONFIG", "SET", "maxclients", "10000")
		s := begin(t, nodes, options(nodes))
		s.while(func() {
			do(t, a, "CONFIG", "SET", "maxclients", "1")
			killClients(t, a)
			eventually(t, "the reason", func() bool { return strings.Contains(s.master(a).Status, "max number of clients") })
			do(t, a, "CONFIG", "SET", "maxclients", "10000")
		})
		s.finish()
		if failed := s.counts(len(s.want), 0); len(failed) > 0 {
			t.Errorf("failed: %+v", failed[0])
		}
	})

	t.Run("interrupted", func(t *testing.T) {
		fresh(t)
		s := begin(t, nodes, options(nodes))
		s.must(s.numbered(1000))
		s.c.Flush()
		why := errors.New("why")
		s.cancel(why)
		<-s.done
		if !errors.Is(s.err, why) {
			t.Errorf("the lanes ended with %v", s.err)
		}
		if err := s.numbered(100_000); !errors.Is(err, why) {
			t.Errorf("sending ended with %v", err)
		}
	})

	t.Run("a master found after the end", func(t *testing.T) {
		fresh(t)
		s := begin(t, nodes, options(nodes))
		s.must(s.numbered(100))
		s.finish()
		s.c.adopt(s.c.Table().With(0, nobody(t)))
		if s.c.start != nil {
			t.Error("a lane that nobody waits for was started")
		}
	})

	t.Run("rights taken away", func(t *testing.T) {
		fresh(t)
		for _, n := range nodes.Nodes {
			do(t, n, "ACL", "SETUSER", "ferry", "on", ">secret", "~*", "+@all")
			defer do(t, n, "ACL", "DELUSER", "ferry")
		}
		o := options(nodes)
		o.Endpoint.Username, o.Endpoint.Password = "ferry", "secret"
		o.RetryFor = 10 * patience // which nobody waits for
		for name, take := range map[string]func(){
			"NOPERM": func() {
				for _, n := range nodes.Nodes {
					do(t, n, "ACL", "SETUSER", "ferry", "-restore")
				}
			},
			"WRONGPASS": func() {
				for _, n := range nodes.Nodes {
					do(t, n, "ACL", "SETUSER", "ferry", "resetpass", ">another")
					killClients(t, n)
				}
			},
		} {
			t.Run(name, func(t *testing.T) {
				for _, n := range nodes.Nodes {
					do(t, n, "ACL", "SETUSER", "ferry", "resetpass", ">secret", "+restore")
				}
				s := begin(t, nodes, o)
				s.must(s.numbered(1000))
				s.c.Flush()
				eventually(t, "the first keys", func() bool { return s.tracker.Totals().Written == 1000 })
				take()
				for s.numbered(50) == nil {
					s.c.Flush()
					time.Sleep(time.Millisecond)
				}
				err := s.ended()
				if !errors.Is(err, ErrDenied) || !strings.Contains(err.Error(), name) || strings.Contains(err.Error(), "secret") {
					t.Errorf("the lanes ended with %v", err)
				}
				if n := s.tracker.Totals(); n.Failed != 0 || n.Written < 1000 {
					t.Errorf("%+v", n)
				}
			})
		}
	})

	t.Run("connections cut all the time", func(t *testing.T) {
		fresh(t)
		s := begin(t, nodes, options(nodes))
		s.while(func() {
			for range 25 {
				for _, n := range nodes.Nodes {
					killClients(t, n)
				}
				time.Sleep(20 * time.Millisecond)
			}
		})
		s.finish()
		s.counts(len(s.want), 0)
		if s.c.Retries().Lost == 0 {
			t.Errorf("%+v, but connections were cut", s.c.Retries())
		}
	})

	t.Run("connections cut in the middle of commands and answers", func(t *testing.T) {
		fresh(t)
		var cuts atomic.Int64
		o := options(nodes)
		o.AddressMap = route.AddressMap{a.Addr: proxy(t, a.Addr, func() (up, down int64) {
			switch n := cuts.Add(-1); {
			case n < 0:
				return -1, -1
			case n%2 == 0:
				return 1 + rand.Int64N(100_000), -1
			default:
				return -1, 1 + rand.Int64N(2000)
			}
		})}
		s := begin(t, nodes, o)
		s.while(func() {
			cuts.Store(40)
			killClients(t, a)
			eventually(t, "all cuts", func() bool { return cuts.Load() < 0 })
		})
		s.finish()
		s.counts(len(s.want), 0)
	})

	t.Run("frozen for longer than it may", func(t *testing.T) {
		fresh(t)
		o := options(nodes)
		o.ReplyTimeout = time.Second
		s := begin(t, nodes, o)
		s.while(func() {
			if err := a.Pause(); err != nil {
				t.Fatal(err)
			}
			eventually(t, "a lost connection", func() bool { return s.c.Retries().Lost > 0 })
			if err := a.Resume(); err != nil {
				t.Fatal(err)
			}
		})
		s.finish()
	})

	t.Run("a slow master does not hold the others back", func(t *testing.T) {
		fresh(t)
		s := begin(t, nodes, options(nodes))
		tag := onNode(t, s, a)
		s.must(s.pair(pair{key: tag, value: "first"}))
		s.c.Flush()
		eventually(t, "the first key", func() bool { return s.tracker.Totals().Written == 1 })
		if err := a.Pause(); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = a.Resume() }()
		s.must(s.numbered(20_000)) // some 2 MB, far below the budget
		s.c.Flush()
		theirs := int64(0)
		for key := range s.want {
			if m, _ := s.c.Table().Owner(route.Slot([]byte(key))); m.Addr != a.Addr {
				theirs++
			}
		}
		eventually(t, "all keys of the others", func() bool { return s.tracker.Totals().Written == theirs+1 })
		if err := a.Resume(); err != nil {
			t.Fatal(err)
		}
		s.finish()
	})

	t.Run("killed and started again", func(t *testing.T) {
		fresh(t)
		s := begin(t, nodes, options(nodes))
		s.while(func() {
			if err := a.Kill(); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			if err := a.Restart(ctx); err != nil {
				t.Fatal(err)
			}
		})
		s.finish()
		s.counts(len(s.want), 0)
	})
}
