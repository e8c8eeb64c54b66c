package commands

// What LZF data can say (as in liblzf, format description in lzf_d.c).
const (
	lzfBack     = 8192 // how far they refer back
	lzfLongest  = 264  // what one reference repeats
	lzfMaxRatio = lzfLongest / 3
	lzfWindow   = lzfBack + 56<<10
)

// unpack gives what the next packed bytes, LZF data, unpack to. Only as much of
// it is kept as they can still refer to.
func (r *reader) unpack(packed, plain uint64, give func([]byte)) {
	if r.out == nil {
		r.out = make([]byte, lzfWindow)
	}
	out, n, given := r.out, 0, 0 // out[:n] is unpacked, out[:given] was given already
	left := plain
	for packed > 0 && r.err == nil {
		if len(out)-n < lzfLongest {
			give(out[given:n])
			n = copy(out, out[n-lzfBack:n])
			given = n
		}
		ctrl := int(r.byte())
		packed--
		if ctrl < 32 { // that many bytes and one more, as they are
			ctrl++
			if uint64(ctrl) > min(packed, left) {
				r.corrupt("LZF data stop fitting after %d of %d bytes", plain-left, plain)
				return
			}
			n += copy(out[n:], r.take(ctrl))
			packed -= uint64(ctrl)
			left -= uint64(ctrl)
			continue
		}
		length, more := ctrl>>5, uint64(1)
		if length == 7 {
			more = 2
		}
		if packed < more {
			r.corrupt("LZF data end within a reference")
			return
		}
		packed -= more
		if length == 7 {
			length += int(r.byte())
		}
		length += 2
		back := ctrl&31<<8 + int(r.byte()) + 1
		if back > n || uint64(length) > left {
			r.corrupt("LZF data stop fitting after %d of %d bytes", plain-left, plain)
			return
		}
		if back >= length {
			copy(out[n:n+length], out[n-back:])
		} else { // it repeats what it is just writing
			for i := range length {
				out[n+i] = out[n-back+i]
			}
		}
		n += length
		left -= uint64(length)
	}
	if r.err != nil {
		return
	}
	if left > 0 {
		r.corrupt("LZF data give %d bytes fewer than %d", left, plain)
		return
	}
	give(out[given:n])
}
