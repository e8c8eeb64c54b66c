package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/slotferry/slotferry/service"
)

// unequal holds the counters of a process against the history. No run may be
// going on. Runs that an earlier process had begun are not in its counters.
func unequal(m metrics, runs []service.Run, begun time.Time) (wrong []string) {
	for _, job := range []string{mirrorJob, followJob} {
		ended := map[service.Status]int64{}
		var written, bytes, deleted int64
		for _, r := range runs {
			if r.Job != job || r.Started.Before(begun) {
				continue
			}
			ended[r.Status]++
			deleted += r.Deleted
			for _, master := range r.Masters {
				written += master.Keys
				bytes += master.Bytes
			}
		}
		same := func(what string, counter float64, history int64) {
			if counter != float64(history) {
				wrong = append(wrong, fmt.Sprintf("job %s: %s: the metrics say %.0f, the history %d", job, what, counter, history))
			}
		}
		for _, status := range statuses {
			same("runs "+string(status), m.values[fmt.Sprintf("slotferry_runs_total{job=%q,status=%q}", job, status)], ended[status])
		}
		same("keys written", m.sum("slotferry_keys_written_total", job), written)
		same("bytes written", m.sum("slotferry_bytes_written_total", job), bytes)
		same("keys deleted", m.sum("slotferry_keys_deleted_total", job), deleted)
	}
	return wrong
}

var statuses = []service.Status{
	service.Done, service.Failed, service.Blocked, service.Interrupted, service.Differences, service.Refused,
}

// unexpected names the runs that ended as nothing that was done explains.
func (s *soak) unexpected() (wrong []string) {
	for i, r := range s.runs {
		during := func(f *fault) bool {
			// A cluster takes a while to see what happened, and that it is over.
			const about = 5 * time.Second
			return f.begun.Add(-about).Before(r.Ended) && f.ended.Add(about).After(r.Started)
		}
		// In the end the live job was told to pause.
		paused := r.Job == followJob && !slices.ContainsFunc(s.runs[:i], func(o service.Run) bool { return o.Job == followJob })
		explained := false
		switch r.Status {
		case service.Done:
			explained = true
		case service.Interrupted:
			explained = r.Ended.IsZero() || paused || slices.ContainsFunc(s.faults, during) // or its process was killed
		case service.Blocked:
			explained = slices.ContainsFunc(s.faults, during)
		case service.Differences:
			// What is written to all the time is never found equal.
			explained = r.Job == mirrorJob && r.Started.Before(s.quietSince)
		}
		if !explained {
			wrong = append(wrong, fmt.Sprintf("run %d of %s, begun at %s, ended as %s: %s", r.ID, r.Job, r.Started.Format(time.TimeOnly), r.Status, r.Error))
		}
	}
	return wrong
}

// skippedIDs names numbers of runs that the history does not have.
func skippedIDs(runs []service.Run) (wrong []string) {
	for i := 1; i < len(runs); i++ {
		if newer, older := runs[i-1].ID, runs[i].ID; newer != older+1 {
			wrong = append(wrong, fmt.Sprintf("the history has no runs between %d and %d", older, newer))
		}
	}
	return wrong
}
