package verify

import (
	"io"
	"sync/atomic"
	"unsafe"

	"github.com/slotferry/slotferry/checkpoint"
	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/resp"
)

const (
	chunkEntries  = 512
	chunkCommands = 64 << 10  // bytes of the questions of a chunk
	chunkValues   = 128 << 10 // bytes of the values of a chunk
	footerBytes   = 10        // of a DUMP payload: 2 of RDB version, 8 of CRC64

	// chunkCharge is the memory of a chunk of the usual size, in bytes.
	chunkCharge = chunkCommands + chunkValues + chunkEntries*int64(unsafe.Sizeof(entry{}))
)

// chunk is a run of keys that one lane asks for, with what the source has of
// them.
type chunk struct {
	commands []byte
	values   []byte // and keys that differ from their names
	entries  []entry
	expect   int64 // bytes that the answers will have, more or less
	charged  int64 // bytes taken from the budget
	// holders are those who still need it: the lane's reader, its writer, and one
	// for each entry that is looked at again.
	holders atomic.Int32
}

// entry is one key as the source has it.
type entry struct {
	segment  *checkpoint.Segment
	large    *io.SectionReader // the value, if it is not in memory
	owned    []byte            // the value, if it has memory of its own
	expireAt int64             // Unix milliseconds, 0 for never
	name     span              // in commands
	key      span              // in values; empty if it is the name
	value    span              // in values
	db       int32
	slot     uint16
	version  uint16 // RDB version of the source's own footer
	typ      byte
	renamed  bool // key is not the name
	gone     bool // the source does not have it (any more)
}

type span struct{ start, len int32 }

func (s span) of(b []byte) []byte { return b[s.start : s.start+s.len] }

// len is the length of the value without type byte and footer.
func (e *entry) len() int64 {
	switch {
	case e.large != nil:
		return e.large.Size()
	case e.owned != nil:
		return int64(len(e.owned))
	}
	return int64(e.value.len)
}

// bytes is what the key counts in the account: type byte and value, and name.
func (e *entry) bytes() int64 { return 1 + e.len() + int64(e.name.len) }

// isLarge tells that the value is not in the chunk.
func (e *entry) isLarge() bool { return e.large != nil || e.owned != nil }

func (c *chunk) name(e *entry) []byte { return e.name.of(c.commands) }

// key is the name in the source.
func (c *chunk) key(e *entry) []byte {
	if !e.renamed {
		return c.name(e)
	}
	return e.key.of(c.values)
}

// body returns the value, which is read from the file if it is there.
func (c *chunk) body(e *entry) ([]byte, error) {
	switch {
	case e.large != nil:
		b := make([]byte, e.large.Size())
		_, err := e.large.ReadAt(b, 0)
		if err == io.EOF {
			err = nil
		}
		return b, err
	case e.owned != nil:
		return e.owned, nil
	}
	return e.value.of(c.values), nil
}

// front returns up to n bytes of the beginning of the value.
func (c *chunk) front(e *entry, n int64) []byte {
	n = min(n, e.len())
	if e.large != nil {
		b := make([]byte, n)
		k, _ := e.large.ReadAt(b, 0)
		return b[:k]
	}
	b, _ := c.body(e) // it is in memory
	return b[:n]
}

// question is how a master is asked for a key.
type question struct {
	pttl   bool // it has no PEXPIRETIME
	asking bool // each command on the key follows an ASKING
}

// questionBytes is what a question takes beside the name, twice.
const questionBytes = 100

const askingWord = "*1\r\n$6\r\nASKING\r\n"

// append appends the question for a name and returns where in b the name is.
func (q question) append(b, name []byte) ([]byte, span) {
	if q.asking {
		b = append(b, askingWord...)
	}
	b = append(b, "*2\r\n$4\r\nDUMP\r\n"...)
	b = resp.AppendBulkHead(b, int64(len(name)))
	at := span{int32(len(b)), int32(len(name))}
	b = append(b, name...)
	b = append(b, '\r', '\n')
	if q.pttl {
		b = append(b, "*1\r\n$4\r\nTIME\r\n"...)
	}
	if q.asking {
		b = append(b, askingWord...)
	}
	if q.pttl {
		b = append(b, "*2\r\n$4\r\nPTTL\r\n"...)
	} else {
		b = append(b, "*2\r\n$11\r\nPEXPIRETIME\r\n"...)
	}
	return resp.AppendBulk(b, name), at
}

// sizes bounds what a record takes of a chunk's commands and values.
func sizes(r *record.Record, name []byte) (commands, values int) {
	commands = 2*len(name) + questionBytes
	values = len(r.Key)
	if r.Large == nil && !r.Owned {
		values += len(r.Value)
	}
	return commands, values
}

// fits tells whether both have room without growing.
func (c *chunk) fits(commands, values int) bool {
	return len(c.commands)+commands <= cap(c.commands) && len(c.values)+values <= cap(c.values) && len(c.entries) < cap(c.entries)
}

// add appends a record.
func (c *chunk) add(q question, r *record.Record, name []byte, slot uint16, seg *checkpoint.Segment) *entry {
	c.entries = append(c.entries, entry{
		segment: seg, expireAt: r.ExpireAt, db: int32(r.DB), slot: slot, version: r.Version, typ: r.Type, large: r.Large,
	})
	e := &c.entries[len(c.entries)-1]
	if len(r.Footer) == footerBytes {
		e.version = uint16(r.Footer[0]) | uint16(r.Footer[1])<<8
	}
	c.commands, e.name = q.append(c.commands, name)
	if string(r.Key) != string(name) {
		e.key, e.renamed = c.keep(r.Key), true
	}
	switch {
	case r.Owned:
		e.owned = r.Value
	case r.Large == nil:
		e.value = c.keep(r.Value)
	}
	c.expect += e.len() + questionBytes
	return e
}

func (c *chunk) keep(b []byte) span {
	at := span{int32(len(c.values)), int32(len(b))}
	c.values = append(c.values, b...)
	return at
}
