package mirror

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// A trail has a table's entries once more, in the order in which a run came by
// them. A source yields its keys in nearly the same order again, so that most of
// them are found without a look at a random place of the table, which may not
// even be in memory. It is a file of pages as the table's, without names.
//
// A trail only saves time. What is not found on it is looked up in the table, it
// is written only if its entries are the table's, and a table may have none.

const (
	windowPieces = 3    // one behind, one about, and one ahead
	mostStep     = 8    // pages of a piece
	stride       = 2048 // entries that a piece has room for in the window: places are told without a division
	indexSlots   = 16384
	certain      = 8  // keys in a row in the newest piece before the window moves on: one alone may be out of order
	patience     = 64 // keys in a row that are not in the window before it moves on
)

// trail is walked by one run. Its window moves along, and begins anew at the
// end: a hash table that has grown yields half of its keys, then the other half.
type trail struct {
	file   *os.File
	id     uint64
	keys   int64
	step   int    // pages of a piece
	walked keySet // by places on the trail
	buf    []byte

	window []entry // a ring of pieces, one every stride
	pieces [windowPieces]int64
	newest int     // part of the window
	at     int     // where in the window the next key is expected
	index  []int16 // of the window, by name; nil until a key is elsewhere

	hits, misses int64
	astray       int // misses since the last hit
	forward      int // hits in a row in the newest piece
	fresh        []newcomer
	most         int64
	over         bool // there were more than that
}

// newcomer is a name that the table has not, and where on the trail it came by.
type newcomer struct {
	place int64
	name  uint64
}

// trailID tells a trail's pages from those of its table.
func trailID(table uint64) uint64 { return ^table }

// openTrail returns nil if a table has no trail that can be used.
func (f *folder) openTrail(h head, memory int64) (*trail, error) {
	file, err := f.root.Open(trailName(h.ID))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if h.Keys == 0 {
		return nil, file.Close()
	}
	t, err := newTrail(file, h, memory)
	if err != nil {
		if err = errors.Join(err, file.Close()); errors.Is(err, errDamaged) {
			return nil, f.remove(trailName(h.ID))
		}
		return nil, err
	}
	return t, nil
}

// newTrail stands at the beginning of a trail.
func newTrail(file *os.File, h head, memory int64) (*trail, error) {
	if err := sized(file, h.pages()*pageBytes); err != nil {
		return nil, err
	}
	t := &trail{
		file: file, id: trailID(h.ID), keys: h.Keys, walked: newKeySet(h.Keys), newest: -1, most: mostOdd(memory),
		step: int(min(mostStep, max(1, memory/(512*pageBytes)))),
	}
	t.buf = make([]byte, t.step*pageBytes)
	t.window = make([]entry, min(windowPieces, t.count())*stride)
	for range min(windowPieces, t.count()) {
		if err := t.slide(); err != nil {
			return nil, err
		}
	}
	return t, nil
}

func (t *trail) close() error { return t.file.Close() }

// length is that of a piece in entries, count the number of pieces.
func (t *trail) length() int64 { return int64(t.step) * pageEntries }
func (t *trail) count() int64  { return (t.keys + t.length() - 1) / t.length() }

// whole tells that all is in the window.
func (t *trail) whole() bool { return t.count() <= windowPieces }

// read reads a piece.
func (t *trail) read(piece int64, into []entry) ([]entry, error) {
	into = into[:0]
	left := min(t.length(), t.keys-piece*t.length())
	first := piece * int64(t.step)
	buf := t.buf[:(left+pageEntries-1)/pageEntries*pageBytes]
	if _, err := t.file.ReadAt(buf, first*pageBytes); err != nil {
		return nil, fmt.Errorf("trail: %w", err)
	}
	for n := int(first); left > 0; n++ {
		p := page(buf[:pageBytes])
		if err := p.check(t.id, n); err != nil {
			return nil, fmt.Errorf("trail: %w", err)
		}
		count := min(pageEntries, left)
		if int64(p.count()) != count {
			return nil, fmt.Errorf("trail: page %d: %w: %d entries", n, errDamaged, p.count())
		}
		for i := range int(count) {
			into = append(into, p.entry(i))
		}
		left, buf = left-count, buf[pageBytes:]
	}
	return into, nil
}

// slide brings the next piece into the window, in place of the oldest.
func (t *trail) slide() error {
	if t.newest >= 0 {
		t.pieces[(t.newest+1)%windowPieces] = (t.pieces[t.newest] + 1) % t.count()
	}
	t.newest, t.forward = (t.newest+1)%windowPieces, 0
	part := t.window[t.newest*stride:][:stride]
	t.index = t.index[:0]
	_, err := t.read(t.pieces[t.newest], part)
	return err
}

// place tells where on the trail an entry of the window is; false if the window
// has none there.
func (t *trail) place(at int) (int64, bool) {
	i := int64(at % stride)
	place := t.pieces[at/stride%windowPieces]*t.length() + i
	return place, i < t.length() && place < t.keys
}

// next finds a name's entry where it is expected, or elsewhere in the window,
// unless it came by before.
func (t *trail) next(name uint64) (e entry, ok bool, err error) {
	at := t.at
	if t.window[at].name != name {
		if at = t.search(name); at < 0 {
			return e, false, nil
		}
	}
	place, ok := t.place(at)
	if !ok || t.walked.has(place) {
		return e, false, nil
	}
	e = t.window[at]
	t.walked.set(place)
	t.hits++
	t.astray = 0
	if t.at = at + 1; int64(t.at%stride) == t.length() {
		t.at = (at/stride + 1) * stride % len(t.window)
	}
	if at/stride != t.newest {
		t.forward = 0
	} else if t.forward++; t.forward == certain && !t.whole() {
		err = t.slide()
	}
	return e, true, err
}

// search looks through the whole window, and returns -1 if a name is not there.
func (t *trail) search(name uint64) int {
	if len(t.index) == 0 {
		if t.index == nil {
			t.index = make([]int16, indexSlots)
		}
		t.index = t.index[:indexSlots]
		clear(t.index)
		for i, e := range t.window {
			if _, ok := t.place(i); !ok {
				continue
			}
			slot := e.name % indexSlots
			for t.index[slot] != 0 {
				slot = (slot + 1) % indexSlots
			}
			t.index[slot] = int16(i + 1)
		}
	}
	for slot := name % indexSlots; t.index[slot] != 0; slot = (slot + 1) % indexSlots {
		if i := int(t.index[slot] - 1); t.window[i].name == name {
			return i
		}
	}
	return -1
}

// miss notes that the table has a name which is not in the window. Many of them
// in a row are a stretch of the trail that is gone from the source.
func (t *trail) miss() error {
	t.misses++
	if t.astray++; t.astray%patience != 0 || t.whole() {
		return nil
	}
	return t.slide()
}

// meet notes a name that the table has not.
func (t *trail) meet(name uint64) {
	if t.over = int64(len(t.fresh)) >= t.most; t.over {
		return
	}
	place, _ := t.place(t.at)
	t.fresh = append(t.fresh, newcomer{place, name})
}

// drifted tells that the order is not the source's any more.
func (t *trail) drifted() bool { return t.misses > t.keys/8 }

// visit goes through the entries that came by, or those that did not.
func (t *trail) visit(walked bool, f func(e entry) error) error {
	var list []entry
	for piece := range t.count() {
		from := piece * t.length()
		some := false
		for at := from; at < min(from+t.length(), t.keys) && !some; at++ {
			some = t.walked.has(at) == walked
		}
		if !some {
			continue
		}
		var err error
		if list, err = t.read(piece, list); err != nil {
			return err
		}
		for i, e := range list {
			if t.walked.has(from+int64(i)) != walked {
				continue
			}
			if err := f(e); err != nil {
				return err
			}
		}
	}
	return nil
}

// each goes through all entries with their places.
func (t *trail) each(f func(place int64, e entry) error) error {
	var list []entry
	for piece := range t.count() {
		var err error
		if list, err = t.read(piece, list); err != nil {
			return err
		}
		for i, e := range list {
			if err := f(piece*t.length()+int64(i), e); err != nil {
				return err
			}
		}
	}
	return nil
}
