package target

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/slotferry/slotferry/checkpoint"
	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/importer/route"
	"github.com/slotferry/slotferry/internal/sandbox"
	"github.com/slotferry/slotferry/internal/sandbox/sandboxtest"
	"github.com/slotferry/slotferry/rdbparse"
)

// gate is a list of 10 parts that comes from its source as the test allows.
type gate struct {
	key     string
	reached chan int // the part that is emitted next
	open    chan struct{}
	err     error // at the end
	calls   int
}

func newGate(key string) *gate {
	return &gate{key: key, reached: make(chan int, 1000), open: make(chan struct{})}
}

const gateParts = 10

// record stops once, in the middle of the first attempt.
func (g *gate) record() *record.Record {
	big := []byte(strings.Repeat("x", 200_000))
	return &record.Record{
		Key: []byte(g.key), Type: 18, Measure: record.Measure{Bytes: 2_000_000, Type: "list"},
		Build: func(ctx context.Context, name []byte, emit func([][]byte) error) (int64, error) {
			g.calls++
			for i := range gateParts {
				if i == gateParts/2 {
					g.reached <- i
					select {
					case <-g.open:
					case <-ctx.Done():
						return 0, ctx.Err()
					}
				}
				if err := emit([][]byte{[]byte("RPUSH"), name, strconv.AppendInt(nil, int64(i), 10), big}); err != nil {
					return 0, err
				}
			}
			return year2100 + 7, g.err
		},
	}
}

// arrived fails unless the list is there as a whole.
func (g *gate) arrived(t *testing.T, nodes *sandbox.Cluster) {
	t.Helper()
	c := nodes.Client()
	list, err := c.LRange(t.Context(), g.key, 0, -1).Result()
	if err != nil || len(list) != 2*gateParts {
		t.Fatalf("%d elements, %v", len(list), err)
	}
	for i := range gateParts {
		if list[2*i] != strconv.Itoa(i) || len(list[2*i+1]) != 200_000 {
			t.Errorf("element %d is %.20q", 2*i, list[2*i])
		}
	}
	if at := c.Do(t.Context(), "PEXPIRETIME", g.key).Val(); at != int64(year2100+7) {
		t.Errorf("it expires at %v", at)
	}
	noTemps(t, nodes)
}

func TestRebuildFaults(t *testing.T) {
	nodes := sandboxtest.Cluster(t, sandbox.ClusterOptions{Options: sandbox.Options{AppendOnly: true}})
	a, b := nodes.Nodes[0], nodes.Nodes[1]
	start := func(t *testing.T, o Options) *sending {
		if err := nodes.WaitReady(t.Context()); err != nil {
			t.Fatal(err)
		}
		empty(t, nodes)
		return begin(t, nodes, o)
	}
	ended := func(t *testing.T, s *sending) {
		t.Helper()
		if err := s.ended(); err != nil {
			t.Fatal(err)
		}
		s.balanced()
		if used := s.c.used(); used != 0 {
			t.Errorf("%d bytes of the budget were not given back", used)
		}
	}

	t.Run("nobody sees half a value", func(t *testing.T) {
		s := start(t, options(nodes))
		g := newGate("key")
		client := nodes.Client()
		if err := client.RPush(t.Context(), "key", "older").Err(); err != nil {
			t.Fatal(err)
		}
		s.must(s.record(g.record()))
		<-g.reached
		for range 50 {
			if list := client.LRange(t.Context(), "key", 0, 5).Val(); len(list) != 1 || list[0] != "older" {
				t.Fatalf("a reader sees %.50q", list)
			}
		}
		status := ""
		for _, m := range s.c.Masters() {
			status += m.Status
		}
		if !strings.Contains(status, `rebuilding key "key", `) || !strings.Contains(status, "of 1.9 MiB") {
			t.Errorf("the status is %q", status)
		}
		s.must(s.numbered(5000)) // the lanes go on meanwhile
		s.c.Flush()
		eventually(t, "the other keys", func() bool { return s.tracker.Totals().Written == 5000 })
		close(g.open)
		ended(t, s)
		g.arrived(t, nodes)
		s.counts(5001, 0)
	})

	t.Run("a slot moved meanwhile", func(t *testing.T) {
		for _, settled := range []bool{true, false} {
			t.Run(fmt.Sprintf("settled=%t", settled), func(t *testing.T) {
				slot := 20 + int(b2i(settled))
				s := start(t, options(nodes))
				g := newGate(tagOf(slot) + "key")
				s.must(s.record(g.record()))
				<-g.reached
				eventually(t, "its beginning", func() bool { return a.Client().ClusterCountKeysInSlot(t.Context(), slot).Val() == 1 })
				do(t, b, "CLUSTER", "SETSLOT", slot, "IMPORTING", id(t, nodes, a))
				do(t, a, "CLUSTER", "SETSLOT", slot, "MIGRATING", id(t, nodes, b))
				moveKeys(t, a, b, slot)
				if settled {
					settle(t, nodes, b, slot)
				}
				close(g.open)
				if !settled {
					eventually(t, "an ASK", func() bool { return s.c.Retries().Ask > 1 })
					moveKeys(t, a, b, slot)
					settle(t, nodes, b, slot)
				}
				ended(t, s)
				g.arrived(t, nodes)
				if g.calls < 2 {
					t.Error("it was not begun anew")
				}
				settle(t, nodes, b, slot)
			})
		}
	})

	t.Run("a master killed", func(t *testing.T) {
		s := start(t, options(nodes))
		g := newGate(onNode(t, s, b))
		s.must(s.record(g.record()))
		<-g.reached
		if err := b.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := b.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		close(g.open)
		ended(t, s)
		g.arrived(t, nodes)
	})

	t.Run("out of memory for a while", func(t *testing.T) {
		s := start(t, options(nodes))
		defer do(t, b, "CONFIG", "SET", "maxmemory", "0")
		g := newGate(onNode(t, s, b))
		s.must(s.record(g.record()))
		<-g.reached
		do(t, b, "CONFIG", "SET", "maxmemory", "1mb")
		close(g.open)
		eventually(t, "the reason", func() bool { return strings.HasPrefix(s.master(b).Status, "OOM") })
		do(t, b, "CONFIG", "SET", "maxmemory", "0")
		ended(t, s)
		g.arrived(t, nodes)
	})

	t.Run("out of memory for too long", func(t *testing.T) {
		o := options(nodes)
		o.RetryFor = 300 * time.Millisecond
		s := start(t, o)
		defer do(t, b, "CONFIG", "SET", "maxmemory", "0")
		g := newGate(onNode(t, s, b))
		close(g.open)
		do(t, b, "CONFIG", "SET", "maxmemory", "1mb")
		s.must(s.record(g.record()))
		s.impatient("OOM")
		do(t, b, "CONFIG", "SET", "maxmemory", "0")
		noTemps(t, nodes)
	})

	t.Run("interrupted", func(t *testing.T) {
		s := start(t, options(nodes))
		g := newGate("key")
		s.must(s.record(g.record()))
		<-g.reached
		s.cancel(errors.New("why"))
		<-s.done
		noTemps(t, nodes)
		s.tracker.Show()
		if n := s.tracker.Totals(); n.Answered() != 0 {
			t.Errorf("%+v", n)
		}
	})

	t.Run("what a killed run left", func(t *testing.T) {
		o := options(nodes)
		o.Job = "a job"
		s := start(t, o)
		client := nodes.Client()
		settle(t, nodes, a, 16383) // which the table does not know yet
		pipe := client.Pipeline()
		for slot := range uint16(route.Slots) {
			name := s.c.tempName(slot)
			if route.Slot(name) != slot || !checkpoint.OwnKey(string(name)) {
				t.Fatalf("%q is of slot %d, not %d", name, route.Slot(name), slot)
			}
			pipe.Set(t.Context(), string(name), "half", 0)
		}
		if _, err := pipe.Exec(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := client.Set(t.Context(), "slotferry:tmp", "a user's", 0).Err(); err != nil {
			t.Fatal(err)
		}
		if err := s.c.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		noTemps(t, nodes)
		if client.Get(t.Context(), "slotferry:tmp").Val() != "a user's" {
			t.Error("a user's key is gone")
		}
		settle(t, nodes, nodes.Nodes[2], 16383)
	})

	t.Run("what the source says", func(t *testing.T) {
		s := start(t, options(nodes))
		done := make(chan struct{})
		close(done)
		for name, err := range map[string]error{
			"gone": record.ErrGone, "changed": record.ErrChanged, "refused": fmt.Errorf("%w: for a reason", record.ErrRefused),
		} {
			g := newGate(name)
			g.err, g.open = err, done
			s.must(s.record(g.record()))
		}
		ended(t, s)
		n := s.tracker.Totals()
		reasons := map[string]string{}
		for _, f := range s.tracker.Failures() {
			reasons[string(f.Key)] = f.Reason
		}
		if n.Expired != 1 || n.Failed != 2 || n.Written != 0 || !strings.Contains(reasons["changed"], "5 times") || !strings.Contains(reasons["refused"], "for a reason") {
			t.Errorf("%+v, %q", n, reasons)
		}
		noTemps(t, nodes)
	})

	t.Run("too long for the target", func(t *testing.T) {
		for _, n := range nodes.Nodes {
			do(t, n, "CONFIG", "SET", "proto-max-bulk-len", "1mb")
			defer do(t, n, "CONFIG", "SET", "proto-max-bulk-len", "512mb")
		}
		s := start(t, options(nodes))
		part := []byte(strings.Repeat("x", 300_000))
		s.must(s.record(&record.Record{
			Key: []byte("string"), Measure: record.Measure{Bytes: 1_500_000, Type: "string"},
			Build: func(_ context.Context, name []byte, emit func([][]byte) error) (int64, error) {
				for range 5 {
					if err := emit([][]byte{[]byte("APPEND"), name, part}); err != nil {
						return 0, err
					}
				}
				return 0, nil
			},
		}))
		s.must(s.record(owned(long(1, 2<<20).record())))
		list := []byte{1} // one element
		list = append(list, rdbString(strings.Repeat("x", 2<<20))...)
		s.must(s.record(owned(&record.Record{Key: []byte("element"), Type: 1, Value: list, Version: rdbparse.LowestVersion(1)})))
		s.must(s.numbered(1000))
		ended(t, s)
		for _, f := range s.counts(1000, 0) {
			want := "proto-max-bulk-len"
			if string(f.Key) == "string" {
				want = "string exceeds maximum allowed size"
			}
			if !strings.Contains(f.Reason, want) {
				t.Errorf("%q: %s", f.Key, f.Reason)
			}
		}
		if n := s.tracker.Totals().Failed; n != 3 {
			t.Errorf("%d failed", n)
		}
		noTemps(t, nodes)
	})

	t.Run("without the rights", func(t *testing.T) {
		for _, n := range nodes.Nodes {
			do(t, n, "ACL", "SETUSER", "ferry", "on", ">secret", "~*", "+@all", "-unlink")
			defer do(t, n, "ACL", "DELUSER", "ferry")
		}
		o := options(nodes)
		o.Endpoint.Username, o.Endpoint.Password = "ferry", "secret"
		o.MaxCommand, o.RetryFor = 1, 10*patience
		s := start(t, o)
		if found := s.c.RebuildRights(t.Context()); len(found) != 1 || !strings.Contains(found[0].Message, "UNLINK") {
			t.Errorf("found %+v", found)
		}
		if err := s.c.Sweep(t.Context()); err != nil {
			t.Errorf("sweeping: %v", err)
		}
		_ = s.numbered(10)
		err := s.ended()
		if !errors.Is(err, ErrDenied) || !strings.Contains(err.Error(), "+unlink") || strings.Contains(err.Error(), "secret") {
			t.Errorf("the lanes ended with %v", err)
		}
		holds(t, nodes, nil, 0)
	})

	t.Run("a transaction that can't be whole", func(t *testing.T) {
		s := start(t, options(nodes))
		if err := nodes.Client().Set(t.Context(), "key", "older", 0).Err(); err != nil {
			t.Fatal(err)
		}
		o := s.c.opts
		o.MaxCommand = 1
		s.c.opts = o
		// A score that is no number, which commands don't look at.
		zset := append([]byte{1}, rdbString("m")...)
		zset = append(zset, 0, 0, 0, 0, 0, 0, 0xf8, 0x7f)
		s.must(s.record(&record.Record{Key: []byte("key"), Type: 5, Value: zset, Version: 8}))
		ended(t, s)
		if n := s.tracker.Totals(); n.Failed != 1 {
			t.Errorf("%+v", n)
		}
		if v, err := nodes.Client().Type(t.Context(), "key").Result(); v == "zset" {
			t.Errorf("key is a %s, %v", v, err)
		}
		noTemps(t, nodes)
	})
}
