package mirror_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/slotferry/slotferry/checkpoint"
	"github.com/slotferry/slotferry/importer"
	"github.com/slotferry/slotferry/importer/choice"
	"github.com/slotferry/slotferry/importer/endpoint"
	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/importer/source/rdb"
	"github.com/slotferry/slotferry/importer/source/scan"
	"github.com/slotferry/slotferry/importer/target"
	"github.com/slotferry/slotferry/importer/verify"
	"github.com/slotferry/slotferry/internal/dataset"
	"github.com/slotferry/slotferry/internal/sandbox"
	"github.com/slotferry/slotferry/internal/sandbox/sandboxtest"
	"github.com/slotferry/slotferry/service/mirror"
)

// bench is a source, a cluster, and what mirrors one into the other.
type bench struct {
	*testing.T
	source  *sandbox.Server
	cluster *sandbox.Cluster
	dir     string
	path    string // of an RDB file, "" to scan the server
	limit   mirror.Limit
	stop    int // interrupt the run at this record
}

type closer interface {
	importer.Source
	io.Closer
}

func (b *bench) job(m *mirror.Mirror, stop func(), readOnly bool) (*importer.Job, closer, func()) {
	b.Helper()
	keys, err := choice.New(choice.Options{DBMap: map[int]string{0: "", 1: "one:"}})
	if err != nil {
		b.Fatal(err)
	}
	cluster := target.New(target.Options{Seeds: b.cluster.Seeds(), ReadOnly: readOnly, Repair: readOnly})
	o := importer.Options{Job: "mirror", Target: cluster, Choice: keys, SaveEvery: 20 * time.Millisecond}
	var from closer
	if b.path != "" {
		from = rdb.New(rdb.Options{Path: b.path, Choice: keys})
	} else {
		server := scan.New(scan.Options{Endpoint: endpoint.Endpoint{Addr: b.source.Addr}, Choice: keys, Count: 200})
		from, o.Exists = server, server.Exists
	}
	o.Source = from
	if !readOnly {
		o.Mirror = m
		o.Source = &tap{from, b.stop, stop}
		o.OpenStore = func(context.Context) (importer.Store, error) { return checkpoint.OpenFile(b.dir) }
	}
	return importer.New(o), from, func() { _ = from.Close(); cluster.Close() }
}

// run mirrors once.
func (b *bench) run() (importer.Summary, error) {
	b.Helper()
	ctx, stop := context.WithCancel(b.Context())
	defer stop()
	m, err := mirror.Open(mirror.Options{Dir: filepath.Join(b.dir, "mirror"), MaxDelete: b.limit})
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	job, _, end := b.job(m, stop, false)
	defer end()
	s, err := job.Run(ctx)
	if !s.Balanced() {
		b.Errorf("the account does not add up: %+v", s.Counts)
	}
	return s, err
}

// wants runs to the end.
func (b *bench) wants(least, most, deleted int64) {
	b.Helper()
	s, err := b.run()
	if err != nil || s.Written < least || s.Written > most || s.Deleted != deleted || s.Unchanged != s.Skipped {
		b.Fatalf("%v: %d of %d written, %d unchanged, %d deleted; want %d to %d written, %d deleted",
			err, s.Written, s.Read, s.Unchanged, s.Deleted, least, most, deleted)
	}
}

func (b *bench) same() {
	b.Helper()
	sandboxtest.Equal(b, b.source.Client(), b.cluster.Client(), dataset.CompareOptions{
		Ignore: checkpoint.OwnKey,
		Name: func(db int, key string) (string, bool) {
			if db == 1 {
				key = "one:" + key
			}
			return key, true
		},
	})
}

// change writes to some keys of both databases of the source, and removes some.
func (b *bench) change(salt string, written, removed int) {
	b.Helper()
	pipe := b.source.Client().Pipeline()
	for i := range written {
		pipe.Set(b.Context(), fmt.Sprintf("changing:%d", i), salt, 0)
	}
	for range removed {
		pipe.Eval(b.Context(), `local k repeat k = redis.call('randomkey') until not string.find(k, 'changing') redis.call('unlink', k) return 1`, nil)
	}
	if _, err := pipe.Exec(b.Context()); err != nil {
		b.Fatal(err)
	}
}

type tap struct {
	importer.Source
	at   int
	stop func()
}

func (t *tap) Stream(ctx context.Context, from record.Position, sink record.Sink) error {
	return t.Source.Stream(ctx, from, &tapSink{sink, ctx, t, 0})
}

type tapSink struct {
	record.Sink
	ctx context.Context
	tap *tap
	n   int
}

func (t *tapSink) Record(r *record.Record) error {
	if t.n++; t.n == t.tap.at {
		t.tap.stop()
		<-t.ctx.Done()
	}
	return t.Sink.Record(r)
}

// TestServers mirrors a server and its file into a cluster, step by step.
func TestServers(t *testing.T) {
	cluster := sandboxtest.Cluster(t, sandbox.ClusterOptions{})
	for _, how := range []string{"scan", "file"} {
		t.Run(how, func(t *testing.T) {
			b := &bench{T: t, source: sandboxtest.Server(t, sandbox.Options{}), cluster: cluster, dir: t.TempDir()}
			for _, m := range cluster.Nodes {
				if err := m.Client().FlushAll(t.Context()).Err(); err != nil {
					t.Fatal(err)
				}
			}
			sizes := []int{4500, 500}
			if how == "file" {
				sizes = []int{2800, 1000}
			}
			for db, keys := range sizes {
				o := dataset.Mixed(keys)
				o.DB = db
				if _, err := dataset.Fill(t.Context(), b.source.Client(), o); err != nil {
					t.Fatal(err)
				}
			}
			b.steps(how == "file", int64(sizes[0]+sizes[1]))
		})
	}
}

func (b *bench) steps(file bool, keys int64) {
	n := int(keys / 100)
	save := func() {
		b.Helper()
		var err error
		if file {
			b.path, err = b.source.Save(b.Context())
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	b.change("a", n, 0)
	save()
	b.wants(keys+int64(n), 2*keys, 0) // SCAN may give some twice
	b.wants(0, 0, 0)
	b.change("b", n, n/2)
	save()
	b.wants(int64(n), 2*int64(n), int64(n/2))
	b.same()

	// Interrupted, and meanwhile changed back to what the digest says.
	b.change("c", n, 0)
	save()
	b.stop = int(keys / 4 * 3)
	s, err := b.run()
	if !errors.Is(err, importer.ErrInterrupted) || s.Deleted != 0 || s.Written == 0 {
		b.Fatalf("%+v, %v", s, err)
	}
	b.stop = 0
	b.change("b", n, n/4)
	save()
	b.wants(s.Written, 2*int64(n), int64(n/4))
	b.same()
	b.wants(0, 0, 0)

	if !file {
		b.drift()
	}

	// Damaged: everything again, into a target that is not empty.
	pages, err := filepath.Glob(filepath.Join(b.dir, "mirror", "*.pages"))
	if err != nil || len(pages) != 1 {
		b.Fatal(pages, err)
	}
	if err := os.Truncate(pages[0], 5000); err != nil {
		b.Fatal(err)
	}
	if _, err := b.run(); err == nil || !strings.Contains(err.Error(), "target holds") {
		b.Fatalf("without a digest the target's keys are nobody's: %v", err)
	}
	for _, m := range b.cluster.Nodes {
		if err := m.Client().FlushAll(b.Context()).Err(); err != nil {
			b.Fatal(err)
		}
	}
	b.wants(keys*9/10, 2*keys, 0)
	b.same()

	if err := b.source.Client().FlushAll(b.Context()).Err(); err != nil {
		b.Fatal(err)
	}
	save()
	var refused *mirror.RefusedError
	if s, err := b.run(); !errors.As(err, &refused) || refused.Would != refused.Have || s.Deleted != 0 {
		b.Fatalf("%+v, %v", s, err)
	}
	b.limit = mirror.Share(100)
	b.wants(0, 0, refused.Would)
	b.same()
}

// drift changes the target behind the mirror's back, and has a verification
// repair that.
func (b *bench) drift() {
	client := b.cluster.Client()
	if err := errors.Join(
		client.Set(b.Context(), "changing:1", "drifted", 0).Err(), client.Set(b.Context(), "extra", "x", 0).Err(),
		client.Del(b.Context(), "changing:2").Err(),
	); err != nil {
		b.Fatal(err)
	}
	m, err := mirror.Open(mirror.Options{Dir: filepath.Join(b.dir, "mirror")})
	if err != nil {
		b.Fatal(err)
	}
	run, _, end := b.job(m, nil, false)
	s, err := run.Run(b.Context())
	end()
	if err != nil || s.Written != 0 {
		b.Fatalf("%+v, %v", s, err)
	}
	check, from, end := b.job(nil, nil, true)
	defer end()
	server := from.(*scan.Source)
	v, err := check.Verify(b.Context(), importer.VerifyOptions{
		Compare: verify.Options{Repair: true, Pause: time.Millisecond, Live: rereader{server}, Report: func(d verify.Difference) {
			if err := m.Forget(d.Name); err != nil {
				b.Error(err)
			}
		}},
		Names: server.Names,
	})
	if err != nil || v.Repaired != 3 {
		b.Fatalf("%+v, %v", v, err)
	}
	if err := m.Close(); err != nil {
		b.Fatal(err)
	}
	b.same()
	b.wants(2, 4, 0) // what was repaired is written once more, as it may have changed meanwhile
}

type rereader struct{ *scan.Source }

func (r rereader) Read(ctx context.Context, db int, keys [][]byte, each func(i int, v verify.Reading) error) error {
	return r.Source.Read(ctx, db, keys, func(i int, v scan.Value) error { return each(i, verify.Reading(v)) })
}
