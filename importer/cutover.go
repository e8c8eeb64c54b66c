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
	// Tell is told each step when it begins or is done; nil: nobody is.
	Tell func(step, text string)
}

// CutoverFacts is what is known when clients may be switched.
type CutoverFacts struct {
	Offset      int64     `json:"offset"`                // of the source's stream, up to which everything is in; 0 without one
	Paused      time.Time `json:"paused"`                // when the writers were
	PausedUntil time.Time `json:"paused_until,omitzero"` // when the source lets them go on by itself; zero if it did not pause them
	CaughtUp    float64   `json:"caught_up_seconds"`     // from the pause until everything was in
	Compared    float64   `json:"compared_seconds"`      // of the comparison
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
	tell := c.Tell
	if tell == nil {
		tell = func(string, string) {}
	}
	tell("lag", "waiting until "+e.want)
	if err := await(ctx, e.near); err != nil {
		return err
	}
	facts := CutoverFacts{Paused: time.Now()}
	deadline, cancel := context.WithCancel(ctx)
	defer cancel()
	noPause := c.Pause(ctx, c.Timeout)
	if errors.Is(noPause, ErrNoPause) {
		tell("stop_writers", fmt.Sprintf("%v: stop the writers now; it goes on when nothing was written to the source for %s", noPause, quietFor))
		if err := j.awaitQuiet(ctx, e); err != nil {
			return err
		}
		facts.Paused = time.Now()
	} else {
		facts.PausedUntil = facts.Paused.Add(c.Timeout)
		defer func() { // also of a pause whose answer was lost
			if err != nil {
				tell("unpause", unpause(ctx, c, facts.PausedUntil))
			}
		}()
		if noPause != nil {
			return fmt.Errorf("%w: pause the source: %w", ErrCutover, noPause)
		}
		tell("pause", fmt.Sprintf("the source's writers are paused, for %s at most", c.Timeout))
		// Beyond it they write again, and nothing that follows would be true.
		deadline, cancel = context.WithDeadline(ctx, facts.PausedUntil)
		defer cancel()
	}
	offset, in, err := e.mark(deadline)
	if err != nil {
		return outOfTime(deadline, ctx, c, err)
	}
	facts.Offset = offset
	if err := await(deadline, in); err != nil {
		return outOfTime(deadline, ctx, c, err)
	}
	facts.CaughtUp = time.Since(facts.Paused).Seconds()
	tell("caught_up", fmt.Sprintf("everything that the source holds is in, %.0f ms after the pause", 1000*facts.CaughtUp))
	begun := time.Now()
	if err := c.Compare(deadline); err != nil {
		return outOfTime(deadline, ctx, c, err)
	}
	facts.Compared = time.Since(begun).Seconds()
	if facts.PausedUntil.IsZero() {
		if offset, _, err := e.mark(ctx); err != nil || offset-facts.Offset > pings(time.Since(facts.Paused)) || !in() {
			return fmt.Errorf("%w: the source was written to again before the end", ErrCutover)
		}
	}
	// From here on the cluster belongs to the clients: what is written to the
	// source now must not reach it.
	j.frozen.Store(true)
	tell("safe", "safe to switch: the cluster has everything that the source has")
	if c.Switch != nil {
		if err := c.Switch(deadline, facts); err != nil {
			return outOfTime(deadline, ctx, c, err)
		}
		tell("switched", "the command of --on-cutover is done")
	}
	j.cutover.Store(&facts)
	return nil
}

// unpause lets the source's writers go on, also when ctx has ended, and says
// what became of that.
func unpause(ctx context.Context, c *Cutover, until time.Time) string {
	const patience = 5 * time.Second
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	if err := c.Unpause(ctx); err != nil {
		return fmt.Sprintf("the source could not be unpaused (%v); it lets its writers go on by itself at %s", err, until.Format(time.TimeOnly))
	}
	return "the source's writers go on"
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
