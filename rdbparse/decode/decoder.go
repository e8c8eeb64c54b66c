package decode

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"

	"github.com/slotferry/slotferry/rdbparse"
)

// decoder reads a value from its beginning. The first error stays, and from
// then on everything reads as nothing.
type decoder struct {
	data  []byte
	pos   int
	err   error
	texts []byte // where the decimal text of integers goes; full ones are left behind
}

func (d *decoder) fail(err error, format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: %s, at %d", err, fmt.Sprintf(format, args...), d.pos)
	}
}

func (d *decoder) corrupt(format string, args ...any) {
	d.fail(rdbparse.ErrCorrupt, format, args...)
}

// take gives the next n bytes, nil if there are fewer.
func (d *decoder) take(n uint64) []byte {
	if d.err != nil {
		return nil
	}
	if left := len(d.data) - d.pos; n > uint64(left) {
		d.fail(rdbparse.ErrTruncated, "%d bytes wanted of %d", n, left)
		return nil
	}
	p := d.data[d.pos : d.pos+int(n) : d.pos+int(n)]
	d.pos += int(n)
	return p
}

func (d *decoder) byte() byte {
	if p := d.take(1); p != nil {
		return p[0]
	}
	return 0
}

// bits reads 8 bytes, little endian.
func (d *decoder) bits() uint64 {
	if p := d.take(8); p != nil {
		return binary.LittleEndian.Uint64(p)
	}
	return 0
}

func (d *decoder) milliseconds() int64 { return int64(d.bits()) }

func (d *decoder) double() float64 { return math.Float64frombits(d.bits()) }

// First bytes of strings that are not plain.
const (
	int8S  = 0xc0
	int16S = 0xc1
	int32S = 0xc2
	lzfS   = 0xc3
)

// length reads L, a length of 1, 2, 5 or 9 bytes.
func (d *decoder) length() uint64 {
	switch c := d.byte(); {
	case c < 0x40:
		return uint64(c)
	case c < 0x80:
		return uint64(c&0x3f)<<8 | uint64(d.byte())
	case c == 0x80:
		if p := d.take(4); p != nil {
			return uint64(binary.BigEndian.Uint32(p))
		}
	case c == 0x81:
		if p := d.take(8); p != nil {
			return binary.BigEndian.Uint64(p)
		}
	default:
		d.corrupt("0x%02x where a length should be", c)
	}
	return 0
}

// count reads an L that says how many of something follow, of which each takes
// least bytes or more.
func (d *decoder) count(least int) int {
	n := d.length()
	if left := len(d.data) - d.pos; d.err == nil && n > uint64(left/least) {
		d.fail(rdbparse.ErrTruncated, "%d elements in %d bytes", n, left)
	}
	if d.err != nil {
		return 0
	}
	return int(n)
}

// firstRoom is for how many elements memory is taken before they are read.
const firstRoom = 1024

// many reads L n, n × what read reads, each of which takes least bytes or more.
func many[T any](d *decoder, least int, read func(*T)) []T {
	n := d.count(least)
	items := make([]T, 0, min(n, firstRoom))
	for ; n > 0 && d.err == nil; n-- {
		var next T
		items = append(items, next)
		read(&items[len(items)-1])
	}
	return items
}

// str reads S: bytes, an integer or LZF data. It is nil only after an error.
func (d *decoder) str() []byte {
	if d.pos < len(d.data) && d.data[d.pos] < int8S {
		return d.take(d.length())
	}
	switch c := d.byte(); c {
	case int8S:
		if p := d.take(1); p != nil {
			return d.decimal(int64(int8(p[0])))
		}
	case int16S:
		if p := d.take(2); p != nil {
			return d.decimal(int64(int16(binary.LittleEndian.Uint16(p))))
		}
	case int32S:
		if p := d.take(4); p != nil {
			return d.decimal(int64(int32(binary.LittleEndian.Uint32(p))))
		}
	case lzfS:
		return d.lzf()
	default:
		d.corrupt("string encoding 0x%02x", c)
	}
	return nil
}

func (d *decoder) lzf() []byte {
	packed, unpacked := d.length(), d.length()
	src := d.take(packed)
	if d.err != nil {
		return nil
	}
	if unpacked == 0 || int(unpacked) < 0 {
		d.corrupt("LZF data of %d bytes", unpacked)
		return nil
	}
	p, err := rdbparse.DecompressLZF(nil, src, int(unpacked))
	if err != nil {
		d.err = err
		return nil
	}
	return p
}

// Many small integers share one piece of memory.
const (
	longestDecimal = len("-9223372036854775808")
	leastTexts     = 64
	mostTexts      = 4096
)

func (d *decoder) decimal(i int64) []byte {
	if cap(d.texts)-len(d.texts) < longestDecimal {
		d.texts = make([]byte, 0, min(max(leastTexts, 2*cap(d.texts)), mostTexts))
	}
	at := len(d.texts)
	d.texts = strconv.AppendInt(d.texts, i, 10)
	return d.texts[at:len(d.texts):len(d.texts)]
}
