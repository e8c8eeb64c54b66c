package target

// outbox gathers records that go to other lanes than the one that holds them.
// Redirected records are on their way already, so it never waits for memory.
type outbox struct {
	cluster *Cluster
	chunks  map[destination]*chunk
}

type destination struct {
	lane   *lane
	asking bool
}

func (c *Cluster) newOutbox() *outbox {
	return &outbox{cluster: c, chunks: map[destination]*chunk{}}
}

// add copies one entry of a chunk into what goes to a lane, and returns the
// chunk that has it as its last.
func (o *outbox) add(to *lane, from *chunk, i int, asking bool) *chunk {
	d := destination{to, asking}
	c := o.chunks[d]
	if c != nil && (from.body != nil || c.body != nil || !c.room(from, i)) {
		to.push(c)
		c = nil
	}
	if c == nil {
		c = o.cluster.budget.force(from.entrySize(i), from.bodyBytes())
		c.asking = asking
		o.chunks[d] = c
	}
	c.take(from, i)
	return c
}

// flush pushes everything gathered to its lanes.
func (o *outbox) flush() {
	for d, c := range o.chunks {
		d.lane.push(c)
		delete(o.chunks, d)
	}
}
