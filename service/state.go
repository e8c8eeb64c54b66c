// Package service runs jobs: once, by a schedule, or live. It knows when each
// is due, what state it is in and how its past runs ended; how a run is done is
// a Runner's business, so it never meets a concrete source or target. A job
// that fails, or panics, never touches another.
package service

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/slotferry/slotferry/checkpoint"
	"github.com/slotferry/slotferry/importer/target"
)

var (
	// ErrNoJob means that there is no job of that name.
	ErrNoJob = errors.New("there is no such job")
	// ErrState means that the job can't do that in the state it is in.
	ErrState = errors.New("the job can't do that now")
)

// Kind says when a job runs.
type Kind string

// The kinds of jobs.
const (
	Once Kind = "once" // until it was done
	Cron Kind = "cron" // at the times of a schedule
	Live Kind = "live" // always
)

// State is what a job is doing.
type State string

// The states of a job.
const (
	Idle     State = "idle"     // nothing is planned: it was done, stopped, or is blocked
	Waiting  State = "waiting"  // for its next time or its next try
	Running  State = "running"  //
	Pausing  State = "pausing"  // a run is being interrupted, then it is paused
	Paused   State = "paused"   // not before Resume
	Stopping State = "stopping" // a run is being interrupted; it goes on at the next time
)

// Status is how a run ended.
type Status string

// The ways a run ends.
const (
	Done        Status = "done"
	Failed      Status = "failed"
	Blocked     Status = "blocked"     // something stood in the way; nothing was written
	Interrupted Status = "interrupted" // with a checkpoint: the next run goes on
	Differences Status = "differences" // a verification found some
	Refused     Status = "refused"     // it would have deleted too much
)

// Trigger is what a run was started by.
type Trigger string

// The triggers of runs.
const (
	ByCron    Trigger = "cron"
	ByHand    Trigger = "manual"
	ByStart   Trigger = "start" // of the service, or of the job when it was added
	ByRetry   Trigger = "retry"
	ByCatchUp Trigger = "catch_up" // for a time at which the service was not there
)

// JobView is a job as others see it. Nothing in it is secret, and nothing in it
// changes.
type JobView struct {
	Name     string    `json:"name"`
	Kind     Kind      `json:"kind"`
	Schedule string    `json:"schedule,omitempty"` // the cron expression
	Zone     string    `json:"zone,omitempty"`
	State    State     `json:"state"`
	Next     time.Time `json:"next,omitzero"` // when it runs next, if that is known
	Since    time.Time `json:"since"`         // when it entered its state
	Source   string    `json:"source"`
	Target   string    `json:"target"`
	Current  *Progress `json:"current,omitempty"` // of the run that is going on
	Last     *Run      `json:"last,omitempty"`    // that has ended
	// Failures is how many runs in a row came to nothing, but for those that
	// were told to stop.
	Failures    int       `json:"failures"`
	LastSuccess time.Time `json:"last_success,omitzero"`
	// Skipped is how often a time came while the run before was still going on.
	Skipped int64 `json:"skipped"`
	// Resumable says that the next run goes on where the last one stopped.
	Resumable bool `json:"resumable"`
}

// Progress is how far a run is.
type Progress struct {
	Run     uint64    `json:"run"`
	Phase   string    `json:"phase"`
	Started time.Time `json:"started"`
	Seconds float64   `json:"seconds"` // since then
	checkpoint.Counts
	Unchanged      int64              `json:"unchanged"`       // of Skipped: as they were written last
	Deleted        int64              `json:"deleted"`         // gone from the source, removed from the target
	Total          int64              `json:"total,omitempty"` // keys in the source, 0 if not known
	Offset         int64              `json:"offset_bytes,omitempty"`
	Size           int64              `json:"size_bytes,omitempty"` // of the file, 0 for none
	KeysPerSecond  float64            `json:"keys_per_second"`
	BytesPerSecond float64            `json:"bytes_per_second"`
	SecondsLeft    *float64           `json:"seconds_left,omitempty"` // nil: not known
	Lag            *Lag               `json:"lag,omitempty"`          // of a live copy
	Masters        []target.Master    `json:"masters"`
	Slots          []int64            `json:"slots,omitempty"` // keys written by slot, 16384 of them or none
	Retries        target.Retries     `json:"retries"`
	Stages         map[string]float64 `json:"stage_seconds,omitempty"` // spent in each
	Message        string             `json:"message,omitempty"`       // why nothing gets on
}

// Lag is how far a live copy is behind its source.
type Lag struct {
	Bytes   int64   `json:"bytes"`
	Seconds float64 `json:"seconds"`
}

// Run is a run that has ended, or one that was going on when its process died.
type Run struct {
	ID      uint64    `json:"id"` // grows from run to run, over all jobs
	Job     string    `json:"job"`
	Trigger Trigger   `json:"trigger"`
	Due     time.Time `json:"due,omitzero"` // the time of the schedule that it was for
	Started time.Time `json:"started"`
	Ended   time.Time `json:"ended,omitzero"`
	Status  Status    `json:"status"`
	Result
	Error string `json:"error,omitempty"`
}

// Result is what a run has done. Its figures are those of the whole job if an
// interrupted run was resumed.
type Result struct {
	checkpoint.Counts
	Unchanged   int64              `json:"unchanged"`
	Deleted     int64              `json:"deleted"`
	Differences int64              `json:"differences"`
	Resumed     bool               `json:"resumed"`
	Retries     target.Retries     `json:"retries"`
	Masters     []target.Master    `json:"masters"`
	Stages      map[string]float64 `json:"stage_seconds,omitempty"`
	Remedy      string             `json:"remedy,omitempty"` // what the operator can do about the error
}

// Runner does the runs of one job, one at a time.
type Runner interface {
	// Run returns when the job is done. The end of ctx means: save a checkpoint
	// and return an error that is Interrupted. The error's text must hold no
	// secrets; a *StatusError says which Status it means, any other is Failed.
	Run(ctx context.Context, o RunOptions) (Result, error)
}

// RunOptions is one run.
type RunOptions struct {
	ID      uint64
	Job     string
	Trigger Trigger
	Started time.Time
	// Report takes the progress, about once a second. Run, Started and Seconds of
	// it are filled in.
	Report func(Progress)
	Log    *zap.Logger
}

// StatusError is an error of a Runner with the status of the run.
type StatusError struct {
	Status Status
	Err    error
}

func (e *StatusError) Error() string { return e.Err.Error() }
func (e *StatusError) Unwrap() error { return e.Err }

// Event tells that something has changed.
type Event struct {
	ID   uint64   `json:"id"` // grows
	Kind string   `json:"kind"`
	Job  *JobView `json:"job,omitempty"` // after the change
	Run  *Run     `json:"run,omitempty"` // of RunEnded
}

// The kinds of events.
const (
	StateChanged = "state"
	Progressed   = "progress"
	RunEnded     = "run"
	JobsChanged  = "jobs" // some were added, changed or removed
)
