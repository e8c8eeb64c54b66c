// Package verify compares a source with a Redis Cluster: it takes the records
// that an import would write, asks the masters for what they hold, and names the
// keys that differ. What differs from a living source is looked at again before
// it is called a difference. It writes nothing unless it is asked to repair.
package verify

import (
	"context"
	"hash/maphash"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/slotferry/slotferry/importer/preflight"
	"github.com/slotferry/slotferry/importer/pulse"
	"github.com/slotferry/slotferry/importer/route"
	"github.com/slotferry/slotferry/importer/target"
	"github.com/slotferry/slotferry/rdbparse"
)

// Reading is what a living source says of one key.
type Reading struct {
	Gone     bool   // it is not there, or expired
	Denied   string // the server's own words, if it doesn't give this key
	Type     byte
	Body     []byte // the value without type byte and footer, valid during the visit
	Version  uint16 // RDB version of its footer
	ExpireAt int64  // Unix milliseconds, 0 for never
}

// Live reads single keys of a living source again.
type Live interface {
	Read(ctx context.Context, db int, keys [][]byte, each func(i int, r Reading) error) error
	Exists(ctx context.Context, db int, keys [][]byte) ([]bool, error)
}

// Options says what is compared and how; zero fields take the defaults noted.
type Options struct {
	Target   *target.Cluster
	Facts    preflight.Target // what Target.Inspect told
	Live     Live             // nil: the source is a file and does not change
	Vendor   rdbparse.Vendor  // of the source's values
	Exact    bool             // the source's expiries are exact to the millisecond
	Replayed bool             // when consumers of streams were seen is not known of the source
	Rounds   int              // how often a difference from a living source is looked at again; 3
	Pause    time.Duration    // before each round; 5 s
	Repair   bool             // copy again what differs or is missing, remove what is extra
	Memory   int64            // bytes for values on their way; 40 MiB
	MaxValue int64            // longest value in bytes that is decoded; 64 MiB
	RetryFor time.Duration    // without a good answer from a node; 5 min
	// Name appends the key's name in the target to dst[:0], or returns the key
	// itself; nil does the latter. It is for Resume, which knows keys only.
	Name   func(dst []byte, db int, key []byte) []byte
	Report func(Difference) // each final difference once; never called twice at a time
	Log    *zap.Logger      // none
}

func (o *Options) setDefaults() {
	if o.Rounds == 0 {
		o.Rounds = 3
	}
	if o.Pause == 0 {
		o.Pause = 5 * time.Second
	}
	if o.Memory == 0 {
		o.Memory = 40 << 20
	}
	if o.MaxValue == 0 {
		o.MaxValue = 64 << 20
	}
	if o.RetryFor == 0 {
		o.RetryFor = 5 * time.Minute
	}
	if o.Name == nil {
		o.Name = func(_ []byte, _ int, key []byte) []byte { return key }
	}
	if o.Report == nil {
		o.Report = func(Difference) {}
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
}

// Comparer is the end of a stream that compares. Send, Load, Flush, Drain, Room
// and Finish are one goroutine's; Settle and Extras come after Run has ended.
type Comparer struct {
	opts   Options
	log    *zap.Logger
	vendor rdbparse.Vendor // of the target's values
	pttl   bool            // a master has no PEXPIRETIME
	moment time.Duration   // clocks may differ by this much
	client *redis.ClusterClient
	seed   maphash.Seed // of sums of elements

	budget   *budget
	pulse    pulse.Pulse
	account  account
	pending  pending
	deleted  map[string]bool // names of keys that were called extra and that Extras and Settle both see
	again    *again
	finished chan struct{}
	finish   sync.Once

	routing struct { // the sending goroutine's
		table *route.Table
		lanes []*lane
	}
	mu    sync.Mutex
	lanes map[string]*lane // by address
	start func(*lane)      // while running
	heavy sync.Mutex       // held by who has two large values in memory
}

// New returns a Comparer for a cluster that was inspected.
func New(o Options) *Comparer {
	o.setDefaults()
	c := &Comparer{
		opts: o, log: o.Log, seed: maphash.MakeSeed(), moment: time.Second, budget: newBudget(o.Memory), client: o.Target.Client(),
		lanes: map[string]*lane{}, deleted: map[string]bool{}, finished: make(chan struct{}),
	}
	for _, m := range o.Facts.Masters {
		if m.Server.Version.Product == "valkey" {
			c.vendor = rdbparse.Valkey
		}
		if !m.Server.Version.AtLeast(7, 0) {
			c.pttl = true
		}
		c.moment = max(c.moment, time.Second+m.Server.Skew.Abs())
	}
	c.again = newAgain(c)
	c.pending.most = pendingKeys
	return c
}

// Tolerance is by how much expiries may differ: 0 where both sides tell them
// exactly, in milliseconds.
func (c *Comparer) Tolerance() time.Duration {
	if c.opts.Exact && !c.pttl {
		return 0
	}
	return time.Second
}

// Run compares what is sent until Finish was called and all is accounted for, or
// until a node has to be given up: a *target.PatienceError, or target.ErrDenied.
func (c *Comparer) Run(ctx context.Context) error {
	g, gctx := errgroup.WithContext(ctx)
	c.mu.Lock()
	c.start = func(l *lane) { g.Go(func() error { return l.run(gctx) }) }
	for _, l := range c.lanes {
		c.start(l)
	}
	c.mu.Unlock()
	g.Go(func() error { return c.again.run(gctx) })
	g.Go(func() error {
		defer c.closeLanes()
		select {
		case <-c.finished:
			return c.budget.drained(gctx)
		case <-gctx.Done():
			return context.Cause(gctx)
		}
	})
	return g.Wait()
}

func (c *Comparer) closeLanes() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.start = nil
	for _, l := range c.lanes {
		l.close()
	}
	c.again.close()
}

// Close ends the connections to the target.
func (c *Comparer) Close() {
	c.again.hangUp()
	_ = c.client.Close()
}
