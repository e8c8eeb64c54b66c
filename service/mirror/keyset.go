package mirror

// keySet is a set of the keys of a table, by their places in it.
type keySet []uint64

func newKeySet(n int64) keySet { return make(keySet, (n+63)/64) }

func (s keySet) has(i int64) bool { return s[i/64]>>(i%64)&1 == 1 }

func (s keySet) set(i int64) { s[i/64] |= 1 << (i % 64) }

func (s keySet) clear(i int64) { s[i/64] &^= 1 << (i % 64) }
