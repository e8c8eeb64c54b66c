package rdbparse

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
)

// The format's own words, in this file and in the format's documentation: L is
// a length of 1, 2, 5 or 9 bytes, S a string: L and its bytes, or an integer
// of 1, 2 or 4 bytes, or LZF data (both told by a first byte from 0xc0 on).
const (
	long32 = 0x80
	long64 = 0x81
	int8S  = 0xc0
	int16S = 0xc1
	int32S = 0xc2
	lzfS   = 0xc3

	// maxHead is the most bytes in front of a string's own: those of LZF.
	maxHead = 1 + 9 + 9

	// maxString is beyond what any server holds in a string: it tells damage
	// from data without reading to the end.
	maxString = 1 << 40
	// maxKey is Redis' limit for keys and for arguments of most commands.
	maxKey = 512 << 20
)

func lengthSize(c byte) int {
	switch {
	case c < 0x40:
		return 1
	case c < long32:
		return 2
	case c == long32:
		return 5
	case c == long64:
		return 9
	}
	return 0
}

// length reads L.
func (w *window) length() (uint64, error) {
	if err := w.need(1); err != nil {
		return 0, err
	}
	c := w.buf[w.pos]
	if c < 0x40 {
		w.pos++
		return uint64(c), nil
	}
	size := lengthSize(c)
	if size == 0 {
		return 0, fmt.Errorf("%w: 0x%02x where a length should be, at %d", ErrCorrupt, c, w.offset())
	}
	if err := w.need(size); err != nil {
		return 0, err
	}
	p := w.buf[w.pos : w.pos+size]
	w.pos += size
	switch size {
	case 2:
		return uint64(c&0x3f)<<8 | uint64(p[1]), nil
	case 5:
		return uint64(binary.BigEndian.Uint32(p[1:])), nil
	}
	return binary.BigEndian.Uint64(p[1:]), nil
}

// lengths passes over n times L.
func (w *window) lengths(n int) error {
	for range n {
		if _, err := w.length(); err != nil {
			return err
		}
	}
	return nil
}

// count reads an L that says how many of something follow. It needs no limit:
// each takes a byte at least, and no memory is taken by it.
func (w *window) count(times uint64) (uint64, error) {
	n, err := w.length()
	if err == nil && n > math.MaxUint64/times {
		err = fmt.Errorf("%w: %d elements", ErrTooLong, n)
	}
	return n * times, err
}

// head reads what stands in front of a string's bytes: plain bytes follow,
// which are LZF data that give unpacked bytes unless that is 0.
func (w *window) head(limit uint64) (plain, unpacked uint64, err error) {
	if err = w.need(1); err != nil {
		return 0, 0, err
	}
	if c := w.buf[w.pos]; c >= int8S {
		w.pos++
		switch c {
		case int8S:
			return 1, 0, nil
		case int16S:
			return 2, 0, nil
		case int32S:
			return 4, 0, nil
		case lzfS:
		default:
			return 0, 0, fmt.Errorf("%w: string encoding 0x%02x, at %d", ErrCorrupt, c, w.offset()-1)
		}
		if plain, err = w.length(); err != nil {
			return 0, 0, err
		}
		if unpacked, err = w.length(); err != nil {
			return 0, 0, err
		}
		if unpacked == 0 {
			return 0, 0, fmt.Errorf("%w: LZF data for nothing, at %d", ErrCorrupt, w.offset())
		}
	} else if plain, err = w.length(); err != nil {
		return 0, 0, err
	}
	if max(plain, unpacked) > limit {
		err = fmt.Errorf("%w: a string of %d bytes, at %d", ErrTooLong, max(plain, unpacked), w.offset())
	}
	return plain, unpacked, err
}

// nStrings passes over n × (S and tail bytes).
func (w *window) nStrings(n uint64, tail int) error {
	for {
		if n -= w.run(n, tail); n == 0 {
			return nil
		}
		plain, _, err := w.head(maxString)
		if err != nil {
			return err
		}
		if err := w.skip(plain + uint64(tail)); err != nil {
			return err
		}
		n--
	}
}

// run passes over those of the next n × (S and tail bytes) that lie wholly in
// the window and are of the usual kinds, and says how many. Nearly all bytes of
// a file go through here.
func (w *window) run(n uint64, tail int) uint64 {
	b, p := w.buf[:w.end], w.pos
	left := n
	for left > 0 && len(b)-p > maxHead {
		h := (*[maxHead + 1]byte)(b[p:])
		next := int64(p)
		switch c := h[0]; {
		case c < 0x40:
			next += 1 + int64(c)
		case c < long32:
			next += 2 + (int64(c&0x3f)<<8 | int64(h[1]))
		case c == long32:
			next += 5 + int64(binary.BigEndian.Uint32(h[1:]))
		case c == lzfS:
			size, width := shortLength(h, 1)
			unpacked, width2 := shortLength(h, 1+width)
			if width == 0 || width2 == 0 || unpacked == 0 {
				w.pos = p
				return n - left
			}
			next += int64(1+width+width2) + size
		case c == int8S:
			next += 2
		case c == int16S:
			next += 3
		case c == int32S:
			next += 5
		default:
			w.pos = p
			return n - left
		}
		next += int64(tail)
		if next > int64(len(b)) {
			break
		}
		p = int(next)
		left--
	}
	w.pos = p
	return n - left
}

// shortLength is the L at h[at:] and its width, which is 0 for those of 64
// bits and for what is no length.
func shortLength(h *[maxHead + 1]byte, at int) (n int64, width int) {
	at &= 15 // which it never is beyond; this spares looking
	switch c := h[at]; {
	case c < 0x40:
		return int64(c), 1
	case c < long32:
		return int64(c&0x3f)<<8 | int64(h[at+1]), 2
	case c == long32:
		return int64(binary.BigEndian.Uint32(h[at+1:])), 5
	}
	return 0, 0
}

// readString reads S into dst's memory, from its beginning.
func (w *window) readString(dst []byte) ([]byte, error) {
	dst = dst[:0]
	if w.pos < w.end {
		if c := int(w.buf[w.pos]); c < 0x40 && c < w.end-w.pos {
			dst = append(dst, w.buf[w.pos+1:w.pos+1+c]...)
			w.pos += 1 + c
			return dst, nil
		}
	}
	if err := w.need(1); err != nil {
		return dst, err
	}
	first := w.buf[w.pos]
	plain, unpacked, err := w.head(maxKey)
	if err != nil {
		return dst, err
	}
	switch first {
	case int8S, int16S, int32S:
		if err := w.need(int(plain)); err != nil {
			return dst, err
		}
		p := w.buf[w.pos : w.pos+int(plain)]
		w.pos += int(plain)
		var i int64
		switch first {
		case int8S:
			i = int64(int8(p[0]))
		case int16S:
			i = int64(int16(binary.LittleEndian.Uint16(p)))
		default:
			i = int64(int32(binary.LittleEndian.Uint32(p)))
		}
		return strconv.AppendInt(dst, i, 10), nil
	case lzfS:
		var packed []byte
		if plain <= uint64(w.end-w.pos) {
			packed = w.buf[w.pos : w.pos+int(plain)]
			w.pos += int(plain)
		} else if packed, err = w.appendTo(nil, plain); err != nil {
			return dst, err
		}
		return DecompressLZF(dst, packed, int(unpacked))
	}
	return w.appendTo(dst, plain)
}
