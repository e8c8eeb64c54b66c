// Package target writes records into the masters of a Redis Cluster. The
// Cluster knows the topology, asked for through go-redis, and keeps one lane a
// master: a raw connection on which RESTORE is pipelined full duplex. Whatever
// a node answers, a record is either accounted for or sent again.
package target

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/slotferry/slotferry/checkpoint"
	"github.com/slotferry/slotferry/importer/endpoint"
	"github.com/slotferry/slotferry/importer/preflight"
	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/importer/route"
)

// ErrDenied means that the target refuses this user: another attempt is of no
// use before the operator has changed something.
var ErrDenied = errors.New("the target does not allow it")

// PatienceError means that a node gave no good answer for RetryFor.
type PatienceError struct {
	Addr   string
	Waited time.Duration
	Err    error // the last setback
}

func (e *PatienceError) Error() string {
	return fmt.Sprintf("%s gave no good answer for %s: %v", e.Addr, e.Waited.Round(time.Second), e.Err)
}

// Unwrap makes it a record.ErrPatience, beside what it was about.
func (e *PatienceError) Unwrap() []error { return []error{record.ErrPatience, e.Err} }

// KeyError is a key that could not be written, with FailFast.
type KeyError struct{ checkpoint.Failure }

func (e *KeyError) Error() string {
	return fmt.Sprintf("key %q (db %d, slot %d, node %s): %s", clipped(e.Key), e.DB, e.Slot, e.Node, e.Reason)
}

// Options is how the target is reached and treated. Zero fields take the
// defaults noted.
type Options struct {
	Seeds           []string          // host:port of any nodes, announced addresses among them or not
	Endpoint        endpoint.Endpoint // credentials and TLS, the same for all nodes
	AddressMap      route.AddressMap
	Skip            bool          // leave keys that exist alone; otherwise they are replaced
	Functions       Functions     // what becomes of a function library that is there already
	SkipUnsupported bool          // values that the target can't take are skipped, not failed
	FailFast        bool          // the first key that fails ends the job
	RetryFor        time.Duration // without a good answer from a node; 5 min
	ReplyTimeout    time.Duration // without a byte moving on a connection that owes answers; 20 s
	Memory          int64         // bytes for records on their way; 64 MiB
	LargeMemory     int64         // the same while values are among them that are held in memory of their own; Memory
	Window          int           // bytes sent to a node but not answered; 4 MiB
	MaxBulk         int64         // longest word for any node, in bytes; what they take (proto-max-bulk-len)
	MaxCommand      int64         // longest serialized value, in bytes, that is sent as it is; longer ones are rebuilt in parts; 64 MiB
	Job             string        // temporary keys are named after it
	RelativeTTL     bool          // nodes older than 5.0, which know no ABSTTL
	ReadOnly        bool          // values will be compared: Inspect looks at what that needs
	Repair          bool          // with ReadOnly: and written or removed where they differ
	Log             *zap.Logger   // none
}

func (o *Options) setDefaults() {
	if o.RetryFor == 0 {
		o.RetryFor = 5 * time.Minute
	}
	if o.ReplyTimeout == 0 {
		o.ReplyTimeout = 20 * time.Second
	}
	if o.Memory == 0 {
		o.Memory = 64 << 20
	}
	if o.Window == 0 {
		o.Window = 4 << 20
	}
	if o.MaxCommand == 0 {
		o.MaxCommand = 64 << 20
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
}

// Cluster is a Redis Cluster that is written to. Send, Flush and Finish are one
// goroutine's; everything else may be called from any.
type Cluster struct {
	opts     Options
	log      *zap.Logger
	encoding encoding
	budget   *budget
	version  preflight.Version // of the oldest master, as Inspect found it
	fatal    bool              // a module's value could end a master
	maxBulk  int64             // longest word that all masters take, as Inspect found it
	jobHash  string
	counted  []uint16     // slots whose keys count; all if there is none
	held     func() error // nil: nobody else may write

	routing atomic.Pointer[routing]

	pushes atomic.Int64 // chunks handed to lanes

	mu        sync.Mutex
	lanes     map[string]*lane // by address
	clients   map[string]*redis.Client
	silent    map[string]bool   // nodes that did not tell the topology when last asked
	names     map[string]string // announced host names, by address
	start     func(*lane)       // while running
	refreshed time.Time
	untold    time.Time // when the operator heard last that no node tells the topology
	asked     chan struct{}
	finished  chan struct{}
	finish    sync.Once
	told      map[string]bool // reasons for which values are rebuilt

	count struct{ moved, ask, paused, lost, restamped, rebuilt atomic.Int64 }
}

// routing is the slot table with the lane of each of its masters.
type routing struct {
	table *route.Table
	lanes []*lane
}

// New returns a cluster that is not connected yet: Inspect does that.
func New(o Options) *Cluster {
	o.setDefaults()
	c := &Cluster{
		opts: o, log: o.Log, encoding: encoding{replace: !o.Skip, relative: o.RelativeTTL},
		maxBulk: cmp.Or(o.MaxBulk, usualBulk), jobHash: jobHash(o.Job), told: map[string]bool{},
		lanes: map[string]*lane{}, clients: map[string]*redis.Client{}, silent: map[string]bool{}, names: map[string]string{},
		asked: make(chan struct{}, 1), finished: make(chan struct{}),
	}
	c.opts.Seeds = nil
	for _, s := range o.Seeds {
		c.opts.Seeds = append(c.opts.Seeds, c.reach(s, ""))
	}
	c.budget = newBudget(o.Memory, o.LargeMemory, c.hungry)
	return c
}

// connect reads the topology. Its errors name each seed and what was wrong
// with it.
func (c *Cluster) connect(ctx context.Context) error {
	t, err := c.readTable(ctx, c.opts.Seeds)
	if err != nil {
		return err
	}
	c.adopt(t)
	return nil
}

// Table returns the slot table as it is known now.
func (c *Cluster) Table() *route.Table { return c.routing.Load().table }

// MaxBulk returns the longest word in bytes that all masters take.
func (c *Cluster) MaxBulk() int64 { return c.maxBulk }

// MaxCommand returns the longest serialized value in bytes that is sent as it is.
func (c *Cluster) MaxCommand() int64 { return c.opts.MaxCommand }

// Run works the lanes until Finish was called and everything is answered, or
// until one of them has to give up.
func (c *Cluster) Run(ctx context.Context) error {
	g, gctx := errgroup.WithContext(ctx)
	following, unfollow := context.WithCancel(gctx)
	defer unfollow()
	c.mu.Lock()
	c.start = func(l *lane) {
		g.Go(func() error { return l.run(gctx) })
		g.Go(func() error { return l.rebuilder.run(gctx) })
	}
	for _, l := range c.lanes {
		c.start(l)
	}
	c.mu.Unlock()
	g.Go(func() error {
		c.follow(following)
		return nil
	})
	g.Go(func() error {
		defer unfollow()
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

// closeLanes lets the lanes end when they are empty. A lane that a later look
// at the topology makes has nothing to do and is not started.
func (c *Cluster) closeLanes() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.start = nil
	for _, l := range c.lanes {
		l.close()
		l.rebuilder.close()
	}
}

// Send queues a record for the master of a slot, under a name. It waits while
// the memory for records on their way is used up. One that the source had to
// refuse is only accounted for.
func (c *Cluster) Send(ctx context.Context, r *record.Record, name []byte, slot uint16, seg *checkpoint.Segment) error {
	if r.Fate == record.Refused {
		return c.fail(nil, checkpoint.Failure{Key: clone(name), DB: r.DB, Slot: slot, Reason: r.Reason}, seg, true)
	}
	now := c.routing.Load()
	l := now.lanes[max(0, now.table.Index(slot))] // a hole: any node says so, and the lane recovers
	rebuild, reason := c.way(l, r, name)
	if reason != "" {
		return c.fail(l, checkpoint.Failure{Key: clone(name), DB: r.DB, Slot: slot, Reason: reason}, seg, true)
	}
	open, push := &l.open, l.push
	if rebuild {
		open, push = &l.rebuilder.open, l.rebuilder.push
	}
	size := c.encoding.size(r, name)
	alone := isLarge(r) || size > chunkBytes
	if *open != nil && (alone || !(*open).fits(size)) {
		push(*open)
		*open = nil
	}
	if alone {
		ch, err := c.budget.chunk(ctx, size, int64(len(r.Value))*b2i(r.Owned), c.Flush)
		if err != nil {
			return err
		}
		c.encoding.add(ch, r, name, slot, seg)
		push(ch)
		return nil
	}
	if *open == nil {
		ch, err := c.budget.chunk(ctx, size, 0, c.Flush)
		if err != nil {
			return err
		}
		*open = ch
	}
	c.encoding.add(*open, r, name, slot, seg)
	return nil
}

// Room waits until a value of n bytes may be held beside what is on its way, for
// a source that is about to take memory for one. Like Send it belongs to the
// goroutine that sends.
func (c *Cluster) Room(ctx context.Context, n int64) error { return c.budget.room(ctx, n, c.Flush) }

// Flush hands everything that Send has gathered to the lanes.
func (c *Cluster) Flush() {
	for _, l := range c.allLanes() {
		c.seal(l)
	}
}

func (c *Cluster) seal(l *lane) {
	if l.open != nil {
		l.push(l.open)
		l.open = nil
	}
	if b := l.rebuilder; b.open != nil {
		b.push(b.open)
		b.open = nil
	}
}

// Drain waits until all that was sent is answered. Like Send it belongs to the
// goroutine that sends.
func (c *Cluster) Drain(ctx context.Context) error {
	c.Flush()
	return c.budget.drained(ctx)
}

// Finish says that nothing more will be sent. Run ends when all is answered.
func (c *Cluster) Finish() {
	c.Flush()
	c.finish.Do(func() { close(c.finished) })
}

// Client returns a go-redis client for the whole cluster, by the topology that
// Inspect found and the address map. The caller closes it.
func (c *Cluster) Client() *redis.ClusterClient {
	return redis.NewClusterClient(&redis.ClusterOptions{
		Protocol: 2, DisableIdentity: true, MaxRedirects: 8,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
		ClusterSlots: func(ctx context.Context) ([]redis.ClusterSlot, error) {
			c.refresh(ctx)
			return clusterSlots(c.Table()), nil
		},
		Dialer: func(ctx context.Context, _, addr string) (net.Conn, error) {
			return c.node(c.dialled(addr)).Dial(ctx)
		},
	})
}

// Close ends the connections that Inspect, Load and the topology needed.
func (c *Cluster) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, client := range c.clients {
		_ = client.Close()
	}
	clear(c.clients)
}

// refuse accounts for an entry that the target will not take.
func (c *Cluster) refuse(l *lane, ch *chunk, i int, reason string, unsupported bool) error {
	x := &ch.entries[i]
	return c.fail(l, checkpoint.Failure{
		Key: clone(x.key.of(ch.buf)), DB: int(x.db), Slot: x.slot, Node: l.addr, Reason: reason,
	}, x.segment, unsupported)
}

func (c *Cluster) fail(l *lane, f checkpoint.Failure, seg *checkpoint.Segment, unsupported bool) error {
	if l != nil {
		f.Node = l.addr
	}
	if unsupported && c.opts.SkipUnsupported {
		seg.Skip(f)
		return nil
	}
	seg.Fail(f)
	if c.opts.FailFast {
		return &KeyError{f}
	}
	return nil
}

func (c *Cluster) hungry() bool {
	lanes := c.routing.Load().lanes
	for _, l := range lanes {
		if l.hungry(len(lanes)) {
			return true
		}
	}
	return false
}

func (c *Cluster) allLanes() []*lane {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make([]*lane, 0, len(c.lanes))
	for _, l := range c.lanes {
		all = append(all, l)
	}
	return all
}

func clone(b []byte) []byte { return append([]byte(nil), b...) }

// clipped shortens a key for a message.
func clipped(key []byte) []byte { return key[:min(len(key), 128)] }

func b2i(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
