package psync_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slotferry/slotferry/importer/choice"
	"github.com/slotferry/slotferry/importer/endpoint"
	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/importer/source/psync"
	"github.com/slotferry/slotferry/internal/sandbox"
	"github.com/slotferry/slotferry/internal/sandbox/sandboxtest"
	"github.com/slotferry/slotferry/rdbparse"
	"github.com/slotferry/slotferry/resp"
)

// mirror is a sink that does on another server what the source did, once and in
// order: a command that is lost, doubled or out of place shows in the data.
type mirror struct {
	t      *testing.T
	server *sandbox.Server
	conn   net.Conn
	out    *bufio.Writer
	db     int
	buf    []byte
	read   chan error // of the replies up to a mark

	before func(c *record.Command) error // is asked first

	mu       sync.Mutex
	at       record.Position
	records  int
	commands int
	copies   int
	idle     int
	names    map[string]int
}

func newMirror(t *testing.T, like *sandbox.Server) *mirror {
	t.Helper()
	m := &mirror{t: t, server: sandboxtest.Server(t, sandbox.Options{Binary: like.Binary}), names: map[string]int{}}
	conn, err := net.Dial("tcp", m.server.Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	m.conn, m.out, m.read = conn, bufio.NewWriterSize(conn, 64<<10), make(chan error, 1)
	go m.replies()
	return m
}

const settled = "all replies are in"

// replies reads up to each mark, and keeps the first error before it.
func (m *mirror) replies() {
	r := resp.NewReader(m.conn, 0, nil)
	var first error
	for {
		h, err := r.Head()
		if err != nil {
			m.read <- err
			return
		}
		switch {
		case h.Kind == '-' && first == nil:
			first = errors.New(string(h.Line))
		case h.Kind == '$' && h.N == int64(len(settled)):
			if body, _, err := r.Body(h.N); err == nil && string(body) == settled {
				m.read <- first
				first = nil
			}
			continue
		case h.Kind == '*':
			continue // its elements count for themselves
		}
		if err := r.Skip(h); err != nil {
			m.read <- err
			return
		}
	}
}

func (m *mirror) selectDB(db int) {
	if m.db != db {
		m.db = db
		m.send(resp.AppendCommand(nil, "SELECT", fmt.Sprint(db)))
	}
}

func (m *mirror) send(raw []byte) {
	if _, err := m.out.Write(raw); err != nil {
		m.t.Error(err)
	}
}

func (m *mirror) Record(r *record.Record) error {
	if r.Fate != record.Copy {
		m.t.Errorf("%q: %s", r.Key, r.Reason)
		return nil
	}
	m.selectDB(r.DB)
	m.buf = rdbparse.AppendPayload(m.buf[:0], r.Type, r.Value, r.Version)
	m.send(resp.AppendCommand(nil, "RESTORE", string(r.Key), fmt.Sprint(r.ExpireAt), string(m.buf), "ABSTTL"))
	m.mu.Lock()
	defer m.mu.Unlock()
	m.records++
	return nil
}

func (m *mirror) Program(p record.Program) error {
	if p.Function {
		m.send(resp.AppendCommand(nil, "FUNCTION", "LOAD", p.Code))
	}
	return nil
}

func (m *mirror) Mark(pos record.Position) error {
	if pos != (record.Position{}) {
		m.t.Errorf("a mark within the copy: %+v", pos)
	}
	return nil
}

func (m *mirror) Copied(pos record.Position) error {
	m.selectDB(pos.DB)
	m.mu.Lock()
	defer m.mu.Unlock()
	if pos.Stream == "" || pos.Era != pos.Stream {
		m.t.Errorf("copied at %+v", pos)
	}
	m.copies++
	m.at = pos
	return nil
}

func (m *mirror) Command(c *record.Command) error {
	if m.before != nil {
		if err := m.before(c); err != nil {
			return err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	// What comes between two commands without being yielded are pings and
	// questions for our offset.
	if gap := c.End.Serial - m.at.Serial - int64(len(c.Raw)); gap < 0 || gap > 1000 || c.End.Era != m.at.Era {
		m.t.Errorf("%q of %d bytes ends at %+v, behind %+v", c.Words, len(c.Raw), c.End, m.at)
	}
	m.at = c.End
	m.commands++
	name := strings.ToUpper(string(c.Words[0]))
	m.names[name]++
	if name == "SELECT" {
		m.db = c.DB
	}
	if m.db != c.DB {
		m.t.Errorf("%q of database %d came for %d", c.Words, m.db, c.DB)
	}
	m.send(c.Raw)
	return nil
}

func (m *mirror) Idle() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.idle++
	return nil
}

func (m *mirror) position() record.Position {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.at
}

func (m *mirror) named(name string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.names[name]
}

func (m *mirror) count(of *int) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return *of
}

// wantSame compares the data with the source's, when nothing is sent any more.
func (m *mirror) wantSame(source *sandbox.Server) {
	m.t.Helper()
	m.settle()
	digest := func(s *sandbox.Server) string {
		text, err := s.Client().Do(m.t.Context(), "DEBUG", "DIGEST").Text()
		if err != nil {
			m.t.Fatal(err)
		}
		return text
	}
	if want, got := digest(source), digest(m.server); got != want {
		m.t.Errorf("the data differ: %s, %s; %d commands", want, got, m.commands)
	}
}

// forget makes it ready for another full copy.
func (m *mirror) forget() {
	m.t.Helper()
	m.settle()
	if err := m.server.Client().FlushAll(m.t.Context()).Err(); err != nil {
		m.t.Fatal(err)
	}
	m.copies, m.commands = 0, 0
}

// settle waits until all that was sent is done.
func (m *mirror) settle() {
	m.t.Helper()
	m.send(resp.AppendCommand(nil, "ECHO", settled))
	if err := m.out.Flush(); err != nil {
		m.t.Fatal(err)
	}
	if err := <-m.read; err != nil {
		m.t.Errorf("a command failed on the mirror: %v", err)
	}
}

// following is a Stream that runs beside the test.
type following struct {
	t      *testing.T
	source *psync.Source
	end    chan error
	cancel context.CancelFunc
}

func follow(t *testing.T, from record.Position, sink record.Sink, o psync.Options) *following {
	t.Helper()
	f := &following{t: t, source: open(t, o), end: make(chan error, 1)}
	var ctx context.Context
	ctx, f.cancel = context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.end <- f.source.Stream(ctx, from, sink)
	}()
	t.Cleanup(func() { f.cancel(); <-done })
	return f
}

// open returns a source that was inspected.
func open(t *testing.T, o psync.Options) *psync.Source {
	t.Helper()
	if o.SpoolDir == "" {
		o.SpoolDir = t.TempDir()
	}
	s := psync.New(o)
	t.Cleanup(func() { _ = s.Close() })
	_, found := s.Inspect(t.Context())
	for _, f := range found.Blockers() {
		t.Fatal(f.Message)
	}
	return s
}

func at(s *sandbox.Server) psync.Options {
	c, err := choice.New(choice.Options{})
	if err != nil {
		panic(err) // nothing is chosen
	}
	return psync.Options{Choice: c, Endpoint: endpoint.Endpoint{Addr: s.Addr, Password: s.Password, TLS: s.TLSConfig()}, SpoolMax: 64 << 20}
}

// stop ends it and wants no other reason for the end.
func (f *following) stop() {
	f.t.Helper()
	f.cancel()
	if err := <-f.end; !errors.Is(err, context.Canceled) {
		f.t.Error(err)
	}
}

// until waits for something to become so, while the Stream goes on.
func (f *following) until(what string, is func() bool) {
	f.t.Helper()
	for range 20_000 {
		if is() {
			return
		}
		select {
		case err := <-f.end:
			f.t.Fatalf("it ended (%v) before %s", err, what)
		case <-time.After(time.Millisecond):
		}
	}
	f.t.Fatalf("not seen: %s", what)
}

// caughtUp waits until all that the source has written is in.
func (f *following) caughtUp(m *mirror) {
	f.t.Helper()
	f.until("a mirror that has caught up", func() bool {
		// The source's own offset grows by pings and questions of its own.
		offset, err := f.source.Offset(f.t.Context())
		if err != nil {
			f.t.Fatal(err)
		}
		return m.position().Serial >= offset && m.count(&m.copies) > 0
	})
	in := m.position().Serial
	if offset, err := f.source.Offset(f.t.Context()); err != nil || in > offset {
		f.t.Errorf("offset %d is in, but the source is at %d; %v", in, offset, err)
	}
}
