package verify_test

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/importer/route"
	"github.com/slotferry/slotferry/importer/target"
	"github.com/slotferry/slotferry/importer/verify"
	"github.com/slotferry/slotferry/internal/sandbox"
)

// numbered writes keys with the hash tags of slots from first on, to both sides,
// and lets a few of them differ.
func (s *sides) numbered(keys, first, slots int) map[string]verify.Kind {
	s.t.Helper()
	pipe := s.source.Client().Pipeline()
	name := func(i int) string { return tagOf(first+i%slots) + strconv.Itoa(i) }
	for i := range keys {
		pipe.Set(s.t.Context(), name(i), strings.Repeat(strconv.Itoa(i), 20), 0)
	}
	_, err := pipe.Exec(s.t.Context())
	s.must(err)
	s.carry("")
	want := map[string]verify.Kind{}
	for i := 5; i < keys; i += keys / 10 {
		s.in("SET", name(i), "another")
		want[name(i)] = verify.Value
		s.in("DEL", name(i+1))
		want[name(i+1)] = verify.Missing
	}
	return want
}

// tagOf returns a hash tag of a slot.
func tagOf(slot int) string { return tags()[slot] }

var tags = sync.OnceValue(func() (tags [route.Slots]string) {
	for i, missing := 0, len(tags); missing > 0; i++ {
		tag := strconv.Itoa(i)
		if slot := route.Slot([]byte(tag)); tags[slot] == "" {
			tags[slot] = "{" + tag + "}"
			missing--
		}
	}
	return tags
})

// setSlot gives a slot to a master, the new owner first.
func (s *sides) setSlot(slot int, to *sandbox.Server) {
	s.t.Helper()
	id, err := s.cluster.NodeID(s.t.Context(), to)
	s.must(err)
	s.must(to.Client().Do(s.t.Context(), "CLUSTER", "SETSLOT", slot, "NODE", id).Err())
	s.everywhere("CLUSTER", "SETSLOT", slot, "NODE", id)
}

// begin lets a slot be on its way from one master to another, with some of its
// keys over there already.
func (s *sides) begin(slot int, from, to *sandbox.Server, keys int64) {
	s.t.Helper()
	ctx := s.t.Context()
	for _, x := range [][2]*sandbox.Server{{to, from}, {from, to}} {
		id, err := s.cluster.NodeID(ctx, x[1])
		s.must(err)
		word := map[bool]string{true: "IMPORTING", false: "MIGRATING"}[x[0] == to]
		s.must(x[0].Client().Do(ctx, "CLUSTER", "SETSLOT", slot, word, id).Err())
	}
	for keys > 0 {
		names, err := from.Client().ClusterGetKeysInSlot(ctx, slot, int(min(100, keys))).Result()
		s.must(err)
		if len(names) == 0 {
			return
		}
		for _, name := range names {
			s.must(from.Client().Do(ctx, "MIGRATE", to.Host, to.Port, name, 0, 5000, "REPLACE").Err())
			keys--
		}
	}
}

func TestMoves(t *testing.T) {
	s := both(t)
	a, b := s.cluster.Nodes[0], s.cluster.Nodes[1]
	const first, slots = 100, 8
	want := s.numbered(4000, first, slots)
	moved := 0
	x := comparison{sides: s, extras: 1 << 20}
	x.during = func(sent int) {
		if sent%500 != 0 || moved == slots {
			return
		}
		s.begin(first+moved, a, b, 1000)
		s.setSlot(first+moved, b)
		moved++
	}
	x.compare().finds(want)
	if moved != slots {
		t.Errorf("%d slots have moved", moved)
	}

	t.Run("a slot on its way", func(t *testing.T) {
		own := *s
		own.t = t
		own.begin(first, b, a, 250)
		// Names that are on neither side, and on both for a moment.
		for _, options := range []verify.Options{{}, {Repair: true}} {
			comparison{sides: &own, options: options}.compare().finds(want)
		}
		own.begin(first, b, a, 1000)
		own.setSlot(first, a)
		comparison{sides: &own}.compare().finds(nil)
	})
	for slot := first + 1; slot < first+slots; slot++ { // the first one is back
		s.begin(slot, b, a, 1000)
		s.setSlot(slot, a)
	}
}

func TestSetbacks(t *testing.T) {
	s := both(t)
	want := s.numbered(20_000, 0, 16)
	for i := range 3 { // of the other masters
		key := tagOf(16000+i) + "other"
		s.on("SET", key, "x")
		want[key] = verify.Missing
	}
	for name, fault := range map[string]func(n *sandbox.Server) error{
		"cut": func(n *sandbox.Server) error {
			return n.Client().Do(t.Context(), "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes").Err()
		},
		"restarted": func(n *sandbox.Server) error { return n.Restart(t.Context()) },
		"silent for a while": func(n *sandbox.Server) error {
			if err := n.Pause(); err != nil {
				return err
			}
			time.AfterFunc(300*time.Millisecond, func() { _ = n.Resume() })
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			own := *s
			own.t = t
			x := comparison{sides: &own, extras: 1 << 20}
			faults := 0
			x.during = func(sent int) {
				if sent%5000 == 0 && (faults == 0 || name == "cut") {
					own.must(fault(s.cluster.Nodes[0]))
					faults++
				}
			}
			x.compare().finds(want)
			if faults == 0 {
				t.Error("there was no fault")
			}
		})
	}
	t.Run("dead", func(t *testing.T) {
		own := *s
		own.t = t
		x := comparison{sides: &own, options: verify.Options{RetryFor: 500 * time.Millisecond}}
		x.during = func(sent int) {
			if sent == 5000 {
				own.must(s.cluster.Nodes[0].Kill())
			}
		}
		done := x.compare()
		own.must(s.cluster.Nodes[0].Restart(t.Context()))
		var impatient *target.PatienceError
		if !errors.As(done.err, &impatient) || !errors.Is(done.err, record.ErrPatience) {
			t.Errorf("ended with %v", done.err)
		}
		own.must(s.cluster.WaitReady(t.Context()))
	})
}

func TestRights(t *testing.T) {
	s := both(t)
	s.on("SET", "mine", "x")
	s.on("SET", "theirs", "x")
	s.carry("")
	for name, tc := range map[string]struct {
		rights  []any
		says    string // of the error, "" for none
		leftOut int
	}{
		"enough":      {[]any{"~*", "+dump", "+pexpiretime"}, "", 0},
		"some keys":   {[]any{"~mine", "+dump", "+pexpiretime"}, "", 1},
		"no expiry":   {[]any{"~*", "+dump"}, "PEXPIRETIME", 0},
		"no values":   {[]any{"~*", "+pexpiretime"}, "DUMP", 0},
		"taken later": {[]any{"~*", "+dump", "+pexpiretime"}, "NOPERM", 0},
	} {
		t.Run(name, func(t *testing.T) {
			own := *s
			own.t = t
			rights := append([]any{"ACL", "SETUSER", "ferry", "reset", "on", ">ferrys", "+asking", "+cluster|slots", "+cluster|info",
				"+cluster|nodes", "+info", "+time", "+dbsize", "+type", "+scan", "+function|list"}, tc.rights...)
			own.everywhere(rights...)
			x := comparison{sides: &own, extras: 1 << 20}
			x.target.ReadOnly = true
			x.target.Endpoint.Username, x.target.Endpoint.Password = "ferry", "ferrys"
			if name == "taken later" {
				x.during = func(int) { own.everywhere("ACL", "SETUSER", "ferry", "-dump") }
			}
			done := x.compare()
			if tc.says != "" {
				if done.err == nil || !strings.Contains(done.err.Error(), tc.says) || name == "taken later" && !errors.Is(done.err, target.ErrDenied) {
					t.Errorf("ended with %v, want %s", done.err, tc.says)
				}
				return
			}
			done.finds(nil)
			if left := done.c.NotComparable(); len(left) != tc.leftOut {
				t.Errorf("left out: %+v", left)
			}
		})
	}
}

// TestPrograms has libraries that masters lack or have otherwise.
func TestPrograms(t *testing.T) {
	s := both(t)
	library := func(name string, n int) string {
		return fmt.Sprintf("#!lua name=%s\nredis.register_function('%s', function() return %d end)", name, name, n)
	}
	for _, name := range []string{"same", "other", "lacking"} {
		s.on("FUNCTION", "LOAD", "REPLACE", library(name, 1))
		if name != "lacking" {
			s.everywhere("FUNCTION", "LOAD", "REPLACE", library(name, 1))
		}
	}
	defer s.on("FUNCTION", "FLUSH")
	defer s.everywhere("FUNCTION", "FLUSH")
	s.must(s.cluster.Nodes[1].Client().Do(t.Context(), "FUNCTION", "LOAD", "REPLACE", library("other", 2)).Err())
	x := comparison{sides: s}.compare().finds(nil)
	if n := x.c.Counts().Programs; n != 2 {
		t.Errorf("%d programs differ, want 2", n)
	}
}
