// Package checkpoint knows how far a job has come for certain. The Tracker
// turns answers that arrive out of order into the highest position below which
// everything is answered; a Store keeps that position, with the identity of
// source and target, where a crash can't hurt it.
package checkpoint

import (
	"sync"
	"sync/atomic"

	"github.com/slotferry/slotferry/importer/record"
)

// Counts is the account of a job (numbers of keys, but for Bytes). Every key
// read is in exactly one of Written, Skipped, Expired, Filtered and Failed.
type Counts struct {
	Read      int64 `json:"read"`
	Written   int64 `json:"written"`
	Skipped   int64 `json:"skipped"`   // were on the target already, with the policy to leave those
	Expired   int64 `json:"expired"`   // expired, or deleted before their value was read
	Filtered  int64 `json:"filtered"`  // left out by the choice of keys
	Failed    int64 `json:"failed"`    // could not be written; Failures names them
	Bytes     int64 `json:"bytes"`     // serialized values and keys written
	Permanent int64 `json:"permanent"` // of Written: without an expiry, since the source was last begun anew
}

// Plus returns the sum of both.
func (c Counts) Plus(o Counts) Counts {
	return Counts{
		Read: c.Read + o.Read, Written: c.Written + o.Written, Skipped: c.Skipped + o.Skipped,
		Expired: c.Expired + o.Expired, Filtered: c.Filtered + o.Filtered, Failed: c.Failed + o.Failed,
		Bytes: c.Bytes + o.Bytes, Permanent: c.Permanent + o.Permanent,
	}
}

// Answered is the number of keys whose fate is known.
func (c Counts) Answered() int64 { return c.Written + c.Skipped + c.Expired + c.Filtered + c.Failed }

// Balanced reports whether every key read is accounted for.
func (c Counts) Balanced() bool { return c.Read == c.Answered() }

// Failure is one key that could not be written.
type Failure struct {
	Key    []byte `json:"key"` // base64 in JSON
	DB     int    `json:"db"`
	Slot   uint16 `json:"slot"`
	Node   string `json:"node,omitempty"`
	Reason string `json:"reason"`
	// Skipped says that the key counts as skipped, by a policy for such keys.
	Skipped bool `json:"skipped,omitempty"`
}

// KeepFailures is how many failures are kept by name; all are counted.
const KeepFailures = 1000

// Outcome is what became of a key.
type Outcome uint8

// The outcomes, one for each field of Counts.
const (
	Written Outcome = iota
	Skipped
	Expired
	Filtered
	Failed
	outcomes
)

// Segment is the stretch of a source between two marks. Its methods may be
// called from any goroutine; Add only while it is the tracker's current one.
type Segment struct {
	tracker   *Tracker
	pending   atomic.Int64 // keys without an answer; while it is open, openBias less the answered ones
	added     int64        // keys read, the reading goroutine's until it is closed
	shown     int64        // of added: already in the tracker's total
	counts    [outcomes]atomic.Int64
	bytes     atomic.Int64
	permanent atomic.Int64
	end       record.Position // set when it is closed
	failures  []Failure       // under tracker.mu
}

// openBias keeps the pending number of an open segment above zero, so that
// reading a key costs no atomic operation.
const openBias = 1 << 60

// Tracker finds the highest position below which every key is answered.
type Tracker struct {
	current *Segment // the reading goroutine's

	mu       sync.Mutex
	segments []*Segment // in the source's order, the current one last
	spare    []*Segment
	safe     State

	total [outcomes]atomic.Int64 // over all segments, for the display
	read  atomic.Int64
	bytes atomic.Int64
	perm  atomic.Int64
}

// State is what is known for certain: the position, and the account of
// everything before it.
type State struct {
	Position record.Position `json:"position"`
	Counts   Counts          `json:"counts"`
	Failures []Failure       `json:"failures,omitempty"`
}

// NewTracker starts at a state: zero, or a checkpoint's.
func NewTracker(from State) *Tracker {
	t := &Tracker{safe: from}
	t.open()
	t.read.Store(from.Counts.Read)
	t.bytes.Store(from.Counts.Bytes)
	t.perm.Store(from.Counts.Permanent)
	for i, n := range [outcomes]int64{
		Written: from.Counts.Written, Skipped: from.Counts.Skipped, Expired: from.Counts.Expired,
		Filtered: from.Counts.Filtered, Failed: from.Counts.Failed,
	} {
		t.total[i].Store(n)
	}
	return t
}

func (t *Tracker) open() {
	var s *Segment
	if n := len(t.spare); n > 0 {
		s, t.spare = t.spare[n-1], t.spare[:n-1]
	} else {
		s = &Segment{tracker: t}
	}
	s.pending.Store(openBias)
	t.segments = append(t.segments, s)
	t.current = s
}

// Current returns the open segment. Only the goroutine that calls Mark may use it.
func (t *Tracker) Current() *Segment { return t.current }

// Mark closes the current segment: the next key comes after pos.
func (t *Tracker) Mark(pos record.Position) {
	t.Show()
	t.mu.Lock()
	s := t.Current()
	s.end = pos
	t.open()
	t.mu.Unlock()
	s.release(openBias - s.added)
}

// Show brings the keys added since the last mark into Totals. Mark does it too.
func (t *Tracker) Show() {
	s := t.Current()
	t.read.Add(s.added - s.shown)
	s.shown = s.added
}

// Add counts a key that was read and awaits its answer.
func (s *Segment) Add() { s.added++ }

// Done gives n keys their outcome. bytes and permanent go into the fields of
// Counts with those names.
func (s *Segment) Done(o Outcome, n, bytes, permanent int64) {
	s.counts[o].Add(n)
	s.tracker.total[o].Add(n)
	if bytes != 0 {
		s.bytes.Add(bytes)
		s.tracker.bytes.Add(bytes)
	}
	if permanent != 0 {
		s.permanent.Add(permanent)
		s.tracker.perm.Add(permanent)
	}
	s.release(n)
}

// Fail gives one key the outcome Failed and keeps its name.
func (s *Segment) Fail(f Failure) {
	s.keep(f)
	s.Done(Failed, 1, 0, 0)
}

// Skip gives one key the outcome Skipped and keeps its name.
func (s *Segment) Skip(f Failure) {
	f.Skipped = true
	s.keep(f)
	s.Done(Skipped, 1, 0, 0)
}

func (s *Segment) keep(f Failure) {
	s.tracker.mu.Lock()
	defer s.tracker.mu.Unlock()
	if len(s.failures) < KeepFailures {
		s.failures = append(s.failures, f)
	}
}

// release must be the last use of the segment by its caller.
func (s *Segment) release(n int64) {
	t := s.tracker
	if s.pending.Add(-n) == 0 {
		t.advance()
	}
}

// advance moves the safe position over all segments that are closed and
// answered.
func (t *Tracker) advance() {
	t.mu.Lock()
	defer t.mu.Unlock()
	done := 0
	for _, s := range t.segments[:len(t.segments)-1] {
		if s.pending.Load() != 0 {
			break
		}
		t.safe.Position = s.end
		t.safe.Counts = t.safe.Counts.Plus(s.take())
		if isBeginning(s.end) {
			t.safe.Counts.Permanent = 0 // they will be written, and counted, again
		}
		if room := KeepFailures - len(t.safe.Failures); room > 0 && len(s.failures) > 0 {
			t.safe.Failures = append(t.safe.Failures, s.failures[:min(room, len(s.failures))]...)
		}
		s.failures = nil
		t.spare = append(t.spare, s)
		done++
	}
	t.segments = append(t.segments[:0], t.segments[done:]...)
}

// isBeginning tells whether a source yields everything from there on.
func isBeginning(p record.Position) bool {
	p.RunID = ""
	return p == record.Position{}
}

// take returns the segment's counts and clears them.
func (s *Segment) take() Counts {
	read := s.added
	s.added, s.shown = 0, 0
	return Counts{
		Read: read, Bytes: s.bytes.Swap(0), Permanent: s.permanent.Swap(0),
		Written: s.counts[Written].Swap(0), Skipped: s.counts[Skipped].Swap(0), Expired: s.counts[Expired].Swap(0),
		Filtered: s.counts[Filtered].Swap(0), Failed: s.counts[Failed].Swap(0),
	}
}

// Safe returns a copy of the state that a checkpoint may hold.
func (t *Tracker) Safe() State {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.safe
	s.Failures = append([]Failure(nil), s.Failures...)
	return s
}

// Totals returns the account of everything read up to now, answered or not. It
// is for the display; Safe is for the checkpoint.
func (t *Tracker) Totals() Counts {
	return Counts{
		Written: t.total[Written].Load(), Skipped: t.total[Skipped].Load(), Expired: t.total[Expired].Load(),
		Filtered: t.total[Filtered].Load(), Failed: t.total[Failed].Load(),
		Bytes: t.bytes.Load(), Permanent: t.perm.Load(), Read: t.read.Load(),
	}
}

// Failures returns the failed keys of the whole run by name, KeepFailures at
// most, those after the safe position included.
func (t *Tracker) Failures() []Failure {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := append([]Failure(nil), t.safe.Failures...)
	for _, s := range t.segments {
		all = append(all, s.failures...)
	}
	return all[:min(len(all), KeepFailures)]
}
