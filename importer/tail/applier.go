package tail

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/slotferry/slotferry/checkpoint"
	"github.com/slotferry/slotferry/importer/effect"
	"github.com/slotferry/slotferry/importer/pulse"
	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/importer/route"
	"github.com/slotferry/slotferry/importer/target"
)

// Applier applies commands to a cluster. Begin, Command, Later, Idle, Drain,
// Clear and Finish are one goroutine's; everything else may be called from any.
type Applier struct {
	opts    Options
	log     *zap.Logger
	jobHash string
	tracker atomic.Pointer[checkpoint.Tracker]
	count   counters
	behind  atomic.Int64 // bytes of commands without an answer
	pulse   pulse.Pulse  // of what the goroutine that gives commands waits for

	troubled atomic.Bool // refused is not empty, or err is set

	giver // of the goroutine that gives commands

	mu         sync.Mutex
	changed    *sync.Cond // memory came free, a slot became quiet, or it is over
	sleeping   bool       // the goroutine that gives commands waits for that
	slots      []slot     // by number
	pipes      map[string]*pipe
	table      *route.Table
	effects    *effect.Table // is taught under mu by the goroutine that gives commands
	stale      map[uint16][]stale
	held       []*slot
	astray     bool // the topology may be another one than is known
	free       []*page
	landed     []*flight // to be used again
	used       int64     // memory of all pages out
	unanswered int       // entries published
	refused    []refused
	markName   []byte
	start      func(*pipe)
	closing    bool
	err        error // why it is over

	finished chan struct{}
	finish   sync.Once
}

// refused is a command that the target would not have, or not as the source had
// it.
type refused struct {
	db       int
	raw      []byte
	reason   string
	expected bool // a key expired here before its commands had come, or nobody knows what was answered
	serial   int64
	addr     string
	segment  *checkpoint.Segment
}

// New returns an Applier that has not begun.
func New(o Options) *Applier {
	o.setDefaults()
	a := &Applier{
		opts: o, log: o.Log, jobHash: target.JobHash(o.Job), effects: effect.NewTable(),
		slots: make([]slot, route.Slots), pipes: map[string]*pipe{}, stale: map[uint16][]stale{},
		finished: make(chan struct{}),
	}
	for i := range a.slots {
		a.slots[i].number = uint16(i)
	}
	a.changed = sync.NewCond(&a.mu)
	a.tracker.Store(checkpoint.NewTracker(checkpoint.State{}))
	a.giver.init(o.Choice)
	if o.Reread != nil {
		a.expiring = newExpiring(a.opts.Memory / 4)
	}
	return a
}

// Run works the connections until Finish was called and all is answered, or
// until it has to give up. An Applier whose Run has ended is done with.
func (a *Applier) Run(ctx context.Context) error {
	g, gctx := errgroup.WithContext(ctx)
	a.mu.Lock()
	a.start = func(p *pipe) { g.Go(func() error { return p.run(gctx) }) }
	for _, p := range a.pipes {
		a.start(p)
	}
	a.mu.Unlock()
	keeping, leave := context.WithCancel(gctx)
	g.Go(func() error {
		a.keep(keeping)
		return nil
	})
	g.Go(func() error {
		defer leave()
		defer context.AfterFunc(gctx, a.wake)()
		select {
		case <-a.finished:
		case <-gctx.Done():
			return context.Cause(gctx)
		}
		return a.close(gctx)
	})
	err := g.Wait()
	leave()
	if err != nil {
		err = a.lostMarks(context.WithoutCancel(ctx), err)
	}
	a.over(err)
	return err
}

// over lets nobody wait any more.
func (a *Applier) over(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.start = nil
	if a.err = err; err == nil {
		a.err = errFinished
	}
	a.troubled.Store(true)
	a.changed.Broadcast()
}

// close lets the pipes end when all is answered.
func (a *Applier) close(ctx context.Context) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for a.unanswered > 0 && ctx.Err() == nil {
		a.sleeping = true
		a.changed.Wait()
	}
	a.closing, a.start = true, nil
	for _, p := range a.pipes {
		p.work.Broadcast()
	}
	return context.Cause(ctx)
}

// stir wakes the goroutine that gives commands if it waits. The caller holds mu.
func (a *Applier) stir() {
	if a.sleeping {
		a.sleeping = false
		a.changed.Broadcast()
	}
}

func (a *Applier) wake() {
	a.mu.Lock()
	a.changed.Broadcast()
	a.mu.Unlock()
}

// waitLocked waits for stir. The caller holds mu.
func (a *Applier) waitLocked() {
	a.sleeping = true
	a.changed.Wait()
}

const (
	keepEvery = 10 * time.Millisecond  // looks whether a held slot may go on
	lookEvery = 200 * time.Millisecond // looks whether the topology is another one
)

// keep lets held slots go on in time, and follows the topology.
func (a *Applier) keep(ctx context.Context) {
	tick := time.NewTicker(keepEvery)
	defer tick.Stop()
	var looked time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			a.mu.Lock()
			astray := a.astray
			a.astray = false
			a.mu.Unlock()
			if astray {
				a.opts.Cluster.Refresh(ctx)
			}
			if astray || now.Sub(looked) > lookEvery {
				looked = now
				a.follow()
			}
			a.release(now)
		}
	}
}

// look reads the topology again.
func (a *Applier) look(ctx context.Context) {
	a.opts.Cluster.Refresh(ctx)
	a.follow()
}

// follow takes the slot table over if it is another one.
func (a *Applier) follow() {
	t := a.opts.Cluster.Table()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.table != nil && t != a.table { // nil before Begin
		a.adopt(t)
	}
}

// release lets held slots go on whose time has come.
func (a *Applier) release(now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	still := a.held[:0]
	for _, s := range a.held {
		if now.Before(s.until) {
			still = append(still, s)
			continue
		}
		a.push(s)
	}
	clear(a.held[len(still):])
	a.held = still
}

// Finish says that there are no more commands. Keys that are still to be read
// again are not: Drain comes before.
func (a *Applier) Finish() {
	a.publish()
	a.finish.Do(func() { close(a.finished) })
}

// Safe returns the position below which everything is answered.
func (a *Applier) Safe() record.Position { return a.tracker.Load().Safe().Position }

// Failures returns the keys that are not as in the source, by name.
func (a *Applier) Failures() []checkpoint.Failure { return a.tracker.Load().Failures() }

// Behind returns the bytes of commands that were taken and are not answered.
func (a *Applier) Behind() int64 { return a.behind.Load() }

// Waits returns whom the Applier waits for.
func (a *Applier) Waits() []pulse.Wait {
	all := a.pulse.Waits()
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, p := range a.pipes {
		if len(p.inflight)+p.ready.len() == 0 {
			continue
		}
		w := target.Owes(p.addr, "an answer to commands that follow the copy")
		w.Since = time.Unix(0, p.progress.Load())
		if p.why != "" {
			w.What, w.Since = fmt.Sprintf("a good answer (%s)", p.why), p.trouble
		}
		all = append(all, w)
	}
	for _, s := range a.held {
		w := target.Owes(s.pipe.addr, fmt.Sprintf("slot %d to be taken (%s)", s.number, s.why))
		w.Since = s.since
		w.Remedy = "commands of a slot that moves between masters wait until it has moved: see that the move goes on (redis-cli --cluster check), or that the node is well"
		all = append(all, w)
	}
	return pulse.Longest(all)
}
