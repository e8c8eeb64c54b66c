package verify

import "hash/maphash"

// Types whose elements come in the order of a hash table, which every server
// has its own of (src/rdb.h).
const (
	hashedSet  = 2 // L n, n × S
	hashedHash = 4 // L n, n × (S name, S value)
)

// shuffled tells whether two values of one type have the same elements in
// another order, byte by byte: by the sum of their hashes, which other elements
// hit once in 2^64. If not, they may be the same in another encoding.
func (c *Comparer) shuffled(typ byte, want, got []byte) bool {
	each := 1
	switch typ {
	case hashedSet:
	case hashedHash:
		each = 2
	default:
		return false
	}
	if len(want) != len(got) {
		return false
	}
	a, ok := c.sum(want, each)
	if !ok {
		return false
	}
	b, ok := c.sum(got, each)
	return ok && a == b
}

// sum adds up the hashes of all elements, each of so many strings.
func (c *Comparer) sum(b []byte, each int) (sum uint64, ok bool) {
	n, b := length(b)
	sum = uint64(n)
	for ; n > 0; n-- {
		end := 0
		for range each {
			k := stringEnd(b[end:])
			if k < 0 {
				return 0, false
			}
			end += k
		}
		sum += maphash.Bytes(c.seed, b[:end])
		b = b[end:]
	}
	return sum, n == 0 && len(b) == 0
}

// stringEnd returns how many bytes a string takes with all in front of it, -1
// if b is too short or none.
func stringEnd(b []byte) int {
	if len(b) == 0 {
		return -1
	}
	n, rest := length(b)
	switch b[0] {
	case 0xc0, 0xc1, 0xc2: // integers of 1, 2 and 4 bytes
		n, rest = 1<<(b[0]&3), b[1:]
	case packedString:
		if n, rest = length(b[1:]); n >= 0 {
			var plain int64
			if plain, rest = length(rest); plain < 0 {
				return -1
			}
		}
	}
	if n < 0 || n > int64(len(rest)) {
		return -1
	}
	return len(b) - len(rest) + int(n)
}
