package verify

import (
	"cmp"
	"context"
	"slices"

	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/importer/wait"
)

const (
	anewKeys  = 64        // of a living source that are read in one go
	anewBytes = 256 << 10 // of their values that are held
)

// Settle looks again at what differed from a living source, in rounds with a
// pause before each, repairs what differs still if that was asked for, and
// reports it. It comes after Run. Interrupted, it has settled nothing of the
// round.
func (c *Comparer) Settle(ctx context.Context) error {
	for range c.opts.Rounds {
		if len(c.pending.all()) == 0 {
			return nil
		}
		if err := wait.For(ctx, c.opts.Pause); err != nil {
			return err
		}
		if err := c.settleRound(ctx); err != nil {
			return err
		}
	}
	left := c.pending.all()
	if c.opts.Repair {
		if err := c.revise(ctx, left, true); err != nil {
			return err
		}
	}
	for _, d := range left {
		if c.settled(d) {
			continue
		}
		if d.verdict.kind != Extra {
			c.final(d.difference())
			continue
		}
		c.extra(d.difference())
		c.deleted[string(d.name)] = true
	}
	c.pending.replace(nil)
	return nil
}

func (c *Comparer) settleRound(ctx context.Context) error {
	doubts := c.pending.all()
	if err := c.revise(ctx, doubts, false); err != nil {
		return err
	}
	var left []*doubt
	for _, d := range doubts {
		if !c.settled(d) {
			left = append(left, d)
		}
	}
	c.pending.replace(left)
	return nil
}

// settled accounts for a key that is no difference.
func (c *Comparer) settled(d *doubt) bool {
	if d.mended {
		return false
	}
	switch d.verdict.outcome {
	case same:
		c.account.same.Add(1)
	case gone:
		c.account.gone.Add(1)
	case skip:
		c.incomparable(d.failure(d.verdict.detail))
	default:
		return false
	}
	return true
}

// revise reads keys again on both sides, and writes the source's value before
// that if mend is set.
func (c *Comparer) revise(ctx context.Context, doubts []*doubt, mend bool) error {
	byDB := slices.SortedStableFunc(slices.Values(doubts), func(a, b *doubt) int { return cmp.Compare(a.db, b.db) })
	ch := &chunk{}
	for len(byDB) > 0 {
		n := 1
		for n < min(len(byDB), anewKeys) && byDB[n].db == byDB[0].db {
			n++
		}
		if err := c.reviseSome(ctx, ch, byDB[:n], mend); err != nil {
			return err
		}
		byDB = byDB[n:]
	}
	return nil
}

// reviseSome does it for keys of one database.
func (c *Comparer) reviseSome(ctx context.Context, ch *chunk, doubts []*doubt, mend bool) error {
	keys := make([][]byte, len(doubts))
	for i, d := range doubts {
		keys[i] = d.key
	}
	var read []*doubt // those whose values are in ch
	compare := func() error {
		looks := make([]*look, len(read))
		for i, d := range read {
			e := &ch.entries[i]
			l := &look{ch: ch, entry: e, mend: mend && !e.gone, was: d.verdict}
			if l.mend {
				d.was = d.verdict
			}
			l.judged = func(v verdict) { d.verdict, d.mended = v, l.mended }
			looks[i] = l
		}
		err := c.again.ask(ctx, looks, nil)
		read, ch.entries, ch.commands, ch.values = nil, ch.entries[:0], ch.commands[:0], ch.values[:0]
		return err
	}
	err := c.opts.Live.Read(ctx, doubts[0].db, keys, func(i int, r Reading) error {
		d := doubts[i]
		if r.Denied != "" {
			d.verdict = verdict{outcome: skip, detail: r.Denied}
			return nil
		}
		if len(ch.values)+len(r.Body) > anewBytes && len(read) > 0 {
			if err := compare(); err != nil {
				return err
			}
		}
		rec := record.Record{DB: d.db, Key: d.key, Type: r.Type, Value: r.Body, Version: r.Version, ExpireAt: r.ExpireAt}
		if len(r.Body) > anewBytes {
			rec.Value, rec.Owned = clone(r.Body), true
		}
		ch.add(c.question(), &rec, d.name, d.slot, nil).gone = r.Gone
		read = append(read, d)
		return nil
	})
	if err != nil || len(read) == 0 {
		return err
	}
	return compare()
}
