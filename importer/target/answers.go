package target

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/slotferry/slotferry/checkpoint"
	"github.com/slotferry/slotferry/rdbparse"
	"github.com/slotferry/slotferry/resp"
)

const (
	readBytes = 128 << 10
	maxHops   = 4 // redirections in a row before a record waits
)

// read matches replies with the entries in flight until the connection ends.
func (l *lane) read(conn net.Conn) error {
	r := resp.NewReader(conn, readBytes, func() { l.progress.Store(time.Now().UnixNano()) })
	out := l.cluster.newOutbox()
	defer out.flush()
	for {
		if r.Buffered() == 0 {
			out.flush() // before a wait, so that nothing lies here
		}
		c := l.first()
		if c == nil {
			h, err := r.Head()
			if err != nil {
				return lost(err)
			}
			if c = l.first(); c == nil {
				return fmt.Errorf("an answer that nothing was asked for: %q", h.Line)
			}
			if err := l.answer(c, r, h, out); err != nil {
				return err
			}
		} else if err := l.answers(c, r, out); err != nil {
			return err
		}
		if c.next == len(c.entries) {
			l.retire(c)
		}
	}
}

// lost says of an end of the stream what it means here.
func lost(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return err
	}
	return fmt.Errorf("connection lost: %w", err)
}

// first returns the chunk whose answers come next.
func (l *lane) first() *chunk {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.inflight) == 0 {
		return nil
	}
	return l.inflight[0]
}

// retire takes an answered chunk out of the window.
func (l *lane) retire(c *chunk) {
	l.mu.Lock()
	l.inflight = l.inflight[1:]
	l.sent.Add(-int64(c.size))
	c.answered = l.writing == c
	release := !c.answered
	l.mu.Unlock()
	l.work.Broadcast()
	if release {
		l.cluster.budget.release(c)
	}
}

// answers reads at least one answer of a chunk, and as many more as have come.
func (l *lane) answers(c *chunk, r *resp.Reader, out *outbox) error {
	if !c.asking {
		if n := r.SkipOK(len(c.entries) - c.next); n > 0 {
			l.written(c, n)
			return nil
		}
	}
	h, err := r.Head()
	if err != nil {
		return lost(err)
	}
	return l.answer(c, r, h, out)
}

// written accounts for the next n entries of a chunk.
func (l *lane) written(c *chunk, n int) {
	if l.failing.Load() {
		l.well()
	}
	run := c.entries[c.next : c.next+n]
	c.next += n
	var total int64
	for len(run) > 0 {
		seg := run[0].segment
		var keys, bytes, permanent int64
		for len(run) > 0 && run[0].segment == seg {
			keys++
			bytes += run[0].bytes
			if run[0].expireAt == 0 {
				permanent++
			}
			run = run[1:]
		}
		total += bytes
		seg.Done(checkpoint.Written, keys, bytes, permanent)
	}
	l.keys.Add(int64(n))
	l.bytes.Add(total)
}

// answer takes the answer to the next entry of a chunk, of which the head was
// read.
func (l *lane) answer(c *chunk, r *resp.Reader, h resp.Head, out *outbox) error {
	if c.asking { // the answer to ASKING itself tells little; the next one does
		if h.Kind == '-' && classify(h.Line) == forbidden {
			return fmt.Errorf("%w: %s answered %q to ASKING, which keys of a slot on its way to another node need", ErrDenied, l.addr, h.Line)
		}
		var err error
		if h, err = r.Head(); err != nil {
			return lost(err)
		}
	}
	if h.Kind == '+' {
		l.written(c, 1)
		return nil
	}
	if h.Kind != '-' {
		return fmt.Errorf("%w: a %q as the answer to RESTORE", resp.ErrProtocol, h.Kind)
	}
	i := c.next
	x := &c.entries[i]
	v := classify(h.Line)
	if v != pause && v != forbidden && l.failing.Load() {
		l.well() // a node that knows what to do with a key is well
	}
	switch v {
	case moved, ask:
		slot, addr, ok := redirection(h.Line, l.addr)
		if !ok {
			return fmt.Errorf("%w: %q", resp.ErrProtocol, h.Line)
		}
		asking := v == ask
		to := l.cluster.redirected(slot, l.cluster.reach(addr, ""), asking)
		if err := l.overdue(x, string(h.Line)); err != nil {
			return err
		}
		if x.hops++; x.hops > maxHops { // the nodes disagree: give them time
			x.hops = 0
			l.park(c, i, string(h.Line))
			break
		}
		out.add(to, c, i, asking)
	case pause:
		if err := l.overdue(x, string(h.Line)); err != nil {
			return err
		}
		l.park(c, i, string(h.Line))
	case busyKey:
		if l.cluster.encoding.replace {
			return fmt.Errorf("%w: %q in spite of REPLACE", resp.ErrProtocol, h.Line)
		}
		x.segment.Done(checkpoint.Skipped, 1, 0, 0)
	case badValue:
		switch {
		case !c.sound(i):
			c.next++
			return l.cluster.refuse(l, c, i, fmt.Sprintf("the value was damaged before it came here: its checksum is wrong (%q)", h.Line), false)
		case c.restampable(i):
			l.cluster.count.restamped.Add(1)
			out.add(l, c, i, false).restampLast() // the copy: the writer may still hold the chunk
		default:
			l.refuses(x, x.key.of(c.buf), c.vendor(i), string(h.Line))
			out.rebuild(l, c, i)
		}
	case forbidden:
		return fmt.Errorf("%w: %s answered %q for key %q", ErrDenied, l.addr, h.Line, clipped(x.key.of(c.buf)))
	default:
		c.next++
		return l.cluster.refuse(l, c, i, string(h.Line), false)
	}
	c.next++
	return nil
}

// park keeps an entry for later and lets nothing more be sent on this
// connection: what is in flight is still answered, then the lane recovers.
func (l *lane) park(c *chunk, i int, why string) {
	l.cluster.count.paused.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.resting = why
	last := len(l.parked) - 1
	if last < 0 || c.body != nil || l.parked[last].body != nil || !l.parked[last].room(c, i) {
		l.parked = append(l.parked, l.cluster.budget.force(c.entrySize(i), c.bodyBytes()))
		last++
	}
	l.parked[last].take(c, i)
	l.work.Broadcast()
}

// overdue notes an entry's first setback, and returns an error when that is
// longer ago than RetryFor.
func (l *lane) overdue(x *entry, why string) error {
	now := time.Now()
	if x.since == 0 {
		x.since = now.UnixNano()
	}
	if waited := now.Sub(time.Unix(0, x.since)); waited > l.cluster.opts.RetryFor {
		return &PatienceError{Addr: l.addr, Waited: waited, Err: errors.New(why)}
	}
	return nil
}

// typeName names an RDB value type for a message.
func typeName(typ byte) string {
	if name := rdbparse.TypeName(rdbparse.Redis, typ); name != "" {
		return fmt.Sprintf("%s (RDB type %d)", name, typ)
	}
	return fmt.Sprintf("RDB type %d", typ)
}
