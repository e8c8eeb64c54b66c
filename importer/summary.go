package importer

import (
	"context"
	"errors"
	"time"

	"github.com/slotferry/slotferry/checkpoint"
	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/importer/tail"
	"github.com/slotferry/slotferry/importer/target"
)

// Status is how a run ended.
type Status string

// The ways a run ends.
const (
	Done        Status = "done"
	Failed      Status = "failed"      // to its end, or not; see the error
	Blocked     Status = "blocked"     // nothing was written
	Interrupted Status = "interrupted" // run again to go on
)

// Summary is the account of a job, all its runs together.
type Summary struct {
	Status Status `json:"status"`
	checkpoint.Counts
	// UniqueAtLeast is how many keys the target has gained, when it was empty
	// before: SCAN may yield a key twice, and Read counts both.
	UniqueAtLeast int64                `json:"unique_at_least,omitempty"`
	Unchanged     int64                `json:"unchanged,omitempty"` // of Skipped: a mirror has them already
	Deleted       int64                `json:"deleted,omitempty"`   // gone from the source, removed from the target
	Seconds       float64              `json:"seconds"`             // of this run
	Runs          int                  `json:"runs"`
	Resumed       bool                 `json:"resumed"`
	Retries       target.Retries       `json:"retries"`
	Masters       []target.Master      `json:"masters"`
	CopySeconds   float64              `json:"copy_seconds,omitempty"` // of the full copy in front of commands, from its first key on
	Lag           *Lag                 `json:"lag,omitempty"`          // of a source that goes on with commands
	Tail          *tail.Counts         `json:"tail,omitempty"`         // of its commands, in this run
	Cutover       *CutoverFacts        `json:"cutover,omitempty"`      // when clients could be switched
	Failures      []checkpoint.Failure `json:"-"`
}

// summary gathers the account. An interrupted run's is that of its checkpoint,
// from which the next one counts on.
func (j *Job) summary(err error) Summary {
	s := Summary{
		Status: status(err), Seconds: time.Since(j.begun).Seconds(), Runs: j.saved.Runs, Resumed: j.resumed,
		Masters: []target.Master{},
	}
	t := j.tracker.Load()
	if t == nil {
		return s
	}
	s.Counts = t.Totals()
	if s.Status == Interrupted || !s.Balanced() {
		s.Counts = t.Safe().Counts
		if j.last != nil {
			s.Counts = j.last.Counts
		}
	}
	s.Unchanged = min(j.unchanged.Load(), s.Skipped) // a master that was lost makes some go by twice
	s.Deleted = j.deleted.Load()
	s.CopySeconds = time.Duration(j.copyTook.Load()).Seconds()
	s.Lag, s.Tail, s.Cutover = j.behind(), j.tailCounts(), j.cutover.Load()
	s.Failures = append(t.Failures(), j.lost...)
	s.Retries = j.opts.Target.Retries()
	s.Masters = j.opts.Target.Masters()
	if s.Status == Done && j.source.Server != nil && j.opts.OnExists == Fail {
		ctx, cancel := context.WithTimeout(context.Background(), j.opts.DrainFor)
		defer cancel()
		if keys, err := j.opts.Target.Keys(ctx); err == nil {
			s.UniqueAtLeast = min(keys, s.Written)
		}
	}
	return s
}

func status(err error) Status {
	var blocked interface{ Blocked() bool }
	switch {
	case err == nil:
		return Done
	case errors.Is(err, ErrInterrupted), errors.Is(err, record.ErrPatience):
		return Interrupted
	case errors.As(err, &blocked) && blocked.Blocked():
		return Blocked
	}
	return Failed
}

// Progress is how far a run is, for the display.
type Progress struct {
	Phase   string // preflight, copy, drain, finish; count; compare, extra keys, settle
	Counts  checkpoint.Counts
	Total   int64 // keys in the source, 0 if not known
	Offset  int64 // bytes of the file read
	Size    int64 // of the file, 0 for none
	Elapsed time.Duration

	Unchanged int64 // of the skipped keys: a mirror has them already
	Deleted   int64 // gone from the source, removed from the target

	Lag  *Lag         // of a source that goes on with commands, once they are read
	Tail *tail.Counts // of its commands

	Resumed checkpoint.Counts // of the runs before this one
	Masters []target.Master
	// Standstill is set while nothing gets on, after StandstillAfter.
	Standstill *Standstill
}

// Progress may be called from any goroutine, at any time.
func (j *Job) Progress() Progress {
	p := Progress{Phase: *j.phase.Load(), Standstill: j.standing.Load()}
	t := j.tracker.Load()
	if t == nil {
		return p
	}
	p.Counts, p.Resumed = t.Totals(), j.saved.State.Counts
	p.Total, p.Offset, p.Size = j.saved.Total, j.offset.Load(), j.source.Bytes
	p.Elapsed = time.Since(j.begun)
	p.Lag, p.Tail = j.behind(), j.tailCounts()
	p.Unchanged, p.Deleted = min(j.unchanged.Load(), p.Counts.Skipped), j.deleted.Load()
	if !j.planning && !j.verifying {
		p.Masters = j.opts.Target.Masters()
	}
	return p
}

// Slots is how many values were sent to each slot in this run, nil without
// CountSlots. It may be called at any time, and is not cheap.
func (j *Job) Slots() []int64 {
	if j.slots == nil {
		return nil
	}
	out := make([]int64, len(j.slots))
	for i := range j.slots {
		out[i] = j.slots[i].Load()
	}
	return out
}
