// Package commands writes a serialized value as native commands, for servers
// that do not take its bytes, and for values too long for one command. The value
// is read as a stream: memory is bounded by its longest element, or container of
// packed elements, not by the value. It sends nothing and knows no servers; what
// the target understands is in [Options].
//
// The value's commands are not one step: let them make another name of the same
// slot, to be renamed at the end.
//
// Some of a stream can't be said in commands. Lost are when consumers were last
// seen and active, pending entries of deleted stream entries (no server lets
// them be claimed), delivery times in what the target takes for the future,
// how many idempotence identifiers were added and refused, and those that belong
// to deleted entries or to entries before the last hundred thousand. See also
// [Target] for what older targets lack.
package commands

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/slotferry/slotferry/rdbparse"
)

// ErrUnsupported means that no native command of the target makes such a value:
// a module's, or one that needs what Options.Target lacks.
var ErrUnsupported = errors.New("no native command makes it")

// Emit takes one command, name and key included. Its words are valid until it
// returns. Its error ends Write, which returns it as it is.
type Emit func(words [][]byte) error

// Options bound what is written; zero fields take the defaults noted. Pieces that
// are held are elements, containers of packed elements, the words of a stream
// entry and the pending entries of a group; while one is read it may take about
// twice its length.
type Options struct {
	MaxBytes    int    // of one command's words, where a single element allows; 1 MiB
	MaxElements int    // of one command; 4096
	MaxHeld     int    // longest piece that is held, in bytes; 512 MiB
	Now         int64  // fields of hashes that expired by then are left out; Unix milliseconds, the clock's
	Target      Target // what the target understands; nothing that came after 6.0
}

// Target says what a server understands besides the commands of Redis 6.0.
type Target struct {
	// HPEXPIREAT: Redis 7.4, Valkey 9.0. Without it a hash with fields that
	// expire is ErrUnsupported.
	FieldExpiry bool
	// XGROUP CREATECONSUMER: Redis 6.2. Without it a consumer is made by reading
	// its own history (XREADGROUP), which the target doesn't tell its replicas:
	// they lack consumers without pending entries until those read.
	CreateConsumer bool
	// ENTRIESADDED, MAXDELETEDID and ENTRIESREAD: Redis 7.0. Without them these
	// numbers are lost.
	StreamCounters bool
	// XCFGSET and XIDMPRECORD: Redis 8.6.2. Without them a stream forgets which
	// entries its idempotent producers added.
	Idempotence bool
}

const (
	defaultMaxBytes    = 1 << 20
	defaultMaxElements = 4096
	defaultMaxHeld     = 512 << 20
)

func (o Options) withDefaults() Options {
	if o.MaxBytes <= 0 {
		o.MaxBytes = defaultMaxBytes
	}
	if o.MaxElements <= 0 {
		o.MaxElements = defaultMaxElements
	}
	if o.MaxHeld <= 0 {
		o.MaxHeld = defaultMaxHeld
	}
	if o.Now == 0 {
		o.Now = time.Now().UnixMilli()
	}
	return o
}

// Write emits the commands that make, under a name that holds nothing, the value
// of RDB type typ whose bytes (without type byte and footer) are read from value
// to their end. Fields of hashes keep their expiry; the key's own is the caller's.
//
// No command at all means that nothing is left of the value: it had no elements,
// or only fields that have expired. After an error the key is to be thrown away.
// An *[rdbparse.Error] tells of damage, of lengths beyond Options.MaxHeld
// (rdbparse.ErrTooLong) and of the reader's own errors, and names the key; an
// ErrUnsupported doesn't. A name that stands twice
// in a set, hash or sorted set, which servers would not load, is not noticed.
func Write(v rdbparse.Vendor, typ byte, value io.Reader, key []byte, o Options, emit Emit) error {
	o = o.withDefaults()
	w := &writer{
		reader: reader{in: bufio.NewReaderSize(value, readBytes), max: uint64(o.MaxHeld)},
		key:    key, options: o, emit: emit, scratch: []byte{},
	}
	switch rdbparse.TypeName(v, typ) {
	case "string":
		w.string()
	case "list":
		w.list(typ)
	case "set":
		w.set(typ)
	case "hash":
		w.hash(v, typ)
	case "zset":
		w.zset(typ)
	case "stream":
		w.stream(streamRevisions[typ])
	case "module":
		return fmt.Errorf("%w: only the module understands the value", ErrUnsupported)
	default:
		return w.damage(fmt.Errorf("%w %d", rdbparse.ErrUnknownType, typ))
	}
	w.end()
	switch {
	case w.err == nil:
		return nil
	case w.whole:
		return w.err
	}
	return w.damage(w.err)
}

// writer is one value on its way.
type writer struct {
	reader
	key     []byte
	options Options
	emit    Emit
	scratch []byte // what was read last of the value
	whole   bool   // err is not one of the value's bytes
}

func (w *writer) damage(err error) error {
	return &rdbparse.Error{Name: "value", Offset: w.at, Key: w.key, Err: err}
}

// do emits a command.
func (w *writer) do(words ...[]byte) {
	if w.err != nil {
		return
	}
	if err := w.emit(words); err != nil {
		w.refuse(err)
	}
}

// refuse ends it with an error for which the value isn't to blame.
func (w *writer) refuse(err error) {
	if w.err == nil {
		w.err, w.whole = err, true
	}
}
