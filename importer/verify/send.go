package verify

import (
	"context"

	"github.com/slotferry/slotferry/checkpoint"
	"github.com/slotferry/slotferry/importer/record"
)

// Send queues a record for comparison with what the master of a slot has under
// a name. It waits while the memory for records on their way is used up. One
// that the source had to refuse is only accounted for.
func (c *Comparer) Send(ctx context.Context, r *record.Record, name []byte, slot uint16, seg *checkpoint.Segment) error {
	if r.Fate == record.Refused {
		c.leftOut(seg, checkpoint.Failure{Key: clone(r.Key), DB: r.DB, Slot: slot, Reason: r.Reason})
		return nil
	}
	l := c.laneOf(slot)
	commands, values := sizes(r, name)
	if l.open != nil && (r.Owned || !l.open.fits(commands, values)) {
		l.seal()
	}
	if l.open == nil {
		extra := int64(0)
		if r.Owned {
			extra = int64(len(r.Value))
		}
		ch, err := c.budget.chunk(ctx, commands, values, extra, c.Flush)
		if err != nil {
			return err
		}
		l.open = ch
	}
	l.open.add(c.question(), r, name, slot, seg)
	if r.Owned {
		l.seal()
	}
	return nil
}

func (c *Comparer) question() question { return question{pttl: c.pttl} }

// Room waits until a value of n bytes may be held beside what is on its way, for
// a source that is about to take memory for one.
func (c *Comparer) Room(ctx context.Context, n int64) error {
	c.Flush()
	c.budget.mu.Lock()
	defer c.budget.mu.Unlock()
	return c.budget.wait(ctx, n, func() {})
}

// Flush hands everything that Send has gathered to the lanes.
func (c *Comparer) Flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range c.lanes {
		l.seal()
	}
}

// Drain waits until all that was sent is accounted for.
func (c *Comparer) Drain(ctx context.Context) error {
	c.Flush()
	return c.budget.drained(ctx)
}

// Finish says that nothing more will be sent. Run ends when all is accounted for.
func (c *Comparer) Finish() {
	c.Flush()
	c.finish.Do(func() { close(c.finished) })
}

// laneOf returns the lane of a slot's owner, or any if it has none: that node
// says so, and the key is asked for again.
func (c *Comparer) laneOf(slot uint16) *lane {
	if t := c.opts.Target.Table(); t != c.routing.table {
		c.routing.table, c.routing.lanes = t, c.routing.lanes[:0]
		for _, m := range t.Masters() {
			c.routing.lanes = append(c.routing.lanes, c.lane(m.Addr))
		}
		if len(c.routing.lanes) == 0 {
			c.routing.lanes = append(c.routing.lanes, c.lane(c.owner(slot)))
		}
	}
	return c.routing.lanes[max(0, c.routing.table.Index(slot))]
}

// lane returns the lane of a master, a new one if need be.
func (c *Comparer) lane(addr string) *lane {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.lanes[addr]
	if l == nil {
		l = newLane(c, addr)
		c.lanes[addr] = l
		if c.start != nil {
			c.start(l)
		}
	}
	return l
}

// owner returns the address of a slot's owner, or of any node if it has none.
func (c *Comparer) owner(slot uint16) string {
	t := c.opts.Target.Table()
	switch m := t.Masters(); {
	case t.Index(slot) >= 0:
		return m[t.Index(slot)].Addr
	case len(m) > 0:
		return m[0].Addr
	}
	return c.opts.Facts.Masters[0].Addr
}
