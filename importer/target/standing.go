package target

import (
	"fmt"
	"time"

	"github.com/slotferry/slotferry/importer/pulse"
)

// Moved is when something last moved on the connection of a lane that has no
// setbacks, in Unix nanoseconds: a large value is on its way for long before
// it is answered.
func (c *Cluster) Moved() (latest int64) {
	for _, l := range c.allLanes() {
		l.mu.Lock()
		if len(l.inflight) > 0 && l.failures == 0 {
			latest = max(latest, l.progress.Load())
		}
		l.mu.Unlock()
		latest = max(latest, l.rebuilder.lastMove())
	}
	return latest
}

// Waits returns the nodes that have not answered all that they were sent, or
// that can't be sent what waits for them.
func (c *Cluster) Waits() []pulse.Wait {
	var all []pulse.Wait
	for _, l := range c.allLanes() {
		if w, ok := l.waits(); ok {
			all = append(all, w)
		}
		if w, ok := l.rebuilder.waits(); ok {
			all = append(all, w)
		}
	}
	return pulse.Longest(all)
}

func (l *lane) waits() (pulse.Wait, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.inflight)+len(l.queue)+len(l.parked) == 0 {
		return pulse.Wait{}, false
	}
	w := Owes(l.addr, "an answer")
	if moved := l.progress.Load(); moved > 0 {
		w.Since = time.Unix(0, moved)
	}
	if l.why != "" {
		w.What, w.Since = fmt.Sprintf("a good answer (%s)", l.why), l.trouble
	}
	return w, true
}

// Owes is a wait for a node.
func Owes(addr, what string) pulse.Wait {
	return pulse.Wait{
		On: addr, What: what,
		Remedy: "see that the node is up, and not stopped, out of memory or busy with one slow command (redis-cli -h … -p … PING, INFO, its log); if it is gone for good, let its replica take over",
	}
}
