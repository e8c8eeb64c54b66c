// Package notify follows a live server by its keyspace notifications, where the
// replication stream is not to be had: it hears which keys were touched, so
// that their values can be read again. It owns the set of touched keys and the
// subscription; it reads no values, and writes nothing to the server but, where
// it is told to, the setting that switches notifications on.
//
// Notifications are sent to whom is connected and kept for nobody else. So
// whatever may have been missed is told as a gap, after which all keys have to
// be looked at anew: a connection that was lost, a set that outgrew its memory,
// and FLUSHALL, FLUSHDB and SWAPDB, which touch keys without telling so. Those
// are found by the server's own count of commands.
//
// Some commands change a value and tell nobody: XREADGROUP, XACK, XCLAIM and
// XAUTOCLAIM, which concern a stream's consumers, and those of vector sets. When
// the server has counted any, all keys of that type count as touched; VREM, which
// may delete its key, makes a gap. PFCOUNT,
// too, writes into its key, but nothing that can't be computed again; and
// modules' commands tell only what their authors thought of.
package notify

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/slotferry/slotferry/importer/choice"
	"github.com/slotferry/slotferry/importer/endpoint"
	"github.com/slotferry/slotferry/importer/preflight"
	"github.com/slotferry/slotferry/importer/pulse"
)

// Why a gap is there.
var (
	ErrOverflow = errors.New("more keys were touched than memory holds")
	ErrLost     = errors.New("the connection that tells of touched keys was lost for a while")
	ErrFlushed  = errors.New("the source was flushed, or databases were swapped")
	ErrResynced = errors.New("the source is a replica and may have got all its keys anew")
	ErrOff      = errors.New("keyspace notifications were off for a while")
	ErrSilent   = errors.New("keys were touched by commands that tell nobody")
)

// ErrDenied means that the source refuses this user, or has notifications off.
var ErrDenied = errors.New("the source does not allow it")

// Options says what is followed; zero fields take the defaults noted.
type Options struct {
	Endpoint endpoint.Endpoint
	Choice   *choice.Choice // by database, name and slot; types are not known here
	Memory   int64          // of the set of touched keys in bytes; 64 MiB
	// Enable switches notifications on where they are off, until Run ends.
	Enable bool
	// Assume takes for granted that they are on, where the user may not ask.
	Assume   bool
	RetryFor time.Duration // without a subscription; 5 min
	Timeout  time.Duration // without an answer to a PING; 30 s
	Log      *zap.Logger
}

// Listener gathers the names of touched keys while Run runs. Its other methods
// may be called from any goroutine.
type Listener struct {
	opts   Options
	log    *zap.Logger
	client *redis.Client
	pulse  pulse.Pulse

	counting counting // its mutex guards the next two as well
	config   setting
	version  preflight.Version // of the server that is subscribed to

	mu       sync.Mutex
	touched  touched
	reading  time.Time // since when the keys that Follow reads wait; zero: it reads none
	held     int       // of them
	anew     bool      // Follow has all keys read anew
	gap      error
	gapSince time.Time
	counts   Counts
	line     *line // nil while there is no subscription
	ready    chan struct{}
	wake     chan struct{} // has one when keys came, or a gap
}

// Counts is what was done so far.
type Counts struct {
	Events  int64 // heard of, of chosen keys
	Touched int64 // keys put into the set
	Read    int64 // keys read again by Follow
	Deleted int64 // of which were gone
	Gaps    int64
}

// line is one subscription.
type line struct {
	conn  net.Conn
	write sync.Mutex
	ended chan struct{}            // closed when the connection is given up
	pongs map[string]chan struct{} // that are awaited, by what the PING said; guarded by Listener.mu
}

// New returns a listener that does nothing before Inspect or Run.
func New(o Options) *Listener {
	if o.Choice == nil {
		o.Choice, _ = choice.New(choice.Options{}) // which has nothing to refuse
	}
	if o.Memory <= 0 {
		o.Memory = 64 << 20
	}
	if o.RetryFor <= 0 {
		o.RetryFor = 5 * time.Minute
	}
	if o.Timeout <= 0 {
		o.Timeout = 30 * time.Second
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	return &Listener{
		opts: o, log: o.Log, client: o.Endpoint.Client(),
		touched: touched{limit: o.Memory}, ready: make(chan struct{}), wake: make(chan struct{}, 1),
	}
}

// Close ends the connections that are open still.
func (l *Listener) Close() error { return l.client.Close() }

// Pulse tells whether the server answers, and since when it does not.
func (l *Listener) Pulse() *pulse.Pulse { return &l.pulse }

// Ready waits until touched keys are gathered for the first time: what is read
// from then on is either as it is, or will be told of.
func (l *Listener) Ready(ctx context.Context) error {
	select {
	case <-l.ready:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Take returns up to limit keys of one database, in the order in which they were
// touched first, and forgets them. There are no keys when nothing is pending.
func (l *Listener) Take(limit int) (db int, keys [][]byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	db, keys, _ = l.touched.take(limit)
	return db, keys
}

// Pending is the number of keys that were touched and neither taken nor, by
// Follow, read and sent.
func (l *Listener) Pending() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.touched.n + l.held
}

// Lag is how long the oldest pending key, or gap, has been waiting.
func (l *Listener) Lag() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	oldest := l.touched.oldest()
	for _, t := range []time.Time{l.reading, l.gapSince} {
		if !t.IsZero() && (oldest.IsZero() || t.Before(oldest)) {
			oldest = t
		}
	}
	if oldest.IsZero() {
		return 0
	}
	return time.Since(oldest)
}

// Counts returns what was done so far.
func (l *Listener) Counts() Counts {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.counts
}

// Gap tells why keys may have been touched unseen, nil if none have, and forgets
// it together with the pending keys: all keys are to be read anew from now on,
// and what the source has no longer is to be removed. Keys are gathered again
// when it tells of a gap.
func (l *Listener) Gap() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.takeGap()
}

func (l *Listener) takeGap() error {
	err := l.gap
	if err == nil || l.line == nil {
		return nil // what happens until there is a line would be missed again
	}
	l.gap, l.gapSince = nil, time.Time{}
	l.touched.clear()
	return err
}

// missed notes a gap. The first reason stays.
func (l *Listener) missed(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.missedLocked(err)
}

func (l *Listener) missedLocked(err error) {
	if l.gap == nil {
		l.gap = err
		l.counts.Gaps++
	}
	if l.gapSince.IsZero() {
		l.gapSince = time.Now()
	}
	l.nudge()
}

// nudge wakes who waits for keys.
func (l *Listener) nudge() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}
