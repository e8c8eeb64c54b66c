package tail

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/slotferry/slotferry/importer/endpoint"
	"github.com/slotferry/slotferry/importer/target"
	"github.com/slotferry/slotferry/importer/wait"
	"github.com/slotferry/slotferry/resp"
)

const (
	writeBytes  = 128 << 10 // gathered for one write
	windowBytes = 1 << 20   // sent to a master and not answered; more makes blocks smaller, not the master faster
	readBytes   = 128 << 10
)

// pipe is one master's connection, on which blocks are written and their answers
// read at the same time. There is at most one unanswered block of each slot.
type pipe struct {
	a    *Applier
	addr string

	// Under Applier.mu.
	work     *sync.Cond
	waiting  bool // its writer sleeps
	ready    queue
	inflight []*flight // in the order in which they were sent
	sent     int       // bytes in flight
	failures int
	trouble  time.Time // of the first setback in a row
	why      string

	// Of the connection, run's.
	runID   string
	client  int64   // its number at the node; 0: not told
	zombies []int64 // of connections that may still hold what was not answered
	blind   bool    // there are such connections whose numbers are not known

	progress atomic.Int64 // Unix nanoseconds of the last byte that moved
}

var (
	errFinished = errors.New("nothing left to do")
	errStalled  = errors.New("no answer")
)

// pipe returns the pipe of a master, a new one if need be. The caller holds mu.
func (a *Applier) pipe(addr string) *pipe {
	if p := a.pipes[addr]; p != nil {
		return p
	}
	p := &pipe{a: a, addr: addr}
	p.work = sync.NewCond(&a.mu)
	a.pipes[addr] = p
	if a.start != nil {
		a.start(p)
	}
	return p
}

// run connects when there is something to send, and again after each setback.
func (p *pipe) run(ctx context.Context) error {
	for p.wait(ctx) {
		err := p.session(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if stop := p.recover(ctx, err); stop != nil {
			return stop
		}
	}
	return context.Cause(ctx)
}

// wait blocks until there is something to send; false means that the pipe is
// done.
func (p *pipe) wait(ctx context.Context) bool {
	defer context.AfterFunc(ctx, p.wake)()
	a := p.a
	a.mu.Lock()
	defer a.mu.Unlock()
	for p.ready.len() == 0 && !a.closing && ctx.Err() == nil {
		p.waiting = true
		p.work.Wait()
		p.waiting = false
	}
	return p.ready.len() > 0 && ctx.Err() == nil
}

func (p *pipe) wake() {
	p.a.mu.Lock()
	p.work.Broadcast()
	p.a.mu.Unlock()
}

func (p *pipe) moved() { p.progress.Store(time.Now().UnixNano()) }

// session is the life of one connection.
func (p *pipe) session(ctx context.Context) error {
	conn, err := p.a.opts.Cluster.Dial(ctx, p.addr)
	if errors.Is(err, endpoint.ErrAuth) {
		return fmt.Errorf("%w: %s: %w", target.ErrDenied, p.addr, err)
	}
	if err != nil {
		return err
	}
	g, sctx := errgroup.WithContext(ctx)
	defer context.AfterFunc(sctx, func() {
		_ = conn.Close()
		p.wake()
	})()
	r := resp.NewReader(conn, readBytes, p.moved)
	if err := p.greet(conn, r); err != nil {
		_ = conn.Close()
		return err
	}
	p.moved()
	g.Go(func() error { return p.write(sctx, conn) })
	g.Go(func() error { return p.read(r) })
	g.Go(func() error { return p.watch(sctx) })
	err = g.Wait()
	_ = conn.Close()
	if errors.Is(err, errFinished) {
		return nil
	}
	return err
}

// write sends the blocks of ready slots while the window has room.
func (p *pipe) write(ctx context.Context, conn net.Conn) error {
	var out []byte
	for {
		var err error
		if out, err = p.gather(ctx, out[:0]); err != nil {
			return err
		}
		if len(out) == 0 {
			continue
		}
		for rest := out; len(rest) > 0; { // so that progress shows on a slow connection
			n, err := conn.Write(rest[:min(len(rest), writeBytes)])
			if err != nil {
				return lost(err)
			}
			p.moved()
			rest = rest[n:]
		}
		if cap(out) > 4*writeBytes { // of a large command
			out = nil
		}
	}
}

// gather waits for ready slots and appends what goes in one write.
func (p *pipe) gather(ctx context.Context, out []byte) ([]byte, error) {
	a := p.a
	a.mu.Lock()
	defer a.mu.Unlock()
	for {
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case a.closing && p.ready.len() == 0 && len(p.inflight) == 0:
			return nil, errFinished
		}
		for p.ready.len() > 0 && p.sent < windowBytes && len(out) < writeBytes {
			s := p.ready.pop()
			var f *flight
			if out, f = a.compose(out, s); f == nil {
				s.state = idle
				continue
			}
			s.state = flying
			p.inflight = append(p.inflight, f)
			p.sent += f.bytes
		}
		if len(out) > 0 {
			p.moved() // the watch has seen nothing move while nothing was owed
			return out, nil
		}
		p.waiting = true
		p.work.Wait()
		p.waiting = false
	}
}

// watch ends the session when something is in flight and nothing moves.
func (p *pipe) watch(ctx context.Context) error {
	tick := time.NewTicker(time.Second / 4)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		p.a.mu.Lock()
		owed, patience := len(p.inflight) > 0, min(p.a.opts.ReplyTimeout<<min(p.failures, 3), 2*time.Minute)
		p.a.mu.Unlock()
		if owed && time.Since(time.Unix(0, p.progress.Load())) > patience {
			return fmt.Errorf("%w for %s", errStalled, patience)
		}
	}
}

// recover takes back what a session left unanswered, waits, and looks at the
// topology again. An error means that the Applier must stop.
func (p *pipe) recover(ctx context.Context, err error) error {
	if final(err) {
		return err
	}
	a := p.a
	a.mu.Lock()
	if len(p.inflight) > 0 {
		if p.client != 0 {
			p.zombies = append(p.zombies, p.client)
		} else {
			p.blind = true
		}
	}
	p.takeBack()
	if p.ready.len() == 0 {
		p.failures, p.trouble, p.why = 0, time.Time{}, ""
		a.mu.Unlock()
		return nil
	}
	if err == nil {
		err = errors.New("the connection was closed")
	}
	now := time.Now()
	if p.trouble.IsZero() {
		p.trouble = now
	}
	p.failures++
	p.why = err.Error()
	failures, waited := p.failures, now.Sub(p.trouble)
	a.mu.Unlock()
	a.count.lost.Add(1)
	if waited > a.opts.RetryFor {
		return &target.PatienceError{Addr: p.addr, Waited: waited, Err: err}
	}
	a.log.Warn("a master does not take commands now; trying again", zap.String("node", p.addr), zap.Int("attempt", failures), zap.Error(err))
	if err := wait.For(ctx, wait.Backoff(failures)); err != nil {
		return err
	}
	a.look(ctx)
	return nil
}

// takeBack makes the slots of unanswered blocks ready again; whether those took
// effect, only the marks can tell. The caller holds mu.
func (p *pipe) takeBack() {
	for _, f := range p.inflight {
		s := f.slot
		if f.last != nil {
			s.doubt = f
		} else {
			p.a.land(f)
		}
		s.unsure = true
		p.a.push(s)
	}
	p.inflight, p.sent = nil, 0
}

// final reports whether a connection more would not mend an error.
func final(err error) bool {
	var patience *target.PatienceError
	return errors.Is(err, target.ErrDenied) || errors.Is(err, ErrResync) || errors.Is(err, ErrBehind) || errors.As(err, &patience)
}

// lost says of an end of the stream what it means here.
func lost(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return err
	}
	return fmt.Errorf("connection lost: %w", err)
}
