package importer

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/slotferry/slotferry/checkpoint"
	"github.com/slotferry/slotferry/importer/pulse"
)

// Standstill is a job in which nothing gets on: nothing was read, and nothing
// answered.
type Standstill struct {
	Stage   string        // as in Progress.Phase
	Since   time.Time     // of the last progress
	For     time.Duration // up to now
	Waits   []pulse.Wait  // who owes something, longest for each; none if that is not known
	Over    bool          // it goes on
	Outlook string        // what becomes of the job if it lasts
}

// String is the message for the operator.
func (s Standstill) String() string {
	if s.Over {
		return fmt.Sprintf("it goes on, after %s without progress (stage: %s)", s.For.Round(time.Second/10), s.Stage)
	}
	return fmt.Sprintf("no progress for %s (stage: %s): %s → %s", s.For.Round(time.Second/10), s.Stage, s.Owed(), s.Remedy())
}

// Owed says who owes what since when.
func (s Standstill) Owed() string {
	if len(s.Waits) == 0 {
		return "neither side owes anything"
	}
	var parts []string
	for _, w := range s.Waits {
		parts = append(parts, fmt.Sprintf("waiting for %s from %s since %s", w.What, w.On, w.Since.Format(time.TimeOnly)))
	}
	return strings.Join(parts, "; ")
}

// Remedy says what to do.
func (s Standstill) Remedy() string {
	said := map[string]bool{}
	var parts []string
	for _, w := range s.Waits {
		if w.Remedy != "" && !said[w.Remedy] {
			said[w.Remedy] = true
			parts = append(parts, w.Remedy)
		}
	}
	if len(s.Waits) == 0 {
		parts = append(parts, "if it lasts, please report it with what kill -QUIT prints; the checkpoint stays good")
	}
	return strings.Join(append(parts, s.Outlook), "; ")
}

// reminders are when a standstill is told again, in multiples of when it is
// told first: after 1, 2, 5 and 10 minutes for 30 seconds, then every 10.
var reminders = []int{1, 2, 4, 10, 20}

// watchdog tells of a job that stands still.
type watchdog struct {
	job   *Job
	after time.Duration // without progress

	stage  string
	last   vitals
	alive  time.Time // when last was seen first
	looked time.Time
	told   int // reminders of this standstill
}

// vitals are different when there was progress.
type vitals struct {
	counts        checkpoint.Counts
	offset, moved int64
	lanes         int64
}

// watch looks at the job until the returned function is called.
func (j *Job) watch() (stop func()) {
	w := &watchdog{job: j, after: j.opts.StandstillAfter}
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		const looks = 30 // in the time that it takes to be told
		tick := time.NewTicker(max(w.after/looks, time.Millisecond))
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				w.look(time.Now(), *j.phase.Load(), j.vitals(), j.limited.Load() || j.idle.Load())
			}
		}
	})
	return func() {
		close(done)
		wg.Wait()
		if j.vitals() != w.last {
			w.goesOn(time.Now()) // and came to an end before the next look
		}
		j.standing.Store(nil)
	}
}

// look judges what it sees at a time. A job whose limits make it wait gets on;
// and one that could not even look was stopped itself, with all its machine.
// That it is about to end is no progress.
func (w *watchdog) look(now time.Time, stage string, v vitals, limited bool) {
	stopped := now.Sub(w.looked) > w.after/2
	begins := stage != w.stage && stage != "drain" && stage != "finish"
	w.looked = now
	if v != w.last || begins || limited || stopped {
		w.goesOn(now)
		w.stage, w.last, w.alive = stage, v, now
		return
	}
	w.stage = stage
	still := now.Sub(w.alive)
	if still < w.due() {
		return
	}
	w.told++
	s := w.standstill(still)
	w.job.standing.Store(&s)
	w.job.log.Warn(s.String())
	w.job.opts.Standstill(s)
}

// due is how long a standstill lasts when it is told the next time.
func (w *watchdog) due() time.Duration {
	patience := w.after + w.job.rest
	if last := len(reminders) - 1; w.told > last {
		return patience * time.Duration(reminders[last]*(w.told-last+1))
	}
	return patience * time.Duration(reminders[w.told])
}

// goesOn ends a standstill, if there is one.
func (w *watchdog) goesOn(now time.Time) {
	if w.told == 0 {
		return
	}
	w.told = 0
	w.job.standing.Store(nil)
	s := Standstill{Stage: w.stage, Since: w.alive, For: now.Sub(w.alive), Over: true}
	w.job.log.Info(s.String())
	w.job.opts.Standstill(s)
}

// standstill says who owes something. What has no beginning of its own began
// with the standstill.
func (w *watchdog) standstill(still time.Duration) Standstill {
	s := Standstill{Stage: w.stage, Since: w.alive, For: still, Waits: w.job.waits(), Outlook: w.job.outlook()}
	for i := range s.Waits {
		if s.Waits[i].Since.IsZero() {
			s.Waits[i].Since = w.alive
		}
	}
	return s
}

// pulsing is a source that tells whether it moves.
type pulsing interface{ Pulse() *pulse.Pulse }

func (j *Job) vitals() vitals {
	v := vitals{offset: j.offset.Load(), moved: j.pulse.Moved()}
	if t := j.tracker.Load(); t != nil {
		v.counts = t.Totals()
	}
	if s, ok := j.opts.Source.(pulsing); ok {
		v.moved += s.Pulse().Moved()
	}
	if c := j.comparing.Load(); c != nil {
		v.moved += c.Moved()
	}
	if j.opts.Target != nil {
		v.lanes = j.opts.Target.Moved()
	}
	return v
}

// waits gathers whom the job waits for.
func (j *Job) waits() []pulse.Wait {
	all := j.pulse.Waits()
	if s, ok := j.opts.Source.(pulsing); ok {
		all = append(all, s.Pulse().Waits()...)
	}
	if c := j.comparing.Load(); c != nil {
		all = append(all, c.Waits()...)
	}
	if j.opts.Target != nil {
		all = append(all, j.opts.Target.Waits()...)
	}
	return pulse.Longest(all)
}

// outlook says what becomes of a job that gets no answer.
func (j *Job) outlook() string {
	switch {
	case j.tracker.Load() == nil, j.planning:
		return "it goes on by itself when that answers"
	case j.store == nil:
		return fmt.Sprintf("it goes on by itself when that answers, and gives up after --retry-for (%s)", j.opts.RetryFor)
	}
	return fmt.Sprintf("it goes on by itself when that answers; Ctrl-C, or --retry-for (%s), ends it with a checkpoint from which the same command goes on", j.opts.RetryFor)
}

// owes notes a wait of the job's own, until the returned function is called.
func (j *Job) owes(w pulse.Wait) (done func()) {
	begun := j.pulse.Begin(w)
	return func() {
		j.pulse.End(begun)
		j.pulse.Move(1)
	}
}
