package target

// Master is one lane's share of the work, for the display.
type Master struct {
	Addr   string `json:"addr"`
	ID     string `json:"id"`
	Slots  int    `json:"slots"`
	Keys   int64  `json:"keys"`  // written
	Bytes  int64  `json:"bytes"` // written
	Status string `json:"status,omitempty"`
}

// Masters returns what each master has received, those that lost their role in
// between included.
func (c *Cluster) Masters() []Master {
	now := c.routing.Load()
	slots := now.table.Counts()
	seen := map[*lane]bool{}
	var out []Master
	for i, m := range now.table.Masters() {
		l := now.lanes[i]
		seen[l] = true
		out = append(out, l.describe(m.ID, slots[i]))
	}
	for _, l := range c.allLanes() {
		if !seen[l] && l.keys.Load() > 0 {
			out = append(out, l.describe("", 0))
		}
	}
	return out
}

// Retries counts what went wrong and was mended: redirections, pauses asked
// for by nodes, connections lost.
type Retries struct {
	Moved     int64 `json:"moved"`
	Ask       int64 `json:"ask"`
	Paused    int64 `json:"paused"`
	Lost      int64 `json:"lost"`
	Restamped int64 `json:"restamped"` // payloads sent again with a lower RDB version
	Rebuilt   int64 `json:"rebuilt"`   // values made with native commands
}

// Retries returns the numbers up to now.
func (c *Cluster) Retries() Retries {
	n := &c.count
	return Retries{n.moved.Load(), n.ask.Load(), n.paused.Load(), n.lost.Load(), n.restamped.Load(), n.rebuilt.Load()}
}
