package choice

import "encoding/binary"

// sampled picks keys by a hash of seed, database and name: a key is picked or not
// whatever the order and however often it comes, and the same seed picks the
// same keys again.
func (c *Choice) sampled(db int, key []byte) bool {
	h := mix(c.seed ^ mix(uint64(db)))
	for ; len(key) >= 8; key = key[8:] {
		h = mix(h ^ binary.LittleEndian.Uint64(key))
	}
	last := uint64(len(key)+1) << 56 // so that a zero byte is not the same as none
	for i, b := range key {
		last |= uint64(b) << (8 * i)
	}
	const bits = 53 // of a float64
	return float64(mix(h^last)>>(64-bits))/(1<<bits) < c.sample
}

// mix spreads every bit over all others: the last steps of splitmix64 (Steele,
// Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
