package verify

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/slotferry/slotferry/checkpoint"
	"github.com/slotferry/slotferry/importer/endpoint"
	"github.com/slotferry/slotferry/importer/target"
	"github.com/slotferry/slotferry/importer/wait"
)

const (
	window       = 4 << 20          // bytes of answers that a master owes at most
	replyTimeout = 30 * time.Second // without a byte from a connection that owes answers
)

var errFinished = errors.New("nothing left to do")

// lane asks one master for what chunks hold, on a connection of its own. Its
// writer does not wait for answers, its reader compares them as they come. What
// it gets no good answer for is asked again elsewhere, with patience.
type lane struct {
	c    *Comparer
	addr string
	open *chunk // being filled; the sending goroutine's

	mu       sync.Mutex
	work     *sync.Cond
	queue    []*chunk // to be asked
	inflight []*chunk // asked; the first one is being answered
	owed     int64    // bytes of answers to inflight, more or less
	closing  bool

	// The reader's, and run's when there is no reader.
	next  int     // entry of the first chunk in flight
	looks []*look // entries of that chunk which are asked again
}

func newLane(c *Comparer, addr string) *lane {
	l := &lane{c: c, addr: addr}
	l.work = sync.NewCond(&l.mu)
	return l
}

// seal hands the chunk that is being filled over.
func (l *lane) seal() {
	if l.open == nil {
		return
	}
	l.mu.Lock()
	l.queue = append(l.queue, l.open)
	l.mu.Unlock()
	l.open = nil
	l.work.Broadcast()
}

func (l *lane) close() {
	l.mu.Lock()
	l.closing = true
	l.mu.Unlock()
	l.work.Broadcast()
}

func (l *lane) wakeAll() {
	l.mu.Lock()
	l.work.Broadcast()
	l.mu.Unlock()
}

// run asks what is queued until the lane is closed and empty.
func (l *lane) run(ctx context.Context) error {
	for failures := 0; l.wait(ctx); {
		begun := time.Now()
		err := l.session(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err == nil {
			continue
		}
		if final(err) {
			return err
		}
		const held = 10 * time.Second // a connection that was good for a while
		if failures++; time.Since(begun) > held {
			failures = 1
		}
		l.giveUp()
		if failures&(failures-1) == 0 { // less and less often
			l.c.log.Warn("node does not answer; asking it again", zap.String("node", l.addr), zap.Int("attempt", failures), zap.Error(err))
		}
		if err := wait.For(ctx, wait.Backoff(failures)); err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

// wait blocks until there is something to ask; false means that the lane is
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

// session is the life of one connection.
func (l *lane) session(ctx context.Context) error {
	conn, err := l.c.dial(ctx, l.addr)
	if err != nil {
		return err
	}
	g, sctx := errgroup.WithContext(ctx)
	stop := context.AfterFunc(sctx, func() {
		_ = conn.Close()
		l.wakeAll()
	})
	defer stop()
	g.Go(func() error { return l.write(sctx, conn) })
	g.Go(func() error { return l.read(sctx, conn) })
	err = g.Wait()
	_ = conn.Close()
	if errors.Is(err, errFinished) {
		return nil
	}
	return err
}

// dial connects to a master; refused credentials are final.
func (c *Comparer) dial(ctx context.Context, addr string) (net.Conn, error) {
	conn, err := c.opts.Target.Dial(ctx, addr)
	if errors.Is(err, endpoint.ErrAuth) {
		return nil, fmt.Errorf("%w: %s: %w", target.ErrDenied, addr, err)
	}
	if err != nil {
		return nil, err
	}
	return &patient{conn, replyTimeout, &c.pulse}, nil
}

// write asks what is queued while the window has room.
func (l *lane) write(ctx context.Context, conn net.Conn) error {
	for {
		ch, err := l.take(ctx)
		if err != nil {
			return err
		}
		_, err = conn.Write(ch.commands)
		l.c.budget.drop(ch)
		if err != nil {
			return err
		}
	}
}

// take moves a chunk from the queue to those in flight and makes the writer one
// of its holders.
func (l *lane) take(ctx context.Context) (*chunk, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case len(l.queue) > 0 && (l.owed < window || len(l.inflight) == 0):
			ch := l.queue[0]
			l.queue = append(l.queue[:0], l.queue[1:]...)
			l.inflight = append(l.inflight, ch)
			l.owed += ch.expect
			ch.holders.Add(1)
			l.work.Broadcast()
			return ch, nil
		case l.closing && len(l.queue) == 0 && len(l.inflight) == 0:
			return nil, errFinished
		}
		l.work.Wait()
	}
}

// read compares the answers to what is in flight.
func (l *lane) read(ctx context.Context, conn net.Conn) error {
	r := newReplies(conn)
	for {
		ch, err := l.first(ctx)
		if err != nil {
			return err
		}
		if err := l.compare(r, ch); err != nil {
			return fmt.Errorf("connection lost: %w", err)
		}
		l.retire(ch)
	}
}

// first waits for a chunk in flight.
func (l *lane) first(ctx context.Context) (*chunk, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.inflight) == 0 {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		l.work.Wait()
	}
	return l.inflight[0], nil
}

// compare reads the answers to a chunk.
func (l *lane) compare(r replies, ch *chunk) error {
	run := equals{c: l.c}
	defer run.flush()
	for l.next < len(ch.entries) {
		e := &ch.entries[l.next]
		v, err := l.c.read(r, ch, e, l.addr, manner{})
		if err != nil {
			return err
		}
		l.next++
		if v.outcome == same {
			run.add(e)
			continue
		}
		if again := l.c.conclude(ch, e, v, l.addr); again != nil {
			l.looks = append(l.looks, again)
		}
	}
	return nil
}

// equals accounts for runs of keys that are the same on both sides.
type equals struct {
	c     *Comparer
	seg   *checkpoint.Segment
	keys  int64
	bytes int64
}

func (q *equals) add(e *entry) {
	if e.segment != q.seg {
		q.flush()
		q.seg = e.segment
	}
	q.keys++
	q.bytes += e.bytes()
}

func (q *equals) flush() {
	if q.keys == 0 {
		return
	}
	q.c.account.same.Add(q.keys)
	q.c.account.bytes.Add(q.bytes)
	q.seg.Done(checkpoint.Written, q.keys, q.bytes, 0)
	q.keys, q.bytes = 0, 0
}

// retire gives an answered chunk away: to be asked again in parts, or back.
func (l *lane) retire(ch *chunk) {
	l.mu.Lock()
	l.inflight = append(l.inflight[:0], l.inflight[1:]...)
	l.owed -= ch.expect
	l.mu.Unlock()
	l.work.Broadcast()
	l.handOver(ch)
}

// handOver passes on what is to be asked again of a chunk.
func (l *lane) handOver(ch *chunk) {
	ch.holders.Add(int32(len(l.looks)))
	l.c.again.push(l.looks)
	l.next, l.looks = 0, nil
	l.c.budget.drop(ch)
}

// giveUp lets all that the node has not answered be asked again with patience.
func (l *lane) giveUp() {
	l.mu.Lock()
	unanswered := append(l.inflight, l.queue...)
	l.inflight, l.queue, l.owed = nil, nil, 0
	l.mu.Unlock()
	for _, ch := range unanswered {
		for ; l.next < len(ch.entries); l.next++ {
			l.looks = append(l.looks, &look{ch: ch, entry: &ch.entries[l.next]})
		}
		l.handOver(ch)
	}
}
