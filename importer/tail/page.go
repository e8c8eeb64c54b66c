package tail

import "github.com/slotferry/slotferry/checkpoint"

const (
	pageBytes   = 64 << 10
	pageEntries = 512
	entryBytes  = 96 // of memory, for what an entry takes beside its command
)

// entry is one command of the source on its way, or a part of one: what goes
// over the wire, and its place in the queue of its slot.
type entry struct {
	next     *entry
	page     *page
	segment  *checkpoint.Segment // nil: of no command
	serial   int64               // 0: does not bring the slot forward
	from     uint32              // what is sent: page.memory[from:to]
	to       uint32
	until    uint32 // page.memory[to:until] is the command with the source's own names, if those differ
	words    uint16 // commands that are sent
	slot     uint16
	db       int32
	joined   bool // goes in one block with the next
	lives    bool // an answer of 0 means that its key is missing
	question bool // it only asks whether keys are there, in front of the command that source returns
	refusal  *refusal
}

// refusal is why the target will not have a command, and what is sent instead:
// that its keys must be read again.
type refusal struct {
	reason string
	wire   []byte
	words  int
}

// sent returns what goes over the wire.
func (e *entry) sent() ([]byte, int) {
	if e.refusal != nil {
		return e.refusal.wire, e.refusal.words
	}
	return e.page.memory[e.from:e.to], int(e.words)
}

// source returns the command as the source gave it.
func (e *entry) source() []byte {
	if e.until > e.to {
		return e.page.memory[e.to:e.until]
	}
	return e.page.memory[e.from:e.to]
}

// page is memory for commands that came one after the other, whatever their
// slots. Neither memory nor entries ever move, so that others may read what is
// there while more is added.
type page struct {
	memory  []byte
	filled  int // bytes of memory; of the goroutine that gives commands, as entries
	entries []entry
	added   int // entries that left does not count yet; of the goroutine that gives commands
	left    int // entries without an answer, and one more while it is being filled; under Applier.mu
}

// countAdded brings what was added to the open page into its count. The caller
// holds mu.
func (a *Applier) countAdded() {
	a.open.left += a.open.added
	a.open.added = 0
}

func (p *page) charge() int64 { return int64(len(p.memory)) + int64(cap(p.entries))*entryBytes }

// room returns a page with room for one more command of n bytes. It waits while
// the memory for commands on their way is used up.
func (a *Applier) room(n int) (*page, error) {
	if p := a.open; p != nil && len(p.memory)-p.filled >= n && len(p.entries) < cap(p.entries) {
		return p, nil
	}
	bytes, entries := pageBytes, pageEntries
	if n > pageBytes {
		bytes, entries = n, 1
	}
	need := int64(bytes) + int64(entries)*entryBytes
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.open != nil {
		a.countAdded()
		a.releasePage(a.open)
		a.open = nil
	}
	if a.used+need > a.opts.Memory {
		a.publishLocked()
		for a.unanswered > 0 && a.used+need > a.opts.Memory && a.err == nil {
			a.waitLocked()
		}
	}
	if a.err != nil {
		return nil, a.err
	}
	var p *page
	if last := len(a.free) - 1; last >= 0 && n <= pageBytes {
		p, a.free = a.free[last], a.free[:last]
	} else {
		p = &page{memory: make([]byte, bytes), entries: make([]entry, 0, entries)}
	}
	p.left, p.added = 1, 0
	a.used += p.charge()
	a.open = p
	return p, nil
}

// releasePage notes that one thing less holds a page. The caller holds mu.
func (a *Applier) releasePage(p *page) {
	if p.left--; p.left > 0 {
		return
	}
	a.used -= p.charge()
	if len(p.memory) == pageBytes {
		clear(p.entries)
		p.filled, p.entries = 0, p.entries[:0]
		a.free = append(a.free, p)
	}
	a.stir()
}
