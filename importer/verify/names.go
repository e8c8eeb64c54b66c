package verify

import "hash/maphash"

// names is a set of names by their 64-bit hashes, in bounded memory: it keeps a
// stretch of all hashes, which becomes shorter as memory runs out. What is
// beyond it is for another pass. Two names have one hash once in 2^64, so that
// an extra key may go unseen, but none is called extra wrongly.
type names struct {
	seed       maphash.Seed
	table      []uint64 // open addressing; 0 is free
	used       int
	most       int    // entries of table
	first, end uint64 // the stretch; end is not in it, 0 means that there is no end
}

// leastNames is the smallest table there is.
const leastNames = 1 << 10

// newNames returns a set that takes so many bytes at most, but not less than it
// needs to work at all.
func newNames(bytes int64) *names {
	n := &names{seed: maphash.MakeSeed(), most: leastNames}
	for int64(n.most)*2*12 <= bytes { // 8 bytes each, and half as much while it grows or shrinks
		n.most *= 2
	}
	n.table = make([]uint64, leastNames)
	return n
}

// hash is never 0.
func (n *names) hash(name []byte) uint64 { return max(1, maphash.Bytes(n.seed, name)) }

// holds tells whether the stretch has a place for a hash.
func (n *names) holds(h uint64) bool { return h >= n.first && (n.end == 0 || h < n.end) }

// add takes a name if its hash lies in the stretch, shortening that if need be.
func (n *names) add(name []byte) {
	h := n.hash(name)
	for n.holds(h) && !n.has(h) {
		if n.used < len(n.table)/4*3 {
			n.insert(h)
			return
		}
		if len(n.table) < n.most {
			n.rebuild(2*len(n.table), n.table)
			continue
		}
		n.shorten()
	}
}

// note takes a hash if that needs no more memory.
func (n *names) note(h uint64) {
	if !n.has(h) && n.used < len(n.table)/8*7 {
		n.insert(h)
	}
}

func (n *names) has(h uint64) bool {
	for i := h; ; i++ {
		switch n.table[i&uint64(len(n.table)-1)] {
		case 0:
			return false
		case h:
			return true
		}
	}
}

func (n *names) insert(h uint64) {
	for i := h; ; i++ {
		if at := &n.table[i&uint64(len(n.table)-1)]; *at == 0 {
			*at = h
			n.used++
			return
		}
	}
}

func (n *names) rebuild(entries int, hashes []uint64) {
	n.table, n.used = make([]uint64, entries), 0
	for _, h := range hashes {
		if h != 0 {
			n.insert(h)
		}
	}
}

// shorten gives up the second half of the stretch.
func (n *names) shorten() {
	n.end = n.first + (n.end-n.first)/2
	if n.end == n.first { // (0-0)/2: all hashes
		n.end = 1 << 63
	}
	kept := make([]uint64, 0, n.used/2+n.used/16)
	for _, h := range n.table {
		if h != 0 && n.holds(h) {
			kept = append(kept, h)
		}
	}
	clear(n.table)
	n.used = 0
	for _, h := range kept {
		n.insert(h)
	}
}

// next goes to the stretch behind, as long as this one was; false means that
// there is none.
func (n *names) next() bool {
	if n.end == 0 {
		return false
	}
	length := n.end - n.first
	n.first = n.end
	if n.end += length; n.end < n.first {
		n.end = 0
	}
	clear(n.table)
	n.used = 0
	return true
}
