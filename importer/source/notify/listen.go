package notify

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/slotferry/slotferry/importer/endpoint"
	"github.com/slotferry/slotferry/importer/preflight"
	"github.com/slotferry/slotferry/importer/pulse"
	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/importer/route"
	"github.com/slotferry/slotferry/importer/wait"
	"github.com/slotferry/slotferry/resp"
)

const (
	bufferBytes = 256 << 10
	keyMax      = 512 << 20 // bytes: no server has longer names
	checkEvery  = time.Second
)

// errAway means that there is no subscription just now.
var errAway = errors.New("not subscribed just now")

// Run subscribes, and gathers the keys that are touched until ctx ends, whose
// cause it returns. A connection that is lost is made again, until RetryFor has
// passed without; what may have been missed meanwhile is a gap.
func (l *Listener) Run(ctx context.Context) error {
	defer l.pulse.Well()
	defer l.switchBack(ctx)
	var since time.Time // of the first of several failures without a subscription between them
	for failures := 1; ; failures++ {
		was, err := l.session(ctx)
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		if errors.Is(err, ErrDenied) || errors.Is(err, endpoint.ErrAuth) {
			return err
		}
		if was || since.IsZero() {
			failures, since = 1, time.Now()
		}
		l.pulse.Trouble(l.owes("a subscription (" + err.Error() + ")"))
		if waited := time.Since(since); waited > l.opts.RetryFor {
			return fmt.Errorf("%w: the source %s took no subscription for %s: %w", record.ErrPatience, l.opts.Endpoint, waited.Round(time.Second), err)
		}
		l.log.Warn("not told of touched keys; trying again", zap.Stringer("source", l.opts.Endpoint), zap.Int("attempt", failures), zap.Error(err))
		if err := wait.For(ctx, wait.Backoff(failures)); err != nil {
			return err
		}
	}
}

// session is one subscription, from its beginning to its end. was tells whether
// there was one.
func (l *Listener) session(ctx context.Context) (was bool, err error) {
	server, err := preflight.Look(ctx, l.client)
	if err != nil {
		return false, denied(err)
	}
	if server.Loading {
		return false, errors.New("the source is loading its data")
	}
	patterns, err := l.prepare(ctx, server.Version)
	if err != nil {
		return false, err
	}
	conn, err := l.opts.Endpoint.Dial(ctx)
	if err != nil {
		return false, err
	}
	n := &line{conn: conn, ended: make(chan struct{}), pongs: map[string]chan struct{}{}}
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	defer l.lost(n)
	r := l.reader(conn)
	if err := l.subscribe(n, r, patterns); err != nil {
		return false, err
	}
	// What is flushed before the counts are looked at is so before anybody has been
	// told that keys are gathered, or gathered again.
	if err := l.begin(ctx); err != nil {
		return false, err
	}
	l.found(n)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer func() { _ = conn.Close() }()
		return l.check(ctx, n)
	})
	g.Go(func() error {
		defer func() { _ = conn.Close() }()
		return l.listen(r)
	})
	return true, g.Wait()
}

// prepare switches notifications on for a server of version v, and tells what to
// subscribe to.
func (l *Listener) prepare(ctx context.Context, v preflight.Version) ([]string, error) {
	l.counting.mu.Lock()
	defer l.counting.mu.Unlock()
	l.version = v
	return l.switchOn(ctx)
}

func (l *Listener) reader(conn net.Conn) *reader {
	input := &pulse.Reader{R: &patient{conn, l.opts.Timeout}, Pulse: &l.pulse, Wait: l.owes("an answer to PING")}
	r := &reader{r: resp.NewReader(input, bufferBytes, nil), keyMax: min(keyMax, l.opts.Memory)}
	r.r.SetMaxBulk(2 * keyMax)
	return r
}

// subscribe asks for the patterns and reads that they are subscribed to.
func (l *Listener) subscribe(n *line, r *reader, patterns []string) error {
	if err := n.send(append([]string{"PSUBSCRIBE"}, patterns...), l.opts.Timeout); err != nil {
		return err
	}
	for left := len(patterns); left > 0; {
		m, err := r.next()
		if err != nil {
			return denied(err)
		}
		switch m.kind {
		case subscribed:
			left--
		case keyTouched: // of the first pattern, before the answer to the second
			l.touch(m)
		}
	}
	return nil
}

// denied marks an error after which trying again is of no use.
func denied(err error) error {
	for _, word := range []string{"NOPERM", "NOAUTH", "WRONGPASS"} {
		if hasReply(err, word) {
			return fmt.Errorf("%w: %w", ErrDenied, err)
		}
	}
	return err
}

// found and lost begin and end the time of a subscription.
func (l *Listener) found(n *line) {
	l.pulse.Well()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.line = n
	select {
	case <-l.ready:
		l.missedLocked(ErrLost)
	default:
		close(l.ready)
	}
}

func (l *Listener) lost(n *line) {
	_ = n.conn.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.line == n {
		l.line = nil
		if l.gapSince.IsZero() {
			l.gapSince = time.Now() // so that Lag tells of it, before the gap can be told
		}
	}
	close(n.ended)
}

// listen gathers keys until the connection ends.
func (l *Listener) listen(r *reader) error {
	for {
		m, err := r.next()
		if err != nil {
			return denied(err)
		}
		switch m.kind {
		case keyTouched:
			l.touch(m)
		case pong:
			l.mu.Lock()
			if l.line != nil {
				if c := l.line.pongs[string(m.key)]; c != nil {
					close(c)
					delete(l.line.pongs, string(m.key))
				}
			}
			l.mu.Unlock()
		}
	}
}

// touch puts a key into the set, if it is chosen.
func (l *Listener) touch(m message) {
	if !m.long && !l.chosen(m.db, m.key) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts.Events++
	if m.long {
		l.overflow()
		return
	}
	l.addLocked(m.db, m.key, time.Now())
}

// chosen reports whether a key may travel, as far as its name tells.
func (l *Listener) chosen(db int, key []byte) bool {
	c := l.opts.Choice
	if !c.DB(db) || !c.Key(db, key) {
		return false
	}
	return !c.SlotsChosen() || c.Slot(route.Slot(c.Name(nil, db, key)))
}

func (l *Listener) add(db int, key []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.addLocked(db, key, time.Now())
}

func (l *Listener) addLocked(db int, key []byte, at time.Time) {
	added, fits := l.touched.add(db, key, at)
	switch {
	case !fits:
		l.overflow()
	case added:
		l.counts.Touched++
		l.nudge()
	}
}

// overflow forgets all keys: they are to be read anew anyway.
func (l *Listener) overflow() {
	l.touched.clear()
	l.missedLocked(ErrOverflow)
}

// check asks every now and then whether the connection lives, and whether
// something happened that is not told.
func (l *Listener) check(ctx context.Context, n *line) error {
	for {
		if err := wait.For(ctx, checkEvery); err != nil {
			return err
		}
		if err := n.send([]string{"PING"}, l.opts.Timeout); err != nil {
			return err
		}
		// Counts don't get lost: what one look misses the next one sees.
		if err := l.look(ctx, false); errors.Is(err, ErrDenied) {
			return err
		} else if err != nil && ctx.Err() == nil {
			l.log.Warn("the source does not tell what it counts", zap.Stringer("source", l.opts.Endpoint), zap.Error(err))
		}
	}
}

// serials tell PINGs apart.
var serials atomic.Int64

// settle waits until everything that the source has told up to now is gathered:
// answers come behind the messages before them.
func (l *Listener) settle(ctx context.Context) error {
	word, answered := strconv.FormatInt(serials.Add(1), 10), make(chan struct{})
	l.mu.Lock()
	n := l.line
	if n != nil {
		n.pongs[word] = answered
	}
	l.mu.Unlock()
	if n == nil {
		return errAway
	}
	if err := n.send([]string{"PING", word}, l.opts.Timeout); err != nil {
		return errAway
	}
	select {
	case <-answered:
		return nil
	case <-n.ended:
		return errAway
	case <-ctx.Done():
		l.mu.Lock()
		delete(n.pongs, word)
		l.mu.Unlock()
		return context.Cause(ctx)
	}
}

// Settled reports whether everything that happened on the source before the call
// is done with: heard of, taken and, by Follow, read and sent, without a gap. It
// writes nothing to the source. While writers write it hardly ever is.
func (l *Listener) Settled(ctx context.Context) (bool, error) {
	if err := l.look(ctx, true); err != nil {
		return false, err
	}
	if err := l.settle(ctx); errors.Is(err, errAway) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.line != nil && l.gap == nil && !l.anew && l.touched.n+l.held == 0, nil
}

// send writes one command.
func (n *line) send(words []string, timeout time.Duration) error {
	n.write.Lock()
	defer n.write.Unlock()
	if err := n.conn.SetWriteDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	_, err := n.conn.Write(resp.AppendCommand(nil, words...))
	return err
}

// patient is a connection whose every read must bring something in time.
type patient struct {
	net.Conn
	timeout time.Duration
}

func (p *patient) Read(b []byte) (int, error) {
	if err := p.SetReadDeadline(time.Now().Add(p.timeout)); err != nil {
		return 0, err
	}
	return p.Conn.Read(b)
}

// owes is a wait for the server.
func (l *Listener) owes(what string) pulse.Wait {
	return pulse.Wait{
		On: "the source " + l.opts.Endpoint.String(), What: what,
		Remedy: "see that the source is up and not busy with one slow command (redis-cli PING, INFO clients, SLOWLOG GET), and that the network between is whole",
	}
}
