package service

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"go.uber.org/zap"

	"github.com/slotferry/slotferry/importer/target"
)

// going is a run that is going on.
type going struct {
	run       Run
	interrupt context.CancelFunc
	stopped   bool // by Stop
	progress  *Progress
	lagging   bool // somebody was told
}

// outcome is how a Runner returned.
type outcome struct {
	result Result
	err    error
}

// begin begins a run; j.mu is held, and there is none.
func (j *job) begin(by Trigger, due time.Time) {
	now := j.svc.now()
	ctx, interrupt := context.WithCancel(j.ctx)
	c := &going{run: Run{Job: j.name, Trigger: by, Due: due, Started: now}, interrupt: interrupt}
	j.mark.Stopped, j.retry.at, j.retry.due = false, time.Time{}, due
	j.put(&c.run)
	c.progress = &Progress{Run: c.run.ID, Phase: "start", Started: now, Masters: []target.Master{}}
	j.current = c
	j.enter(Running)
	j.log.Info("begins", zap.Uint64("run", c.run.ID), zap.String("trigger", string(by)))
	o := RunOptions{
		ID: c.run.ID, Job: j.name, Trigger: by, Started: now, Log: j.log,
		Report: func(p Progress) { j.report(c, p) },
	}
	runner := j.spec.Runner
	j.svc.wg.Go(func() {
		defer interrupt()
		j.ended <- safely(ctx, runner, o)
	})
}

// safely turns a panic into an error: other jobs go on.
func safely(ctx context.Context, r Runner, o RunOptions) (out outcome) {
	defer func() {
		if p := recover(); p != nil {
			o.Log.Error("the run panicked", zap.Any("panic", p), zap.ByteString("stack", debug.Stack()))
			out.err = fmt.Errorf("panic: %v; this is a fault of slotferry, and the log has more", p)
		}
	}()
	out.result, out.err = r.Run(ctx, o)
	return out
}

// report takes the progress of a run.
func (j *job) report(c *going, p Progress) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.current != c {
		return
	}
	if p.Masters == nil {
		p.Masters = []target.Master{}
	}
	p.Run, p.Started = c.run.ID, c.run.Started
	p.Seconds = max(0, j.svc.now().Sub(p.Started).Seconds())
	c.progress = &p
	j.show(Progressed)
	j.watchLag(c, p.Lag)
}

// end takes account of a run that has ended.
func (j *job) end(o outcome) {
	j.mu.Lock()
	defer j.mu.Unlock()
	c := j.current
	told := c.stopped || j.state == Pausing || j.ctx == nil || j.ctx.Err() != nil
	r := c.run
	r.Ended, r.Result = j.svc.now(), o.result
	if r.Masters == nil {
		r.Masters = []target.Master{}
	}
	r.Status = statusOf(o.err)
	if o.err != nil {
		r.Error = o.err.Error()
	}
	before := j.mark.Failures
	j.account(r.Status, told)
	j.plan(r.Status, told)
	if c.stopped && r.Status != Done {
		j.mark.Stopped = true
	}
	j.current, j.last = nil, &r
	alert := j.verdict(&r, before, told)
	j.put(&r)
	j.log.Info("ended", zap.Uint64("run", r.ID), zap.String("status", string(r.Status)), zap.String("error", r.Error))
	j.rest()
	j.show(StateChanged)
	j.svc.events.publish(Event{Kind: RunEnded, Job: j.view.Load(), Run: &r})
	j.tell(alert)
}

func statusOf(err error) Status {
	var s *StatusError
	switch {
	case err == nil:
		return Done
	case errors.As(err, &s):
		return s.Status
	}
	return Failed
}

// account counts what a run came to.
func (j *job) account(s Status, told bool) {
	m := &j.mark
	m.Resumable = s == Interrupted
	switch {
	case s == Done:
		m.Failures, m.LastSuccess = 0, j.svc.now()
		if j.spec.Kind != Cron {
			m.Done, m.Paused = true, false
		}
	case s == Interrupted && told:
	default:
		m.Failures++
	}
}

// The pauses of live jobs, which have no next time to wait for.
const (
	blockedPause = 5 * time.Minute // before what stood in the way is looked at again
	longestPause = 10 * time.Minute
)

// plan decides whether the run is tried again before the job's next time.
func (j *job) plan(s Status, told bool) {
	switch {
	case s == Done, told:
		j.retry.tries = 0
		return
	case s == Interrupted: // out of patience; it goes on where it stopped
		j.again(j.spec.Retries.Pause)
	case s == Failed && j.retry.tries < j.spec.Retries.Count:
		j.retry.tries++
		j.again(j.spec.Retries.Pause)
	case s == Failed && j.spec.Kind == Live:
		j.retry.tries++
		beyond := min(j.retry.tries-j.spec.Retries.Count, 10)
		j.again(min(longestPause, max(time.Second, j.spec.Retries.Pause)<<beyond))
	case s == Blocked && j.spec.Kind == Live:
		j.again(blockedPause)
	default:
		j.retry.tries = 0
	}
}

func (j *job) again(pause time.Duration) {
	pause = max(pause, time.Second)
	j.retry.at, j.retry.pause = j.svc.now().Add(pause), pause
}

// leave waits for a run to end, once the loop's context has ended.
func (j *job) leave() {
	j.mu.Lock()
	running := j.current != nil
	j.mu.Unlock()
	if running {
		j.end(<-j.ended)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.ctx, j.retry = nil, retry{}
	j.rest()
}
