package importer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/importer/wait"
)

// Cutover is the end of a live copy: the writers are paused, the rest is
// carried, and the clients may be switched.
type Cutover struct {
	Threshold int64         // bytes of the source's stream that may be missing when the writers are paused
	Timeout   time.Duration // of the pause
	// Pause stops the source's writers until Timeout has passed; ErrNoPause: it
	// can't, and the operator has to.
	Pause func(ctx context.Context, timeout time.Duration) error
	// Unpause lets them go on.
	Unpause func(ctx context.Context) error
	// Compare makes sure that both sides are the same.
	Compare func(ctx context.Context) error
	// Switch is the operator's own part, such as telling clients where to go; nil:
	// none.
	Switch func(ctx context.Context, f CutoverFacts) error
	// Tell is told each step when it begins or is done.
	Tell func(step, text string)
}

// CutoverFacts is what is known when clients may be switched.
type CutoverFacts struct {
	Offset      int64         `json:"offset"`       // of the source's stream, up to which everything is in
	Paused      time.Time     `json:"paused"`       // when the writers were
	PausedUntil time.Time     `json:"paused_until"` // when the source lets them go on by itself; zero if it did not pause them
	CaughtUp    time.Duration `json:"-"`            // from the pause until everything was in
	Compared    time.Duration `json:"-"`            // of the comparison
	CaughtUpS   float64       `json:"caught_up_seconds"`
	ComparedS   float64       `json:"compared_seconds"`
}

// ErrNoPause means that the source does not pause its writers for this user, or
// not at all.
var ErrNoPause = errors.New("the source can't be asked to pause its writers")

// ErrCutover means that the cutover was given up; nothing was switched.
var ErrCutover = errors.New("the cutover was given up, and nothing was switched")

// ends is how a cutover learns how far the job is.
type ends struct {
	want string      // what it waits for before the pause
	near func() bool // whether that is so
	// pace grows with what is written to the source, by pings too.
	pace func(ctx context.Context) (int64, error)
	// mark returns the end of what was written up to now, and what tells that
	// everything before it is in.
	mark func(ctx context.Context) (offset int64, in func() bool, err error)
}

// streamEnds is that of a job that follows a stream of commands.
func (j *Job) streamEnds(c *Cutover) ends {
	return ends{
		want: fmt.Sprintf("less than %d bytes of the source's stream are missing", c.Threshold),
		near: func() bool { return j.lag.lag(time.Now()).Bytes <= c.Threshold },
		pace: j.opts.Live.Offset,
		mark: func(ctx context.Context) (int64, func() bool, error) {
			offset, err := j.opts.Live.Offset(ctx)
			return offset, func() bool { return j.applier().Safe().Serial >= offset && j.refined() }, err
		},
	}
}

// What the reading goroutine is asked for before the end, in Job.refining: to
// read the keys again whose commands did not carry everything.
const (
	refineAsked = 1 + iota
	refineDone
)

// refined asks for that, and reports whether it is done.
func (j *Job) refined() bool {
	return !j.refining.CompareAndSwap(0, refineAsked) && j.refining.Load() == refineDone
}

// cutoverRest is between looks at the lag.
const cutoverRest = 20 * time.Millisecond

// cutOver does the whole of it. The source is unpaused whenever it ends before
// clients could be switched.
func (j *Job) cutOver(ctx context.Context, c *Cutover, e ends) (err error) {
	c.Tell("lag", "waiting until "+e.want)
	if err := await(ctx, e.near); err != nil {
		return err
	}
	var facts CutoverFacts
	deadline, cancel := context.WithCancel(ctx)
	defer cancel()
	switch err := c.Pause(ctx, c.Timeout); {
	case err == nil:
		facts.Paused = time.Now()
		facts.PausedUntil = facts.Paused.Add(c.Timeout)
		c.Tell("pause", fmt.Sprintf("the source's writers are paused, for %s at most", c.Timeout))
		// Beyond it they write again, and nothing that follows would be true.
		deadline, cancel = context.WithDeadline(ctx, facts.PausedUntil)
		defer cancel()
		defer func() {
			if err == nil {
				return
			}
			quick, stop := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer stop()
			if failed := c.Unpause(quick); failed != nil {
				c.Tell("unpause", fmt.Sprintf("the source could not be unpaused (%v); it lets its writers go on by itself at %s", failed, facts.PausedUntil.Format(time.TimeOnly)))
			} else {
				c.Tell("unpause", "the source's writers go on")
			}
		}()
	case errors.Is(err, ErrNoPause):
		c.Tell("stop_writers", fmt.Sprintf("%v: stop the writers now; it goes on when nothing was written to the source for %s", err, quietFor))
		if err = j.awaitQuiet(ctx, e); err != nil {
			return err
		}
		facts.Paused = time.Now()
	default:
		return fmt.Errorf("%w: pause the source: %w", ErrCutover, err)
	}
	var in func() bool
	if facts.Offset, in, err = e.mark(deadline); err != nil {
		return outOfTime(deadline, ctx, c, err)
	}
	if err := await(deadline, in); err != nil {
		return outOfTime(deadline, ctx, c, err)
	}
	facts.CaughtUp = time.Since(facts.Paused)
	c.Tell("caught_up", fmt.Sprintf("everything that the source holds is in, %d ms after the pause", facts.CaughtUp.Milliseconds()))
	begun := time.Now()
	if err := c.Compare(deadline); err != nil {
		return outOfTime(deadline, ctx, c, err)
	}
	facts.Compared = time.Since(begun)
	facts.CaughtUpS, facts.ComparedS = facts.CaughtUp.Seconds(), facts.Compared.Seconds()
	if facts.PausedUntil.IsZero() {
		if offset, _, err := e.mark(ctx); err != nil || offset-facts.Offset > pings(time.Since(facts.Paused)) || !in() {
			return fmt.Errorf("%w: the source was written to again before the end", ErrCutover)
		}
	}
	// From here on the cluster belongs to the clients: what is written to the
	// source now must not reach it.
	j.frozen.Store(true)
	c.Tell("safe", "safe to switch: the cluster has everything that the source has")
	if c.Switch != nil {
		if err := c.Switch(deadline, facts); err != nil {
			return outOfTime(deadline, ctx, c, err)
		}
		c.Tell("switched", "the command of --on-cutover is done")
	}
	j.cutover.Store(&facts)
	return nil
}

// whileFrozen waits for the end of the reading once clients may be switched.
func (j *Job) whileFrozen(ctx context.Context) error {
	if !j.frozen.Load() {
		return nil
	}
	<-ctx.Done()
	return context.Cause(ctx)
}

// outOfTime says why a cutover ended.
func outOfTime(deadline, ctx context.Context, c *Cutover, err error) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(deadline.Err(), context.DeadlineExceeded):
		return fmt.Errorf("%w: the pause of the source's writers (--pause-timeout %s) was over before the end", ErrCutover, c.Timeout)
	}
	return fmt.Errorf("%w: %w", ErrCutover, err)
}

// await waits until something is so.
func await(ctx context.Context, so func() bool) error {
	for !so() {
		if err := wait.For(ctx, cutoverRest); err != nil {
			return err
		}
	}
	return nil
}

// quietFor is how long nothing is written when writers count as stopped. A
// source pings its replicas every ten seconds, which is not written.
const quietFor = 3 * time.Second

// pings is how many bytes of a source's stream may be pings in a time
// (repl-ping-replica-period is 10 s, and may be less).
func pings(d time.Duration) int64 {
	const ping, atLeastEvery = int64(len("*1\r\n$4\r\nPING\r\n")), time.Second
	return ping * int64(1+d/atLeastEvery)
}

// awaitQuiet waits until nothing was written to the source for a while.
func (j *Job) awaitQuiet(ctx context.Context, e ends) error {
	begun, since, last := time.Now(), time.Now(), int64(-1)
	for {
		offset, err := e.pace(ctx)
		switch now := time.Now(); {
		case err != nil && ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil && now.Sub(begun) > j.opts.RetryFor:
			return fmt.Errorf("%w: the source does not say how far its stream reaches: %w", record.ErrPatience, err)
		case err == nil && (last < 0 || offset-last > pings(now.Sub(since))):
			since, last = now, offset
		case err == nil && now.Sub(since) >= quietFor:
			return nil
		}
		if err := wait.For(ctx, lagEvery); err != nil {
			return err
		}
	}
}
