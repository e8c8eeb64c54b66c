package target

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/slotferry/slotferry/importer/endpoint"
	"github.com/slotferry/slotferry/resp"
)

// talk is a connection for native commands: they are gathered, written many at a
// time, and their answers read when they are wanted. A node never stops reading
// because its answers are not read, so that one goroutine does both.
type talk struct {
	addr    string
	conn    net.Conn
	r       *resp.Reader
	out     []byte // gathered, not written
	err     error  // of a write that could not wait
	timeout time.Duration
	moved   func() // is told of every part that went out or came in
}

// dialTalk connects to a node. Its answer to an empty transaction shows that
// MULTI may be relied on: without it what follows would take effect bit by bit.
func (c *Cluster) dialTalk(ctx context.Context, addr string, timeout time.Duration, moved func()) (*talk, error) {
	conn, err := c.dial(ctx, addr)
	if errors.Is(err, endpoint.ErrAuth) {
		return nil, fmt.Errorf("%w: %s: %w", ErrDenied, addr, err)
	}
	if err != nil {
		return nil, err
	}
	t := &talk{addr: addr, conn: conn, r: resp.NewReader(conn, readBytes, moved), timeout: timeout, moved: moved}
	t.add("MULTI")
	t.add("EXEC")
	if err := t.flush(); err != nil {
		_ = conn.Close()
		return nil, err
	}
	for range 2 {
		a, err := t.answer()
		if err == nil && a.err != "" {
			err = &replyError{a.err}
		}
		if err != nil {
			_ = conn.Close()
			return nil, err
		}
	}
	return t, nil
}

// add gathers a command of short words.
func (t *talk) add(words ...string) { t.out = resp.AppendCommand(t.out, words...) }

// addWords gathers a command and returns its length in bytes. Long words are
// written at once, so that they are not held twice.
func (t *talk) addWords(words [][]byte) (bytes int) {
	before := len(t.out)
	t.out = resp.AppendArray(t.out, len(words))
	for _, w := range words {
		if len(w) <= chunkBytes {
			t.out = resp.AppendBulk(t.out, w)
			continue
		}
		t.out = resp.AppendBulkHead(t.out, int64(len(w)))
		bytes += len(t.out) - before + len(w)
		if t.err == nil {
			t.err = t.flush()
		}
		if t.err == nil {
			t.err = t.write(w)
		}
		t.out, before = append(t.out[:0], '\r', '\n'), 0
	}
	return bytes + len(t.out) - before
}

// flush writes what was gathered.
func (t *talk) flush() error {
	if t.err == nil {
		t.err = t.write(t.out)
	}
	t.out = t.out[:0]
	return t.err
}

// write writes in parts, each of which may take the timeout.
func (t *talk) write(b []byte) error {
	for len(b) > 0 {
		n := min(len(b), chunkBytes)
		_ = t.conn.SetWriteDeadline(time.Now().Add(t.timeout)) // an error shows in the write
		if _, err := t.conn.Write(b[:n]); err != nil {
			return lost(err)
		}
		t.moved()
		b = b[n:]
	}
	return nil
}

// reply is an answer as far as it matters here.
type reply struct {
	n      int64    // of an integer
	err    string   // the first error: the answer itself, or among its elements
	within bool     // the error is an element's: the transaction took effect
	last   [2]int64 // of an array: its last two elements, if they are integers
	queued bool     // a simple string
}

// answer reads the next answer.
func (t *talk) answer() (a reply, err error) {
	_ = t.conn.SetReadDeadline(time.Now().Add(t.timeout)) // an error shows in the read
	h, err := t.r.Head()
	if err != nil {
		return a, lost(err)
	}
	switch h.Kind {
	case '+':
		a.queued = true
	case '-':
		a.err = string(h.Line)
	case ':':
		a.n = h.N
	case '$':
		err = t.r.Discard(h.N)
	case '*':
		for range max(h.N, 0) {
			e, err := t.r.Head()
			if err != nil {
				return a, lost(err)
			}
			if e.Kind == '-' && a.err == "" {
				a.err, a.within = string(e.Line), true
			}
			a.last = [2]int64{a.last[1], e.N}
			if err := t.pass(e, 0); err != nil {
				return a, err
			}
		}
	}
	if err != nil {
		err = lost(err)
	}
	return a, err
}

// maxNesting is deeper than any answer to a command that writes.
const maxNesting = 8

// pass reads and forgets what follows a head.
func (t *talk) pass(h resp.Head, depth int) error {
	switch {
	case depth > maxNesting:
		return fmt.Errorf("%w: arrays in arrays without end", resp.ErrProtocol)
	case h.Kind == '$':
		if err := t.r.Discard(h.N); err != nil {
			return lost(err)
		}
	case h.Kind == '*':
		for range max(h.N, 0) {
			e, err := t.r.Head()
			if err != nil {
				return lost(err)
			}
			if err := t.pass(e, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// replyError is an error that a node answered.
type replyError struct{ line string }

func (e *replyError) Error() string { return e.line }

// RedisError makes it a redis.Error.
func (e *replyError) RedisError() {}
