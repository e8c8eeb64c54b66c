package verify

import (
	"github.com/slotferry/slotferry/importer/pulse"
	"github.com/slotferry/slotferry/importer/target"
)

// anyNode is whom a question goes to that any of several nodes may answer.
const anyNode = "the target"

// Moved grows with everything that comes from the target.
func (c *Comparer) Moved() int64 { return c.pulse.Moved() }

// Waits returns the nodes that have not answered all that they were asked.
func (c *Comparer) Waits() []pulse.Wait {
	all := c.pulse.Waits()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range c.lanes {
		l.mu.Lock()
		if len(l.inflight)+len(l.queue) > 0 {
			all = append(all, target.Owes(l.addr, "an answer"))
		}
		l.mu.Unlock()
	}
	return pulse.Longest(all)
}
