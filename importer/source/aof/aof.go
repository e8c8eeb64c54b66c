// Package aof is the source that reads append-only files: one file of commands,
// with or without an RDB in front of them, or the folder of Redis 7.0 and newer
// with its manifest.
//
// It looks at every command before the first write, and then goes one of three
// ways. Where nothing follows the RDB, the RDB is walked. Where the commands
// can be applied to a cluster exactly, they are yielded behind the RDB
// (replay). Otherwise a server of the machine's own loads copies of the files
// and writes an RDB, which is walked (scratch). The files themselves are never
// written to, nor is anything read that was appended after Inspect.
//
// The formats are those of src/aof.c of Redis and of
// https://redis.io/docs/latest/operate/oss_and_stack/management/persistence/.
package aof

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/slotferry/slotferry/importer/choice"
	"github.com/slotferry/slotferry/importer/pulse"
	"github.com/slotferry/slotferry/importer/source/rdb"
	"github.com/slotferry/slotferry/rdbparse"
)

// Via is how commands are read.
type Via string

// The ways that a user may ask for.
const (
	Auto    Via = "auto"    // replay if that is exact, else scratch
	Replay  Via = "replay"  // the commands are applied to the target
	Scratch Via = "scratch" // a scratch server loads the files, and its RDB is read
)

// Options says what is read; zero fields take the defaults noted.
type Options struct {
	Path   string // a file, a manifest, or the folder of one
	Choice *choice.Choice
	Via    Via // Auto
	// ScratchServer is the program of the scratch server: a path, or a name to be
	// looked for. "" is $SLOTFERRY_REDIS_SERVER, else redis-server or
	// valkey-server, as found on PATH.
	ScratchServer string
	// WorkDir is where the scratch server works and where the RDB that it writes
	// stays until Discard. It belongs to one job.
	WorkDir string
	// Until stops before the first command that is known to be later; all.
	Until time.Time
	// Filled says that the target may hold keys that the files don't know: commands
	// would build upon them.
	Filled bool
	// MaxCommand is the longest command in bytes that is held in memory; files
	// with longer ones need the scratch server. 128 MiB
	MaxCommand int64
	Measure    bool // records carry the measure of their values instead of the values
	Values     bool // the final values are needed, so that commands are of no use
	Log        *zap.Logger
}

const defaultMaxCommand = 128 << 20

// What Stream returns beside errors of the files and of the sink.
var (
	// ErrChanged means that a position is about other contents than the files have
	// now.
	ErrChanged = errors.New("the files are not those that the interrupted run read; --restart begins anew")
	// ErrNames means that the names of all keys are known only when all commands
	// were run.
	ErrNames = errors.New("the names of the keys are not known before the commands were run; --aof-via scratch lets a server run them")
)

// Source is an append-only file, or a set of them.
type Source struct {
	opts    Options
	log     *zap.Logger
	files   files
	pulse   pulse.Pulse
	now     atomic.Pointer[pulse.Pulse]
	base    *rdb.Source // the RDB in front of the commands; nil for none
	written time.Time   // when that was
	inner   *rdb.Source // what records are read from: base, or the RDB of the scratch server
	way     way         // that inner is for
	chosen  *choosing   // once Survey has looked at all
}

// New returns the source; Inspect opens it.
func New(o Options) *Source {
	if o.Via == "" {
		o.Via = Auto
	}
	if o.MaxCommand == 0 {
		o.MaxCommand = defaultMaxCommand
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	s := &Source{opts: o, log: o.Log}
	s.now.Store(&s.pulse)
	return s
}

// Close closes the files.
func (s *Source) Close() error {
	err := s.files.close()
	if s.base != nil {
		err = errors.Join(err, s.base.Close())
	}
	if s.inner != nil && s.inner != s.base {
		err = errors.Join(err, s.inner.Close())
	}
	return err
}

// use makes an RDB the one that records are read from; nil for none.
func (s *Source) use(w way, r *rdb.Source) {
	if s.inner != nil && s.inner != s.base && s.inner != r {
		_ = s.inner.Close()
	}
	s.way, s.inner = w, r
}

// Exact tells that expiries are known to the millisecond.
func (s *Source) Exact() bool { return true }

// Vendor says whose RDB types the records bear, once Survey has looked.
func (s *Source) Vendor() rdbparse.Vendor {
	if s.inner == nil {
		return rdbparse.Redis
	}
	return s.inner.Vendor()
}

// Size returns the length of what is read in bytes: the files, or the RDB that
// the scratch server made of them.
func (s *Source) Size() int64 {
	if s.inner != nil && s.inner != s.base {
		return s.inner.Size()
	}
	return s.files.size()
}

// Pulse tells whether bytes come, and since when they don't.
func (s *Source) Pulse() *pulse.Pulse { return s.now.Load() }

// beat makes Pulse that of another part, until the returned function is called.
func (s *Source) beat(p *pulse.Pulse) (back func()) {
	s.now.Store(p)
	return func() { s.now.Store(&s.pulse) }
}

// Names visits all keys once more, as that of the rdb source does. It is not
// for commands (ErrNames).
func (s *Source) Names(ctx context.Context, visit func(db int, key []byte) error) error {
	if s.inner == nil || s.way == wayReplay {
		return fmt.Errorf("%s: %w", s.opts.Path, ErrNames)
	}
	defer s.beat(s.inner.Pulse())()
	return s.inner.Names(ctx, visit)
}
