package tail

import (
	"strconv"
	"time"

	"github.com/slotferry/slotferry/importer/route"
	"github.com/slotferry/slotferry/importer/target"
	"github.com/slotferry/slotferry/resp"
)

// state is what a slot's queue waits for.
type state uint8

const (
	idle   state = iota // for commands
	ready               // for its master's writer
	flying              // for answers
	held                // until the target has mended
)

// slot is the queue of the commands of one hash slot, and what is known of its
// mark. All of it is under Applier.mu.
type slot struct {
	number     uint16
	state      state
	known      bool // the target has acknowledged a mark, that of serial and blocks
	unsure     bool // the mark has to be read before anything is sent
	past       bool // the mark was there before its master's present life, or before it was the master
	wipe       bool // a mark of another era lies there
	head, tail *entry
	serial     int64   // of the last command that is in
	blocks     int64   // in the mark: one more with each that was applied
	before     int64   // blocks at Begin
	doubt      *flight // a block whose answer was lost with its connection
	pipe       *pipe   // its master's

	since    time.Time // of the first setback in a row
	until    time.Time // held till then
	setbacks int
	why      string
}

// Bounds of one block, which a transaction of the source may exceed.
const (
	blockBytes = 64 << 10
	blockWords = 256
)

// flight is a block, or a look at a mark, that was sent and not answered.
type flight struct {
	slot   *slot
	last   *entry // of the entries of the block; nil: a look
	words  int    // commands between MULTI and EXEC, those of the mark among them
	serial int64  // that the mark will have
	blocks int64
	before int // commands before those of the entries
	bytes  int

	// What the answers said; the reader's.
	applied bool
	reason  string // why not
	at      int    // the command that was refused; -1: the whole
	wrong   []wrong
	unheard bool // it was applied, but its answers are lost
	seen    mark // by a look
}

// wrong is a command of a block that was applied, and yet not as in the source.
type wrong struct {
	at     int
	reason string
}

// mark is what the target says of a slot.
type mark struct {
	serial, blocks int64
	era            string
}

func parseMark(text string) (m mark, ok bool) {
	serial, rest, ok1 := cut(text)
	blocks, era, ok2 := cut(rest)
	return mark{serial: serial, blocks: blocks, era: era}, ok1 && ok2
}

// cut reads a number and the space behind it.
func cut(text string) (n int64, rest string, ok bool) {
	for i := range len(text) {
		if text[i] == ' ' {
			n, err := strconv.ParseInt(text[:i], 10, 64)
			return n, text[i+1:], err == nil && n >= 0
		}
	}
	return 0, "", false
}

// stale is a field of a mark that is of no use once the slot has passed serial.
type stale struct {
	field  string
	serial int64
}

var (
	multi = resp.AppendCommand(nil, "MULTI")
	exec  = resp.AppendCommand(nil, "EXEC")
)

// compose appends the next block of a slot, or a look at its mark, and returns
// it; nil if there is nothing that may go. The caller holds mu.
func (a *Applier) compose(dst []byte, s *slot) ([]byte, *flight) {
	before := len(dst)
	f := a.flight(s)
	if s.unsure {
		a.markName = target.AppendMark(a.markName[:0], s.number, a.jobHash)
		dst = resp.AppendArray(dst, 3)
		dst = append(dst, "$4\r\nHGET\r\n"...)
		dst = resp.AppendBulk(dst, a.markName)
		dst = append(dst, "$0\r\n\r\n"...)
		f.bytes = len(dst) - before
		return dst, f
	}
	last, serial := s.cut()
	if last == nil {
		a.land(f)
		return dst, nil
	}
	f.last, f.serial, f.blocks = last, max(s.serial, serial), s.blocks+1
	a.markName = target.AppendMark(a.markName[:0], s.number, a.jobHash)
	dst = append(dst, multi...)
	if s.wipe {
		dst = append(dst, "*2\r\n$3\r\nDEL\r\n"...)
		dst = resp.AppendBulk(dst, a.markName)
		f.before, f.words = 1, 1
	}
	for e := s.head; ; e = e.next {
		wire, words := e.sent()
		dst = append(dst, wire...)
		f.words += words
		if e == last {
			break
		}
	}
	dst = a.appendMark(dst, s, f)
	dst = append(dst, exec...)
	f.bytes = len(dst) - before
	return dst, f
}

// cut returns the last entry of the next block and the highest serial in it.
func (s *slot) cut() (last *entry, serial int64) {
	bytes, words := 0, 0
	high := int64(0)
	for e := s.head; e != nil; e = e.next {
		wire, n := e.sent()
		bytes += len(wire)
		words += n
		if last != nil && (bytes > blockBytes || words > blockWords) {
			break
		}
		high = max(high, e.serial)
		if !e.joined {
			last, serial = e, high
		}
	}
	return last, serial
}

// appendMark appends what brings the mark forward.
func (a *Applier) appendMark(dst []byte, s *slot, f *flight) []byte {
	var value [64]byte
	v := strconv.AppendInt(value[:0], f.serial, 10)
	v = append(v, ' ')
	v = strconv.AppendInt(v, f.blocks, 10)
	v = append(v, ' ')
	v = append(v, a.era...)
	dst = append(dst, "*4\r\n$4\r\nHSET\r\n"...)
	dst = resp.AppendBulk(dst, a.markName)
	dst = append(dst, "$0\r\n\r\n"...)
	dst = resp.AppendBulk(dst, v)
	f.words++
	if len(a.stale) == 0 {
		return dst
	}
	old := a.stale[s.number]
	n := 0
	for n < len(old) && old[n].serial <= f.serial {
		n++
	}
	if n == 0 {
		return dst
	}
	dst = resp.AppendArray(dst, 2+n)
	dst = append(dst, "$4\r\nHDEL\r\n"...)
	dst = resp.AppendBulk(dst, a.markName)
	for _, o := range old[:n] {
		dst = resp.AppendBulk(dst, []byte(o.field))
	}
	f.words++
	return dst
}

// flight returns an empty one. The caller holds mu.
func (a *Applier) flight(s *slot) *flight {
	if n := len(a.landed); n > 0 {
		f := a.landed[n-1]
		a.landed = a.landed[:n-1]
		*f = flight{slot: s, at: -1, wrong: f.wrong[:0]}
		return f
	}
	return &flight{slot: s, at: -1}
}

func (a *Applier) land(f *flight) { a.landed = append(a.landed, f) }

// push makes a slot ready for its master's writer. The caller holds mu.
func (a *Applier) push(s *slot) {
	s.state = ready
	s.pipe.ready.push(s)
	if s.pipe.waiting {
		s.pipe.work.Broadcast()
	}
}

// queue is a first-in first-out list of slots.
type queue struct {
	slots []*slot
	from  int
}

func (q *queue) len() int { return len(q.slots) - q.from }

func (q *queue) push(s *slot) {
	if q.from > len(q.slots)/2 && q.from > 64 {
		n := copy(q.slots, q.slots[q.from:])
		clear(q.slots[n:])
		q.slots, q.from = q.slots[:n], 0
	}
	q.slots = append(q.slots, s)
}

func (q *queue) pop() *slot {
	s := q.slots[q.from]
	q.from++
	return s
}

// take empties the list.
func (q *queue) take() []*slot {
	all := append([]*slot(nil), q.slots[q.from:]...)
	*q = queue{slots: q.slots[:0]}
	return all
}

// adopt makes a slot table the one to go by. What a slot's new master holds has
// to be looked at first. The caller holds mu.
func (a *Applier) adopt(t *route.Table) {
	a.table = t
	var waiting []*slot
	for _, p := range a.pipes {
		waiting = append(waiting, p.ready.take()...)
	}
	for i := range a.slots {
		s := &a.slots[i]
		m, err := t.Owner(s.number)
		if err != nil {
			if s.pipe != nil || len(t.Masters()) == 0 {
				continue // it will be told so
			}
			m = t.Masters()[0]
		}
		p := a.pipe(m.Addr)
		if s.pipe != p {
			s.unsure, s.past = s.unsure || s.known, s.past || s.known
			s.pipe = p
		}
	}
	for _, s := range waiting {
		a.push(s)
	}
}
