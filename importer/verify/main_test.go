package verify_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/slotferry/slotferry/checkpoint"
	"github.com/slotferry/slotferry/importer/choice"
	"github.com/slotferry/slotferry/importer/endpoint"
	"github.com/slotferry/slotferry/importer/preflight"
	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/importer/route"
	"github.com/slotferry/slotferry/importer/source/rdb"
	"github.com/slotferry/slotferry/importer/source/scan"
	"github.com/slotferry/slotferry/importer/target"
	"github.com/slotferry/slotferry/importer/verify"
	"github.com/slotferry/slotferry/internal/sandbox"
)

// patience bounds waiting for what must come. A test that meets it has failed.
const patience = 60 * time.Second

// year2100 is an expiry that no test lives to see, in Unix milliseconds.
const year2100 = 4102444800000

// shared are the servers that all tests use, one after the other.
var shared struct {
	once    sync.Once
	source  *sandbox.Server
	cluster *sandbox.Cluster
	err     error
}

// go-redis prints what its callers are told anyway.
func init() { redis.SetLogger(silence{}) }

type silence struct{}

func (silence) Printf(context.Context, string, ...any) {}

func TestMain(m *testing.M) {
	code := m.Run()
	if shared.source != nil {
		shared.source.Stop()
	}
	if shared.cluster != nil {
		shared.cluster.Stop()
	}
	os.Exit(code)
}

// sides are a source and the cluster that it is compared with.
type sides struct {
	t       testing.TB
	source  *sandbox.Server
	cluster *sandbox.Cluster
}

// both returns the shared servers with nothing in them.
func both(t testing.TB) *sides {
	t.Helper()
	shared.once.Do(func() {
		ctx := context.Background()
		if shared.source, shared.err = sandbox.Start(ctx, sandbox.Options{}); shared.err == nil {
			shared.cluster, shared.err = sandbox.StartCluster(ctx, sandbox.ClusterOptions{
				Masters: 3, NodeTimeout: time.Minute, Options: sandbox.Options{AppendOnly: true},
			})
		}
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	s := &sides{t, shared.source, shared.cluster}
	s.must(s.cluster.WaitReady(t.Context()))
	s.must(s.source.Client().FlushAll(t.Context()).Err())
	for _, n := range s.cluster.Nodes {
		s.must(n.Client().FlushAll(t.Context()).Err())
	}
	return s
}

func (s *sides) must(err error) {
	s.t.Helper()
	if err != nil && !errors.Is(err, redis.Nil) {
		s.t.Fatal(err)
	}
}

// on runs a command on the source.
func (s *sides) on(words ...any) {
	s.t.Helper()
	s.must(s.source.Client().Do(s.t.Context(), words...).Err())
}

// in runs a command in the cluster.
func (s *sides) in(words ...any) {
	s.t.Helper()
	s.must(s.cluster.Client().Do(s.t.Context(), words...).Err())
}

// everywhere runs a command on every master.
func (s *sides) everywhere(words ...any) {
	s.t.Helper()
	for _, n := range s.cluster.Nodes {
		s.must(n.Client().Do(s.t.Context(), words...).Err())
	}
}

// carry copies all keys of the source into the cluster, under a prefix.
func (s *sides) carry(prefix string) {
	s.t.Helper()
	ctx := s.t.Context()
	keys, err := s.source.Client().Keys(ctx, "*").Result()
	s.must(err)
	for part := range slices.Chunk(keys, 500) {
		read := s.source.Client().Pipeline()
		values, expiries := make([]*redis.StringCmd, len(part)), make([]*redis.Cmd, len(part))
		for i, key := range part {
			values[i], expiries[i] = read.Dump(ctx, key), read.Do(ctx, "PEXPIRETIME", key)
		}
		_, err := read.Exec(ctx)
		s.must(err)
		write := s.cluster.Client().Pipeline()
		for i, key := range part {
			at, err := expiries[i].Int64()
			s.must(err)
			write.Do(ctx, "RESTORE", prefix+key, max(0, at), values[i].Val(), "REPLACE", "ABSTTL")
		}
		_, err = write.Exec(ctx)
		s.must(err)
	}
}

// live reads keys of the source again.
type live struct{ *scan.Source }

func (l live) Read(ctx context.Context, db int, keys [][]byte, each func(i int, r verify.Reading) error) error {
	return l.Source.Read(ctx, db, keys, func(i int, v scan.Value) error { return each(i, verify.Reading(v)) })
}

// comparison is one use of a Comparer: what a job does with it, in a test's hands.
type comparison struct {
	*sides
	options  verify.Options
	target   target.Options
	choice   choice.Options
	file     string // an RDB file; else the live source
	extras   int64  // memory to look for extra keys with, 0 for not at all
	failures []checkpoint.Failure
	during   func(sent int) // called after each record
	made     func(c *verify.Comparer)
	early    bool // look for extra keys before settling

	c       *verify.Comparer
	tracker *checkpoint.Tracker
	found   []verify.Difference
	err     error
}

// compare compares both sides and expects that it comes to an end.
func (x comparison) compare() *comparison {
	x.t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		x.err = x.run(x.t.Context())
	}()
	select {
	case <-done:
	case <-time.After(patience):
		x.t.Fatalf("the comparison did not end; %+v", x.c.Counts())
	}
	return &x
}

func (x *comparison) run(ctx context.Context) error {
	log := zaptest.NewLogger(x.t, zaptest.Level(zap.ErrorLevel))
	x.target.Seeds, x.target.Log = x.cluster.Seeds()[:1], log
	cluster := target.New(x.target)
	defer cluster.Close()
	facts, found := cluster.Inspect(ctx)
	if len(found.Blockers()) > 0 {
		return &preflight.Error{Blockers: found.Blockers()}
	}
	keys, err := choice.New(x.choice)
	x.must(err)
	o := x.options
	o.Target, o.Facts, o.Exact, o.Name = cluster, facts, true, keys.Name
	if o.Log == nil {
		o.Log = log
	}
	if o.RetryFor == 0 {
		o.RetryFor = patience
	}
	if o.Pause == 0 {
		o.Pause = 50 * time.Millisecond
	}
	o.Report = func(d verify.Difference) { x.found = append(x.found, d) }
	stream, names := x.open(keys, &o)
	x.c = verify.New(o)
	defer x.c.Close()
	if x.made != nil {
		x.made(x.c)
	}
	x.c.Resume(x.failures)
	x.tracker = checkpoint.NewTracker(checkpoint.State{})
	if err := x.pass(ctx, keys, stream); err != nil {
		return err
	}
	phases := []func(context.Context) error{x.c.Settle}
	if x.extras > 0 {
		phases = append(phases, func(ctx context.Context) error { return x.seek(ctx, keys, names) })
	}
	if x.early {
		slices.Reverse(phases)
	}
	for _, phase := range phases {
		if err := phase(ctx); err != nil {
			return err
		}
	}
	return nil
}

// seek looks for extra keys.
func (x *comparison) seek(ctx context.Context, keys *choice.Choice, names naming) error {
	return x.c.Extras(ctx, verify.ExtrasOptions{
		Memory: x.extras,
		Names: func(ctx context.Context, visit func([]byte, uint16) error) error {
			return names(ctx, func(db int, key []byte) error {
				name := keys.Name(nil, db, key)
				return visit(name, route.Slot(name))
			})
		},
		Origins: func(name []byte, visit func(int, []byte)) { keys.Origins(name, []int{0}, visit) },
	})
}

type streaming func(ctx context.Context, from record.Position, sink record.Sink) error

type naming func(ctx context.Context, visit func(db int, key []byte) error) error

func (x *comparison) open(keys *choice.Choice, o *verify.Options) (streaming, naming) {
	if x.file != "" {
		s := rdb.New(rdb.Options{Path: x.file, Choice: keys})
		_, found := s.Inspect(x.t.Context())
		if len(found.Blockers()) > 0 {
			x.t.Fatal(found)
		}
		return s.Stream, s.Names
	}
	s := scan.New(scan.Options{Endpoint: endpoint.Endpoint{Addr: x.source.Addr}, Choice: keys})
	x.t.Cleanup(func() { _ = s.Close() })
	if _, found := s.Inspect(x.t.Context()); len(found.Blockers()) > 0 {
		x.t.Fatal(found)
	}
	o.Live = live{s}
	return s.Stream, s.Names
}

// pass streams the source past the comparer.
func (x *comparison) pass(ctx context.Context, keys *choice.Choice, stream streaming) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ran := make(chan error, 1)
	go func() {
		err := x.c.Run(ctx)
		cancel(err)
		ran <- err
	}()
	err := stream(ctx, record.Position{}, &sink{x: x, ctx: ctx, keys: keys})
	x.c.Finish()
	if runErr := <-ran; runErr != nil {
		return runErr
	}
	return err
}

// sink does what the importer's does with records.
type sink struct {
	x    *comparison
	ctx  context.Context
	keys *choice.Choice
	sent int
}

func (s *sink) Record(r *record.Record) error {
	seg := s.x.tracker.Current()
	seg.Add()
	switch r.Fate {
	case record.Filtered:
		seg.Done(checkpoint.Filtered, 1, 0, 0)
		return nil
	case record.Gone:
		seg.Done(checkpoint.Expired, 1, 0, 0)
		return nil
	}
	name := s.keys.Name(nil, r.DB, r.Key)
	if err := s.x.c.Send(s.ctx, r, name, route.Slot(name), seg); err != nil {
		return err
	}
	if s.sent++; s.x.during != nil {
		s.x.during(s.sent)
	}
	return nil
}

func (s *sink) Program(p record.Program) error { return s.x.c.Load(s.ctx, p) }

func (s *sink) Mark(pos record.Position) error {
	s.x.tracker.Mark(pos)
	s.x.c.Flush()
	return nil
}

// finds tells that the comparison ended well with these differences, by key and
// kind, and nothing else, and that the account adds up.
func (x *comparison) finds(want map[string]verify.Kind) *comparison {
	x.t.Helper()
	if x.err != nil {
		x.t.Fatal(x.err)
	}
	seen := map[string]bool{}
	for _, d := range x.found {
		if kind, ok := want[string(d.Key)]; !ok || kind != d.Kind || seen[string(d.Key)] {
			x.t.Errorf("%.60q: %s (%s), want %q; a second time: %v", d.Key, d.Kind, d.Detail, kind, seen[string(d.Key)])
		}
		seen[string(d.Key)] = true
	}
	for key, kind := range want {
		if !seen[key] {
			x.t.Errorf("%.60q: no difference, want %s", key, kind)
		}
	}
	n := x.c.Counts()
	if int(n.Differences()+n.Repaired) != len(x.found) || n.Pending != 0 {
		x.t.Errorf("%+v for %d differences", n, len(x.found))
	}
	if totals := x.tracker.Totals(); !totals.Balanced() || totals != x.tracker.Safe().Counts {
		x.t.Errorf("the account does not add up: %+v, for certain %+v", totals, x.tracker.Safe().Counts)
	}
	return x
}

// detail tells what a difference says.
func (x *comparison) detail(key string) string {
	for _, d := range x.found {
		if string(d.Key) == key {
			return fmt.Sprintf("%s: %s", d.Kind, d.Detail)
		}
	}
	return ""
}
