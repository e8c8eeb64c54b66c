package verify

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/slotferry/slotferry/importer/target"
	"github.com/slotferry/slotferry/importer/wait"
)

const (
	lookKeys  = 64      // asked for in one write
	lookBytes = 1 << 20 // of answers to one write, more or less
	maxHops   = 4       // redirections in a row before a key waits
)

// look is one key that a master is asked for again: because it gave no good
// answer, because the value is to be held, to be written anew, or to see
// whether a living source and the target differ still.
type look struct {
	ch    *chunk
	entry *entry

	hold   bool            // take a large value into memory
	anew   bool            // read the source's value again first
	mend   bool            // write the source's value first
	mended bool            // it was written
	was    verdict         // why it is mended
	judged func(v verdict) // who asked; nil: the account, see conclude

	addr   string // the node to ask, "" for the slot's owner
	asking bool
	hops   int
	fails  int
	why    string    // the last failure
	since  time.Time // of the first of several failures
	until  time.Time // not before
	done   bool
}

// again asks for keys until it has a good answer, master by master at the same
// time. It has few of them, so that it may be slow.
type again struct {
	c *Comparer

	mu     sync.Mutex
	queue  []*look
	closed bool
	pushed chan struct{}

	conns  map[string]*link // by address; under mu
	stale  bool             // the slot table; under mu
	doubts []*look          // to be read anew; under mu
	said   time.Time        // when the operator was told of trouble; under mu
}

type link struct {
	net.Conn
	replies
}

func newAgain(c *Comparer) *again {
	return &again{c: c, pushed: make(chan struct{}, 1), conns: map[string]*link{}}
}

func (a *again) push(looks []*look) {
	if len(looks) == 0 {
		return
	}
	a.mu.Lock()
	for _, l := range looks {
		if l.anew {
			a.doubts = append(a.doubts, l)
		} else {
			a.queue = append(a.queue, l)
		}
	}
	a.mu.Unlock()
	a.wake()
}

func (a *again) wake() {
	select {
	case a.pushed <- struct{}{}:
	default:
	}
}

func (a *again) close() {
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	a.wake()
}

// pop returns what was pushed since the last time.
func (a *again) pop() []*look {
	a.mu.Lock()
	defer a.mu.Unlock()
	looks := a.queue
	a.queue = nil
	return looks
}

// run asks what is pushed until it is closed.
func (a *again) run(ctx context.Context) error {
	for {
		if err := a.ask(ctx, nil, a.pop); err != nil {
			return err
		}
		a.mu.Lock()
		ended := a.closed && len(a.queue) == 0 && len(a.doubts) == 0
		a.mu.Unlock()
		if ended {
			return nil
		}
		select {
		case <-a.pushed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// ask asks until there is a good answer for each of open, and of what more gives
// meanwhile.
func (a *again) ask(ctx context.Context, open []*look, more func() []*look) error {
	for {
		if more != nil {
			open = append(open, more()...)
		}
		if more != nil {
			if err := a.readAnew(ctx); err != nil {
				return err
			}
		}
		if len(open) == 0 {
			return nil
		}
		if err := a.rest(ctx, open); err != nil {
			return err
		}
		if err := a.round(ctx, open); err != nil {
			return err
		}
		open = slices.DeleteFunc(open, func(l *look) bool { return l.done })
		if err := a.overdue(open); err != nil {
			return err
		}
	}
}

// rest sleeps until one of the keys may be asked for.
func (a *again) rest(ctx context.Context, open []*look) error {
	first := slices.MinFunc(open, func(x, y *look) int { return x.until.Compare(y.until) })
	if left := time.Until(first.until); left > 0 {
		return wait.For(ctx, left)
	}
	return context.Cause(ctx)
}

func (a *again) overdue(open []*look) error {
	for _, l := range open {
		if waited := time.Since(l.since); !l.since.IsZero() && waited > a.c.opts.RetryFor {
			return &target.PatienceError{Addr: a.node(l), Waited: waited, Err: errors.New(l.why)}
		}
	}
	return nil
}

// node is where to ask for a key.
func (a *again) node(l *look) string {
	if l.addr != "" {
		return l.addr
	}
	return a.c.owner(l.entry.slot)
}

// round asks once for every key that does not have to wait. An error is final.
func (a *again) round(ctx context.Context, open []*look) error {
	now := time.Now()
	nodes := map[string][]*look{}
	for _, l := range open {
		if !l.until.After(now) {
			addr := a.node(l)
			nodes[addr] = append(nodes[addr], l)
		}
	}
	g, gctx := errgroup.WithContext(ctx)
	for addr, looks := range nodes {
		g.Go(func() error {
			for len(looks) > 0 {
				n := batch(looks)
				if err := a.group(gctx, addr, looks[:n]); err != nil {
					return err
				}
				looks = looks[n:]
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	a.mu.Lock()
	stale := a.stale
	a.stale = false
	a.mu.Unlock()
	if stale {
		a.c.opts.Target.Refresh(ctx)
	}
	return context.Cause(ctx)
}

// batch returns how many keys are asked for in one write.
func batch(looks []*look) int {
	n, bytes := 0, int64(0)
	for n < min(len(looks), lookKeys) && (n == 0 || bytes < lookBytes) {
		bytes += looks[n].entry.len()
		n++
	}
	return n
}

// group asks one node for some keys. An error is final.
func (a *again) group(ctx context.Context, addr string, looks []*look) error {
	defer a.c.pulse.End(a.c.pulse.Begin(target.Owes(addr, "an answer")))
	looks, err := a.mend(ctx, addr, looks)
	if err != nil || len(looks) == 0 {
		return err
	}
	k, err := a.link(ctx, addr)
	if err == nil {
		stop := context.AfterFunc(ctx, func() { _ = k.Close() })
		looks, err = a.exchange(k, addr, looks)
		stop()
	}
	if err == nil {
		return nil
	}
	a.forget(addr)
	if final(err) {
		return err
	}
	for _, l := range looks {
		a.failed(l, addr, err.Error())
	}
	return nil
}

// exchange asks and reads the answers. With an error come those that have none.
func (a *again) exchange(k *link, addr string, looks []*look) ([]*look, error) {
	var out []byte
	for _, l := range looks {
		q := a.c.question()
		q.asking = l.asking
		out, _ = q.append(out, l.ch.name(l.entry))
	}
	if _, err := k.Write(out); err != nil {
		return looks, err
	}
	for i, l := range looks {
		v, err := a.c.read(k.replies, l.ch, l.entry, addr, manner{asking: l.asking, hold: l.hold})
		if err != nil {
			return looks[i:], err
		}
		a.answered(l, v, addr)
	}
	return nil, nil
}

// answered notes what a node says of a key.
func (a *again) answered(l *look, v verdict, addr string) {
	switch {
	case v.outcome == closer:
		l.hold = true
		return
	case v.outcome == later && v.addr != "":
		if l.hops++; l.hops <= maxHops {
			l.addr, l.asking = v.addr, v.asking
			if !v.asking {
				a.mu.Lock()
				a.stale = true
				a.mu.Unlock()
			}
			return
		}
		fallthrough
	case v.outcome == later:
		a.failed(l, addr, v.detail)
		return
	case l.judged != nil:
		l.done = true
		l.judged(v)
		return
	}
	a.account(l, v, addr)
}

// account gives a key its place in the account, or another task.
func (a *again) account(l *look, v verdict, addr string) {
	if l.mended {
		a.c.concludeMended(l, v, addr)
	} else if next := a.c.conclude(l.ch, l.entry, v, addr); next != nil {
		if next.mend {
			l.mend, l.was = true, next.was
			return
		}
		l.done = true
		a.push([]*look{next})
		return
	}
	l.done = true
	a.c.budget.drop(l.ch)
}

// readAnew settles what a living source has to be asked again at once.
func (a *again) readAnew(ctx context.Context) error {
	a.mu.Lock()
	looks := a.doubts
	a.doubts = nil
	a.mu.Unlock()
	doubts := make([]*doubt, len(looks))
	for i, l := range looks {
		doubts[i] = newDoubt(l.ch, l.entry, l.was)
	}
	if err := a.c.revise(ctx, doubts, a.c.opts.Repair); err != nil {
		return err
	}
	for i, l := range looks {
		a.c.concludeAnew(l, doubts[i])
		a.c.budget.drop(l.ch)
	}
	return nil
}

// failed lets a key wait, and the slot table be read again.
func (a *again) failed(l *look, addr, why string) {
	if l.fails++; l.since.IsZero() {
		l.since = time.Now()
	}
	l.why = why
	l.addr, l.asking, l.hops = "", false, 0
	l.until = time.Now().Add(wait.Backoff(l.fails))
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stale = true
	const quiet = 10 * time.Second
	if l.fails > 2 && time.Since(a.said) > quiet {
		a.said = time.Now()
		a.c.log.Warn("node gives no good answer for some keys; asking again", zap.String("node", addr), zap.String("reason", why),
			zap.Duration("for_at_most", a.c.opts.RetryFor))
	}
}

// link returns the connection to a node.
func (a *again) link(ctx context.Context, addr string) (*link, error) {
	a.mu.Lock()
	k := a.conns[addr]
	a.mu.Unlock()
	if k != nil {
		return k, nil
	}
	conn, err := a.c.dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	k = &link{conn, newReplies(conn)}
	a.mu.Lock()
	a.conns[addr] = k
	a.mu.Unlock()
	return k, nil
}

func (a *again) forget(addr string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if k := a.conns[addr]; k != nil {
		_ = k.Close()
		delete(a.conns, addr)
	}
}

func (a *again) hangUp() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for addr, k := range a.conns {
		_ = k.Close()
		delete(a.conns, addr)
	}
}
