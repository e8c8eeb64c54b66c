package target

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/slotferry/slotferry/checkpoint"
	"github.com/slotferry/slotferry/importer/preflight"
	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/importer/route"
	"github.com/slotferry/slotferry/internal/sandbox"
	"github.com/slotferry/slotferry/rdbparse"
)

// go-redis prints what its callers are told anyway.
func init() { redis.SetLogger(silence{}) }

type silence struct{}

func (silence) Printf(context.Context, string, ...any) {}

// patience bounds waiting for what must come. A test that meets it has failed.
const patience = 60 * time.Second

// year2100 is an expiry that no test lives to see, in Unix milliseconds.
const year2100 = 4102444800000

// pair is what a test sends as one key, and what must be there at the end.
type pair struct {
	key      string
	value    string
	expireAt int64
}

// numbered is the i-th pair of every stream: short values mostly, some of 20 KB,
// one in three with an expiry of its own.
func numbered(i int) pair {
	p := pair{key: "key:" + strconv.Itoa(i)}
	n := 20 + i%100
	if i%500 == 7 {
		n = 20_000
	}
	p.value = strings.Repeat(strconv.Itoa(i)+".", n/5)
	if i%3 == 0 {
		p.expireAt = year2100 + int64(i)
	}
	return p
}

// rdbString is a string as an RDB file holds it, without the type byte.
func rdbString(s string) []byte {
	b := []byte{0x80, 0, 0, 0, 0} // the 32-bit form of a length takes all of them
	binary.BigEndian.PutUint32(b[1:], uint32(len(s)))
	return append(b, s...)
}

// record returns the pair as a source would yield it.
func (p pair) record() *record.Record {
	return &record.Record{
		Key: []byte(p.key), Type: 0, Value: rdbString(p.value), Version: rdbparse.LowestVersion(0), ExpireAt: p.expireAt,
	}
}

// sending is one use of a Cluster: what a job does with it, in a test's hands.
type sending struct {
	t       *testing.T
	nodes   *sandbox.Cluster
	c       *Cluster
	tracker *checkpoint.Tracker
	want    map[string]pair
	prefix  func(i int) string // of the key of the i-th numbered pair; none
	next    int                // of the numbered pairs
	marks   int64
	migrate bool // MIGRATE carries the time left, not the time of expiry
	ctx     context.Context
	cancel  context.CancelCauseFunc
	err     error // of Run
	done    chan struct{}
}

// options are what tests use where they don't say otherwise.
func options(nodes *sandbox.Cluster) Options {
	o := Options{Seeds: nodes.Seeds()[:1], RetryFor: patience, ReplyTimeout: 10 * time.Second}
	o.Endpoint.TLS = nodes.Nodes[0].TLSConfig()
	return o
}

// begin inspects the cluster, which must find nothing wrong, and runs the lanes.
func begin(t *testing.T, nodes *sandbox.Cluster, o Options) *sending {
	t.Helper()
	s := prepare(t, nodes, o)
	s.run()
	return s
}

// prepare is begin without the running of the lanes.
func prepare(t *testing.T, nodes *sandbox.Cluster, o Options) *sending {
	t.Helper()
	s := newSending(t, nodes, o)
	if _, found := s.c.Inspect(t.Context()); len(found.Blockers()) > 0 {
		t.Fatalf("inspection: %v", &preflight.Error{Blockers: found.Blockers()})
	}
	return s
}

func newSending(t *testing.T, nodes *sandbox.Cluster, o Options) *sending {
	if o.Log == nil {
		o.Log = zaptest.NewLogger(t, zaptest.Level(zap.ErrorLevel))
	}
	s := &sending{
		t: t, nodes: nodes, c: New(o), tracker: checkpoint.NewTracker(checkpoint.State{}),
		want: map[string]pair{}, done: make(chan struct{}),
	}
	t.Cleanup(s.c.Close)
	return s
}

func (s *sending) run() {
	ctx, cancel := context.WithCancelCause(s.t.Context())
	s.ctx, s.cancel = ctx, cancel
	go func() {
		defer close(s.done)
		s.err = s.c.Run(ctx)
		cancel(s.err) // a job stops sending when its lanes give up
	}()
	s.t.Cleanup(func() { cancel(nil); <-s.done })
}

// record sends any record, under its own key.
func (s *sending) record(r *record.Record) error {
	seg := s.tracker.Current()
	seg.Add()
	return s.c.Send(s.ctx, r, r.Key, route.Slot(r.Key), seg)
}

// pair sends a pair and notes that it must be there.
func (s *sending) pair(p pair) error {
	if err := s.record(p.record()); err != nil {
		return err
	}
	s.want[p.key] = p
	return nil
}

// numbered sends the next n numbered pairs, with a mark now and then.
func (s *sending) numbered(n int) error {
	for range n {
		p := numbered(s.next)
		if s.prefix != nil {
			p.key = s.prefix(s.next) + p.key
		}
		if err := s.pair(p); err != nil {
			return err
		}
		if s.next++; s.next%1000 == 0 {
			s.mark()
		}
	}
	return nil
}

func (s *sending) mark() {
	s.marks++
	s.tracker.Mark(record.Position{Offset: s.marks})
}

// must ends the test on an error of sending.
func (s *sending) must(err error) {
	s.t.Helper()
	if err == nil {
		return
	}
	select {
	case <-s.done:
		s.t.Fatalf("sending: %v; the lanes: %v", err, s.err)
	case <-time.After(time.Second):
		s.t.Fatalf("sending: %v", err)
	}
}

// while sends numbered pairs, some ten thousand a second at most, from before
// the fault begins until after it has ended.
func (s *sending) while(fault func()) {
	s.t.Helper()
	s.must(s.numbered(2000))
	s.c.Flush()
	over := make(chan struct{})
	result := make(chan error, 1)
	go func() {
		for {
			select {
			case <-over:
				result <- s.numbered(2000)
				return
			case <-time.After(5 * time.Millisecond):
			}
			if err := s.numbered(50); err != nil {
				result <- err
				return
			}
			s.c.Flush()
		}
	}()
	ended := sync.OnceFunc(func() { close(over) })
	defer ended() // a fault that could not be made ends the test
	fault()
	ended()
	s.must(<-result)
}

// ended waits for Run and returns its error.
func (s *sending) ended() error {
	s.t.Helper()
	s.mark()
	s.c.Finish()
	select {
	case <-s.done:
		return s.err
	case <-time.After(patience):
		s.t.Fatalf("the lanes did not end; %d bytes are out, masters %+v", s.c.used(), s.c.Masters())
		return nil
	}
}

// finish waits for Run, which must end well with everything answered, and all
// memory given back, and looks at every key of the cluster.
func (s *sending) finish() {
	s.t.Helper()
	if err := s.ended(); err != nil {
		s.t.Fatalf("the lanes: %v", err)
	}
	s.balanced()
	if used := s.c.used(); used != 0 {
		s.t.Errorf("%d bytes of the budget were not given back", used)
	}
	tolerance := int64(0)
	if s.migrate {
		tolerance = 1000
	}
	holds(s.t, s.nodes, s.want, tolerance)
}

// impatient waits for Run, which must end with a PatienceError that says why.
func (s *sending) impatient(why string) {
	s.t.Helper()
	var e *PatienceError
	if err := s.ended(); !errors.As(err, &e) || !strings.Contains(err.Error(), why) {
		s.t.Errorf("the lanes ended with %v, want patience with %s to end", err, why)
	}
}

// balanced tells that every key read has one fate, and that the tracker's safe
// state says the same.
func (s *sending) balanced() {
	s.t.Helper()
	s.tracker.Show()
	totals, safe := s.tracker.Totals(), s.tracker.Safe()
	if !totals.Balanced() || totals != safe.Counts {
		s.t.Errorf("the account does not add up: %+v, for certain %+v", totals, safe.Counts)
	}
}

// counts tells how many keys were written and skipped; the failed ones are
// returned.
func (s *sending) counts(written, skipped int) []checkpoint.Failure {
	s.t.Helper()
	failed := s.tracker.Failures()
	if n := s.tracker.Totals(); int(n.Written) != written || int(n.Skipped) != skipped || int(n.Failed) != len(failed) {
		s.t.Errorf("%+v with %d failures, want %d written and %d skipped", n, len(failed), written, skipped)
	}
	return failed
}

func (c *Cluster) used() int64 {
	c.budget.mu.Lock()
	defer c.budget.mu.Unlock()
	return c.budget.used
}

// holds compares all that the masters hold with what they should. Expiries may
// differ by a tolerance in milliseconds.
func holds(t *testing.T, nodes *sandbox.Cluster, want map[string]pair, tolerance int64) {
	t.Helper()
	masters, err := nodes.Masters(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	seen, wrong := map[string]bool{}, 0
	complain := func(format string, args ...any) {
		if wrong++; wrong <= 10 {
			t.Errorf(format, args...)
		}
	}
	for _, m := range masters {
		var cursor uint64
		for {
			keys, next, err := m.Client().Scan(t.Context(), cursor, "", 2000).Result()
			if err != nil {
				t.Fatal(err)
			}
			pipe := m.Client().Pipeline()
			values, expiries := make([]*redis.StringCmd, len(keys)), make([]*redis.Cmd, len(keys))
			for i, key := range keys {
				values[i], expiries[i] = pipe.Get(t.Context(), key), pipe.Do(t.Context(), "PEXPIRETIME", key)
			}
			_, _ = pipe.Exec(t.Context()) // each command's own error counts
			for i, key := range keys {
				p, ok := want[key]
				switch at, err := expiries[i].Int64(); {
				case !ok:
					complain("%q is on %s, where nobody put it", key, m.Addr)
				case values[i].Err() != nil || err != nil:
					complain("%q on %s: %v, %v", key, m.Addr, values[i].Err(), err)
				case values[i].Val() != p.value:
					complain("%q on %s is %.60q, not %.60q", key, m.Addr, values[i].Val(), p.value)
				case (at < 0) != (p.expireAt == 0), at > 0 && max(at-p.expireAt, p.expireAt-at) > tolerance:
					complain("%q on %s expires at %d, not %d", key, m.Addr, at, p.expireAt)
				}
				seen[key] = true
			}
			if cursor = next; cursor == 0 {
				break
			}
		}
	}
	for key := range want {
		if !seen[key] {
			complain("%q is missing", key)
		}
	}
	if wrong > 0 {
		t.Errorf("%d of %d keys are not as they should be", wrong, len(want))
	}
}

// empty removes all keys, so that the next subtest has the cluster as new.
func empty(t *testing.T, nodes *sandbox.Cluster) {
	t.Helper()
	masters, err := nodes.Masters(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range masters {
		if err := m.Client().FlushAll(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
	}
}

// do runs a command on a node and ends the test if it is refused.
func do(t *testing.T, s *sandbox.Server, words ...any) {
	t.Helper()
	if err := s.Client().Do(t.Context(), words...).Err(); err != nil && !errors.Is(err, redis.Nil) {
		t.Fatalf("%s on %s: %v", fmt.Sprint(words...), s.Addr, err)
	}
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

// eventually waits for a condition.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for begun := time.Now(); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Since(begun) > patience {
			t.Fatalf("%s did not come about", what)
		}
	}
}
