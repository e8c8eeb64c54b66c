package target

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/slotferry/slotferry/checkpoint"
	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/resp"
)

// What becomes of a value beside being written or refused.
var (
	errThere    = errors.New("the key exists")
	errExpired  = errors.New("it expired meanwhile")
	errVanished = errors.New("what was built under the temporary name vanished: was it evicted, or deleted?")
	errHalf     = errors.New("one of its commands failed")
	errNotSmall = errors.New("too long for one transaction")
)

// refusal is a value that can't be rebuilt; the others go on.
type refusal struct {
	reason      string
	unsupported bool // by the target, not damaged
}

func (e *refusal) Error() string { return e.reason }

// sourceError is one of the source's, from which a value is read in parts.
type sourceError struct{ err error }

func (e *sourceError) Error() string { return e.err.Error() }
func (e *sourceError) Unwrap() error { return e.err }

// restError means that nothing more may be sent for now.
type restError struct{ why string }

func (e *restError) Error() string { return e.why }

// maxChanges is how often a value is read again that was written to meanwhile.
const maxChanges = 5

// rebuilding is the life of one connection. Small values are in flight together,
// each as one transaction; a large one has the connection for itself.
type rebuilding struct {
	*rebuilder
	talk   *talk
	out    *outbox // to other masters
	held   *outbox // to be tried again later
	why    string  // the reason for that of the last one, "" for none
	chunks []*chunk
	next   int     // entry of the last chunk that comes next
	flight []block // not answered; the first is that of the first chunk's next entry
	sent   int     // bytes of those
}

// block is one entry's transaction.
type block struct{ answers, bytes int }

// session rebuilds what is pushed over one connection.
func (b *rebuilder) session(ctx context.Context) error {
	t, err := b.cluster.dialTalk(ctx, b.lane.addr, b.patience(), b.moves)
	if err != nil {
		return b.cluster.denied(b.lane.addr, err)
	}
	defer t.conn.Close()
	defer context.AfterFunc(ctx, func() { _ = t.conn.Close() })()
	s := &rebuilding{rebuilder: b, talk: t, out: b.cluster.newOutbox(), held: b.cluster.newOutbox()}
	defer s.giveBack()
	for b.wait(ctx) {
		if err := s.work(ctx); err != nil {
			return err
		}
		s.out.flush()
		if s.why != "" {
			return &restError{s.why}
		}
	}
	return nil
}

// giveBack returns what has no outcome to the queue.
func (s *rebuilding) giveBack() {
	s.mu.Lock()
	s.queue, s.working = append(s.chunks, s.queue...), false
	s.mu.Unlock()
	s.out.flush()
	s.held.flush()
}

// work rebuilds until the queue is empty or something must wait.
func (s *rebuilding) work(ctx context.Context) error {
	window := s.cluster.opts.Window
	for {
		c := s.upcoming()
		if c == nil {
			if len(s.flight) == 0 {
				s.idle()
				return nil
			}
			if err := s.answers(0); err != nil {
				return err
			}
			continue
		}
		if s.sent >= window {
			if err := s.answers(window / 2); err != nil {
				return err
			}
			continue
		}
		err := s.transaction(c, s.next)
		if err == nil {
			s.next++
			if len(s.talk.out) >= chunkBytes/4 {
				err = s.talk.flush()
			}
			if err != nil {
				return err
			}
			continue
		}
		// What came before it must be known first.
		if err := s.answers(0); err != nil {
			return err
		}
		if s.why != "" {
			continue
		}
		if errors.Is(err, errNotSmall) {
			err = s.large(ctx, c, s.next)
		}
		s.next++
		if err := s.settle(c, err); err != nil {
			return err
		}
	}
}

// upcoming returns the chunk with the entry that comes next, nil if there is
// none, or none may be sent.
func (s *rebuilding) upcoming() *chunk {
	if s.why != "" {
		return nil
	}
	if last := len(s.chunks) - 1; last >= 0 && s.next < len(s.chunks[last].entries) {
		return s.chunks[last]
	}
	c := s.pop()
	if c != nil {
		s.chunks, s.next = append(s.chunks, c), c.next
	}
	return c
}

// answers reads answers until at most so many bytes are in flight.
func (s *rebuilding) answers(most int) error {
	if err := s.talk.flush(); err != nil {
		return err
	}
	for len(s.flight) > 0 && (s.sent > most || most == 0) {
		c, b := s.chunks[0], s.flight[0]
		result, err := s.outcome(c, b)
		if err != nil {
			return err
		}
		s.flight, s.sent = s.flight[1:], s.sent-b.bytes
		if err := s.settle(c, result); err != nil {
			return err
		}
	}
	return nil
}

// settle gives the oldest entry its outcome: written for nil. An error ends the
// session.
func (s *rebuilding) settle(c *chunk, result error) error {
	x := &c.entries[c.next]
	var said *replyError
	var no *refusal
	var source *sourceError
	var stop error
	switch {
	case result == nil:
		x.segment.Done(checkpoint.Written, 1, x.bytes, b2i(x.expireAt == 0))
		s.lane.keys.Add(1)
		s.lane.bytes.Add(x.bytes)
		s.cluster.count.rebuilt.Add(1)
	case errors.Is(result, errThere):
		x.segment.Done(checkpoint.Skipped, 1, 0, 0)
	case errors.Is(result, errExpired), errors.Is(result, record.ErrGone):
		x.segment.Done(checkpoint.Expired, 1, 0, 0)
	case errors.As(result, &no):
		stop = s.cluster.refuse(s.lane, c, c.next, no.reason, no.unsupported)
	case errors.Is(result, record.ErrChanged):
		if x.changes++; x.changes >= maxChanges {
			stop = s.cluster.refuse(s.lane, c, c.next, fmt.Sprintf("%v, %d times: stop its writers for a while, or import from the RDB file", result, maxChanges), false)
			break
		}
		s.hold(c, result.Error())
	case errors.Is(result, record.ErrRefused):
		stop = s.cluster.refuse(s.lane, c, c.next, result.Error(), true)
	case errors.Is(result, record.ErrPatience):
		return result
	case errors.As(result, &source):
		var late *PatienceError
		if errors.As(s.lane.overdue(x, result.Error()), &late) {
			late.Addr = "the source"
			return late
		}
		s.hold(c, result.Error())
	case errors.Is(result, errHalf):
		s.hold(c, result.Error())
	case errors.Is(result, errVanished):
		stop = s.holdFor(c, result.Error())
	case errors.As(result, &said):
		stop = s.answered(c, said.line)
	default:
		if late := s.lane.overdue(x, result.Error()); late != nil && !final(result) {
			return late
		}
		return result
	}
	if stop != nil {
		return stop
	}
	if s.why == "" {
		s.well()
	}
	if c.next++; c.next == len(c.entries) {
		s.chunks = s.chunks[1:]
		s.cluster.budget.release(c)
	}
	return nil
}

// answered decides what an error reply means for the oldest entry.
func (s *rebuilding) answered(c *chunk, line string) error {
	x := &c.entries[c.next]
	switch classify([]byte(line)) {
	case moved:
		slot, addr, ok := redirection([]byte(line), s.lane.addr)
		if !ok {
			return fmt.Errorf("%w: %q", resp.ErrProtocol, line)
		}
		to := s.cluster.redirected(slot, s.cluster.reach(addr, ""), false)
		if x.hops++; x.hops > maxHops { // the nodes disagree: give them time
			x.hops = 0
			return s.holdFor(c, line)
		}
		if err := s.lane.overdue(x, line); err != nil {
			return err
		}
		s.out.rebuild(to, c, c.next)
	case ask: // until the slot has arrived: it may hold one name of the two
		s.cluster.count.ask.Add(1)
		return s.holdFor(c, line)
	case pause:
		s.cluster.count.paused.Add(1)
		return s.holdFor(c, line)
	case forbidden:
		if unknownCommand(&replyError{line}) {
			return s.cluster.refuse(s.lane, c, c.next, fmt.Sprintf("the target lacks a command that this %s needs: %q", typeName(x.typ), line), true)
		}
		return s.cluster.denied(s.lane.addr, &replyError{line})
	default:
		if crossSlot(line) {
			return s.holdFor(c, line)
		}
		return s.cluster.refuse(s.lane, c, c.next, fmt.Sprintf("it can't be rebuilt with native commands: %q", line), tooLong(line))
	}
	return nil
}

// hold keeps the oldest entry for later: what is in flight is still answered,
// then the rebuilder rests.
func (s *rebuilding) hold(c *chunk, why string) {
	s.held.rebuild(s.lane, c, c.next)
	s.why = why
}

// holdFor is hold for a reason that may not last longer than RetryFor.
func (s *rebuilding) holdFor(c *chunk, why string) error {
	if err := s.lane.overdue(&c.entries[c.next], why); err != nil {
		return err
	}
	s.hold(c, why)
	return nil
}

// crossSlot tells that a node takes two names of one slot for names of two.
func crossSlot(line string) bool { return strings.HasPrefix(line, "CROSSSLOT") }

// tooLong tells that a value is longer than the node takes any.
func tooLong(line string) bool {
	return strings.HasPrefix(line, "ERR string exceeds maximum allowed size")
}
