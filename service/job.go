package service

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// job is one job's state. Its loop watches the clock; runs and orders change
// the state under mu.
type job struct {
	svc  *Service
	name string
	log  *zap.Logger
	view atomic.Pointer[JobView]

	cancel context.CancelFunc // of the loop
	gone   chan struct{}      // closed when the loop has ended
	wake   chan struct{}      // the loop is to look at the clock again
	ended  chan outcome       // of the run that is going on

	mu      sync.Mutex
	ctx     context.Context // of the loop; nil before and after
	spec    Job
	state   State
	since   time.Time
	mark    Mark
	current *going
	last    *Run
	retry   retry
}

// retry is when a run is tried again; the zero value is never.
type retry struct {
	at    time.Time
	pause time.Duration // that led to at
	tries int           // of the same due time, up to now
	due   time.Time
}

// newJob returns a job as the history knows it.
func (s *Service) newJob(spec Job) *job {
	j := &job{
		svc: s, name: spec.Name, log: s.log.With(zap.String("job", spec.Name)), spec: spec,
		gone: make(chan struct{}), wake: make(chan struct{}, 1), ended: make(chan outcome, 1),
	}
	mark, err := s.opts.History.Mark(spec.Name)
	if err != nil {
		j.log.Warn("what was remembered of the job can't be read; it begins anew", zap.Error(err))
	}
	runs, err := s.opts.History.Runs(spec.Name, 1, 0)
	if err != nil {
		j.log.Warn("the job's past runs can't be read", zap.Error(err))
	}
	if len(runs) > 0 {
		j.last = &runs[0]
		// Its process died.
		mark.Resumable = mark.Resumable || runs[0].Status == Interrupted
	}
	j.mark = mark
	j.adopt()
	j.since = s.now()
	j.rest()
	return j
}

// adopt fits the mark to the job's settings.
func (j *job) adopt() {
	j.mark.Job = j.name
	if of := j.spec.Source + " " + j.spec.Target; j.mark.Of != of {
		j.mark.Of, j.mark.Done, j.mark.Resumable = of, false, false
	}
	schedule := ""
	if j.spec.Kind == Cron {
		schedule = j.spec.Schedule.Text + " " + j.spec.Schedule.Zone.String()
		j.mark.Done = false
	}
	if j.mark.Schedule != schedule || j.mark.Due.IsZero() {
		j.mark.Schedule, j.mark.Due = schedule, j.svc.now()
	}
}

// loop runs the job until ctx ends, and then waits for a run to end.
func (j *job) loop(ctx context.Context) {
	j.begins(ctx)
	// The clock on the wall may jump while a timer sleeps.
	const longest = time.Minute
	timer := time.NewTimer(longest)
	defer timer.Stop()
	for {
		timer.Reset(max(0, min(longest, j.look())))
		select {
		case <-ctx.Done():
			j.leave()
			return
		case o := <-j.ended:
			j.end(o)
		case <-j.wake:
		case <-timer.C:
		}
	}
}

// begins decides what is due at the beginning.
func (j *job) begins(ctx context.Context) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.ctx = ctx
	now := j.svc.now()
	var missed time.Time
	if j.spec.Kind == Cron && !j.mark.Paused {
		if due := j.spec.Schedule.Next(j.mark.Due); j.passed(due, now) {
			missed = j.spec.Schedule.latest(j.mark.Due, now)
			j.mark.Due = missed
			j.log.Info("a time was missed while the service was not there", zap.Time("due", missed), zap.Bool("catch_up", j.spec.CatchUp))
		}
	}
	switch {
	case j.mark.Paused, j.mark.Done:
	case j.mark.Resumable && !j.mark.Stopped, j.spec.Kind != Cron && !j.mark.Stopped:
		j.begin(ByStart, missed)
	case !missed.IsZero() && j.spec.CatchUp:
		j.begin(ByCatchUp, missed)
	}
	if j.current == nil {
		j.put(nil)
	}
	j.rest()
}

// passed tells whether the run for a time should have begun.
func (j *job) passed(due, now time.Time) bool {
	return !due.IsZero() && !now.Before(due.Add(j.spec.Schedule.Delay(j.name, due)))
}

// look does what is due now, and returns how long there is nothing to do.
func (j *job) look() time.Duration {
	j.mu.Lock()
	defer j.mu.Unlock()
	now := j.svc.now()
	if j.mark.Paused || j.state == Pausing {
		return time.Hour
	}
	j.keepTime(now)
	switch {
	case j.spec.Kind == Cron && j.passed(j.spec.Schedule.Next(j.mark.Due), now):
		j.due(j.spec.Schedule.latest(j.mark.Due, now))
	case j.current == nil && !j.retry.at.IsZero() && !now.Before(j.retry.at):
		j.begin(ByRetry, j.retry.due)
	}
	j.rest()
	next := j.next()
	if j.current != nil && j.spec.Kind == Cron { // it may be skipped
		due := j.spec.Schedule.Next(j.mark.Due)
		next = due.Add(j.spec.Schedule.Delay(j.name, due))
	}
	if next.IsZero() {
		return time.Hour
	}
	return next.Sub(now)
}

// keepTime puts right what a clock that was set back has left in the future.
func (j *job) keepTime(now time.Time) {
	// Set back by less, it comes to that time again, and must not run twice. What
	// is further ahead was a clock that was wrong.
	const most = 25 * time.Hour
	if j.mark.Due.Sub(now) > most {
		j.log.Warn("the clock was set back by more than a day; times from now on count", zap.Time("last_due", j.mark.Due))
		j.mark.Due = now
	}
	if !j.retry.at.IsZero() && j.retry.at.Sub(now) > j.retry.pause {
		j.retry.at = now.Add(j.retry.pause)
	}
}

// due begins the run for a time, unless one is going on.
func (j *job) due(at time.Time) {
	j.mark.Due = at
	if j.current == nil {
		j.retry.tries = 0
		j.begin(ByCron, at)
		return
	}
	j.mark.Skipped++
	j.log.Warn("skipped: the run before is still going on", zap.Time("due", at), zap.Uint64("running", j.current.run.ID))
	j.put(nil)
	j.show(StateChanged)
}

// next is when the job runs next, zero if that is not known.
func (j *job) next() time.Time {
	if j.mark.Paused || j.state == Pausing {
		return time.Time{}
	}
	var at time.Time
	if j.spec.Kind == Cron {
		due := j.spec.Schedule.Next(j.mark.Due)
		at = due.Add(j.spec.Schedule.Delay(j.name, due))
	}
	if j.current == nil && !j.retry.at.IsZero() && (at.IsZero() || j.retry.at.Before(at)) {
		at = j.retry.at
	}
	return at
}

// rest enters the state of a job without a run.
func (j *job) rest() {
	switch {
	case j.current != nil:
	case j.mark.Paused:
		j.enter(Paused)
	case !j.next().IsZero():
		j.enter(Waiting)
	default:
		j.enter(Idle)
	}
}

func (j *job) enter(s State) {
	changed := j.state != s
	if changed {
		j.state, j.since = s, j.svc.now()
	}
	if old := j.view.Load(); changed || old == nil || !old.Next.Equal(j.next()) {
		j.show(StateChanged)
	}
}

// show publishes how the job is.
func (j *job) show(kind string) {
	v := &JobView{
		Name: j.name, Kind: j.spec.Kind, State: j.state, Next: j.next(), Since: j.since,
		Source: j.spec.Source, Target: j.spec.Target, Last: j.last, Failures: j.mark.Failures,
		LastSuccess: j.mark.LastSuccess, Skipped: j.mark.Skipped, Resumable: j.mark.Resumable,
	}
	if j.spec.Schedule != nil {
		v.Schedule, v.Zone = j.spec.Schedule.Text, j.spec.Schedule.Zone.String()
	}
	if j.current != nil {
		v.Current = j.current.progress
	}
	j.view.Store(v)
	j.svc.events.publish(Event{Kind: kind, Job: v})
}

// put stores the mark and, if it is not nil, a run. A history that can't be
// written must not keep a job from running.
func (j *job) put(r *Run) {
	if err := j.svc.opts.History.Put(r, j.mark); err != nil {
		j.log.Error("the history can't be written; after a restart this is not remembered", zap.Error(err))
	}
	if r != nil && r.ID == 0 {
		r.ID = j.svc.runs.Add(1)
	}
}

// look again, soon.
func (j *job) stir() {
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// change gives the job new settings.
func (j *job) change(spec Job) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if spec.Settings == j.spec.Settings {
		return
	}
	old := j.spec
	j.spec = spec
	j.adopt()
	if j.current != nil {
		j.log.Info("new settings; the run that is going on keeps its own")
	} else if j.ctx != nil && spec.Kind != Cron && old.Kind != spec.Kind && !j.mark.Done && !j.mark.Paused {
		j.begin(ByStart, time.Time{})
	}
	j.put(nil)
	j.rest()
	j.show(StateChanged)
	j.stir()
}

// forget leaves no time behind that would be caught up with when a job of that
// name comes again.
func (j *job) forget() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.mark.Due = time.Time{}
	j.put(nil)
}

// state in words, for errors.
func (j *job) not(why string) error {
	return fmt.Errorf("%w: it is %s%s", ErrState, j.state, why)
}
