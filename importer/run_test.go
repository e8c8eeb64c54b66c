package importer_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/slotferry/slotferry/checkpoint"
	"github.com/slotferry/slotferry/importer"
	"github.com/slotferry/slotferry/importer/choice"
	"github.com/slotferry/slotferry/importer/endpoint"
	"github.com/slotferry/slotferry/importer/preflight"
	"github.com/slotferry/slotferry/importer/pulse"
	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/importer/source/rdb"
	"github.com/slotferry/slotferry/importer/source/scan"
	"github.com/slotferry/slotferry/importer/target"
	"github.com/slotferry/slotferry/internal/dataset"
	"github.com/slotferry/slotferry/internal/sandbox"
	"github.com/slotferry/slotferry/internal/sandbox/sandboxtest"
)

// run is one run of an import into the shared cluster. from is the only field
// that must be set.
type run struct {
	from    func(*bench) importer.Source
	choice  choice.Options
	policy  importer.OnExists
	dir     string // of the checkpoint; "" for none
	inside  string // job whose checkpoint is kept in the target
	restart bool
	target  func(*target.Options)
	options func(*importer.Options)
	job     func(*importer.Job) // before it runs
	// each is called with every record before it is taken; n counts from 1.
	each func(n int, r *record.Record)
	stop int // interrupt the run at this record
}

// bench is what a run works with.
type bench struct {
	keys    *choice.Choice
	cluster *target.Cluster
	log     *zap.Logger
	source  importer.Source
}

// outcome is how a run ended.
type outcome struct {
	importer.Summary
	err      error
	log      string
	warnings preflight.Findings
	source   importer.Source
	last     importer.Progress // at the end
}

// do runs the import and makes sure of what must hold for every run: the
// account adds up, and no password is told.
func (r run) do(t testing.TB) outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	return r.doIn(ctx, t)
}

func (r run) doIn(ctx context.Context, t testing.TB) outcome {
	t.Helper()
	ctx, interrupt := context.WithCancel(ctx)
	defer interrupt()
	keys, err := choice.New(r.choice)
	if err != nil {
		t.Fatal(err)
	}
	log := &logText{}
	b := &bench{keys: keys, log: log.logger()}
	o := target.Options{
		Seeds: shared.cluster.Seeds(), Endpoint: endpoint.Endpoint{Password: shared.cluster.Nodes[0].Password},
		Skip: r.policy == importer.Skip, Memory: 32 << 20, Log: b.log,
	}
	if r.target != nil {
		r.target(&o)
	}
	b.cluster = target.New(o)
	defer b.cluster.Close()
	b.source = r.from(b)
	if c, ok := b.source.(io.Closer); ok {
		defer c.Close()
	}
	out := outcome{source: b.source}
	jo := importer.Options{
		Job: "test", Source: b.source, Target: b.cluster, Choice: keys, OnExists: r.policy, Restart: r.restart,
		SaveEvery: 20 * time.Millisecond, SavePatient: 5 * time.Second, Log: b.log,
		Notify: func(f preflight.Findings) { out.warnings = f },
	}
	if r.each != nil || r.stop > 0 {
		jo.Source = &tap{b.source, func(ctx context.Context, n int, rec *record.Record) {
			if r.each != nil {
				r.each(n, rec)
			}
			if n == r.stop {
				interrupt()
				<-ctx.Done() // which follows, but not at once
			}
		}}
	}
	switch {
	case r.inside != "":
		jo.Job = r.inside
		jo.OpenStore = func(ctx context.Context) (importer.Store, error) {
			return checkpoint.OpenCluster(ctx, shared.cluster.Client(), r.inside)
		}
	case r.dir != "":
		jo.OpenStore = func(context.Context) (importer.Store, error) { return checkpoint.OpenFile(r.dir) }
	}
	if r.options != nil {
		r.options(&jo)
	}
	job := importer.New(jo)
	if r.job != nil {
		r.job(job)
	}
	out.Summary, out.err = job.Run(ctx)
	out.last = job.Progress()
	out.log = log.String()
	out.check(t, r.dir)
	return out
}

// check makes sure of what holds however a run ends.
func (o outcome) check(t testing.TB, dir string) {
	t.Helper()
	if !o.Balanced() {
		t.Errorf("the account does not add up: %+v", o.Counts)
	}
	text, err := json.Marshal(o.Summary)
	if err != nil {
		t.Error(err)
	}
	told := map[string]string{"log": o.log, "summary": string(text)}
	if o.err != nil {
		told["error"] = o.err.Error()
	}
	for _, f := range append(o.warnings, failures(o.err)...) {
		told["finding "+f.Code] = f.Message + f.Remedy
	}
	if dir != "" {
		if data, err := os.ReadFile(filepath.Join(dir, "checkpoint.json")); err == nil {
			told["checkpoint"] = string(data)
		}
	}
	for where, text := range told {
		if strings.Contains(text, sourceSecret) || strings.Contains(text, targetSecret) || strings.Contains(text, "ssword-m") {
			t.Errorf("%s tells a password: %s", where, text)
		}
	}
}

func failures(err error) preflight.Findings {
	var blocked *preflight.Error
	if errors.As(err, &blocked) {
		return blocked.Blockers
	}
	var midway *importer.MidwayError
	if errors.As(err, &midway) {
		return midway.Preflight.Blockers
	}
	return nil
}

// wantDone fails the test unless the run was done without a failed key.
func (o outcome) wantDone(t testing.TB) {
	t.Helper()
	if o.err != nil || o.Status != importer.Done {
		t.Fatalf("%s, %v\n%s", o.Status, o.err, o.log)
	}
}

func (o outcome) wantInterrupted(t testing.TB) {
	t.Helper()
	if !errors.Is(o.err, importer.ErrInterrupted) || o.Status != importer.Interrupted {
		t.Fatalf("%s, %v\n%s", o.Status, o.err, o.log)
	}
}

// wantBlocked fails the test unless exactly these blockers were found.
func (o outcome) wantBlocked(t testing.TB, codes ...string) string {
	t.Helper()
	var blocked *preflight.Error
	if !errors.As(o.err, &blocked) || o.Status != importer.Blocked {
		t.Fatalf("not blocked but %s, %v", o.Status, o.err)
	}
	wantCodes(t, blocked.Blockers, codes)
	return o.err.Error()
}

func (o outcome) wantMidway(t testing.TB, codes ...string) string {
	t.Helper()
	var midway *importer.MidwayError
	if !errors.As(o.err, &midway) || o.Status != importer.Failed {
		t.Fatalf("not stopped midway but %s, %v", o.Status, o.err)
	}
	wantCodes(t, midway.Preflight.Blockers, codes)
	if text := o.err.Error(); strings.Contains(text, "nothing was written") {
		t.Errorf("says that nothing was written: %s", text)
	}
	return o.err.Error()
}

func wantCodes(t testing.TB, found preflight.Findings, codes []string) {
	t.Helper()
	var got []string
	for _, f := range found {
		got = append(got, f.Code)
	}
	if strings.Join(got, " ") != strings.Join(codes, " ") {
		t.Fatalf("found %q, want %q", got, codes)
	}
}

// wantCounts compares the account, bytes aside.
func (o outcome) wantCounts(t testing.TB, want checkpoint.Counts) {
	t.Helper()
	got := o.Counts
	got.Bytes, got.Permanent = 0, 0
	if got != want {
		t.Errorf("counts %+v, want %+v", got, want)
	}
}

// wantSame compares source and cluster key by key, both ways.
func wantSame(t testing.TB, src *sandbox.Server, o dataset.CompareOptions) dataset.Report {
	t.Helper()
	if o.Ignore == nil {
		o.Ignore = checkpoint.OwnKey
	}
	report, err := dataset.Compare(t.Context(), src.Client(), shared.cluster.Client(), o)
	if err != nil {
		t.Fatal(err)
	}
	if !report.OK() {
		t.Errorf("not the same: %s", report)
	}
	return report
}

// tap lets a test see every record.
type tap struct {
	importer.Source
	each func(ctx context.Context, n int, r *record.Record)
}

func (s *tap) Stream(ctx context.Context, from record.Position, sink record.Sink) error {
	n := 0
	return s.Source.Stream(ctx, from, &tapSink{sink, func(r *record.Record) {
		n++
		s.each(ctx, n, r)
	}})
}

// Pulse is that of the source behind it.
func (s *tap) Pulse() *pulse.Pulse { return s.Source.(interface{ Pulse() *pulse.Pulse }).Pulse() }

type tapSink struct {
	record.Sink
	each func(r *record.Record)
}

func (s *tapSink) Record(r *record.Record) error {
	s.each(r)
	return s.Sink.Record(r)
}

// fromFile reads an RDB file.
func fromFile(path string) func(*bench) importer.Source {
	return func(b *bench) importer.Source {
		return rdb.New(rdb.Options{Path: path, Choice: b.keys, Log: b.log})
	}
}

// fromStream reads an RDB file as it comes through a pipe, in odd portions.
func fromStream(t testing.TB, path string, maxValue int64) func(*bench) importer.Source {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return fromBytes(data, maxValue)
}

func fromBytes(data []byte, maxValue int64) func(*bench) importer.Source {
	return func(b *bench) importer.Source {
		return rdb.New(rdb.Options{Stream: &portions{r: bytes.NewReader(data)}, Choice: b.keys, MaxValue: maxValue, Room: b.cluster.Room, Log: b.log})
	}
}

// portions reads 1 to 9973 bytes at a time.
type portions struct {
	r io.Reader
	n int
}

func (p *portions) Read(b []byte) (int, error) {
	p.n = (p.n*31 + 17) % 9973
	return p.r.Read(b[:min(len(b), p.n+1)])
}

// fromServer scans a live server in pages of about 50 keys.
func fromServer(s *sandbox.Server, change ...func(*scan.Options)) func(*bench) importer.Source {
	return func(b *bench) importer.Source {
		o := scan.Options{
			Endpoint: endpoint.Endpoint{Addr: s.Addr, Password: s.Password},
			Choice:   b.keys, Count: 50, Room: b.cluster.Room, Log: b.log,
		}
		for _, f := range change {
			f(&o)
		}
		return scan.New(o)
	}
}

// source starts a server with a password.
func source(t testing.TB, o sandbox.Options) *sandbox.Server {
	t.Helper()
	o.Password = sourceSecret
	return sandboxtest.Server(t, o)
}

// mixed starts a server that holds n keys of every kind, and saves them.
func mixed(t testing.TB, n int) (*sandbox.Server, string) {
	t.Helper()
	s := source(t, sandbox.Options{})
	if _, err := dataset.Fill(t.Context(), s.Client(), dataset.Mixed(n)); err != nil {
		t.Fatal(err)
	}
	return s, saved(t, s)
}

// saved returns a copy of the server's data as an RDB file.
func saved(t testing.TB, s *sandbox.Server) string {
	t.Helper()
	path, err := s.Save(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return file(t, "dump.rdb", data)
}

func file(t testing.TB, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// inDB returns a client of one of the server's databases.
func inDB(t testing.TB, s *sandbox.Server, db int) *redis.Client {
	t.Helper()
	o := s.ClientOptions()
	o.DB = db
	c := redis.NewClient(o)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// uncompressed keeps the servers and the cluster from compressing values for
// SAVE and DUMP, which takes most of the time where they are large.
func uncompressed(t testing.TB, servers ...*sandbox.Server) {
	t.Helper()
	for _, s := range append(shared.cluster.Nodes[:3:3], servers...) {
		must(t, s.Client().ConfigSet(t.Context(), "rdbcompression", "no").Err())
		t.Cleanup(func() { s.Client().ConfigSet(context.Background(), "rdbcompression", "yes") })
	}
}

// expect is must for what runs in a goroutine of the import.
func expect(t testing.TB, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
}

func must(t testing.TB, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// held is how many keys the cluster holds.
func held(t testing.TB) int64 {
	t.Helper()
	n, err := shared.cluster.Client().DBSize(t.Context()).Result()
	must(t, err)
	return n
}

// logText gathers log lines.
type logText struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logText) logger() *zap.Logger {
	return zap.New(zapcore.NewCore(zapcore.NewConsoleEncoder(zap.NewDevelopmentEncoderConfig()), l, zap.DebugLevel))
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logText) Sync() error { return nil }

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
