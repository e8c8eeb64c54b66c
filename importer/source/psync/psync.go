// Package psync is the source that reads a live server as a replica does: a
// full copy of its data (an RDB), and then every command that changes them, in
// order and with its offset. It owns the replication connection, keeps it, and
// makes it again where it broke. It never writes to the server, and it applies
// nothing.
//
// The socket is read at full speed into a spool, so that a slow target does not
// fill the server's output buffer for its replica, which the server would end
// the replication for.
//
// The protocol's facts are those of src/replication.c of Redis and Valkey and
// what their servers were seen to say.
package psync

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/slotferry/slotferry/importer/choice"
	"github.com/slotferry/slotferry/importer/endpoint"
	"github.com/slotferry/slotferry/importer/preflight"
	"github.com/slotferry/slotferry/importer/pulse"
	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/importer/spool"
	"github.com/slotferry/slotferry/rdbparse"
)

var (
	// ErrHistoryLost means that the source can't go on where the stream was left:
	// a new full copy is needed, which Stream makes from a zero position.
	ErrHistoryLost = errors.New("the source does not have what came since any more")
	// ErrDenied means that the source does not let this user replicate.
	ErrDenied = errors.New("the source does not allow replication")
	// ErrDamaged means that what the source sends is no stream of commands, twice
	// at the same offset.
	ErrDamaged = errors.New("the replication stream is damaged")
)

// Options says what is read; zero fields take the defaults noted.
type Options struct {
	Endpoint endpoint.Endpoint
	Choice   *choice.Choice
	SpoolDir string // folder for what does not fit into the spool's memory
	SpoolMax int64  // bytes that it may have there; 0: none
	MaxValue int64  // longest value of the copy, and command of the stream, in bytes that is held in memory; 64 MiB
	// Room waits until there is room for a large value; nil does not wait.
	Room     func(ctx context.Context, bytes int64) error
	RetryFor time.Duration // without a byte from the source; 5 min
	Timeout  time.Duration // without a byte from a connection; 60 s: the source pings every 10 s (repl-ping-replica-period)
	Announce int           // port that the source shows for this replica in INFO; 0 announces none
	Log      *zap.Logger
}

// Source is a live server that is followed as by a replica.
type Source struct {
	opts   Options
	log    *zap.Logger
	client *redis.Client    // for everything beside the replication connection
	server preflight.Server // as far as it could be asked
	pulse  pulse.Pulse

	vendor   atomic.Pointer[rdbparse.Vendor] // of the RDB
	spool    atomic.Pointer[spool.Spool]     // of the Stream
	stream   atomic.Pointer[string]          // replication ID, as the source named it last
	local    atomic.Pointer[string]          // our end of the replication connection
	received atomic.Int64                    // offset
	mute     atomic.Bool                     // the user may not run INFO
	blind    atomic.Bool                     // nor CLIENT LIST or CONFIG GET
}

// New returns the source; Inspect connects.
func New(o Options) *Source {
	if o.MaxValue <= 0 {
		o.MaxValue = 64 << 20
	}
	if o.RetryFor <= 0 {
		o.RetryFor = 5 * time.Minute
	}
	if o.Timeout <= 0 {
		o.Timeout = time.Minute
	}
	if o.Room == nil {
		o.Room = func(context.Context, int64) error { return nil }
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	return &Source{opts: o, log: o.Log, client: o.Endpoint.Client()}
}

// Close ends the connections beside that of the Stream.
func (s *Source) Close() error { return s.client.Close() }

// Exact tells that expiries are known to the millisecond.
func (s *Source) Exact() bool { return true }

// Vendor says whose RDB types the records bear: for sure once they come, before
// by what Inspect saw.
func (s *Source) Vendor() rdbparse.Vendor {
	if v := s.vendor.Load(); v != nil {
		return *v
	}
	if s.server.Version.Product == "valkey" {
		return rdbparse.Valkey
	}
	return rdbparse.Redis
}

// Pulse tells whether the source sends, and since when it does not.
func (s *Source) Pulse() *pulse.Pulse { return &s.pulse }

// Survey adds nothing: what is in the copy shows when it is made.
func (s *Source) Survey(context.Context, *preflight.Source) preflight.Findings { return nil }

// owes is a wait for the source.
func (s *Source) owes(what string) pulse.Wait {
	return pulse.Wait{
		On: "the source " + s.opts.Endpoint.String(), What: what,
		Remedy: "see that the source is up (redis-cli PING, INFO replication, its log), and that the network between is whole",
	}
}

// position is the place behind an offset of the stream.
func (s *Source) position(era string, db int, offset int64) record.Position {
	return record.Position{Stream: *s.stream.Load(), Era: era, Serial: offset, DB: db}
}
