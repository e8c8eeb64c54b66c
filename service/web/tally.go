package web

import (
	"context"
	"slices"
	"sync"

	"github.com/slotferry/slotferry/checkpoint"
	"github.com/slotferry/slotferry/importer/target"
	"github.com/slotferry/slotferry/service"
)

// tally adds up what runs have done since the process began. A run's own figures
// begin anew with each run, and go on where an interrupted one stopped; what the
// tally holds only ever grows.
type tally struct {
	service *service.Service

	mu   sync.Mutex
	jobs map[string]*sums
}

// series is a counter of a job: a metric and the value of its own label, "" if
// it has none.
type series struct{ metric, label string }

type values map[series]int64

// sums are one job's.
type sums struct {
	total values
	ended uint64 // runs up to this one have been counted to their end

	run     uint64 // that is going on; the rest is about it
	high    values // the highest figures that were seen of it
	added   values // what it has added to total
	resumed bool   // it goes on with figures that are not known yet
}

func newTally(s *service.Service) *tally {
	t := &tally{service: s, jobs: map[string]*sums{}}
	for _, job := range s.Jobs() {
		t.of(&job)
	}
	return t
}

// run follows the service until ctx ends.
func (t *tally) run(ctx context.Context) {
	for e := range t.service.Subscribe(ctx) {
		if e.Job != nil {
			t.mu.Lock()
			t.fold(e.Job)
			t.mu.Unlock()
		}
	}
}

// of returns a job's sums. Runs that ended before it was seen first don't count.
func (t *tally) of(job *service.JobView) *sums {
	s := t.jobs[job.Name]
	if s == nil {
		s = &sums{total: zeros()}
		if job.Last != nil {
			s.ended = job.Last.ID
		}
		t.jobs[job.Name] = s
	}
	return s
}

// mostMissed is how many runs of a job may have ended unseen.
const mostMissed = 100

// fold takes account of how a job is now; t.mu is held.
func (t *tally) fold(job *service.JobView) *sums {
	s := t.of(job)
	if job.Last != nil && job.Last.ID > s.ended {
		// Events can be missed, and others may have ended before this one. What
		// can't be read now was logged, and this one counts in any case.
		runs, _ := t.service.History(job.Name, mostMissed, 0)
		for _, r := range slices.Backward(runs) {
			s.end(&r)
		}
		s.end(job.Last)
	}
	if c := job.Current; c != nil && c.Run > s.ended {
		s.begin(c.Run, job)
		s.advance(figures(c.Counts, c.Unchanged, c.Deleted, c.Masters, c.Retries))
	}
	return s
}

// begin notes that a run is going on.
func (s *sums) begin(run uint64, job *service.JobView) {
	if s.run == run {
		return
	}
	s.run, s.high, s.added, s.resumed = run, values{}, values{}, false
	if !job.Resumable || job.Last == nil {
		return
	}
	// The figures go on where the last run stopped; one that was killed didn't
	// say where.
	if s.resumed = job.Last.Read == 0; !s.resumed {
		s.high = resumable(job.Last.Counts)
	}
}

// advance adds what is higher than it was. Figures fall when a run has to do
// something again; what it does twice counts once.
func (s *sums) advance(now values) {
	if read := now[series{keysRead, ""}]; s.resumed && read > 0 {
		s.resumed = false
		for _, of := range resumableSeries {
			s.high[of] = now[of]
		}
	}
	for of, n := range now {
		if more := n - s.high[of]; more > 0 {
			s.high[of] = n
			s.added[of] += more
			s.total[of] += more
		}
	}
}

// end counts a run that has ended, once.
func (s *sums) end(r *service.Run) {
	if r.ID <= s.ended {
		return
	}
	now := figures(r.Counts, r.Unchanged, r.Deleted, r.Masters, r.Retries)
	if s.run != r.ID {
		s.run, s.high, s.added, s.resumed = r.ID, values{}, values{}, r.Resumed
	}
	if r.Resumed {
		s.advance(now)
	} else {
		// It was thought to go on where another stopped, and did not.
		for of, n := range now {
			s.total[of] += max(0, n-s.added[of])
		}
	}
	s.total[series{runsEnded, string(r.Status)}]++
	s.ended = r.ID
}

// resumableSeries are those that a resumed run goes on with. All others begin
// anew with each run.
var resumableSeries = []series{
	{keysRead, ""}, {keysSkipped, ""}, {keysExpired, ""}, {keysFiltered, ""}, {keysFailed, ""},
}

func resumable(c checkpoint.Counts) values {
	return values{
		{keysRead, ""}: c.Read, {keysSkipped, ""}: c.Skipped, {keysExpired, ""}: c.Expired,
		{keysFiltered, ""}: c.Filtered, {keysFailed, ""}: c.Failed,
	}
}

// figures are a run's.
func figures(c checkpoint.Counts, unchanged, deleted int64, masters []target.Master, r target.Retries) values {
	v := resumable(c)
	v[series{keysUnchanged, ""}], v[series{keysDeleted, ""}] = unchanged, deleted
	for _, m := range masters {
		// One that was replaced and came back is there twice.
		v[series{keysWritten, m.Addr}] += m.Keys
		v[series{bytesWritten, m.Addr}] += m.Bytes
	}
	for kind, n := range map[string]int64{
		"moved": r.Moved, "ask": r.Ask, "paused": r.Paused, "lost": r.Lost, "restamped": r.Restamped, "rebuilt": r.Rebuilt,
	} {
		v[series{retriesMade, kind}] = n
	}
	return v
}

// zeros are what a job's counters begin with, so that the first change shows as
// one.
func zeros() values {
	v := figures(checkpoint.Counts{}, 0, 0, nil, target.Retries{})
	for _, status := range []service.Status{
		service.Done, service.Failed, service.Blocked, service.Interrupted, service.Differences, service.Refused,
	} {
		v[series{runsEnded, string(status)}] = 0
	}
	return v
}
