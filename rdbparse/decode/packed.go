package decode

import (
	"encoding/binary"
	"strconv"
)

// packed walks over the elements of a listpack or ziplist, which are strings
// that hold several of them in a row.
type packed struct {
	d       *decoder
	b       []byte
	pos     int
	left    int // elements still to come, by the header; negative if that can't say
	element func(p *packed) element
}

// element is an integer if it has no text.
type element struct {
	text    []byte
	integer int64
}

const (
	packedEnd    = 0xff
	countUnknown = 0xffff // more elements than two bytes can say
)

// next gives the next element; false at the end or after an error.
func (p *packed) next() (element, bool) {
	if p.d.err != nil {
		return element{}, false
	}
	if p.pos == len(p.b)-1 && p.b[p.pos] == packedEnd {
		if p.left > 0 {
			p.d.corrupt("%d packed elements fewer than announced", p.left)
		}
		return element{}, false
	}
	if p.left == 0 {
		p.d.corrupt("more packed elements than announced")
		return element{}, false
	}
	p.left--
	e := p.element(p)
	return e, p.d.err == nil
}

// text gives the next element as commands do; nil at the end or after an error.
func (p *packed) text() []byte {
	e, ok := p.next()
	switch {
	case !ok:
		return nil
	case e.text != nil:
		return e.text
	}
	return p.d.decimal(e.integer)
}

// must is text where the elements can't end.
func (p *packed) must() []byte {
	s := p.text()
	if s == nil {
		p.d.corrupt("packed elements end too early")
	}
	return s
}

// integer gives the next element where it has to be one.
func (p *packed) integer() int64 {
	e, ok := p.next()
	if !ok {
		p.d.corrupt("packed elements end too early")
		return 0
	}
	if e.text == nil {
		return e.integer
	}
	i, err := strconv.ParseInt(string(e.text), 10, 64)
	if err != nil {
		p.d.corrupt("packed text where an integer should be")
	}
	return i
}

// room is how many elements can still come.
func (p *packed) room() int {
	if p.d.err != nil {
		return 0
	}
	most := (len(p.b) - p.pos) / 2 // each takes two bytes or more
	if p.left >= 0 {
		return min(p.left, most)
	}
	return most
}

// take gives the next n bytes, which must not be the last one: that is the end
// mark's.
func (p *packed) take(n int) []byte {
	if n < 0 || n > len(p.b)-1-p.pos {
		p.d.corrupt("a packed element goes beyond the end")
		return nil
	}
	s := p.b[p.pos : p.pos+n : p.pos+n]
	p.pos += n
	return s
}

// little reads a signed integer of n bytes, little endian.
func (p *packed) little(n int) int64 {
	s := p.take(n)
	if s == nil {
		return 0
	}
	var wide [8]byte
	copy(wide[8-n:], s)
	return int64(binary.LittleEndian.Uint64(wide[:])) >> (8 * (8 - n))
}

// listpack: 4 bytes total, 2 bytes count, elements, 0xff (src/listpack.c).
func (d *decoder) listpack(b []byte) packed {
	const header = 4 + 2
	return d.packed(b, header, 4, (*packed).listpackElement)
}

// ziplist: 4 bytes total, 4 bytes offset of the last element, 2 bytes count,
// elements, 0xff (src/ziplist.c).
func (d *decoder) ziplist(b []byte) packed {
	const header = 4 + 4 + 2
	return d.packed(b, header, 8, (*packed).ziplistElement)
}

func (d *decoder) packed(b []byte, header, countAt int, element func(*packed) element) packed {
	p := packed{d: d, b: b, pos: header, element: element}
	if d.err != nil {
		return p
	}
	if len(b) <= header || uint64(binary.LittleEndian.Uint32(b)) != uint64(len(b)) || b[len(b)-1] != packedEnd {
		d.corrupt("packed elements of another length than announced")
		return p
	}
	if p.left = int(binary.LittleEndian.Uint16(b[countAt:])); p.left == countUnknown {
		p.left = -1
	}
	return p
}

// listpackElement reads an encoding byte, data, and their length once more, for
// walking backwards.
func (p *packed) listpackElement() (e element) {
	start := p.pos
	head := p.take(1)
	if head == nil {
		return e
	}
	switch c := head[0]; {
	case c < 0x80: // 7 bits
		e.integer = int64(c)
	case c < 0xc0: // 6 bits of length
		e.text = p.take(int(c & 0x3f))
	case c < 0xe0: // 13 bits
		if s := p.take(1); s != nil {
			e.integer = int64(uint64(c)<<59|uint64(s[0])<<51) >> 51
		}
	case c < 0xf0: // 12 bits of length
		if s := p.take(1); s != nil {
			e.text = p.take(int(c&0x0f)<<8 | int(s[0]))
		}
	case c == 0xf0: // 32 bits of length
		if s := p.take(4); s != nil {
			e.text = p.take(int(binary.LittleEndian.Uint32(s)))
		}
	case c == 0xf1:
		e.integer = p.little(2)
	case c == 0xf2:
		e.integer = p.little(3)
	case c == 0xf3:
		e.integer = p.little(4)
	case c == 0xf4:
		e.integer = p.little(8)
	default:
		p.d.corrupt("listpack encoding 0x%02x", c)
	}
	p.back(p.pos - start)
	return e
}

// back passes over the length of an element of n bytes, which stands behind it
// in bytes of 7 bits, the highest first (lpEncodeBacklen in src/listpack.c).
// For the largest number of a width Redis takes a byte more, and Valkey 9.1
// doesn't: then the first byte is 0.
func (p *packed) back(n int) {
	width, most := 1, 1<<7-1
	for n > most {
		width++
		most = most<<7 | 0x7f
	}
	if s := p.take(width); n == most && width > 1 && s != nil && s[0] == 0 {
		p.take(1)
	}
}

// ziplistElement reads the length of the element before, in 1 or 5 bytes, an
// encoding and data.
func (p *packed) ziplistElement() (e element) {
	before := p.take(1)
	if before != nil && before[0] == 0xfe {
		p.take(4)
	}
	head := p.take(1)
	if head == nil {
		return e
	}
	switch c := head[0]; {
	case c < 0x40: // 6 bits of length
		e.text = p.take(int(c))
	case c < 0x80: // 14 bits of length
		if s := p.take(1); s != nil {
			e.text = p.take(int(c&0x3f)<<8 | int(s[0]))
		}
	case c == 0x80: // 32 bits of length, big endian
		if s := p.take(4); s != nil {
			e.text = p.take(int(binary.BigEndian.Uint32(s)))
		}
	case c == 0xc0:
		e.integer = p.little(2)
	case c == 0xd0:
		e.integer = p.little(4)
	case c == 0xe0:
		e.integer = p.little(8)
	case c == 0xf0:
		e.integer = p.little(3)
	case c == 0xfe:
		e.integer = p.little(1)
	case c > 0xf0 && c < 0xfe: // 0 to 12
		e.integer = int64(c) - 0xf1
	default:
		p.d.corrupt("ziplist encoding 0x%02x", c)
	}
	return e
}
