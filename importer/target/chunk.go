package target

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
	"unsafe"

	"github.com/slotferry/slotferry/checkpoint"
	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/rdbparse"
	"github.com/slotferry/slotferry/resp"
)

// chunkBytes is the size of a write: commands are gathered in chunks of this
// many bytes. A longer command has a chunk of its own.
const chunkBytes = 256 << 10

// chunkEntries is the most commands of a chunk: what is known about very short
// ones takes more memory than they do.
const chunkEntries = 1024

// chunkCharge is the memory of a chunk of the usual size, in bytes.
const chunkCharge = chunkBytes + chunkEntries*int64(unsafe.Sizeof(entry{}))

// footerBytes is what ends a DUMP payload: 2 bytes RDB version, 8 bytes CRC64.
const footerBytes = 10

// chunk is a run of commands for one lane, encoded one behind the other, with
// what must be known to account for their answers or to send them elsewhere.
type chunk struct {
	buf     []byte
	entries []entry
	next    int   // first entry without an answer
	from    int   // in buf: what was sent last begins here
	size    int   // bytes of buf in the lane's window
	charged int64 // bytes taken from the budget
	asking  bool  // each command follows an ASKING
	// answered says that the chunk is only waiting for its writer, and then free.
	answered bool
	body     *body // of the only entry, when its value is not in buf
}

// entry is one command of a chunk.
type entry struct {
	start, end int // in buf; with a body the value's bytes are not counted
	key        span
	payload    span // type byte, value and footer; empty with a body
	bytes      int64
	segment    *checkpoint.Segment
	since      int64 // Unix nanoseconds of its first setback, 0 for none
	expireAt   int64 // Unix milliseconds, 0 for none
	db         int32
	slot       uint16
	typ        byte
	hops       uint8 // redirections in a row
	changes    uint8 // how often it was written to while it was read
	half       bool  // a transaction that builds it did not take effect as a whole
}

type span struct{ start, len int }

func (s span) of(b []byte) []byte { return b[s.start : s.start+s.len] }

// body is a large value, written between the two parts of its chunk's buf.
type body struct {
	at      int // where in buf it belongs
	bytes   []byte
	section *io.SectionReader
	version uint16 // for the footer to be made; the footer stands in buf if 0
	build   builder
}

// builder emits the commands that make a value; see record.Record.
type builder func(ctx context.Context, name []byte, emit func(words [][]byte) error) (expireAt int64, err error)

var (
	restoreHead = []byte("$7\r\nRESTORE\r\n")
	restoreTail = []byte("$7\r\nREPLACE\r\n")
	absTTLTail  = []byte("$6\r\nABSTTL\r\n")
	askingWord  = resp.AppendCommand(nil, "ASKING")
)

// encoding is how RESTORE is put for this target and policy.
type encoding struct {
	replace  bool
	relative bool // the target is older than 5.0: no ABSTTL
}

// frameBytes bounds what a command takes beside key and value.
const frameBytes = 160

// size bounds the bytes of the command in buf for a record under a name.
func (encoding) size(r *record.Record, name []byte) int {
	n := len(name) + frameBytes
	if !isLarge(r) {
		n += len(r.Value)
	}
	return n
}

func isLarge(r *record.Record) bool { return r.Large != nil || r.Owned || r.Build != nil }

// add encodes a record as RESTORE at the end of the chunk
// (https://redis.io/docs/latest/commands/restore/).
func (e encoding) add(c *chunk, r *record.Record, name []byte, slot uint16, seg *checkpoint.Segment) {
	words := 4
	if e.replace {
		words++
	}
	ttl := r.ExpireAt
	absolute := ttl != 0 && !e.relative
	if absolute {
		words++
	} else if ttl != 0 {
		ttl = max(1, ttl-time.Now().UnixMilli())
	}
	b := c.buf
	x := entry{
		start: len(b), bytes: r.Len() + int64(len(name)), segment: seg,
		db: int32(r.DB), slot: slot, typ: r.Type, expireAt: r.ExpireAt,
	}
	if r.Build != nil {
		x.key = span{len(b), len(name)}
		c.buf = append(b, name...)
		x.end = len(c.buf)
		c.body = &body{at: x.end, build: r.Build}
		c.entries = append(c.entries, x)
		return
	}
	b = resp.AppendArray(b, words)
	b = append(b, restoreHead...)
	b = resp.AppendBulkHead(b, int64(len(name)))
	x.key = span{len(b), len(name)}
	b = append(b, name...)
	b = append(b, '\r', '\n')
	b = resp.AppendInt(b, ttl)
	b = resp.AppendBulkHead(b, r.Len()+footerBytes)
	payload := len(b)
	b = append(b, r.Type)
	if isLarge(r) {
		c.body = &body{at: len(b), bytes: r.Value, section: r.Large}
		if r.Footer == nil {
			c.body.version = r.Version
		}
	} else {
		b = append(b, r.Value...)
	}
	if r.Footer != nil {
		b = append(b, r.Footer...)
	} else if !isLarge(r) {
		b = rdbparse.AppendFooter(b, r.Version, rdbparse.CRC64(0, b[payload:]))
	}
	if !isLarge(r) {
		x.payload = span{payload, len(b) - payload}
	}
	b = append(b, '\r', '\n')
	if e.replace {
		b = append(b, restoreTail...)
	}
	if absolute {
		b = append(b, absTTLTail...)
	}
	x.end = len(b)
	c.buf = b
	c.entries = append(c.entries, x)
}

// take copies one unanswered entry of another chunk to the end of this one,
// with its body if it has one.
func (c *chunk) take(from *chunk, i int) {
	x := from.entries[i]
	start := x.start
	if from.asking {
		start += len(askingWord)
	}
	if c.asking {
		c.buf = append(c.buf, askingWord...)
	}
	shift := len(c.buf) - start
	c.buf = append(c.buf, from.buf[start:x.end]...)
	x.start = start + shift
	if c.asking {
		x.start -= len(askingWord)
	}
	x.end += shift
	x.key.start += shift
	x.payload.start += shift
	if from.body != nil {
		moved := *from.body
		moved.at += shift
		c.body = &moved
	}
	c.entries = append(c.entries, x)
}

// entrySize bounds what take adds to buf for an entry of this chunk.
func (c *chunk) entrySize(i int) int {
	return c.entries[i].end - c.entries[i].start + len(askingWord)
}

// bodyBytes is the memory that the chunk's body takes beside buf.
func (c *chunk) bodyBytes() int64 {
	if c.body == nil {
		return 0
	}
	return int64(len(c.body.bytes))
}

// fits reports whether a command of n bytes fits without growing buf.
func (c *chunk) fits(n int) bool { return len(c.buf)+n <= cap(c.buf) && len(c.entries) < chunkEntries }

// room reports whether an entry of another chunk fits without growing buf.
func (c *chunk) room(from *chunk, i int) bool {
	return c.fits(from.entrySize(i))
}

// unanswered returns where in buf the first entry without an answer begins, and
// how many bytes follow.
func (c *chunk) unanswered() (from, size int) {
	if c.next == len(c.entries) {
		return len(c.buf), 0
	}
	from = c.entries[c.next].start
	return from, len(c.buf) - from
}

// footerOf returns the footer of an entry's payload as it stands in buf, nil if
// it does not.
func (c *chunk) footerOf(i int) []byte {
	switch x := &c.entries[i]; {
	case c.body != nil && c.body.build != nil:
	case c.body != nil && c.body.version == 0:
		return c.buf[c.body.at : c.body.at+footerBytes]
	case c.body == nil && x.payload.len > footerBytes:
		p := x.payload.of(c.buf)
		return p[len(p)-footerBytes:]
	}
	return nil
}

// sound reports whether the checksum that came with a payload is right, so that
// another one may take its place. A checksum of 0 means that none was made.
func (c *chunk) sound(i int) bool {
	footer := c.footerOf(i)
	if footer == nil { // made here
		return true
	}
	sum := rdbparse.CRC64(0, []byte{c.entries[i].typ})
	if c.body == nil {
		p := c.entries[i].payload.of(c.buf)
		sum = rdbparse.CRC64(sum, p[1:len(p)-footerBytes])
	} else if c.body.each(func(part []byte) error {
		sum = rdbparse.CRC64(sum, part)
		return nil
	}) != nil {
		return false
	}
	want := binary.LittleEndian.Uint64(footer[2:])
	return want == 0 || want == rdbparse.CRC64(sum, footer[:2])
}

// restampable reports whether a lower RDB version than the payload's knows its
// type. A module's own encoding may be newer than what an older server's module
// reads: Redis 8.0 is busy for seconds with a vector set of 8.6, and 6.0 ends
// itself when it lacks the module.
func (c *chunk) restampable(i int) bool {
	if c.entries[i].typ == rdbparse.TypeModule2 {
		return false
	}
	lowest, footer := rdbparse.LowestVersion(c.entries[i].typ), c.footerOf(i)
	return lowest != 0 && footer != nil && binary.LittleEndian.Uint16(footer) > lowest
}

// restampLast gives the last entry's payload the lowest RDB version that knows
// its type.
func (c *chunk) restampLast() {
	i := len(c.entries) - 1
	x := &c.entries[i]
	lowest, footer := rdbparse.LowestVersion(x.typ), c.footerOf(i)
	if c.body != nil { // the footer is made while the value is sent
		c.body.version = lowest
		c.buf = append(c.buf[:c.body.at], c.buf[c.body.at+footerBytes:]...)
		x.end -= footerBytes
		return
	}
	p := x.payload.of(c.buf)
	binary.LittleEndian.PutUint16(footer, lowest)
	binary.LittleEndian.PutUint64(footer[2:], rdbparse.CRC64(0, p[:len(p)-8]))
}

// bodyError is a value that can't be read any more while it is being sent.
type bodyError struct {
	key []byte
	err error
}

func (e *bodyError) Error() string {
	return fmt.Sprintf("key %q: its value can't be read from the file any more (is it being changed?): %v", clipped(e.key), e.err)
}
func (e *bodyError) Unwrap() error { return e.err }

// write sends what is unanswered. moved is called after each part that went out.
func (c *chunk) write(conn net.Conn, moved func()) error {
	if c.body == nil {
		_, err := conn.Write(c.buf[c.from:])
		return err
	}
	if _, err := conn.Write(c.buf[c.from:c.body.at]); err != nil {
		return err
	}
	crc := rdbparse.CRC64(0, []byte{c.entries[0].typ})
	send := func(part []byte) error {
		if c.body.version != 0 {
			crc = rdbparse.CRC64(crc, part)
		}
		_, err := conn.Write(part)
		moved()
		return err
	}
	if err := c.body.each(send); err != nil {
		var gone *bodyError
		if errors.As(err, &gone) {
			gone.key = clone(c.entries[0].key.of(c.buf))
		}
		return err
	}
	var tail []byte
	if c.body.version != 0 {
		tail = rdbparse.AppendFooter(tail, c.body.version, crc)
	}
	_, err := conn.Write(append(tail, c.buf[c.body.at:]...))
	return err
}

// each hands the body over in parts.
func (b *body) each(send func([]byte) error) error {
	if b.section == nil {
		for rest := b.bytes; len(rest) > 0; {
			n := min(len(rest), chunkBytes)
			if err := send(rest[:n]); err != nil {
				return err
			}
			rest = rest[n:]
		}
		return nil
	}
	part := make([]byte, chunkBytes)
	for at := int64(0); at < b.section.Size(); {
		n, err := b.section.ReadAt(part[:min(int64(len(part)), b.section.Size()-at)], at)
		if n == 0 {
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return &bodyError{err: err}
		}
		if err := send(part[:n]); err != nil {
			return err
		}
		at += int64(n)
	}
	return nil
}
