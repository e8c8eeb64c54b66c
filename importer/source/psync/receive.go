package psync

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/importer/spool"
	"github.com/slotferry/slotferry/importer/wait"
)

// receiver fills the spool: with the RDB of a full copy and a cut behind it, if
// there is no place to go on from, and then with the stream.
type receiver struct {
	source *Source
	spool  *spool.Spool
	log    *zap.Logger
	acks   chan struct{} // an acknowledgement is wanted at once

	// Written before the cut, and read behind it.
	era    string
	offset int64 // that the stream begins behind
	length int64 // of the RDB in bytes

	following bool         // the stream is being received, or is to be
	last      atomic.Int64 // time of the last byte, in nanoseconds
}

// run receives until the source is gone for too long, or can't go on. Its error
// is the spool's end.
func (r *receiver) run(ctx context.Context) {
	defer context.AfterFunc(ctx, func() { r.spool.CloseWrite(context.Cause(ctx)) })()
	r.spool.CloseWrite(r.persist(ctx))
	r.source.local.Store(nil)
}

// persist makes connections until another one would not do better, or none has
// brought a byte for RetryFor.
func (r *receiver) persist(ctx context.Context) error {
	s := r.source
	defer s.pulse.Well()
	r.last.Store(time.Now().UnixNano())
	for failures := 1; ; failures++ {
		before := r.last.Load()
		err := r.connect(ctx)
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		if errors.Is(err, ErrDenied) || errors.Is(err, ErrHistoryLost) || errors.Is(err, errSpool) {
			return err
		}
		last := r.last.Load()
		if last != before {
			failures = 0 // at once: the source's backlog may be short
		}
		s.pulse.Trouble(s.owes("a replication stream that lasts"))
		if silent := time.Since(time.Unix(0, last)); silent > s.opts.RetryFor {
			return fmt.Errorf("%w: the source %s sent nothing for %s: %w", record.ErrPatience, s.opts.Endpoint, silent.Round(time.Second), err)
		}
		r.log.Warn("the replication stream is interrupted; connecting again", zap.Stringer("source", s.opts.Endpoint), zap.Int("attempt", failures), zap.Error(err))
		if failures > 0 {
			if err := wait.For(ctx, wait.Backoff(failures)); err != nil {
				return err
			}
		}
	}
}

// connect receives on one connection, to its end.
func (r *receiver) connect(ctx context.Context) error {
	s := r.source
	id, offset := "?", int64(0)
	if r.following {
		id, offset = *s.stream.Load(), s.received.Load()
	}
	l, a, err := s.dial(ctx, id, offset, r.alive)
	if err != nil {
		return err
	}
	defer func() { _ = l.conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = l.conn.Close() })()
	switch {
	case r.following && a.full:
		return fmt.Errorf("%w: %s has no commands from offset %d of %s on (repl-backlog-size too small, or the source was restarted or replaced)", ErrHistoryLost, s.opts.Endpoint, offset+1, id)
	case !r.following && !a.full:
		return fmt.Errorf("the source %s goes on without being asked to", s.opts.Endpoint)
	case a.full:
		if err := r.copy(l, a); err != nil {
			return err
		}
	case a.id != "" && a.id != id:
		// What was received is part of the new history, too: that is what the
		// answer means.
		r.log.Info("the source goes on under a new replication ID", zap.String("id", a.id), zap.Int64("offset", offset))
		s.stream.Store(&a.id)
	}
	s.pulse.Well()
	return r.follow(ctx, l)
}

// alive notes that the source is well.
func (r *receiver) alive() {
	r.last.Store(time.Now().UnixNano())
	r.source.pulse.Well()
}

// errSpool marks errors of the spool, which another connection does not mend.
var errSpool = errors.New("the spool failed")

// spooling writes to the spool, and tells its errors from the connection's.
type spooling struct{ r *receiver }

func (w spooling) Write(p []byte) (int, error) {
	n, err := w.r.spool.Write(p)
	w.r.alive() // behind what may have been a long wait for the target
	if err != nil {
		err = fmt.Errorf("%w: %w", errSpool, err)
	}
	return n, err
}

// copy receives the RDB. When the connection breaks before anything has come,
// it may be asked for again.
func (r *receiver) copy(l *link, a answer) error {
	s := r.source
	s.pulse.Well()
	r.log.Info("the source makes a full copy", zap.String("id", a.id), zap.Int64("offset", a.offset))
	err := r.transfer(l)
	if err != nil {
		if r.spool.Written() > 0 && !errors.Is(err, errSpool) {
			return fmt.Errorf("%w: the connection broke in the middle of the full copy, which can't be gone on with: %w", ErrHistoryLost, err)
		}
		return err
	}
	r.era, r.offset, r.length = a.id, a.offset, r.spool.Written()
	s.stream.Store(&a.id)
	s.received.Store(a.offset)
	r.spool.Cut()
	r.following = true
	r.log.Info("the full copy was received", zap.Int64("bytes", r.length))
	return nil
}

// transfer receives one RDB: "$" and its length, or "$EOF:" and a mark that it
// ends with.
func (r *receiver) transfer(l *link) error {
	l.in.gather = true
	defer func() { l.in.gather = false }()
	head, err := l.in.line()
	if err != nil {
		return err
	}
	if err := refused("PSYNC", head); err != nil {
		return err
	}
	if mark, ok := strings.CutPrefix(head, "$EOF:"); ok && len(mark) == markBytes {
		_, err = l.in.until(spooling{r}, []byte(mark))
		return err
	}
	n, err := strconv.ParseInt(strings.TrimPrefix(head, "$"), 10, 64)
	if err != nil || n < 0 || head[0] != '$' {
		return fmt.Errorf("%w: %q", errReply, head[:min(len(head), 64)])
	}
	return l.in.exactly(spooling{r}, n)
}

// ackEvery is how often the source is told what was received, as replicas do. It
// begins at ackFirst: a source that made its copy without a disk takes no notice
// before it has seen its child end, and sends nothing before it takes notice.
const (
	ackEvery = time.Second
	ackFirst = 50 * time.Millisecond
)

// follow receives the stream until the connection ends. What was received is
// acknowledged at once and every now and then.
func (r *receiver) follow(ctx context.Context, l *link) error {
	s := r.source
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	defer func() { cancel(); <-done }()
	go func() {
		defer close(done)
		r.acknowledge(ctx, l)
	}()
	for {
		n, err := l.in.pass(spooling{r}, math.MaxInt64)
		s.received.Add(n)
		if err != nil {
			return err
		}
	}
}

func (r *receiver) acknowledge(ctx context.Context, l *link) {
	for rest := ackFirst; ; rest = min(2*rest, ackEvery) {
		if err := l.send("REPLCONF", "ACK", strconv.FormatInt(r.source.received.Load(), 10)); err != nil {
			_ = l.conn.Close() // wakes the reader
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(rest):
		case <-r.acks:
		}
	}
}

// wantAck asks for an acknowledgement at once.
func (r *receiver) wantAck() {
	select {
	case r.acks <- struct{}{}:
	default: // one is due already
	}
}

// isGetAck tells whether a command is the source's question for an offset.
func isGetAck(words [][]byte) bool {
	return len(words) == 3 && bytes.EqualFold(words[0], []byte("REPLCONF")) && bytes.EqualFold(words[1], []byte("GETACK"))
}
