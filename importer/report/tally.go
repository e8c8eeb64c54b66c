package report

import (
	"bytes"
	"hash/maphash"
	"slices"
	"unsafe"
)

// tally counts the keys and bytes of names in bounded memory. It is exact as
// long as all names fit. When they don't, it drops those that are light both in
// keys and in bytes (Misra and Gries' idea, in batches), and remembers the
// heaviest that may have been lost. From then on, for keys and bytes each:
//
//   - a name whose true weight is above the error is in the tally;
//   - what is counted for a name is never too much, and short by the error at
//     most;
//   - the error is about 4 × the total weight / the number of names that fit, at
//     most.
//
// Apache DataSketches' ItemsSketch does nearly this, but has one weight an item,
// no []byte items and no bound in bytes.
//
// Nothing in it is a pointer to a name, so that the garbage collector has
// nothing to scan, and memory once taken is used again.
type tally struct {
	limit int64 // bytes
	taken int64
	seed  maphash.Seed

	entries []*[blockEntries]entry
	n       int
	names   []*[blockNames]byte
	end     uint32   // where the next name goes: block × blockNames + offset
	index   []uint32 // by hash: entry + 1, 0 for none; a power of two long, half full at most

	error share
}

const (
	blockEntries = 256
	blockNames   = 16 << 10 // bytes; no name is longer or lies across two blocks
	firstIndex   = 2 * blockEntries

	entryBytes = int64(unsafe.Sizeof(entry{}))
	cellBytes  = 4
)

// share is a number of keys and the bytes that they take.
type share struct{ keys, bytes int64 }

func (s *share) add(bytes int64) {
	s.keys++
	s.bytes += bytes
}

// entry is one name. It was counted from the moment it came in; missed is the
// most that could have been lost before.
type entry struct {
	hash    uint64
	counted share
	missed  share
	start   uint32 // of the name, like tally.end
	length  uint16
	slot    uint16
}

// most is the highest that the true weight can be.
func (e *entry) most() share {
	return share{e.counted.keys + e.missed.keys, e.counted.bytes + e.missed.bytes}
}

// newTally takes one block of everything at least, 30 KiB, whatever the limit.
func newTally(limit int64) *tally {
	return &tally{limit: limit, seed: maphash.MakeSeed()}
}

// exact tells whether nothing was ever dropped.
func (t *tally) exact() bool { return t.error == share{} }

func (t *tally) hash(name []byte) uint64 { return maphash.Bytes(t.seed, name) }

// add counts one key of a name of up to blockNames bytes. Names are the same if
// both they and their hashes are, so that a name can be shortened and still be
// told from others by the hash of the whole.
func (t *tally) add(hash uint64, name []byte, slot uint16, bytes int64) {
	if e := t.find(hash, name); e != nil {
		e.counted.add(bytes)
		return
	}
	for !t.room(len(name)) {
		t.drop()
	}
	t.insert(hash, name, slot).counted.add(bytes)
}

func (t *tally) find(hash uint64, name []byte) *entry {
	if t.n == 0 {
		return nil
	}
	mask := uint64(len(t.index) - 1)
	for i := hash & mask; t.index[i] != 0; i = (i + 1) & mask {
		if e := t.at(int(t.index[i] - 1)); e.hash == hash && bytes.Equal(t.name(e), name) {
			return e
		}
	}
	return nil
}

func (t *tally) at(i int) *entry { return &t.entries[uint(i)/blockEntries][uint(i)%blockEntries] }

// name returns the tally's own bytes, which stay until the next add.
func (t *tally) name(e *entry) []byte {
	at := e.start % blockNames
	return t.names[e.start/blockNames][at : at+uint32(e.length)]
}

// room makes room for one more entry, and tells whether the limit allows it.
func (t *tally) room(name int) bool {
	if 2*(t.n+1) > len(t.index) {
		size := max(firstIndex, 2*len(t.index))
		// The old index is there until the new one is filled.
		if !t.allowed(cellBytes * int64(size)) {
			return false
		}
		t.taken += cellBytes * int64(size-len(t.index))
		t.index = make([]uint32, size)
		for i := range t.n {
			t.link(i)
		}
	}
	if t.n == len(t.entries)*blockEntries {
		if !t.allowed(blockEntries * entryBytes) {
			return false
		}
		t.taken += blockEntries * entryBytes
		t.entries = append(t.entries, new([blockEntries]entry))
	}
	if int(place(t.end, name)/blockNames) == len(t.names) {
		if !t.allowed(blockNames) {
			return false
		}
		t.taken += blockNames
		t.names = append(t.names, new([blockNames]byte))
	}
	return true
}

// allowed tells whether bytes more may be taken. The first blocks always may.
func (t *tally) allowed(bytes int64) bool { return t.n == 0 || t.taken+bytes <= t.limit }

// place returns where a name goes if the one before it ends at end.
func place(end uint32, name int) uint32 {
	if int(end%blockNames)+name > blockNames {
		return (end/blockNames + 1) * blockNames
	}
	return end
}

// insert adds an entry for which there is room.
func (t *tally) insert(hash uint64, name []byte, slot uint16) *entry {
	e := t.at(t.n)
	*e = entry{hash: hash, missed: t.error, length: uint16(len(name)), slot: slot}
	t.store(e, name)
	t.link(t.n)
	t.n++
	return e
}

func (t *tally) store(e *entry, name []byte) {
	e.start = place(t.end, len(name))
	t.end = e.start + uint32(len(name))
	copy(t.name(e), name)
}

// link puts an entry into the index.
func (t *tally) link(i int) {
	mask := uint64(len(t.index) - 1)
	cell := t.at(i).hash & mask
	for t.index[cell] != 0 {
		cell = (cell + 1) & mask
	}
	t.index[cell] = uint32(i + 1)
}

// drop leaves about the heaviest quarter by keys and the heaviest quarter by
// bytes. It takes no memory.
func (t *tally) drop() {
	line := t.line()
	n := t.n
	t.n, t.end = 0, 0
	clear(t.index)
	for i := range n {
		e := t.at(i)
		if most := e.most(); most.keys <= line.keys && most.bytes <= line.bytes {
			t.error.keys = max(t.error.keys, most.keys)
			t.error.bytes = max(t.error.bytes, most.bytes)
			continue
		}
		// Entries and names only ever move towards the beginning: names lie in
		// the order of their entries.
		name := t.name(e)
		kept := t.at(t.n)
		*kept = *e
		t.store(kept, name)
		t.link(t.n)
		t.n++
	}
}

// line returns how much at most is light: the upper quartiles of entries taken
// at even distances. Half of these at least are below in both, so that something
// is always dropped.
func (t *tally) line() share {
	var keys, bytes [1024]int64
	n := min(t.n, len(keys))
	for i := range n {
		most := t.at(i * t.n / n).most()
		keys[i], bytes[i] = most.keys, most.bytes
	}
	slices.Sort(keys[:n])
	slices.Sort(bytes[:n])
	return share{keys[n*3/4], bytes[n*3/4]}
}
