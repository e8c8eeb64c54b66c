package scan

import (
	"slices"
	"strconv"
)

const (
	queuesMax = 50_000 // pending entries that are held, of all groups
	queueMax  = 1000   // of one group
	claimMax  = 1000   // of one XCLAIM
	extrasMax = 1000   // entries that are there only to be claimed
)

// pending walks over what the groups of a stream have delivered without an
// answer, beside the stream's entries, in the order of IDs. It asks on a
// connection of its own.
type pending struct {
	*builder
	groups []*group // with pending entries
	page   int      // asked for at once, of each group
	first  bool     // no entry was added yet
	keep   bool     // the stream's highest deleted ID has to stay 0-0, which only trimming does
	extras []streamID
	early  int // so many of the extras lie before the first entry
}

// pendingQueue is the next pending entries of a group.
type pendingQueue struct {
	next    streamID // to ask for
	end     bool     // there are no more to ask for
	entries []pendingEntry
}

type pendingEntry struct {
	id       streamID
	consumer string
	at       int64 // Unix milliseconds, when it was delivered
	count    int64 // how often
}

// claim is an XCLAIM that is gathered: entries delivered at one time, so many
// times, to one consumer.
type claim struct {
	of  pendingEntry // the first of them
	ids []streamID
}

func newPending(q *builder, info *stream) *pending {
	p := &pending{builder: q, first: true, keep: string(info.deleted) == "0-0"}
	for _, g := range info.groups {
		if string(g.pending) != "0" {
			p.groups = append(p.groups, g)
		}
	}
	p.page = max(1, min(queueMax, queuesMax/max(1, len(p.groups))))
	return p
}

// before claims what is pending before an entry, which isn't there any more:
// such entries are added, and removed again.
func (p *pending) before(id streamID) error {
	for {
		least := id
		for _, g := range p.groups {
			if err := p.fill(g); err != nil {
				return err
			}
			if len(g.queue.entries) > 0 && g.queue.entries[0].id.less(least) {
				least = g.queue.entries[0].id
			}
		}
		if least == id {
			return nil
		}
		if err := p.say("XADD", p.name, least.append(nil), "-", "-"); err != nil {
			return err
		}
		p.extras = append(p.extras, least)
		if p.first {
			p.early = len(p.extras)
		}
		if err := p.claim(least); err != nil {
			return err
		}
		if len(p.extras) >= extrasMax {
			if err := p.settled(); err != nil {
				return err
			}
		}
	}
}

// added claims an entry that was just added, where it is pending.
func (p *pending) added(id streamID) error {
	p.first = false
	return p.claim(id)
}

func (p *pending) claim(id streamID) error {
	for _, g := range p.groups {
		if len(g.queue.entries) == 0 || g.queue.entries[0].id != id {
			continue
		}
		e, c := g.queue.entries[0], &g.claim
		g.queue.entries = g.queue.entries[1:]
		if len(c.ids) > 0 && (len(c.ids) >= claimMax || c.of.consumer != e.consumer || c.of.at != e.at || c.of.count != e.count) {
			if err := p.claimed(g); err != nil {
				return err
			}
		}
		if len(c.ids) == 0 {
			c.of = e
		}
		c.ids = append(c.ids, id)
	}
	return nil
}

// claimed emits what is gathered for a group.
func (p *pending) claimed(g *group) error {
	c := &g.claim
	if len(c.ids) == 0 {
		return nil
	}
	words := [][]byte{[]byte("XCLAIM"), p.name, g.name, []byte(c.of.consumer), []byte("0")}
	for _, id := range c.ids {
		words = append(words, id.append(nil))
	}
	c.ids = c.ids[:0]
	return p.emit(append(words, []byte("TIME"), strconv.AppendInt(nil, c.of.at, 10), []byte("RETRYCOUNT"), strconv.AppendInt(nil, c.of.count, 10), []byte("FORCE"), []byte("JUSTID")))
}

// settled emits all that is gathered, and removes entries that were added only
// for that.
func (p *pending) settled() error {
	for _, g := range p.groups {
		if err := p.claimed(g); err != nil {
			return err
		}
	}
	if p.keep && p.early > 0 {
		if end, ok := p.extras[p.early-1].next(); ok {
			if err := p.say("XTRIM", p.name, "MINID", end.append(nil)); err != nil {
				return err
			}
			p.extras = p.extras[p.early:]
		}
	}
	p.early = 0
	if len(p.extras) > 0 {
		words := [][]byte{[]byte("XDEL"), p.name}
		for _, id := range p.extras {
			words = append(words, id.append(nil))
		}
		if err := p.emit(words); err != nil {
			return err
		}
	}
	p.extras = p.extras[:0]
	return nil
}

// finish claims what is pending behind the last entry.
func (p *pending) finish() error {
	if err := p.before(lastID); err != nil {
		return err
	}
	if err := p.claim(lastID); err != nil {
		return err
	}
	return p.settled()
}

// fill asks for a group's next pending entries if none are there.
func (p *pending) fill(g *group) error {
	q := &g.queue
	if len(q.entries) > 0 || q.end {
		return nil
	}
	const command = "XPENDING"
	p.ask("TIME")
	p.ask(command, p.key, g.name, q.next, "+", p.page)
	if err := p.send(); err != nil {
		return err
	}
	now, err := p.readTime()
	if err != nil {
		return p.sorted(err)
	}
	n, err := p.elements(command)
	if err != nil {
		return err
	}
	if n > int64(p.page) {
		return p.odd(command)
	}
	p.unit = 0
	q.entries = slices.Grow(q.entries[:0], int(n))
	last := q.next
	for i := range n {
		e, err := p.readPending(command, now)
		if err != nil {
			return err
		}
		if e.id.less(last) || i > 0 && e.id == last {
			return p.odd(command)
		}
		last = e.id
		q.entries = append(q.entries, e)
	}
	next, ok := last.next()
	q.next, q.end = next, !ok || n < int64(p.page)
	return nil
}

// readPending reads one entry: ID, consumer, milliseconds since it was
// delivered, and how often that was.
func (p *pending) readPending(command string, now int64) (e pendingEntry, err error) {
	if err := p.fields(4, command); err != nil {
		return e, err
	}
	word, err := p.small(command, 2*numberMax+1)
	if err != nil {
		return e, err
	}
	id, ok := parseID(word)
	if !ok {
		return e, p.odd(command)
	}
	consumer, err := p.small(command, p.elementMax())
	if err != nil {
		return e, err
	}
	e.id, e.consumer = id, p.pipe.word(consumer)
	idle, err := p.number(command)
	if err != nil {
		return e, err
	}
	e.at = max(0, now-idle)
	e.count, err = p.number(command)
	return e, err
}
