package verify

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/slotferry/slotferry/checkpoint"
)

// Counts is the account of a comparison, in keys but for Bytes and Programs.
// Every final difference is in one of Missing, Extra, Type, Value and TTL, or in
// Repaired.
type Counts struct {
	Same          int64 `json:"same"`
	Missing       int64 `json:"missing"`
	Extra         int64 `json:"extra"`
	Type          int64 `json:"type"`
	Value         int64 `json:"value"`
	TTL           int64 `json:"ttl"`
	Repaired      int64 `json:"repaired"`       // differed, and no longer do
	NotComparable int64 `json:"not_comparable"` // NotComparable names them
	Gone          int64 `json:"gone"`           // expired or deleted meanwhile
	Pending       int64 `json:"pending"`        // differ, and will be looked at again
	Programs      int64 `json:"programs"`       // function libraries and scripts that a master lacks
	Bytes         int64 `json:"bytes"`          // values and names that are the same
}

// Differences is the number of final differences that remain.
func (c Counts) Differences() int64 { return c.Missing + c.Extra + c.Type + c.Value + c.TTL }

// account is what was found up to now.
type account struct {
	same, bytes, gone, incomparable, repaired, programs atomic.Int64
	missing, extra, typ, value, ttl                     atomic.Int64

	mu     sync.Mutex // held while Report runs
	unlike []checkpoint.Failure
}

func (a *account) kind(k Kind) *atomic.Int64 {
	switch k {
	case Missing:
		return &a.missing
	case Extra:
		return &a.extra
	case Type:
		return &a.typ
	case TTL:
		return &a.ttl
	}
	return &a.value
}

// Counts returns the account up to now.
func (c *Comparer) Counts() Counts {
	a := &c.account
	return Counts{
		Same: a.same.Load(), Missing: a.missing.Load(), Extra: a.extra.Load(), Type: a.typ.Load(), Value: a.value.Load(), TTL: a.ttl.Load(),
		Repaired: a.repaired.Load(), NotComparable: a.incomparable.Load(), Gone: a.gone.Load(), Pending: c.pending.keys.Load(),
		Programs: a.programs.Load(), Bytes: a.bytes.Load(),
	}
}

// NotComparable returns keys of which nothing could be said, with the reasons;
// checkpoint.KeepFailures at most.
func (c *Comparer) NotComparable() []checkpoint.Failure {
	c.account.mu.Lock()
	defer c.account.mu.Unlock()
	return append([]checkpoint.Failure(nil), c.account.unlike...)
}

// final counts and reports a difference.
func (c *Comparer) final(d Difference) {
	if d.Repaired {
		c.account.repaired.Add(1)
	} else {
		c.account.kind(d.Kind).Add(1)
	}
	c.account.mu.Lock()
	defer c.account.mu.Unlock()
	c.opts.Report(d)
}

// extra is final for what both Extras and Settle can find: what was said is not
// said again, only counted if it was repaired since.
func (c *Comparer) extra(d Difference) {
	if !c.deleted[string(d.Name)] {
		c.final(d)
	} else if d.Repaired {
		c.account.extra.Add(-1)
		c.account.repaired.Add(1)
	}
}

// incomparable notes a key of which nothing can be said.
func (c *Comparer) incomparable(f checkpoint.Failure) {
	f.Skipped = true
	c.account.incomparable.Add(1)
	c.account.mu.Lock()
	defer c.account.mu.Unlock()
	if len(c.account.unlike) < checkpoint.KeepFailures {
		c.account.unlike = append(c.account.unlike, f)
	}
}

// leftOut accounts for a key of which nothing can be said.
func (c *Comparer) leftOut(seg *checkpoint.Segment, f checkpoint.Failure) {
	c.incomparable(f)
	seg.Skip(f)
}

// conclude accounts for an entry by what a master has said. If more is to be
// done for that, it returns what.
func (c *Comparer) conclude(ch *chunk, e *entry, v verdict, node string) *look {
	switch v.outcome {
	case same:
		c.account.same.Add(1)
		c.account.bytes.Add(e.bytes())
		e.segment.Done(checkpoint.Written, 1, e.bytes(), 0)
	case gone:
		c.account.gone.Add(1)
		e.segment.Done(checkpoint.Expired, 1, 0, 0)
	case skip:
		c.leftOut(e.segment, failure(ch, e, v.detail, node))
	case differs:
		return c.concludeDifference(ch, e, v, node)
	case later:
		return &look{ch: ch, entry: e, addr: v.addr, asking: v.asking}
	case closer:
		return &look{ch: ch, entry: e, hold: true}
	}
	return nil
}

// concludeDifference: what a file has is final, what a living source has is kept
// for Settle if there is room.
func (c *Comparer) concludeDifference(ch *chunk, e *entry, v verdict, node string) *look {
	if c.opts.Live == nil && c.opts.Repair {
		return &look{ch: ch, entry: e, mend: true, was: v}
	}
	if c.opts.Live != nil && !c.pending.add(newDoubt(ch, e, v)) {
		c.pending.sayFull(c.log)
		return &look{ch: ch, entry: e, anew: true, was: v}
	}
	if c.opts.Live == nil {
		c.final(difference(ch, e, v))
	}
	e.segment.Fail(failure(ch, e, reason(v.kind, v.detail), node))
	return nil
}

// concludeMended accounts for a key of a file that was written again, by what a
// master has said since.
func (c *Comparer) concludeMended(l *look, v verdict, node string) {
	d := difference(l.ch, l.entry, l.was)
	if d.Repaired = v.outcome == same || v.outcome == gone; d.Repaired {
		c.final(d)
		l.entry.segment.Done(checkpoint.Written, 1, l.entry.bytes(), 0)
		return
	}
	d.Detail = unmended(l.was, v)
	c.final(d)
	l.entry.segment.Fail(failure(l.ch, l.entry, reason(d.Kind, d.Detail), node))
}

// unmended says why a repair did not help.
func unmended(was, v verdict) string {
	if was == v {
		return was.detail + "; copied again, which changed nothing"
	}
	detail := v.detail
	if v.kind != "" {
		detail = reason(v.kind, v.detail)
	}
	return fmt.Sprintf("%s; not repaired: %s", was.detail, detail)
}

// concludeAnew accounts for a key for which a living source was asked again at
// once.
func (c *Comparer) concludeAnew(l *look, d *doubt) {
	e := l.entry
	switch d.verdict.outcome {
	case same, gone, skip:
		if !d.mended {
			c.conclude(l.ch, e, d.verdict, "")
			return
		}
	}
	c.final(d.difference())
	if d.repaired() {
		e.segment.Done(checkpoint.Written, 1, e.bytes(), 0)
		return
	}
	e.segment.Fail(failure(l.ch, e, reason(d.difference().Kind, d.difference().Detail), ""))
}

func failure(ch *chunk, e *entry, why, node string) checkpoint.Failure {
	return checkpoint.Failure{Key: clone(ch.key(e)), DB: int(e.db), Slot: e.slot, Node: node, Reason: why}
}

func difference(ch *chunk, e *entry, v verdict) Difference {
	return Difference{DB: int(e.db), Key: clone(ch.key(e)), Name: clone(ch.name(e)), Kind: v.kind, Detail: v.detail}
}
