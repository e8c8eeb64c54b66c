package target

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/slotferry/slotferry/checkpoint"
	"github.com/slotferry/slotferry/importer/endpoint"
	"github.com/slotferry/slotferry/importer/wait"
)

// lane is one master's full-duplex pipeline. Its writer never waits for a
// reply, its reader matches them, and it owns what it has taken until that is
// answered or another lane has it.
type lane struct {
	cluster   *Cluster
	addr      string
	rebuilder *rebuilder

	open *chunk // being filled; the dispatching goroutine's alone

	mu       sync.Mutex
	work     *sync.Cond
	queue    []*chunk // to be sent
	inflight []*chunk // sent, or being sent; the first one is being answered
	parked   []*chunk // answered with "not now"
	writing  *chunk   // in the writer's hands
	resting  string   // why nothing may be sent on this connection any more, "" if it may
	closing  bool
	failures int       // setbacks in a row
	trouble  time.Time // of the first setback in a row
	why      string    // the last one's reason

	// What the operator was told; run's and the reader's, which take turns.
	told       bool
	quiet      time.Duration
	quietUntil time.Time

	queued   atomic.Int32 // length of queue, for those who may not lock
	sent     atomic.Int64 // bytes in flight; changed under mu
	lastPush atomic.Int64 // Cluster.pushes at that time
	failing  atomic.Bool  // failures > 0
	progress atomic.Int64 // Unix nanoseconds of the last byte that moved
	keys     atomic.Int64
	bytes    atomic.Int64
	unknown  [256]atomic.Bool            // RDB types that the node's version does not take
	said     [256]atomic.Pointer[string] // how it refused a value of a type last
}

// longestQuiet is how long a lane's trouble goes unmentioned at most.
const longestQuiet = time.Minute

var (
	errRest     = errors.New("the node asked to wait")
	errFinished = errors.New("nothing left to do")
	errStalled  = errors.New("no answer")
)

func newLane(c *Cluster, addr string) *lane {
	l := &lane{cluster: c, addr: addr}
	l.rebuilder = newRebuilder(l)
	l.work = sync.NewCond(&l.mu)
	return l
}

// push appends a chunk to what is to be sent.
func (l *lane) push(c *chunk) {
	l.mu.Lock()
	l.setQueue(append(l.queue, c))
	l.mu.Unlock()
	l.work.Broadcast()
	l.lastPush.Store(l.cluster.pushes.Add(1))
}

// setQueue replaces the queue. The caller holds mu.
func (l *lane) setQueue(q []*chunk) {
	l.queue = q
	l.queued.Store(int32(len(q)))
}

func (l *lane) close() {
	l.mu.Lock()
	l.closing = true
	l.mu.Unlock()
	l.work.Broadcast()
}

// run sends what is pushed until the lane is closed and empty. It connects when
// there is something to send, and again after every setback until RetryFor has
// passed without an answer.
func (l *lane) run(ctx context.Context) error {
	for l.wait(ctx) {
		err := l.session(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if stop := l.recover(ctx, err); stop != nil {
			return stop
		}
	}
	return context.Cause(ctx)
}

// wait blocks until there is something to send; false means that the lane is
// done.
func (l *lane) wait(ctx context.Context) bool {
	defer context.AfterFunc(ctx, l.wakeAll)()
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.queue) == 0 && !l.closing && ctx.Err() == nil {
		l.work.Wait()
	}
	return len(l.queue) > 0 && ctx.Err() == nil
}

func (l *lane) wakeAll() {
	l.mu.Lock()
	l.work.Broadcast()
	l.mu.Unlock()
}

// session is the life of one connection.
func (l *lane) session(ctx context.Context) error {
	conn, err := l.cluster.dial(ctx, l.addr)
	if errors.Is(err, endpoint.ErrAuth) {
		return fmt.Errorf("%w: %s: %w", ErrDenied, l.addr, err)
	}
	if err != nil {
		return err
	}
	l.progress.Store(time.Now().UnixNano())
	g, sctx := errgroup.WithContext(ctx)
	stop := context.AfterFunc(sctx, func() {
		_ = conn.Close()
		l.wakeAll()
	})
	defer stop()
	g.Go(func() error { return l.write(sctx, conn) })
	g.Go(func() error { return l.read(conn) })
	g.Go(func() error { return l.watch(sctx) })
	err = g.Wait()
	_ = conn.Close()
	if errors.Is(err, errFinished) {
		return nil
	}
	return err
}

// write sends queued chunks while the window has room.
func (l *lane) write(ctx context.Context, conn net.Conn) error {
	moved := func() { l.progress.Store(time.Now().UnixNano()) }
	for {
		c, err := l.next(ctx)
		if err != nil {
			return err
		}
		err = c.write(conn, moved)
		l.wrote(c)
		if err != nil {
			return err
		}
		moved()
	}
}

// wrote takes a chunk out of the writer's hands. The last answers may have come
// before the writer knew that it was done.
func (l *lane) wrote(c *chunk) {
	l.mu.Lock()
	l.writing = nil
	answered := c.answered
	l.mu.Unlock()
	if answered {
		l.cluster.budget.release(c)
	}
}

// next moves a chunk from the queue to those in flight.
func (l *lane) next(ctx context.Context) (*chunk, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case l.resting != "" && len(l.inflight) == 0:
			return nil, errRest
		case l.resting == "" && len(l.queue) > 0 && (l.sent.Load() < int64(l.cluster.opts.Window) || len(l.inflight) == 0):
			c := l.queue[0]
			l.setQueue(l.queue[1:])
			l.inflight = append(l.inflight, c)
			l.writing = c
			c.from, c.size = c.unanswered()
			l.sent.Add(int64(c.size))
			l.progress.Store(time.Now().UnixNano()) // the watch has seen nothing move while nothing was owed
			if len(l.queue) == 0 {
				l.cluster.budget.wake() // a hungry lane may justify more memory
			}
			return c, nil
		case l.closing && len(l.queue) == 0 && len(l.inflight) == 0:
			return nil, errFinished
		}
		l.work.Wait()
	}
}

// starving is how many chunks went to other lanes, for each lane there is,
// before a lane counts as one that the source has nothing for.
const starving = 16

// hungry reports whether reading further would give the node work that it will
// soon be out of: nothing waits, what it has not answered is a small part of
// the window, and of late the source had something for it.
func (l *lane) hungry(lanes int) bool {
	return l.queued.Load() == 0 && l.sent.Load() < int64(l.cluster.opts.Window)/4 &&
		l.cluster.pushes.Load()-l.lastPush.Load() < int64(starving*lanes)
}

// watch ends the session when something is in flight and nothing moves.
func (l *lane) watch(ctx context.Context) error {
	tick := time.NewTicker(time.Second / 2)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		l.mu.Lock()
		waiting, patience := len(l.inflight) > 0, l.patience()
		l.mu.Unlock()
		if still := time.Since(time.Unix(0, l.progress.Load())); waiting && still > patience {
			return fmt.Errorf("%w for %s", errStalled, patience)
		}
	}
}

// patience doubles with each setback in a row, for a node that needs longer for
// one command than the timeout. The caller holds mu.
func (l *lane) patience() time.Duration {
	return min(l.cluster.opts.ReplyTimeout<<min(l.failures, 3), 2*time.Minute)
}

// recover takes back what a session left unanswered, waits, looks at the
// topology again and hands over what is not this lane's any more. An error
// means that the job must stop.
func (l *lane) recover(ctx context.Context, err error) error {
	if final(err) {
		return err
	}
	now := time.Now()
	l.mu.Lock()
	unanswered := l.takeBack()
	if len(l.queue) == 0 {
		l.mu.Unlock()
		return nil
	}
	if l.resting != "" {
		err = errors.New(l.resting)
		l.resting = ""
	} else {
		l.cluster.count.lost.Add(1)
	}
	if err == nil {
		err = errors.New("the connection was closed")
	}
	if l.trouble.IsZero() {
		l.trouble = now
		if errors.Is(err, errStalled) { // it began when the last byte moved
			l.trouble = time.Unix(0, l.progress.Load())
		}
	}
	l.failures++
	l.failing.Store(true)
	l.why = err.Error()
	failures, since := l.failures, l.trouble
	oldest := stamp(l.queue[:unanswered], now)
	l.mu.Unlock()

	if since.Before(oldest) {
		oldest = since
	}
	if waited := now.Sub(oldest); waited > l.cluster.opts.RetryFor {
		return &PatienceError{Addr: l.addr, Waited: waited, Err: err}
	}
	l.tell(failures, err)
	if err := wait.For(ctx, wait.Backoff(failures)); err != nil {
		return err
	}
	l.cluster.refresh(ctx)
	l.handOver()
	return nil
}

// final reports whether an error of a session ends the job: a connection more
// would not mend it.
func final(err error) bool {
	var gone *bodyError
	var key *KeyError
	var patience *PatienceError
	return errors.Is(err, ErrDenied) || errors.Is(err, checkpoint.ErrLost) || errors.As(err, &gone) || errors.As(err, &key) || errors.As(err, &patience)
}

// takeBack puts parked and unanswered chunks before the queue and returns their
// number. The caller holds mu.
func (l *lane) takeBack() int {
	var back []*chunk
	for _, c := range append(l.inflight, l.parked...) {
		if c.next < len(c.entries) {
			back = append(back, c)
		} else {
			l.cluster.budget.release(c)
		}
	}
	l.inflight, l.parked = nil, nil
	l.sent.Store(0)
	l.setQueue(append(back, l.queue...))
	return len(back)
}

// stamp notes the first setback of all unanswered entries and returns the
// earliest.
func stamp(chunks []*chunk, now time.Time) time.Time {
	oldest := now.UnixNano()
	for _, c := range chunks {
		for i := c.next; i < len(c.entries); i++ {
			x := &c.entries[i]
			if x.since == 0 {
				x.since = now.UnixNano()
			}
			oldest = min(oldest, x.since)
		}
	}
	return time.Unix(0, oldest)
}

// handOver gives queued records whose slots belong to other masters to those.
func (l *lane) handOver() {
	l.mu.Lock()
	queue := l.queue
	l.setQueue(nil)
	l.mu.Unlock()
	out := l.cluster.newOutbox()
	var keep []*chunk
	for _, c := range queue {
		if l.cluster.owns(l, c) {
			keep = append(keep, c)
			continue
		}
		for ; c.next < len(c.entries); c.next++ {
			out.add(l.cluster.laneOf(c.entries[c.next].slot), c, c.next, false)
		}
		l.cluster.budget.release(c)
	}
	l.mu.Lock()
	l.setQueue(append(keep, l.queue...))
	if len(l.queue) == 0 {
		l.clear()
	}
	l.mu.Unlock()
	out.flush()
}

// tell lets the operator know that the node holds things up: at once, and then
// less and less often, for a node can take most keys and refuse some for long.
func (l *lane) tell(failures int, err error) {
	now := time.Now()
	if now.Before(l.quietUntil) {
		return
	}
	if now.Sub(l.quietUntil) > longestQuiet {
		l.quiet = time.Second
	}
	l.quietUntil = now.Add(l.quiet)
	l.quiet = min(2*l.quiet, longestQuiet)
	l.told = true
	l.cluster.log.Warn("node holds its share back; trying again",
		zap.String("node", l.addr), zap.Int("attempt", failures), zap.Error(err),
		zap.Duration("for_at_most", l.cluster.opts.RetryFor))
}

// well notes that the node answered as it should.
func (l *lane) well() {
	l.mu.Lock()
	since := l.trouble
	l.clear()
	l.mu.Unlock()
	if l.told {
		l.told = false
		l.cluster.log.Info("node answers again", zap.String("node", l.addr), zap.Duration("after", time.Since(since).Round(time.Millisecond)))
	}
}

// clear forgets setbacks. The caller holds mu.
func (l *lane) clear() {
	l.failures, l.trouble, l.why = 0, time.Time{}, ""
	l.failing.Store(false)
}

// describe returns the lane's share of the work.
func (l *lane) describe(id string, slots int) Master {
	l.mu.Lock()
	defer l.mu.Unlock()
	m := Master{Addr: l.addr, ID: id, Slots: slots, Keys: l.keys.Load(), Bytes: l.bytes.Load(), Status: l.why}
	const noteworthy = 2 * time.Second
	if still := time.Since(time.Unix(0, l.progress.Load())); m.Status == "" && len(l.inflight) > 0 && still > noteworthy {
		m.Status = fmt.Sprintf("no answer for %s", still.Round(time.Second))
	}
	if m.Status == "" {
		m.Status = l.rebuilder.status()
	}
	return m
}

// shuffle spreads questions over nodes.
func shuffle(nodes []string) {
	rand.Shuffle(len(nodes), func(i, j int) { nodes[i], nodes[j] = nodes[j], nodes[i] })
}
