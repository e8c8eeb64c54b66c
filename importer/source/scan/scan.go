// Package scan is the source that reads a live server with SCAN and DUMP, on
// one pipelined connection: while the values of one page of keys travel, the
// next page's names are asked for already. For a plan it asks for measures in
// place of values, and for a comparison it reads single keys again. It never
// writes to the server.
//
// A value that is longer than may be held is read in parts, by the commands of
// its type, on a connection of its own (record.Record.Build). How long a value
// is the server tells only when it is asked, which costs it about 0.7 µs a key,
// a fifth of what reading a short one does. So values are asked for blindly at
// first: the first huge one is serialized by the server for nothing, at about
// 1 s for 100 MB, and thrown away while it arrives. From then on, and from the
// beginning where Options.MaxLatency asks to spare the server, MEMORY USAGE goes
// ahead of every DUMP, one page of keys earlier, and a huge value is never
// serialized. A user without the right to it goes on blindly.
package scan

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/slotferry/slotferry/importer/choice"
	"github.com/slotferry/slotferry/importer/endpoint"
	"github.com/slotferry/slotferry/importer/preflight"
	"github.com/slotferry/slotferry/importer/pulse"
	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/importer/wait"
	"github.com/slotferry/slotferry/rdbparse"
	"github.com/slotferry/slotferry/resp"
)

// ErrDenied means that the source refuses this user.
var ErrDenied = errors.New("the source does not allow it")

// Options says what is read; zero fields take the defaults noted.
type Options struct {
	Endpoint endpoint.Endpoint
	Choice   *choice.Choice
	Count    int   // keys asked for in one SCAN; 1000
	MaxValue int64 // longest value in bytes that is held in memory, longer ones are read in parts; 64 MiB
	// Room waits until there is room for a large value; nil does not wait.
	Room     func(ctx context.Context, bytes int64) error
	RetryFor time.Duration // without an answer; 5 min
	Timeout  time.Duration // without a byte from a connection that owes answers; 30 s
	// MaxLatency is what the source's other clients may wait for an answer, the
	// distance aside, before the scan asks for less at once; 0 does not look.
	MaxLatency time.Duration
	// Measure makes records carry the measure of their values instead of the
	// values: what MEMORY USAGE says, if the user may ask that.
	Measure bool
	Log     *zap.Logger
}

// Source is a live standalone server.
type Source struct {
	opts    Options
	log     *zap.Logger
	clients clients
	server  preflight.Server  // in its present life, of the Stream
	version preflight.Version // when it was inspected
	dbs     []int             // that have keys and are chosen, ascending
	libs    []string
	memory  bool                // measure by MEMORY USAGE, not by DUMP
	sized   bool                // of the Stream: ask how long values are before asking for them
	blind   bool                // of the Stream: which the user may not
	lacks   map[string][]string // of the Stream: commands that the user may not run, by type of values

	pulse    pulse.Pulse
	restarts atomic.Int64
	idle     idle
	brake    *brake
}

// Restarts is how often the scan began anew because the server had.
func (s *Source) Restarts() int64 { return s.restarts.Load() }

// New returns the source; Inspect connects.
func New(o Options) *Source {
	if o.Count <= 0 {
		o.Count = 1000
	}
	if o.MaxValue <= 0 {
		o.MaxValue = 64 << 20
	}
	if o.RetryFor <= 0 {
		o.RetryFor = 5 * time.Minute
	}
	if o.Timeout <= 0 {
		o.Timeout = 30 * time.Second
	}
	if o.Room == nil {
		o.Room = func(context.Context, int64) error { return nil }
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	return &Source{opts: o, log: o.Log, clients: clients{first: o.Endpoint.Client()}, brake: newBrake(o.MaxLatency)}
}

// Close ends the connections that are open still.
func (s *Source) Close() error {
	s.idle.close()
	return s.clients.close()
}

// Exact tells that expiries are known to the millisecond, once Inspect has
// looked: before 7.0 they are the sum of two answers.
func (s *Source) Exact() bool { return s.version.AtLeast(7, 0) }

// Vendor says whose RDB types the records bear, once Inspect has looked.
func (s *Source) Vendor() rdbparse.Vendor {
	if s.version.Product == "valkey" {
		return rdbparse.Valkey
	}
	return rdbparse.Redis
}

// Stream yields the keys from a position on. A cursor is good for one life of
// the server: after a restart the scan begins anew, and so do the keys it
// yields. Connections that break are made again until RetryFor has passed.
// Values longer than MaxValue come with record.Record.Build, to be read in
// parts.
func (s *Source) Stream(ctx context.Context, from record.Position, sink record.Sink) error {
	if from.End {
		return nil
	}
	if from == (record.Position{}) {
		for _, code := range s.libs {
			if err := sink.Program(record.Program{Function: true, Code: code}); err != nil {
				return fmt.Errorf("%s: %w", s.opts.Endpoint, err)
			}
		}
	}
	defer s.watch(ctx)()
	at := &progress{Sink: sink, pos: from, flight: flight{count: s.opts.Count}}
	return s.persist(ctx, &at.marks, func() error { return s.session(ctx, at) })
}

// persist calls try until another connection would not do better, or RetryFor
// has passed without more being done.
func (s *Source) persist(ctx context.Context, done *int, try func() error) error {
	defer s.pulse.Well()
	var since time.Time // of the first of several failures with nothing done between them
	for failures := 1; ; failures++ {
		before := *done
		err := try()
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		if !retry(err) {
			return err
		}
		if *done != before || since.IsZero() {
			failures, since = 1, time.Now()
			s.pulse.Well()
		}
		s.pulse.Trouble(s.owes("a good answer (" + err.Error() + ")"))
		if waited := time.Since(since); waited > s.opts.RetryFor {
			return fmt.Errorf("%w: the source %s gave no good answer for %s: %w", record.ErrPatience, s.opts.Endpoint, waited.Round(time.Second), err)
		}
		s.log.Warn("source does not answer; trying again", zap.Stringer("source", s.opts.Endpoint), zap.Int("attempt", failures), zap.Error(err))
		if err := wait.For(ctx, wait.Backoff(failures)); err != nil {
			return err
		}
	}
}

// progress is the sink with the place that was marked last.
type progress struct {
	record.Sink
	pos    record.Position
	marks  int
	flight flight // outlives a connection, which long values may have cost
}

func (p *progress) Mark(pos record.Position) error {
	p.pos = pos
	p.marks++
	return p.Sink.Mark(pos)
}

// sourceError is an answer after which the connection is made again.
type sourceError struct{ err error }

func (e *sourceError) Error() string { return e.err.Error() }
func (e *sourceError) Unwrap() error { return e.err }

// retry reports whether another connection may do better.
func retry(err error) bool {
	if errors.Is(err, endpoint.ErrAuth) {
		return false
	}
	var again *sourceError
	return errors.As(err, &again)
}

// session scans on one connection, from at.pos to the end.
func (s *Source) session(ctx context.Context, at *progress) error {
	runID, err := s.runID(ctx)
	if err != nil {
		return &sourceError{err}
	}
	if at.pos.RunID != "" && at.pos.RunID != runID {
		s.restarts.Add(1)
		s.dbs = s.databases(s.server)
		s.log.Warn("the source was restarted, so its scan cursor is void: scanning from the beginning; keys already copied are written again, which harms nothing",
			zap.Stringer("source", s.opts.Endpoint))
		if err := at.Mark(record.Position{RunID: runID}); err != nil {
			return err
		}
	}
	p, err := s.dial(ctx, s.server.Version)
	if err != nil {
		return err
	}
	defer func() { _ = p.conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = p.conn.Close() })()
	p.sink, p.flight, p.runID, p.memory = at, &at.flight, runID, s.memory
	if s.opts.MaxLatency > 0 {
		if err := p.sizeFirst(); err != nil {
			return err
		}
	}
	if err := p.prepare(); err != nil {
		return err
	}
	start := at.pos
	for _, db := range s.dbs {
		if db < start.DB {
			continue
		}
		cursor := uint64(0)
		if db == start.DB {
			cursor = start.Cursor
		}
		if err := p.scan(db, cursor); err != nil {
			return err
		}
	}
	return at.Mark(record.Position{RunID: runID, End: true})
}

// dial connects to the server, which is of version v.
func (s *Source) dial(ctx context.Context, v preflight.Version) (*pipe, error) {
	conn, err := s.opts.Endpoint.Dial(ctx)
	if errors.Is(err, endpoint.ErrAuth) {
		return nil, fmt.Errorf("%w: %w", ErrDenied, err)
	}
	if err != nil {
		return nil, &sourceError{err}
	}
	input := &pulse.Reader{R: &patient{conn, s.opts.Timeout}, Pulse: &s.pulse, Wait: s.owes("an answer")}
	p := &pipe{ctx: ctx, conn: conn, r: resp.NewReader(input, 1<<20, nil), source: s, flight: &flight{count: s.opts.Count}, pttl: !v.AtLeast(7, 0)}
	p.r.SetMaxBulk(1 << 40) // what is too long is read and thrown away
	return p, nil
}

// runID asks for the name of the server's present life.
func (s *Source) runID(ctx context.Context) (string, error) {
	info, err := preflight.Look(ctx, s.clients.first)
	if err != nil {
		return "", err
	}
	if info.Loading {
		return "", errors.New("the source is loading its data")
	}
	s.server = info
	return info.RunID, nil
}

// databases returns the chosen databases of the server that have keys,
// ascending.
func (s *Source) databases(server preflight.Server) []int {
	var dbs []int
	for db, keys := range server.Keys {
		if keys > 0 && s.opts.Choice.DB(db) {
			dbs = append(dbs, db)
		}
	}
	slices.Sort(dbs)
	return dbs
}

// patient is a connection whose every read must bring something in time.
type patient struct {
	net.Conn
	timeout time.Duration
}

func (p *patient) Read(b []byte) (int, error) {
	if err := p.SetReadDeadline(time.Now().Add(p.timeout)); err != nil {
		return 0, err
	}
	return p.Conn.Read(b)
}
