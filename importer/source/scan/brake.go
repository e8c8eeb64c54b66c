package scan

import (
	"context"
	"errors"
	"math"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/slotferry/slotferry/importer/wait"
	"github.com/slotferry/slotferry/resp"
)

const (
	probeEvery    = 20 * time.Millisecond
	probeMemory   = time.Second // in which answers count
	probeFirst    = 10          // PINGs before the scan, for the distance
	slowest       = 0.001       // share that is always asked for
	longestPause  = 100 * time.Millisecond
	gentleKeys    = 8 // asked for at once, with pauses between, when less than that is allowed
	gentleBytes   = 64 << 10
	slowLogsApart = time.Minute
)

// brake keeps the source quick for its other clients. On a connection of its
// own it sends PING time and again: what the answer takes longer than the
// distance does is what others wait, too. The server runs all the commands
// that it finds on a connection in one go, so the fewer are on their way, the
// less the others wait. Slow answers halve that number, quick ones raise it
// again step by step. A nil brake never holds back.
type brake struct {
	limit time.Duration
	share atomic.Uint64 // float64: of the flight, what is allowed
	worst atomic.Int64  // of what others waited lately, but for one answer

	// of the goroutine that watches
	nearest time.Duration // the shortest answer: the distance
	samples []sample
	told    time.Time // when the log said it
}

type sample struct {
	at   time.Time
	wait time.Duration
}

func newBrake(limit time.Duration) *brake {
	if limit <= 0 {
		return nil
	}
	b := &brake{limit: limit, nearest: math.MaxInt64}
	b.setShare(1)
	return b
}

// Slowed tells how far the scan holds back for Options.MaxLatency: the share of
// what it would have on its way otherwise, 1 if it does not; and how long the
// source's other clients wait for an answer at worst.
func (s *Source) Slowed() (share float64, latency time.Duration) {
	if s.brake == nil {
		return 1, 0
	}
	return s.brake.level(), time.Duration(s.brake.worst.Load())
}

func (b *brake) level() float64 {
	if b == nil {
		return 1
	}
	return math.Float64frombits(b.share.Load())
}

func (b *brake) setShare(v float64) { b.share.Store(math.Float64bits(v)) }

// allow is how many of some keys, of so many bytes each, may be on their way,
// and how long to wait before the next are asked for.
func (b *brake) allow(keys int, bytes float64) (int, time.Duration) {
	level := b.level()
	if level == 1 {
		return keys, 0
	}
	n, gentle := float64(keys)*level, max(1, min(gentleKeys, gentleBytes/max(1, bytes)))
	if n >= gentle || float64(keys) < gentle {
		return max(1, int(n)), 0
	}
	return int(gentle), min(longestPause, time.Duration(gentle/n*float64(time.Millisecond)))
}

// watch measures until the returned function is called. It first waits for the
// distance to be known.
func (s *Source) watch(ctx context.Context) (stop func()) {
	b := s.brake
	if b == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	conn, err := s.opts.Endpoint.Dial(ctx)
	if err == nil {
		err = b.distance(ctx, conn, s.opts.Timeout)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			if err == nil {
				err = b.measure(ctx, conn, s)
			}
			if conn != nil {
				_ = conn.Close()
			}
			if ctx.Err() != nil {
				return
			}
			s.log.Debug("the source's latency can't be measured; trying again", zap.Error(err))
			if wait.For(ctx, wait.Backoff(6)) != nil {
				return
			}
			conn, err = s.opts.Endpoint.Dial(ctx)
		}
	})
	return func() {
		cancel()
		running.Wait()
	}
}

// distance measures the way to the source while it has nothing to do for the
// scan.
func (b *brake) distance(ctx context.Context, conn net.Conn, timeout time.Duration) error {
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	for range probeFirst {
		if _, err := b.ping(conn, timeout); err != nil {
			return err
		}
	}
	return nil
}

// measure sends PINGs on one connection until it breaks.
func (b *brake) measure(ctx context.Context, conn net.Conn, s *Source) error {
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for {
		took, err := b.ping(conn, s.opts.Timeout)
		if err != nil {
			return err
		}
		if slow := b.judge(time.Now(), took-b.nearest); slow > 0 {
			s.log.Warn("slowing down for the source's other clients",
				zap.Stringer("source", s.opts.Endpoint), zap.Duration("answers_in", slow.Round(100*time.Microsecond)), zap.Duration("wanted", b.limit))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// judge takes one measure and moves the share. It returns what is to be told to
// the user: how slow the source is, or 0.
func (b *brake) judge(now time.Time, wait time.Duration) time.Duration {
	b.samples = slices.DeleteFunc(b.samples, func(s sample) bool { return now.Sub(s.at) > probeMemory })
	b.samples = append(b.samples, sample{now, wait})
	if len(b.samples) < 2 {
		return 0
	}
	// One slow answer in a second may be anything: a fork, a busy machine here.
	var worst, second time.Duration
	for _, s := range b.samples {
		switch {
		case s.wait > worst:
			worst, second = s.wait, worst
		case s.wait > second:
			second = s.wait
		}
	}
	b.worst.Store(int64(second))
	share := b.level()
	if second <= b.limit {
		if second <= b.limit/2 { // between the two is where it is to be
			b.setShare(min(1, share+min(0.01, share/10)))
		}
		return 0
	}
	b.setShare(max(slowest, share/2))
	b.samples = b.samples[:0] // they tell of what was asked before
	if now.Sub(b.told) < slowLogsApart {
		return 0
	}
	b.told = now
	return second
}

var errProbe = errors.New("an endless answer to PING")

// ping measures one round trip. Any answer will do: a user without the right to
// PING is told so just as quickly.
func (b *brake) ping(conn net.Conn, timeout time.Duration) (time.Duration, error) {
	sent := time.Now()
	if err := conn.SetDeadline(sent.Add(timeout)); err != nil {
		return 0, err
	}
	if _, err := conn.Write(resp.AppendCommand(nil, "PING")); err != nil {
		return 0, err
	}
	var answer [512]byte
	n := 0
	for n == 0 || answer[n-1] != '\n' {
		if n == len(answer) {
			return 0, errProbe
		}
		k, err := conn.Read(answer[n:])
		if err != nil {
			return 0, err
		}
		n += k
	}
	took := time.Since(sent)
	b.nearest = min(b.nearest, took)
	return took, nil
}
