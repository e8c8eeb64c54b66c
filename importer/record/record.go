// Package record is what travels from a source to a target: one key with its
// serialized value, the programs that belong to the data set, and the position
// in the source. It holds no behaviour and opens nothing.
package record

import (
	"context"
	"errors"
	"io"
)

// LargeBytes is the length from which a value is not held in a source's read
// buffer any more: it comes as a section of the file (Large) or in memory of
// its own (Owned).
const LargeBytes = 128 << 10

// Fate says what a source already knows about a record before it is sent.
type Fate uint8

const (
	// Copy means that the record carries a value to be written.
	Copy Fate = iota
	// Filtered means that the choice of keys leaves this one out.
	Filtered
	// Gone means that the key expired or was deleted before its value was read.
	Gone
	// Refused means that the value could not be taken; Reason says why.
	Refused
)

// Record is one key. Key and Value are valid until the sink returns, unless
// Owned is set.
type Record struct {
	DB       int               // database in the source
	Key      []byte            // as it stands in the source
	Type     byte              // RDB value type, the first byte of a DUMP payload
	Value    []byte            // serialized value without its type byte and footer
	Large    *io.SectionReader // instead of Value: to be streamed from the file, more than once if need be
	Owned    bool              // Value is the receiver's to keep
	Footer   []byte            // the source's own footer: RDB version and CRC64, 10 bytes; nil: to be made
	Version  uint16            // RDB version for a footer to be made
	ExpireAt int64             // Unix milliseconds; 0 means no expiry
	Fate     Fate
	Reason   string // for Refused

	// Build, instead of Value and Large, emits the native commands that make the
	// value under a name which holds nothing, and returns the key's expiry. It may
	// be called again after an error, from any goroutine, also after the sink has
	// returned. ErrGone means that the key is no more, ErrChanged that it was
	// written to meanwhile, so that what was emitted is of no use, ErrRefused that
	// the record is to be treated as Refused. Measure tells how long the value is.
	Build func(ctx context.Context, name []byte, emit func(words [][]byte) error) (expireAt int64, err error)

	Measure Measure // instead of Value and Large, from a source that only measures; beside Build
}

// Measure is what a source tells of a value that it does not hand on, for a
// plan.
type Measure struct {
	Bytes    int64  // of the serialized value (see Len), or of memory, as the source says in its facts
	Type     string // as TYPE says it, or the module type's name
	Encoding string // how it is stored, such as "listpack"
}

// Len is the length of the serialized value in bytes: type byte and body,
// without the footer; or what was measured instead.
func (r *Record) Len() int64 {
	if r.Measure.Bytes != 0 {
		return r.Measure.Bytes
	}
	if r.Large != nil {
		return r.Large.Size() + 1
	}
	return int64(len(r.Value)) + 1
}

// Program is code that belongs to a data set and must be on every master.
type Program struct {
	Function bool   // a function library (7.0 and newer), else a Lua script of the script cache
	Code     string // for a library with its "#!engine name=…" line
}

// Position is a place in a source. Everything before it has been yielded.
// Zero is the beginning.
type Position struct {
	DB int `json:"db"`

	// An RDB file: bytes from its beginning, and the CRC64 of all of them.
	Offset int64  `json:"offset,omitempty"`
	CRC    uint64 `json:"crc,omitempty"`

	// A SCAN: the next cursor, which is good for one life of the server.
	Cursor uint64 `json:"cursor,omitempty"`
	RunID  string `json:"run_id,omitempty"`

	// A stream of commands behind a full copy, or an append-only file: the number
	// of bytes before it. Stream names the history that Serial counts in (the
	// replication ID, or one made from the files), Era the full copy that it began
	// with: two commands of one era are in the order of their serials, whatever
	// became of the replication ID between them.
	Stream string `json:"stream,omitempty"`
	Era    string `json:"era,omitempty"`
	Serial int64  `json:"serial,omitempty"`

	// End says that there is nothing more to read.
	End bool `json:"end,omitempty"`
}

// Sink takes what a source yields, in order.
type Sink interface {
	// Record takes one key. It may wait until memory is free.
	Record(r *Record) error
	// Program takes code; it returns when every master has it.
	Program(p Program) error
	// Mark says that the next record comes after pos.
	Mark(pos Position) error
}

// What Build returns beside errors of the connection.
var (
	ErrGone    = errors.New("the key is gone")
	ErrChanged = errors.New("the key was written to while its value was read")
	// ErrRefused means that Build will not do however often it is called; the
	// error says why.
	ErrRefused = errors.New("the value can't be read in parts")
)

// ErrPatience marks an error after which the same command goes on where it
// stopped: a server gave no good answer for too long.
var ErrPatience = errors.New("out of patience")
