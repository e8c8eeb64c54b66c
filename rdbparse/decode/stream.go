package decode

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/slotferry/slotferry/rdbparse"
)

// Stream is a stream with all that its server remembers of it. Later revisions
// of the format say more; what Revision can't say is zero.
type Stream struct {
	Revision int     // 1 (Redis 5.0), 2 (7.0), 3 (7.2), 4 (8.6), 5 (8.8)
	Entries  []Entry // in order, without deleted ones
	Length   uint64  // as the server counts
	LastID   ID
	Groups   []Group // sorted by name

	FirstID      ID     // of revision 2 on
	MaxDeletedID ID     // of revision 2 on
	EntriesAdded uint64 // of revision 2 on

	Idempotence *Idempotence // of revision 4 on
}

// ID is an entry's.
type ID struct{ Ms, Seq uint64 }

func (id ID) String() string { return fmt.Sprintf("%d-%d", id.Ms, id.Seq) }

// Compare orders IDs as a stream does.
func (id ID) Compare(other ID) int {
	return cmp.Or(cmp.Compare(id.Ms, other.Ms), cmp.Compare(id.Seq, other.Seq))
}

// Entry is one entry of a stream.
type Entry struct {
	ID     ID
	Fields [][]byte // names and values in turn, in order
}

// Group is a consumer group.
type Group struct {
	Name        []byte
	LastID      ID
	EntriesRead int64     // of revision 2 on; -1 where the server doesn't know
	Pending     []Pending // sorted by ID
	Consumers   []Consumer
	GivenBack   []ID // of revision 5 on: pending entries without a consumer, next one first
}

// Pending is an entry that was delivered but not acknowledged.
type Pending struct {
	ID          ID
	DeliveredAt int64 // Unix milliseconds
	Deliveries  uint64
	Consumer    []byte // nil if it is nobody's
}

// Consumer is a consumer of a group.
type Consumer struct {
	Name     []byte
	SeenAt   int64 // Unix milliseconds
	ActiveAt int64 // Unix milliseconds, of revision 3 on; -1 for never
}

// Idempotence is what keeps entries from being added twice (XADD with IDMP).
type Idempotence struct {
	Seconds    uint64 // how long identifiers are remembered
	Most       uint64 // how many of each producer
	Producers  []Producer
	Added      uint64 // identifiers ever added
	Duplicates uint64 // entries that were refused
}

// Producer is one that names its entries itself.
type Producer struct {
	Name []byte
	IDs  []Produced // oldest first
}

// Produced is an entry under its producer's own name for it.
type Produced struct {
	Name []byte
	ID   ID
}

var streamRevisions = map[byte]int{
	rdbparse.TypeStream: 1, rdbparse.TypeStream2: 2, rdbparse.TypeStream3: 3, rdbparse.TypeStream4: 4, rdbparse.TypeStream5: 5,
}

// stream reads L n, n × (S id, S listpack), numbers, groups, producers.
func (d *decoder) stream(revision int) *Stream {
	s := &Stream{Revision: revision}
	for n := d.count(2); n > 0 && d.err == nil; n-- {
		key := d.str()
		if d.err == nil && len(key) != 16 {
			d.corrupt("a stream node's ID of %d bytes", len(key))
		}
		d.node(key, d.str(), math.MaxInt, func(e Entry) { s.Entries = append(s.Entries, e) })
	}
	s.Length, s.LastID = d.length(), d.numberID()
	if revision >= 2 {
		s.FirstID, s.MaxDeletedID, s.EntriesAdded = d.numberID(), d.numberID(), d.length()
	}
	s.Groups = many(d, 5, func(g *Group) { d.group(g, revision) })
	order(d, s.Groups, func(a, b Group) int { return bytes.Compare(a.Name, b.Name) })
	if revision >= 4 {
		s.Idempotence = d.idempotence()
	}
	return s
}

func (d *decoder) numberID() ID { return ID{Ms: d.length(), Seq: d.length()} }

// rawID reads an ID in 16 bytes.
func (d *decoder) rawID() ID {
	if p := d.take(16); p != nil {
		return BigID(p)
	}
	return ID{}
}

// node gives the entries of one listpack: first entries, deleted ones, n,
// n names, 0; then for each entry flags, what its ID is more than the node's,
// its fields, and how many elements that were (src/t_stream.c). An entry that
// has the same names as the node gives only the values.
func (d *decoder) node(key, listpack []byte, maxFields int, take func(Entry)) {
	const deleted, sameNames = 1, 2
	p := d.listpack(listpack)
	if d.err != nil {
		return
	}
	base := BigID(key)
	p.integer()
	p.integer()
	named := p.count(1)
	if named > maxFields {
		d.tooMany(named)
		return
	}
	names := make([][]byte, named)
	for i := range names {
		names[i] = p.must()
	}
	p.integer()
	for {
		flags, ok := p.next()
		if !ok {
			return
		}
		e := Entry{ID: ID{base.Ms + uint64(p.integer()), base.Seq + uint64(p.integer())}}
		same := flags.integer&sameNames != 0
		n := len(names)
		if !same {
			n = p.count(2)
		} else if n > p.room() {
			d.corrupt("a stream entry of %d fields goes beyond the end", n)
		}
		if n > maxFields {
			d.tooMany(n)
		}
		if d.err != nil {
			return
		}
		e.Fields = make([][]byte, 2*n)
		for i := range n {
			if same {
				e.Fields[2*i] = names[i]
			} else {
				e.Fields[2*i] = p.must()
			}
			e.Fields[2*i+1] = p.must()
		}
		p.integer()
		if d.err == nil && flags.integer&deleted == 0 {
			take(e)
		}
	}
}

func (d *decoder) tooMany(fields int) {
	d.fail(rdbparse.ErrTooLong, "a stream entry of %d fields", fields)
}

// count gives the next element where it says how many times each elements
// follow.
func (p *packed) count(each int) int {
	n := p.integer()
	if p.d.err == nil && (n < 0 || n > int64(p.room()/each)) {
		p.d.corrupt("%d fields in a stream's listpack", n)
	}
	if p.d.err != nil {
		return 0
	}
	return int(n)
}

// group reads S name, numbers, pending entries, consumers with the IDs of
// theirs, and from revision 5 on those that were given back.
func (d *decoder) group(g *Group, revision int) {
	g.Name, g.LastID = d.str(), d.numberID()
	if revision >= 2 {
		g.EntriesRead = int64(d.length())
	}
	byID := func(a, b Pending) int { return a.ID.Compare(b.ID) }
	g.Pending = many(d, 16+8+1, func(p *Pending) {
		p.ID, p.DeliveredAt, p.Deliveries = d.rawID(), d.milliseconds(), d.length()
	})
	order(d, g.Pending, byID)
	g.Consumers = many(d, 1+8+1, func(c *Consumer) {
		c.Name, c.SeenAt = d.str(), d.milliseconds()
		if revision >= 3 {
			c.ActiveAt = d.milliseconds()
		}
		for n := d.count(16); n > 0 && d.err == nil; n-- {
			at, ok := slices.BinarySearchFunc(g.Pending, Pending{ID: d.rawID()}, byID)
			if !ok || g.Pending[at].Consumer != nil {
				d.corrupt("a consumer's entry is not its group's")
				return
			}
			g.Pending[at].Consumer = c.Name
		}
	})
	order(d, g.Consumers, func(a, b Consumer) int { return bytes.Compare(a.Name, b.Name) })
	if revision >= 5 {
		g.GivenBack = many(d, 16, func(id *ID) { *id = d.rawID() })
	}
}

// idempotence reads 2 L limits; L n, n × (S producer, L n, n × (S identifier,
// 2 L entry id)); 2 L counters.
func (d *decoder) idempotence() *Idempotence {
	x := &Idempotence{Seconds: d.length(), Most: d.length()}
	x.Producers = many(d, 2, func(p *Producer) {
		p.Name = d.str()
		p.IDs = many(d, 3, func(e *Produced) { e.Name, e.ID = d.str(), d.numberID() })
	})
	order(d, x.Producers, func(a, b Producer) int { return bytes.Compare(a.Name, b.Name) })
	x.Added, x.Duplicates = d.length(), d.length()
	return x
}

// DropConsumerTimes forgets when consumers of a stream were seen and active.
func (v *Value) DropConsumerTimes() {
	if v.Stream == nil {
		return
	}
	for i := range v.Stream.Groups {
		consumers := v.Stream.Groups[i].Consumers
		for n := range consumers {
			consumers[n].SeenAt, consumers[n].ActiveAt = 0, 0
		}
	}
}
