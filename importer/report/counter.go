package report

import (
	"bytes"
	"cmp"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/slotferry/slotferry/importer/route"
)

// CounterOptions says for whom is counted; zero fields take the defaults noted.
type CounterOptions struct {
	Table     *route.Table // who owns each slot; none: nobody
	Separator string       // what ends a part of a name, 1 to 8 bytes; guessed
	Memory    int64        // bytes that tags, prefixes and samples may take together; 64 MiB, 64 KiB at least
	Now       time.Time    // from which the time left is told; the present
}

const (
	defaultMemory = 64 << 20
	minMemory     = 64 << 10
	maxMemory     = 2 << 30
)

// Counter gathers what a plan says of the keys. It takes no memory a key: slots
// are an array, tags and prefixes are bounded tallies. It is for one goroutine.
type Counter struct {
	table *route.Table
	now   int64 // Unix milliseconds

	slots     [route.Slots]share
	ttl       TTL
	databases map[int]*int64
	db        int // of the last key, whose count inDB is
	inDB      *int64
	encodings map[encoding]*share
	enc       encoding // of the last key, whose share inEnc is
	inEnc     *share
	big       bigKeys

	tags      *tally
	prefixes  *tally
	sample    *sample // nil when separator and depth are chosen
	separator []byte
	depth     int
}

type encoding struct{ typ, name string }

// Key is one key that would travel.
type Key struct {
	DB       int
	Key      []byte // its name in the source
	Name     []byte // its name in the target
	Slot     uint16 // of that name
	Type     string // as TYPE says it
	Encoding string // how it is stored, such as "listpack"; "" if not known
	Bytes    int64  // of the value and the key's name
	ExpireAt int64  // Unix milliseconds; 0 means no expiry
}

// NewCounter returns an empty counter.
func NewCounter(o CounterOptions) *Counter {
	if o.Table == nil {
		o.Table = route.NewTable()
	}
	if o.Now.IsZero() {
		o.Now = time.Now()
	}
	memory := min(max(cmp.Or(o.Memory, defaultMemory), minMemory), maxMemory)
	return &Counter{
		table: o.Table, now: o.Now.UnixMilli(),
		databases: map[int]*int64{}, encodings: map[encoding]*share{}, big: newBigKeys(),
		tags: newTally(memory / 2), prefixes: newTally(memory / 2),
		// While the sample is there, there are no prefixes yet.
		sample:    &sample{limit: int(min(sampleBytes, memory/8))},
		separator: []byte(o.Separator),
	}
}

// Key counts one key. Its names need to be valid during the call only.
func (c *Counter) Key(k Key) {
	c.slots[k.Slot%route.Slots].add(k.Bytes)
	c.left(k.ExpireAt)
	if c.inDB == nil || k.DB != c.db {
		c.setDB(k.DB)
	}
	*c.inDB++
	if c.inEnc == nil || k.Encoding != c.enc.name || k.Type != c.enc.typ {
		c.setEncoding(encoding{k.Type, k.Encoding})
	}
	c.inEnc.add(k.Bytes)
	if k.Bytes > c.big.floor {
		c.big.add(k)
	}
	if tag := route.Tag(k.Name); len(tag) < len(k.Name) {
		c.tags.add(c.tags.hash(tag), shorten(tag), k.Slot, k.Bytes)
	}
	if c.sample == nil {
		c.prefix(k.Name, k.Bytes)
	} else if c.sample.add(k.Name, k.Bytes) {
		c.choose()
	}
}

// left counts a key by the time that it has left.
func (c *Counter) left(expireAt int64) {
	const hour = int64(time.Hour / time.Millisecond)
	switch left := expireAt - c.now; {
	case expireAt == 0:
		c.ttl.None++
	case left <= hour:
		c.ttl.Hour++
	case left <= 24*hour:
		c.ttl.Day++
	case left <= 7*24*hour:
		c.ttl.Week++
	case left <= 30*24*hour:
		c.ttl.Mon++
	default:
		c.ttl.More++
	}
}

func (c *Counter) setDB(db int) {
	n, ok := c.databases[db]
	if !ok {
		n = new(int64)
		c.databases[db] = n
	}
	c.db, c.inDB = db, n
}

func (c *Counter) setEncoding(e encoding) {
	s, ok := c.encodings[e]
	if !ok {
		s = &share{}
		c.encodings[e] = s
	}
	c.enc, c.inEnc = e, s
}

func (c *Counter) prefix(name []byte, bytes int64) {
	p := prefix(name, c.separator, c.depth)
	c.prefixes.add(c.prefixes.hash(p), p, 0, bytes)
}

// choose ends the sampling: from now on prefixes are counted at once.
func (c *Counter) choose() {
	s := c.sample
	c.sample = nil
	if len(c.separator) == 0 {
		c.separator = s.separator()
	}
	if len(c.separator) > 0 {
		c.depth = s.depth(c.separator)
	}
	s.each(c.prefix)
}

// Fill writes what was counted into a plan. What a target makes of the big keys
// (Fits, InTime, Seconds) is the caller's to add.
func (c *Counter) Fill(p *Plan) {
	if c.sample != nil {
		c.choose()
	}
	p.Format = Format
	c.fillSlots(p)
	c.fillKinds(p)
	c.fillNames(p)
	p.TTL = c.ttl
	p.Databases = map[string]int64{}
	for db, n := range c.databases {
		p.Databases[strconv.Itoa(db)] = *n
	}
	p.BigKeys = []BigKey{}
	for _, k := range c.big.top.list {
		big := *k
		// Without an owner the address is empty.
		m, _ := c.table.Owner(uint16(big.Slot))
		big.Master = m.Addr
		p.BigKeys = append(p.BigKeys, big)
	}
}

func (c *Counter) fillSlots(p *Plan) {
	p.Keys, p.Bytes = 0, 0
	p.Slots, p.Masters = []Slot{}, []Master{}
	owned := c.table.Counts()
	for i, m := range c.table.Masters() {
		p.Masters = append(p.Masters, Master{ID: m.ID, Addr: m.Addr, Slots: owned[i]})
	}
	for s := range route.Slots {
		owner := c.table.Index(uint16(s))
		if owner < 0 {
			continue
		}
		m := &p.Masters[owner]
		if last := len(m.Ranges) - 1; last >= 0 && m.Ranges[last][1] == s-1 {
			m.Ranges[last][1] = s
		} else {
			m.Ranges = append(m.Ranges, [2]int{s, s})
		}
	}
	nobody := Master{Slots: route.Slots}
	for _, n := range owned {
		nobody.Slots -= n
	}
	for i, s := range c.slots {
		if s.keys == 0 {
			continue
		}
		p.Slots = append(p.Slots, Slot{Slot: i, Keys: s.keys, Bytes: s.bytes})
		p.Keys += s.keys
		p.Bytes += s.bytes
		m := &nobody
		if owner := c.table.Index(uint16(i)); owner >= 0 {
			m = &p.Masters[owner]
		}
		m.Keys += s.keys
		m.Bytes += s.bytes
	}
	p.Skew = Skew{
		Keys:  skew(p.Masters, func(m Master) int64 { return m.Keys }),
		Bytes: skew(p.Masters, func(m Master) int64 { return m.Bytes }),
	}
	if nobody.Keys > 0 {
		p.Masters = append(p.Masters, nobody)
	}
}

// skew is the largest share by the mean of all masters that own slots.
func skew(masters []Master, weight func(Master) int64) float64 {
	var n, sum, largest int64
	for _, m := range masters {
		if m.Slots > 0 {
			n++
			sum += weight(m)
			largest = max(largest, weight(m))
		}
	}
	if sum == 0 {
		return 0
	}
	return float64(largest) * float64(n) / float64(sum)
}

func (c *Counter) fillKinds(p *Plan) {
	p.Types, p.Encodings = map[string]int64{}, []Encoding{}
	for e, s := range maps.All(c.encodings) {
		p.Types[e.typ] += s.keys
		p.Encodings = append(p.Encodings, Encoding{Type: e.typ, Encoding: e.name, Keys: s.keys, Bytes: s.bytes})
	}
	slices.SortFunc(p.Encodings, func(a, b Encoding) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.Type, b.Type), cmp.Compare(a.Encoding, b.Encoding))
	})
}

func (c *Counter) fillNames(p *Plan) {
	p.HashTags, p.Prefixes = []Tag{}, []Prefix{}
	for _, e := range c.tags.heaviest(ShownTags, TagsByKeys) {
		p.HashTags = append(p.HashTags, Tag{Tag: bytes.Clone(c.tags.name(e)), Slot: int(e.slot), Keys: e.counted.keys, Bytes: e.counted.bytes})
	}
	for _, e := range c.prefixes.heaviest(ShownPrefixes, 0) {
		p.Prefixes = append(p.Prefixes, Prefix{Prefix: bytes.Clone(c.prefixes.name(e)), Keys: e.counted.keys, Bytes: e.counted.bytes})
	}
	p.HashTagsExact, p.HashTagsError, p.HashTagsErrorKeys = c.tags.exact(), c.tags.error.bytes, c.tags.error.keys
	p.PrefixesExact, p.PrefixesError, p.PrefixesErrorKeys = c.prefixes.exact(), c.prefixes.error.bytes, c.prefixes.error.keys
	p.Separator, p.PrefixDepth = string(c.separator), c.depth
}
