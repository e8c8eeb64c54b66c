package psync_test

import (
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/importer/source/psync"
	"github.com/slotferry/slotferry/internal/sandbox"
	"github.com/slotferry/slotferry/internal/sandbox/sandboxtest"
)

// proxy stands before a server. What the server says goes through change.
type proxy struct {
	addr   string
	mu     sync.Mutex
	change func(p []byte) []byte // nil: as it is
}

func (p *proxy) set(change func(p []byte) []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.change = change
}

func newProxy(t *testing.T, s *sandbox.Server) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{addr: l.Addr().String()}
	var wg sync.WaitGroup
	var conns sync.Map
	t.Cleanup(func() {
		_ = l.Close()
		conns.Range(func(c, _ any) bool { _ = c.(net.Conn).Close(); return true })
		wg.Wait()
	})
	wg.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", s.Addr)
			if err != nil {
				_ = in.Close()
				continue
			}
			conns.Store(in, nil)
			conns.Store(out, nil)
			both := func() { _ = in.Close(); _ = out.Close() }
			wg.Go(func() { defer both(); _, _ = io.Copy(out, in) })
			wg.Go(func() { defer both(); p.pass(in, out) })
		}
	})
	return p
}

func (p *proxy) pass(to io.Writer, from io.Reader) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		p.mu.Lock()
		out := buf[:n]
		if p.change != nil && n > 0 {
			out = p.change(out)
		}
		p.mu.Unlock()
		if _, failed := to.Write(out); failed != nil || err != nil {
			return
		}
	}
}

func through(p *proxy, s *sandbox.Server) psync.Options {
	o := at(s)
	o.Endpoint.Addr = p.addr
	return o
}

// TestDamage spoils the stream: once, and then each time that it is asked for.
func TestDamage(t *testing.T) {
	s := sandboxtest.Server(t, sandbox.Options{})
	fill(t, s)
	ctx := t.Context()
	m, p := newMirror(t, s), newProxy(t, s)
	f := follow(t, record.Position{}, m, through(p, s))
	f.caughtUp(m)
	spoiled := 0
	spoil := func(b []byte) []byte {
		before, behind, ok := strings.Cut(string(b), "incrby")
		if !ok {
			return b
		}
		spoiled++
		return []byte(before + "incr by it" + behind)
	}
	p.set(func(b []byte) []byte {
		if spoiled > 0 {
			return b
		}
		return spoil(b)
	})
	for range 10 {
		must(t, s.Client().IncrBy(ctx, "n", 2).Err(), s.Client().Append(ctx, "text", "x").Err())
	}
	f.caughtUp(m)
	m.wantSame(s)
	if spoiled != 1 {
		t.Errorf("spoiled %d times", spoiled)
	}
	good := m.position()
	p.set(spoil)
	must(t, s.Client().IncrBy(ctx, "n", 2).Err())
	if err := <-f.end; !errors.Is(err, psync.ErrDamaged) || !strings.Contains(err.Error(), "at offset ") {
		t.Error(err)
	}
	if spoiled != 3 {
		t.Errorf("spoiled %d times", spoiled)
	}
	p.set(nil)
	f = follow(t, good, m, through(p, s))
	f.caughtUp(m)
	f.stop()
	m.wantSame(s)
}

// TestSilence has a connection that stays open and gives nothing any more.
func TestSilence(t *testing.T) {
	s := sandboxtest.Server(t, sandbox.Options{Args: []string{"--repl-ping-replica-period", "1"}})
	fill(t, s)
	m, p := newMirror(t, s), newProxy(t, s)
	o := through(p, s)
	o.Timeout = 3 * time.Second
	f := follow(t, record.Position{}, m, o)
	f.caughtUp(m)
	lost := false
	p.set(func(b []byte) []byte {
		// Whoever connects anew is served.
		if lost = lost || strings.HasPrefix(string(b), "+"); lost {
			return b
		}
		return nil
	})
	must(t, s.Client().Incr(t.Context(), "n").Err())
	before := m.count(&m.commands)
	f.until("the lost command", func() bool { return m.count(&m.commands) > before })
	f.stop()
	m.wantSame(s)
}

// TestBrokenCopy cuts the connection in the middle of the RDB.
func TestBrokenCopy(t *testing.T) {
	for _, diskless := range []string{"no", "yes"} {
		t.Run("diskless "+diskless, func(t *testing.T) {
			s := sandboxtest.Server(t, sandbox.Options{})
			fill(t, s)
			must(t, s.Client().ConfigSet(t.Context(), "repl-diskless-sync", diskless).Err())
			m, p := newMirror(t, s), newProxy(t, s)
			cutOff := false
			p.set(func(b []byte) []byte {
				if cutOff {
					return nil
				}
				if at := strings.Index(string(b), "REDIS00"); at >= 0 {
					cutOff = true
					cut(t, s)
					return b[:at+50]
				}
				return b
			})
			f := follow(t, record.Position{}, m, through(p, s))
			if err := <-f.end; !errors.Is(err, psync.ErrHistoryLost) || m.copies > 0 {
				t.Error(err)
			}
		})
	}
}
