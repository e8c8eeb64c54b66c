package target

// outbox gathers records that go to other lanes than the one that holds them.
// Redirected records are on their way already, so it never waits for memory.
type outbox struct {
	cluster *Cluster
	chunks  map[destination]*chunk
}

type destination struct {
	lane    *lane
	asking  bool
	rebuild bool // for the lane's rebuilder
}

func (c *Cluster) newOutbox() *outbox {
	return &outbox{cluster: c, chunks: map[destination]*chunk{}}
}

// add copies one entry of a chunk into what goes to a lane, and returns the
// chunk that has it as its last.
func (o *outbox) add(to *lane, from *chunk, i int, asking bool) *chunk {
	return o.put(destination{lane: to, asking: asking}, from, i)
}

// rebuild is add for what is to be made with native commands there.
func (o *outbox) rebuild(to *lane, from *chunk, i int) {
	o.put(destination{lane: to, rebuild: true}, from, i)
}

func (o *outbox) put(d destination, from *chunk, i int) *chunk {
	c := o.chunks[d]
	if c != nil && (from.body != nil || c.body != nil || !c.room(from, i)) {
		d.push(c)
		c = nil
	}
	if c == nil {
		c = o.cluster.budget.force(from.entrySize(i), from.bodyBytes())
		c.asking = d.asking
		o.chunks[d] = c
	}
	c.take(from, i)
	return c
}

// flush pushes everything gathered to its lanes.
func (o *outbox) flush() {
	for d, c := range o.chunks {
		d.push(c)
		delete(o.chunks, d)
	}
}

func (d destination) push(c *chunk) {
	if d.rebuild {
		d.lane.rebuilder.push(c)
		return
	}
	d.lane.push(c)
}
