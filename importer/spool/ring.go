package spool

// ring is a queue of bounded length in memory, which it takes at the first use.
type ring struct {
	buf  []byte
	size int
	head int // where the oldest byte lies
	used int
}

func newRing(size int) ring { return ring{size: size} }

func (r *ring) len() int64 { return int64(r.used) }

// put takes as much of p as there is room for.
func (r *ring) put(p []byte) (n int) {
	if r.buf == nil {
		r.buf = make([]byte, r.size)
	}
	for len(p) > 0 && r.used < len(r.buf) {
		at := (r.head + r.used) % len(r.buf)
		end := len(r.buf)
		if at < r.head {
			end = r.head
		}
		k := copy(r.buf[at:end], p)
		p = p[k:]
		r.used += k
		n += k
	}
	return n
}

// take fills p as far as there is something.
func (r *ring) take(p []byte) (n int) {
	for len(p) > 0 && r.used > 0 {
		k := copy(p, r.buf[r.head:min(len(r.buf), r.head+r.used)])
		p = p[k:]
		r.head = (r.head + k) % len(r.buf)
		r.used -= k
		n += k
	}
	if r.used == 0 {
		r.head = 0 // the same memory again, while it is in the processor's cache
	}
	return n
}
