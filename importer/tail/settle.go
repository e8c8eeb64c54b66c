package tail

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/slotferry/slotferry/checkpoint"
	"github.com/slotferry/slotferry/importer/target"
	"github.com/slotferry/slotferry/importer/wait"
)

// settle accounts for the first blocks in flight, whose answers were read.
func (p *pipe) settle(done []*flight) error {
	if len(done) == 0 {
		return nil
	}
	a := p.a
	a.mu.Lock()
	defer a.mu.Unlock()
	var failed error
	for _, f := range done {
		p.sent -= f.bytes
		if err := p.land(f); err != nil && failed == nil {
			failed = err
		}
	}
	n := copy(p.inflight, p.inflight[len(done):])
	clear(p.inflight[n:])
	p.inflight = p.inflight[:n]
	if p.waiting {
		p.work.Broadcast()
	}
	a.stir()
	return failed
}

// land accounts for one block. The caller holds mu.
func (p *pipe) land(f *flight) error {
	a, s := p.a, f.slot
	if !f.applied {
		defer a.land(f)
		return p.turnedAway(f)
	}
	p.failures, p.trouble, p.why = 0, time.Time{}, ""
	s.since, s.setbacks, s.why = time.Time{}, 0, ""
	if f.last == nil {
		defer a.land(f)
		return p.seen(f)
	}
	if err := a.applied(f); err != nil {
		return err
	}
	a.land(f)
	a.next(s)
	return nil
}

// next lets a slot go on with what waits in it. The caller holds mu.
func (a *Applier) next(s *slot) {
	if s.head != nil || s.unsure {
		a.push(s)
		return
	}
	s.state = idle
}

// applied takes the entries of a block out of their slot. The caller holds mu.
func (a *Applier) applied(f *flight) error {
	s := f.slot
	s.known, s.wipe, s.serial, s.blocks = true, false, f.serial, f.blocks
	a.count.blocks.Add(1)
	if old := a.stale[s.number]; len(old) > 0 {
		n := 0
		for n < len(old) && old[n].serial <= f.serial {
			n++
		}
		if a.stale[s.number] = old[n:]; n == len(old) {
			delete(a.stale, s.number)
		}
	}
	at, wrongs := f.before, f.wrong
	for e := s.head; ; {
		next := e.next
		_, words := e.sent()
		reason := ""
		for len(wrongs) > 0 && wrongs[0].at < at+words {
			if w := wrongs[0]; w.at >= at && reason == "" {
				if reason = w.reason; reason == "" && e.lives {
					reason = "its key is missing"
				}
			}
			wrongs = wrongs[1:]
		}
		at += words
		switch {
		case !f.unheard:
		case e.lives:
			reason = "whether its key was there is not known"
		case a.isFrail(e):
			reason = unheardOf
		}
		if e.refusal != nil {
			reason = e.refusal.reason
		}
		a.answered(e, reason)
		if e == f.last {
			s.head = next
			break
		}
		e = next
	}
	if s.head == nil {
		s.tail = nil
	}
	for _, w := range wrongs {
		if w.reason != "" { // of the mark's own commands
			return fmt.Errorf("%w: the mark of slot %d could not be written: %s", ErrResync, s.number, w.reason)
		}
	}
	return nil
}

// answered accounts for an entry. One that went wrong still holds its segment:
// its keys are read again. The caller holds mu.
func (a *Applier) answered(e *entry, wrong string) {
	a.unanswered--
	a.behind.Add(-int64(e.to - e.from))
	switch {
	case e.segment == nil:
	case wrong == "":
		if !e.question {
			a.count.applied.Add(1)
		}
		e.segment.Done(checkpoint.Written, 1, 0, 0)
	default:
		expected := e.lives || wrong == unheardOf
		if !e.question && wrong != unheardOf {
			a.count.refused.Add(1)
		}
		a.refused = append(a.refused, refused{expected: expected, db: int(e.db), raw: append([]byte(nil), e.source()...), reason: wrong, segment: e.segment, serial: e.serial, addr: a.slots[e.slot].pipe.addr})
		a.troubled.Store(true)
	}
	a.releasePage(e.page)
}

// turnedAway decides what becomes of a block that did not take effect. The
// caller holds mu.
func (p *pipe) turnedAway(f *flight) error {
	a, s := p.a, f.slot
	line := []byte(f.reason)
	switch {
	case target.Refusing(line):
		return fmt.Errorf("%w: %s answered %q to a command that follows the copy", target.ErrDenied, p.addr, f.reason)
	case target.Passing(line):
		return p.hold(s, f.reason)
	case f.at >= f.before:
		if e, ok := s.at(f.at - f.before); ok {
			a.refuse(e, f.reason)
			a.push(s)
			return nil
		}
	}
	return fmt.Errorf("%w: %s does not take commands: %q", ErrResync, p.addr, f.reason)
}

// at returns the entry whose command is the n-th of a block.
func (s *slot) at(n int) (*entry, bool) {
	for e := s.head; e != nil; e = e.next {
		_, words := e.sent()
		if n < words {
			return e, e.refusal == nil && e.segment != nil
		}
		n -= words
	}
	return nil, false
}

// hold lets a slot wait before it is tried again. The caller holds mu.
func (p *pipe) hold(s *slot, why string) error {
	a, now := p.a, time.Now()
	if s.since.IsZero() {
		s.since = now
	}
	if waited := now.Sub(s.since); waited > a.opts.RetryFor {
		return &target.PatienceError{Addr: p.addr, Waited: waited, Err: fmt.Errorf("slot %d: %s", s.number, why)}
	}
	s.setbacks++
	s.state, s.until, s.why = held, now.Add(wait.Backoff(s.setbacks)), why
	a.held = append(a.held, s)
	a.count.held.Add(1)
	if _, asking, ok := a.opts.Cluster.Redirection([]byte(why), p.addr); ok && !asking {
		a.count.redirected.Add(1)
	}
	a.astray = true
	return nil
}

// seen compares what a mark holds with what was acknowledged, and settles a
// block whose answer was lost. The caller holds mu.
func (p *pipe) seen(f *flight) error {
	a, s, m := p.a, f.slot, f.seen
	if s.known && m.blocks < s.blocks {
		return &BehindError{Addr: p.addr, Serial: m.serial, Slots: 1}
	}
	most := s.blocks
	if s.doubt != nil {
		most = s.doubt.blocks
	}
	if m.blocks > most {
		return fmt.Errorf("%w: the mark of slot %d has %d blocks, and only %d were sent: does another run of the job write?", ErrResync, s.number, m.blocks, most)
	}
	s.unsure = false
	if d := s.doubt; d != nil {
		s.doubt = nil
		if m.blocks == d.blocks && m.blocks > 0 {
			d.wrong, d.unheard = nil, true
			if err := a.applied(d); err != nil {
				return err
			}
		}
		a.land(d)
	}
	a.next(s)
	return nil
}

// lostMarks makes of one slot that lost something an account of all.
func (a *Applier) lostMarks(ctx context.Context, err error) error {
	var found *BehindError
	if !errors.As(err, &found) {
		return err
	}
	marks, readErr := a.opts.Cluster.Marks(ctx, a.opts.Job)
	if readErr != nil {
		return errors.Join(found, readErr)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	now := make([]mark, len(a.slots))
	holds := map[*pipe]bool{} // marks that were not made since something was lost
	for i := range a.slots {
		if m, ok := parseMark(marks[uint16(i)][""]); ok && m.era == a.era {
			now[i] = m
			holds[a.slots[i].pipe] = holds[a.slots[i].pipe] || a.slots[i].past
		}
	}
	found.Slots, found.Serial = 0, math.MaxInt64
	for i := range a.slots {
		s := &a.slots[i]
		switch {
		case !s.known || now[i].blocks >= s.blocks:
			continue
		case now[i].blocks >= s.before && holds[s.pipe]:
			// Only blocks of this run are lost: a master that has any mark of
			// before has all that came ahead of that, the full copy with it.
			found.Serial = min(found.Serial, max(now[i].serial, a.from))
		case now[i].serial > 0:
			found.Serial = min(found.Serial, now[i].serial)
		default:
			return fmt.Errorf("%w: %s has lost the mark of slot %d, and with it maybe the slot's keys", ErrResync, found.Addr, s.number)
		}
		found.Slots++
	}
	return found
}
