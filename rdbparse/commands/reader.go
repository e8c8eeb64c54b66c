package commands

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"

	"github.com/slotferry/slotferry/rdbparse"
	"github.com/slotferry/slotferry/rdbparse/decode"
)

const (
	// readBytes is how much of the value is in memory besides what is held.
	readBytes = 64 << 10
	// firstRoom is the most memory that a string gets by its announced length
	// alone.
	firstRoom = 64 << 10
)

// reader reads a value from its beginning. The first error stays, and from then
// on everything reads as nothing.
type reader struct {
	in   *bufio.Reader
	at   int64
	max  uint64 // longest string that is held
	err  error
	out  []byte // window of LZF data, see unpack
	text [longestDecimal]byte
}

const longestDecimal = len("-9223372036854775808")

func (r *reader) fail(err error, format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s", err, fmt.Sprintf(format, args...))
	}
}

func (r *reader) corrupt(format string, args ...any) {
	r.fail(rdbparse.ErrCorrupt, format, args...)
}

func (r *reader) readFailed(err error) {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = rdbparse.ErrTruncated
	}
	if r.err == nil {
		r.err = err
	}
}

// end makes sure that nothing follows.
func (r *reader) end() {
	if r.err != nil {
		return
	}
	switch _, err := r.in.Peek(1); err {
	case nil:
		r.corrupt("bytes behind the value")
	case io.EOF:
	default:
		r.readFailed(err)
	}
}

// take gives the next n bytes, which are few, until the next read; nil if
// there are fewer.
func (r *reader) take(n int) []byte {
	if r.err != nil {
		return nil
	}
	p, err := r.in.Peek(n)
	if err != nil {
		r.readFailed(err)
		return nil
	}
	r.discard(n)
	return p
}

// discard passes over n bytes that are buffered.
func (r *reader) discard(n int) {
	_, _ = r.in.Discard(n)
	r.at += int64(n)
}

func (r *reader) byte() byte {
	if r.err != nil {
		return 0
	}
	c, err := r.in.ReadByte()
	if err != nil {
		r.readFailed(err)
		return 0
	}
	r.at++
	return c
}

// bits reads 8 bytes, little endian.
func (r *reader) bits() uint64 {
	if p := r.take(8); p != nil {
		return binary.LittleEndian.Uint64(p)
	}
	return 0
}

func (r *reader) milliseconds() int64 { return int64(r.bits()) }

// length reads L, a length of 1, 2, 5 or 9 bytes.
func (r *reader) length() uint64 { return r.lengthAfter(r.byte()) }

func (r *reader) lengthAfter(first byte) uint64 {
	switch c := first; {
	case c < 0x40:
		return uint64(c)
	case c < 0x80:
		return uint64(c&0x3f)<<8 | uint64(r.byte())
	case c == 0x80:
		if p := r.take(4); p != nil {
			return uint64(binary.BigEndian.Uint32(p))
		}
	case c == 0x81:
		if p := r.take(8); p != nil {
			return binary.BigEndian.Uint64(p)
		}
	default:
		r.corrupt("0x%02x where a length should be", c)
	}
	return 0
}

// each reads L n and calls read n times. What n says takes no memory.
func (r *reader) each(read func()) {
	for n := r.length(); n > 0 && r.err == nil; n-- {
		read()
	}
}

// First bytes of strings that are not plain.
const (
	int8S  = 0xc0
	int16S = 0xc1
	int32S = 0xc2
	lzfS   = 0xc3
)

// head reads what stands in front of a string's bytes. Either packed bytes
// of LZF data follow, or plain ones of which there are plain, or nothing and
// the string is the digits.
func (r *reader) head() (digits []byte, packed, plain uint64) {
	var i int64
	switch c := r.byte(); {
	case c < int8S:
		return nil, 0, r.lengthAfter(c)
	case c == int8S:
		i = int64(int8(r.byte()))
	case c == int16S:
		if p := r.take(2); p != nil {
			i = int64(int16(binary.LittleEndian.Uint16(p)))
		}
	case c == int32S:
		if p := r.take(4); p != nil {
			i = int64(int32(binary.LittleEndian.Uint32(p)))
		}
	case c == lzfS:
		packed, plain = r.length(), r.length()
		if r.err == nil && (packed == 0 || plain == 0 || plain/lzfMaxRatio > packed) {
			r.corrupt("%d bytes of LZF cannot give %d", packed, plain)
		}
		return nil, packed, plain
	default:
		r.corrupt("string encoding 0x%02x", c)
	}
	digits = strconv.AppendInt(r.text[:0], i, 10)
	return digits, 0, uint64(len(digits))
}

// pieces reads S and gives it piece by piece, each valid until give returns.
func (r *reader) pieces(give func([]byte)) {
	digits, packed, plain := r.head()
	r.body(digits, packed, plain, give)
}

func (r *reader) body(digits []byte, packed, plain uint64, give func([]byte)) {
	switch {
	case r.err != nil:
	case digits != nil:
		give(digits)
	case packed > 0:
		r.unpack(packed, plain, give)
	default:
		r.copy(plain, give)
	}
}

// copy gives the next n bytes.
func (r *reader) copy(n uint64, give func([]byte)) {
	for n > 0 && r.err == nil {
		if _, err := r.in.Peek(1); err != nil {
			r.readFailed(err)
			return
		}
		p, _ := r.in.Peek(int(min(n, uint64(r.in.Buffered()))))
		n -= uint64(len(p))
		give(p)
		r.discard(len(p))
	}
}

// append reads S and appends it to dst, which grows only with bytes that were
// really read.
func (r *reader) append(dst []byte) []byte {
	digits, packed, plain := r.head()
	if r.err == nil && plain > r.max {
		r.fail(rdbparse.ErrTooLong, "a string of %d bytes, of which %d may be held", plain, r.max)
	}
	if r.err != nil {
		return dst
	}
	dst = slices.Grow(dst, int(min(plain, firstRoom)))
	r.body(digits, packed, plain, func(p []byte) { dst = append(dst, p...) })
	return dst
}

// double reads 8 bytes.
func (r *reader) double() float64 { return math.Float64frombits(r.bits()) }

// textScore reads 1 byte length and text; the highest lengths are words.
func (r *reader) textScore() float64 {
	switch n := r.byte(); n {
	case 253:
		return math.NaN()
	case 254:
		return math.Inf(1)
	case 255:
		return math.Inf(-1)
	default:
		text := r.take(int(n))
		if r.err != nil {
			return 0
		}
		score, err := decode.Score(text)
		if err != nil {
			r.err = err
		}
		return score
	}
}
