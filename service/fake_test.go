package service

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/slotferry/slotferry/checkpoint"
)

// memory is a History that lasts as long as a test.
type memory struct {
	mu    sync.Mutex
	runs  []Run
	marks map[string]Mark
	fail  error
}

func (m *memory) Put(r *Run, mark Mark) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return m.fail
	}
	if m.marks == nil {
		m.marks = map[string]Mark{}
	}
	m.marks[mark.Job] = mark
	switch {
	case r == nil:
	case r.ID == 0:
		r.ID = uint64(len(m.runs)) + 1
		m.runs = append(m.runs, *r)
	default:
		m.runs[r.ID-1] = *r
	}
	return nil
}

func (m *memory) Runs(job string, limit int, before uint64) (out []Run, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range slices.Backward(m.runs) {
		if r.Status != "" && (job == "" || r.Job == job) && (before == 0 || r.ID < before) && len(out) < limit {
			out = append(out, r)
		}
	}
	return out, nil
}

func (m *memory) Mark(job string) (Mark, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.marks[job], nil
}

// die makes of what is going on what a process that died leaves.
func (m *memory) die() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.runs {
		if m.runs[i].Status == "" {
			m.runs[i].Status = Interrupted
		}
	}
}

// fake is a Runner whose runs take a time and end as they are told.
type fake struct {
	takes time.Duration // 0: until it is interrupted
	ends  []error       // of the runs, one after the other; nil from then on
	panic bool
	lag   []float64 // reported one a second

	mu   sync.Mutex
	runs []RunOptions
	at   []time.Time
	over int // at the same time
}

var (
	errFailed    = errors.New("boom")
	errBlocked   = &StatusError{Blocked, errors.New("the target is not empty")}
	errPatience  = &StatusError{Interrupted, errors.New("out of patience")}
	errRefused   = &StatusError{Refused, errors.New("too much would be deleted")}
	errCancelled = &StatusError{Interrupted, errors.New("interrupted")}
)

func (f *fake) Run(ctx context.Context, o RunOptions) (Result, error) {
	f.mu.Lock()
	n := len(f.runs)
	f.runs, f.at = append(f.runs, o), append(f.at, time.Now())
	f.over++
	if f.over > 1 {
		f.mu.Unlock()
		panic("two runs of one job at the same time")
	}
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.over--
	}()
	if f.panic {
		panic("out of order")
	}
	for _, seconds := range f.lag {
		o.Report(Progress{Phase: "tail", Lag: &Lag{Seconds: seconds}})
		time.Sleep(time.Second)
	}
	var done <-chan time.Time
	if f.takes > 0 {
		done = time.After(f.takes)
	}
	select {
	case <-done:
	case <-ctx.Done():
		return Result{}, errCancelled
	}
	if n < len(f.ends) {
		return Result{}, f.ends[n]
	}
	return Result{Counts: checkpoint.Counts{Read: 1, Written: 1}}, nil
}

func (f *fake) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.runs)
}

// triggers are what the runs were started by.
func (f *fake) triggers() (out []Trigger) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.runs {
		out = append(out, r.Trigger)
	}
	return out
}

// teller is an Alerter that remembers.
type teller struct {
	mu   sync.Mutex
	told []string
}

func (t *teller) Tell(a Alert) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.told = append(t.told, a.Event)
}

func (t *teller) list() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.told)
}

// clock is one on the wall, which jumps.
type clock struct {
	mu   sync.Mutex
	jump time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.jump)
}

func (c *clock) set(jump time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.jump = jump
}

// world is a service in a bubble of time that begins at midnight UTC, the first
// of January 2000.
type world struct {
	*Service
	t       *testing.T
	history *memory
	alerts  *teller
	clock   *clock
	end     func()
}

func begin(t *testing.T, h *memory, jobs ...Job) *world {
	t.Helper()
	w := &world{t: t, history: h, alerts: &teller{}, clock: &clock{}}
	for i := range jobs {
		if jobs[i].Settings == "" {
			jobs[i].Settings = "1"
		}
	}
	s, err := New(Options{Jobs: jobs, History: h, Alerts: w.alerts, Lag: 10 * time.Second, Now: w.clock.now})
	if err != nil {
		t.Fatal(err)
	}
	w.Service = s
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- s.Run(ctx) }()
	w.end = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	synctest.Wait()
	return w
}

// pass lets time go by.
func (w *world) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (w *world) want(job string, s State) JobView {
	w.t.Helper()
	v, ok := w.Job(job)
	if !ok || v.State != s {
		w.t.Errorf("%s is %q, want %q", job, v.State, s)
	}
	return v
}

func (w *world) order(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Error(err)
	}
	synctest.Wait()
}

func hourly(t *testing.T, f *fake) Job {
	t.Helper()
	s, err := ParseSchedule("0 * * * *", time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	return Job{Name: "hourly", Kind: Cron, Schedule: s, Runner: f, Retries: Retries{2, time.Minute}}
}
