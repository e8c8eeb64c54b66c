package service

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// Job is what is to be run, and when.
type Job struct {
	Name           string
	Kind           Kind
	Schedule       *Schedule // of Cron
	CatchUp        bool      // run once for times at which the service was not there
	Retries        Retries
	Source, Target string // as they may be shown
	// Settings is different when anything of the job is, Runner included.
	Settings string
	Runner   Runner
}

// Retries says how often a run that failed is tried again at once.
type Retries struct {
	Count int
	Pause time.Duration // before each
}

// Mark is what is remembered of a job beside its runs.
type Mark struct {
	Job      string    `json:"job"`
	Schedule string    `json:"schedule,omitempty"` // that Due is a time of
	Due      time.Time `json:"due,omitzero"`       // the last time that was seen to
	Of       string    `json:"of,omitempty"`       // source and target
	Done     bool      `json:"done,omitempty"`     // it need not run again
	Paused   bool      `json:"paused,omitempty"`
	Stopped  bool      `json:"stopped,omitempty"` // it goes on at its next time, not before
	// Resumable says that the last run was interrupted.
	Resumable   bool      `json:"resumable,omitempty"`
	Failures    int       `json:"failures,omitempty"`
	Alerted     bool      `json:"alerted,omitempty"` // somebody was told of the failure
	LastSuccess time.Time `json:"last_success,omitzero"`
	Skipped     int64     `json:"skipped,omitempty"`
}

// History keeps runs and marks over restarts.
type History interface {
	// Put stores a mark and, if it is not nil, a run. A run whose ID is 0 gets the
	// next one; one without an end is going on.
	Put(r *Run, m Mark) error
	// Runs returns runs that have ended, newest first: of one job or of all (""),
	// with IDs below before unless that is 0.
	Runs(job string, limit int, before uint64) ([]Run, error)
	// Mark returns what was stored last, a zero Mark if nothing was.
	Mark(job string) (Mark, error)
}

// Options is a service; zero fields take the defaults noted.
type Options struct {
	Jobs    []Job
	History History
	Alerts  Alerter          // none
	Lag     time.Duration    // beyond which a live copy is worth an alert; never
	Now     func() time.Time // the clock on the wall; time.Now
	Log     *zap.Logger      // none
}

// Service runs jobs. Its methods may be called from any goroutine.
type Service struct {
	opts   Options
	log    *zap.Logger
	events hub
	runs   atomic.Uint64 // IDs, where the history gives none

	reloading sync.Mutex // held for a whole Reload

	mu   sync.Mutex
	ran  bool
	ctx  context.Context // of Run; nil before and after
	jobs map[string]*job
	wg   sync.WaitGroup
}

// New returns a service that has not begun.
func New(o Options) (*Service, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.History == nil {
		return nil, errors.New("a service needs a history")
	}
	s := &Service{opts: o, log: o.Log, jobs: map[string]*job{}}
	if err := checkJobs(o.Jobs); err != nil {
		return nil, err
	}
	for _, spec := range o.Jobs {
		s.jobs[spec.Name] = s.newJob(spec)
	}
	return s, nil
}

func checkJobs(jobs []Job) error {
	seen := map[string]bool{}
	for _, j := range jobs {
		switch {
		case j.Name == "":
			return errors.New("a job has no name")
		case seen[j.Name]:
			return fmt.Errorf("two jobs are named %q", j.Name)
		case j.Runner == nil:
			return fmt.Errorf("job %q has no runner", j.Name)
		case (j.Kind == Cron) != (j.Schedule != nil):
			return fmt.Errorf("job %q: a schedule belongs to cron jobs, and they need one", j.Name)
		}
		seen[j.Name] = true
	}
	return nil
}

// now is the clock on the wall. Without the monotonic reading, differences of
// times are those that the clock shows, jumps included.
func (s *Service) now() time.Time { return s.opts.Now().Round(0) }

// Run runs the jobs until ctx ends, and returns when all of them have saved
// where they are. It may be called once.
func (s *Service) Run(ctx context.Context) error {
	s.mu.Lock()
	if s.ran {
		s.mu.Unlock()
		return errors.New("a service runs once")
	}
	s.ran, s.ctx = true, ctx
	for _, j := range s.jobs {
		s.launch(j)
	}
	s.mu.Unlock()
	<-ctx.Done()
	s.reloading.Lock() // none is added any more
	defer s.reloading.Unlock()
	s.wg.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ctx = nil
	return nil
}

// launch begins a job's loop; s.mu is held.
func (s *Service) launch(j *job) {
	ctx, cancel := context.WithCancel(s.ctx)
	j.cancel = cancel
	s.wg.Go(func() {
		defer close(j.gone)
		defer cancel()
		j.loop(ctx)
	})
}

// Jobs returns all jobs by name.
func (s *Service) Jobs() []JobView {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]JobView, 0, len(s.jobs))
	for _, name := range slices.Sorted(maps.Keys(s.jobs)) {
		out = append(out, *s.jobs[name].view.Load())
	}
	return out
}

// Job returns one job.
func (s *Service) Job(name string) (JobView, bool) {
	j, err := s.job(name)
	if err != nil {
		return JobView{}, false
	}
	return *j.view.Load(), true
}

func (s *Service) job(name string) (*job, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j := s.jobs[name]
	if j == nil {
		return nil, fmt.Errorf("%q: %w", name, ErrNoJob)
	}
	return j, nil
}

// Start begins a run now. ErrState: one is going on, or the job is paused.
func (s *Service) Start(ctx context.Context, name string) error {
	return s.order(ctx, name, (*job).start)
}

// Pause interrupts a run, with a checkpoint, and holds the schedule.
func (s *Service) Pause(ctx context.Context, name string) error {
	return s.order(ctx, name, (*job).pause)
}

// Resume ends a pause; a run that was interrupted by it goes on.
func (s *Service) Resume(ctx context.Context, name string) error {
	return s.order(ctx, name, (*job).resume)
}

// Stop interrupts a run, with a checkpoint; it goes on at the job's next time,
// or with Start.
func (s *Service) Stop(ctx context.Context, name string) error {
	return s.order(ctx, name, (*job).stop)
}

func (s *Service) order(ctx context.Context, name string, do func(*job) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	j, err := s.job(name)
	if err != nil {
		return err
	}
	if err := do(j); err != nil {
		return fmt.Errorf("%q: %w", name, err)
	}
	return nil
}

// History returns runs that have ended, newest first: of one job or of all
// (""), with IDs below before unless that is 0.
func (s *Service) History(job string, limit int, before uint64) ([]Run, error) {
	return s.opts.History.Runs(job, limit, before)
}

// Ready tells whether the service runs, and its history can be written.
func (s *Service) Ready() error {
	s.mu.Lock()
	running := s.ctx != nil && s.ctx.Err() == nil
	s.mu.Unlock()
	if !running {
		return errors.New("the service is not running")
	}
	return s.opts.History.Put(nil, Mark{})
}

// Subscribe returns events until ctx ends. Who reads too slowly misses some.
func (s *Service) Subscribe(ctx context.Context) <-chan Event { return s.events.subscribe(ctx) }

// Reload replaces the jobs. Those whose Settings are the same go on; others take
// theirs with the next run; those that are gone are interrupted. It returns when
// these have saved where they are. After an error nothing has changed.
func (s *Service) Reload(jobs []Job) error {
	if err := checkJobs(jobs); err != nil {
		return err
	}
	s.reloading.Lock()
	defer s.reloading.Unlock()
	s.mu.Lock()
	if s.ctx != nil && s.ctx.Err() != nil {
		s.mu.Unlock()
		return errors.New("the service is stopping")
	}
	keep := map[string]bool{}
	for _, spec := range jobs {
		keep[spec.Name] = true
		if j := s.jobs[spec.Name]; j != nil {
			j.change(spec)
			continue
		}
		j := s.newJob(spec)
		s.jobs[spec.Name] = j
		if s.ctx != nil {
			s.launch(j)
		}
	}
	var gone []*job
	for name, j := range s.jobs {
		if !keep[name] {
			delete(s.jobs, name)
			gone = append(gone, j)
		}
	}
	launched := s.ctx != nil
	s.mu.Unlock()
	s.events.publish(Event{Kind: JobsChanged})
	for _, j := range gone {
		if launched {
			j.cancel()
			<-j.gone
		}
		j.forget()
	}
	return nil
}
