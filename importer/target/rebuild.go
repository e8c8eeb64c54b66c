package target

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dustin/go-humanize"
	"go.uber.org/zap"

	"github.com/slotferry/slotferry/importer/pulse"
	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/importer/wait"
)

// rebuilder makes values with native commands on one master, beside its lane and
// on a connection of its own: values that the master does not take as bytes, or
// that are too long for one command. It owns what it was given until that is
// accounted for or another rebuilder has it.
type rebuilder struct {
	lane    *lane
	cluster *Cluster

	open *chunk // being filled; the dispatching goroutine's alone

	mu       sync.Mutex
	work     *sync.Cond
	queue    []*chunk
	closing  bool
	failures int       // setbacks in a row
	trouble  time.Time // of the first setback in a row
	why      string    // the last one's reason, "" when it is over
	working  bool      // something was taken from the queue
	building string    // the large value at work, clipped
	bytes    int64     // of it that were read
	total    int64     // 0 if not known

	moved atomic.Int64 // Unix nanoseconds of the last byte on the connection

	told time.Time           // run's: when the operator last heard of trouble
	left map[uint16]struct{} // run's: slots whose temporary key may be there
}

func newRebuilder(l *lane) *rebuilder {
	b := &rebuilder{lane: l, cluster: l.cluster, left: map[uint16]struct{}{}}
	b.work = sync.NewCond(&b.mu)
	return b
}

func (b *rebuilder) push(c *chunk) {
	b.mu.Lock()
	b.queue = append(b.queue, c)
	b.mu.Unlock()
	b.work.Broadcast()
}

// pop returns the next chunk, nil if there is none.
func (b *rebuilder) pop() *chunk {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.queue) == 0 {
		return nil
	}
	c := b.queue[0]
	b.queue, b.working = b.queue[1:], true
	return c
}

func (b *rebuilder) idle() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.working = false
}

func (b *rebuilder) moves() { b.moved.Store(time.Now().UnixNano()) }

func (b *rebuilder) close() {
	b.mu.Lock()
	b.closing = true
	b.mu.Unlock()
	b.work.Broadcast()
}

// run rebuilds what is pushed until it is closed and has nothing left. Temporary
// keys that it may have left are removed at the end.
func (b *rebuilder) run(ctx context.Context) error {
	defer b.clean(ctx)
	for b.wait(ctx) {
		err := b.session(ctx)
		if ctx.Err() != nil {
			break
		}
		if err == nil {
			continue
		}
		if stop := b.recover(ctx, err); stop != nil {
			return stop
		}
	}
	return context.Cause(ctx)
}

// wait blocks until there is something to rebuild; false means that there will
// be nothing more.
func (b *rebuilder) wait(ctx context.Context) bool {
	defer context.AfterFunc(ctx, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.work.Broadcast()
	})()
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.queue) == 0 && !b.closing && ctx.Err() == nil {
		b.work.Wait()
	}
	return len(b.queue) > 0 && ctx.Err() == nil
}

// recover waits after a setback, looks at the topology again and hands over what
// is not this master's any more. An error means that the job must stop.
func (b *rebuilder) recover(ctx context.Context, err error) error {
	if final(err) || errors.Is(err, record.ErrPatience) {
		return err
	}
	now := time.Now()
	var rest *restError // then the value that waits has a deadline of its own
	lost := !errors.As(err, &rest)
	b.mu.Lock()
	if lost && b.trouble.IsZero() {
		b.trouble = now
	}
	b.failures++
	b.why = err.Error()
	failures, since := b.failures, b.trouble
	b.mu.Unlock()
	if lost {
		b.cluster.count.lost.Add(1)
	}
	if waited := now.Sub(since); lost && waited > b.cluster.opts.RetryFor {
		return &PatienceError{Addr: b.lane.addr, Waited: waited, Err: err}
	}
	if now.Sub(b.told) > longestQuiet {
		b.told = now
		b.cluster.log.Warn("values that are rebuilt with native commands are held back; trying again",
			zap.String("node", b.lane.addr), zap.Error(err), zap.Duration("for_at_most", b.cluster.opts.RetryFor))
	}
	if err := wait.For(ctx, wait.Backoff(failures)); err != nil {
		return err
	}
	b.cluster.refresh(ctx)
	b.handOver()
	return nil
}

// well notes that the node did as it was asked.
func (b *rebuilder) well() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failures, b.trouble, b.why = 0, time.Time{}, ""
}

// patience is how long an answer may take.
func (b *rebuilder) patience() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return min(b.cluster.opts.ReplyTimeout<<min(b.failures, 3), 2*time.Minute)
}

// handOver gives queued entries whose slots belong to other masters to those.
func (b *rebuilder) handOver() {
	b.mu.Lock()
	queue := b.queue
	b.queue = nil
	b.mu.Unlock()
	out := b.cluster.newOutbox()
	var keep []*chunk
	for _, c := range queue {
		if b.cluster.owns(b.lane, c) {
			keep = append(keep, c)
			continue
		}
		for ; c.next < len(c.entries); c.next++ {
			out.rebuild(b.cluster.laneOf(c.entries[c.next].slot), c, c.next)
		}
		b.cluster.budget.release(c)
	}
	b.mu.Lock()
	b.queue = append(keep, b.queue...)
	b.mu.Unlock()
	out.flush()
}

// cleanTimeout bounds the removal of temporary keys when nothing more is done.
const cleanTimeout = time.Second

// clean removes the temporary keys that may have been left, as well as that goes.
func (b *rebuilder) clean(ctx context.Context) {
	if len(b.left) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanTimeout)
	defer cancel()
	slots := slices.Collect(maps.Keys(b.left))
	for attempt := 1; len(slots) > 0 && ctx.Err() == nil; attempt++ {
		var err error
		if _, slots, err = b.cluster.unlinkTemps(ctx, slots, cleanTimeout); errors.Is(err, ErrDenied) {
			return
		}
		if len(slots) > 0 {
			if wait.For(ctx, wait.Backoff(attempt)) != nil {
				return
			}
			b.cluster.refresh(ctx)
		}
	}
}

// begins notes which large value is at work.
func (b *rebuilder) begins(key []byte, total int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.building, b.bytes, b.total = fmt.Sprintf("%q", clipped(key)), 0, total
}

func (b *rebuilder) progress(bytes int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.bytes = bytes
}

func (b *rebuilder) ended() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.building = ""
}

// status says what holds it up, or which large value is being rebuilt.
func (b *rebuilder) status() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.building == "":
		return b.why
	case b.total == 0:
		return fmt.Sprintf("rebuilding key %s, %s", b.building, humanize.IBytes(uint64(b.bytes)))
	}
	return fmt.Sprintf("rebuilding key %s, %s of %s", b.building, humanize.IBytes(uint64(b.bytes)), humanize.IBytes(uint64(b.total)))
}

// waits returns what the master owes to the rebuilder.
func (b *rebuilder) waits() (w pulse.Wait, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.working && len(b.queue) == 0 {
		return w, false
	}
	w = Owes(b.lane.addr, "an answer")
	if moved := b.moved.Load(); moved > 0 {
		w.Since = time.Unix(0, moved)
	}
	if b.why != "" {
		w.What = fmt.Sprintf("a good answer (%s)", b.why)
		w.Since = b.trouble
	}
	return w, true
}

// lastMove is when something last moved while there was no setback, in Unix
// nanoseconds.
func (b *rebuilder) lastMove() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.working || b.failures > 0 {
		return 0
	}
	return b.moved.Load()
}
