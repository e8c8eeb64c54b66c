// Package rdbparse finds the keys of an RDB file and the bytes of each value,
// without decoding values, and frames those bytes as DUMP payloads for RESTORE.
//
// It knows the files of Redis up to RDB version 14 and of Valkey up to 80. It
// reads newer ones as far as they hold nothing that it doesn't know, and
// refuses the rest with the place and the key: where an unknown value ends can't
// be guessed. It opens nothing and connects to nothing; how much memory it
// takes depends on [Options] and the longest key, never on a length that the
// file merely claims.
//
// The format's facts are those of src/rdb.c, src/rdb.h, src/cluster.c and
// src/module.c of Redis and Valkey, and what their servers were seen to write.
package rdbparse

import (
	"bytes"
	"fmt"
	"io"
)

// Kind says what an [Entry] is.
type Kind uint8

// Everything else that a file can hold is passed over.
const (
	KindKey       Kind = iota // a key with its value
	KindSelectDB              // the keys that follow are in Entry.DB
	KindResize                // how many keys that database has: Entry.Keys and Entry.Expires
	KindAux                   // a fact on the file or its server: Entry.Name and Entry.Text
	KindFunction              // a function library: its code in Entry.Text
	KindModuleAux             // data of module Entry.Module that belong to no key
)

// Entry is one piece of a file. Its slices are valid until the next call of
// Next, except an Owned Value.
type Entry struct {
	Kind   Kind
	DB     int
	Offset int64 // where it begins: at its expiry, idle time or frequency, if it has them

	Key      []byte // nil with Options.SkipKeys
	Type     byte   // RDB value type, see [TypeName]
	ExpireAt int64  // Unix milliseconds; 0 means no expiry
	Module   string // name of the module type, for a module's value too

	// The serialized value, without its type byte: ValueLen bytes, which
	// begin at ValueOffset. Value holds them unless the value is Large, to be
	// read from the file, or Dropped, which means lost: it was longer than a
	// stream's values may be.
	Value       []byte
	ValueOffset int64
	ValueLen    int64
	Owned       bool // Value is memory of its own, for the caller to keep
	Large       bool
	Dropped     bool

	// Meta is what modules attached to the key (Redis 8.6), nil for nearly
	// every key. DUMP puts it in front of the type byte, opcode included.
	Meta []byte

	Keys, Expires int64
	Name, Text    []byte
}

// Options bounds a walk; zero fields take the defaults noted.
type Options struct {
	Name       string // the file's name, for errors
	InlineMax  int64  // longest value in bytes that Next gives from its own memory; 128 KiB
	Seekable   bool   // the input can be read again, so longer values are Large
	BufferMax  int64  // otherwise: longer values than this are Dropped; InlineMax
	BlockBytes int    // how many bytes are asked of the reader at once; 256 KiB
	SkipCRC    bool   // for surveys: neither sum up nor compare the checksum
	SkipKeys   bool   // for surveys: leave Entry.Key nil
}

const (
	defaultInlineMax = 128 << 10
	// defaultBlock keeps the window in the processor's own cache: it is walked
	// and summed up several times as fast there as out of main memory.
	defaultBlock = 256 << 10
	leastBlock   = 512
)

// Header is what a file begins with.
type Header struct {
	Vendor  Vendor `json:"vendor"`
	Version int    `json:"version"`
}

const headerLen = 9

// State is a place between two entries: Offset is where the next one begins,
// CRC the checksum of all bytes before it (0 with Options.SkipCRC), DB the
// database that is selected there.
type State struct {
	Offset int64  `json:"offset"`
	CRC    uint64 `json:"crc"`
	DB     int    `json:"db"`
}

// Walker reads a file from its beginning to its end. It is not safe for use by
// several goroutines at once.
type Walker struct {
	window
	opt     Options
	header  Header
	db      int
	err     error
	entry   Entry
	keyBuf  []byte
	name    []byte
	text    []byte
	meta    []byte
	noCheck bool
}

// NewWalker reads the header from r.
func NewWalker(r io.Reader, o Options) (*Walker, error) {
	w := newWalker(r, o)
	if err := w.readHeader(); err != nil {
		return nil, &Error{Name: o.Name, Err: err}
	}
	w.setMark()
	return w, nil
}

// Resume goes on at s with a file whose header was h. What r gives first is the
// byte at s.Offset.
func Resume(r io.Reader, h Header, s State, o Options) *Walker {
	w := newWalker(r, o)
	w.header, w.db = h, s.DB
	w.base, w.crc = s.Offset, s.CRC
	w.setMark()
	return w
}

func newWalker(r io.Reader, o Options) *Walker {
	if o.InlineMax <= 0 {
		o.InlineMax = defaultInlineMax
	}
	if o.BlockBytes <= 0 {
		o.BlockBytes = defaultBlock
	}
	o.BlockBytes = max(o.BlockBytes, leastBlock)
	w := &Walker{opt: o}
	w.window = window{
		r: r, buf: make([]byte, o.InlineMax+int64(o.BlockBytes)), block: o.BlockBytes,
		anchor: none, ownFrom: none, mark: none, inlineMax: o.InlineMax, noCRC: o.SkipCRC,
	}
	if !o.Seekable {
		w.own = &collector{max: max(o.BufferMax, o.InlineMax)}
	}
	return w
}

func (w *Walker) readHeader() error {
	if err := w.need(1); err != nil {
		if w.rerr == io.EOF {
			return ErrEmpty
		}
		return err
	}
	for n := 1; n <= headerLen; n++ { // what is no RDB file at all shall not pass for a short one
		if err := w.need(n); err != nil {
			return err
		}
		if c := w.buf[n-1]; !(n > 6 && isDigit(c) || n == 6 && (c == 'Y' || isDigit(c)) || n < 6 && (c == "REDIS"[n-1] || c == "VALKE"[n-1])) {
			return ErrNotRDB
		}
	}
	magic := w.buf[:headerLen]
	digits := magic[6:]
	switch {
	case bytes.HasPrefix(magic, []byte("VALKEY")):
		w.header.Vendor = Valkey
	case bytes.HasPrefix(magic, []byte("REDIS")) && isDigit(magic[5]):
		digits = magic[5:]
	default:
		return ErrNotRDB
	}
	for _, c := range digits {
		w.header.Version = w.header.Version*10 + int(c-'0')
	}
	w.pos = headerLen
	// Valkey writes its own magic from 80 on and leaves the numbers below to
	// Redis (RDB_FOREIGN_VERSION_MAX in its src/rdb.h).
	if v := w.header.Version; v < 1 || (w.header.Vendor == Valkey) != (v >= FirstValkey) {
		return fmt.Errorf("%w: %s", ErrVersion, magic)
	}
	return nil
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// Header tells whose file it is, and of which version.
func (w *Walker) Header() Header { return w.header }

// State is the place after the last entry that Next gave, from which [Resume]
// goes on. After an error it is the place before the entry that failed.
func (w *Walker) State() State {
	offset, crc := w.marked()
	if w.noCRC {
		crc = 0
	}
	return State{Offset: offset, CRC: crc, DB: w.db}
}

// ChecksumPresent says, after the end, whether the file had a checksum. It has
// none when the server ran with rdbchecksum no, and below RDB version 5.
func (w *Walker) ChecksumPresent() bool { return !w.noCheck }

// Trailing says, after the end, whether anything follows: the commands of an
// AOF that begins with an RDB. It may wait for the reader.
func (w *Walker) Trailing() (bool, error) {
	if w.pos < w.end {
		return true, nil
	}
	switch err := w.fill(); {
	case err == nil:
		return true, nil
	case w.rerr == io.EOF:
		return false, nil
	default:
		return false, &Error{Name: w.opt.Name, Offset: w.offset(), Err: err}
	}
}

// Rest reads, after the end, what follows; it begins at State().Offset.
func (w *Walker) Rest() io.Reader {
	rest := bytes.NewReader(w.buf[w.pos:w.end])
	if w.rerr == io.EOF {
		return rest
	}
	return io.MultiReader(rest, w.r)
}

// Next gives the next entry, the same memory each time. After the last one the
// error is io.EOF, once the file's checksum is found right; any other error is
// an *[Error].
func (w *Walker) Next() (*Entry, error) {
	if w.err != nil {
		return nil, w.err
	}
	w.entry = Entry{DB: w.db}
	err := w.next(&w.entry)
	if err == nil {
		w.setMark()
		return &w.entry, nil
	}
	if err != io.EOF {
		err = &Error{Name: w.opt.Name, Offset: w.entry.Offset, Key: w.entry.Key, DB: w.db, Err: err}
	} else {
		w.setMark()
	}
	w.err = err
	return nil, err
}
