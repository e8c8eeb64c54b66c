package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slotferry/slotferry/checkpoint"
	"github.com/slotferry/slotferry/importer/target"
	"github.com/slotferry/slotferry/service"
)

func TestUnequal(t *testing.T) {
	begun := time.Unix(1000, 0)
	run := func(id uint64, at int64, status service.Status, keys ...int64) service.Run {
		r := service.Run{ID: id, Job: mirrorJob, Started: time.Unix(at, 0), Status: status}
		for _, n := range keys {
			r.Masters = append(r.Masters, target.Master{Keys: n, Bytes: 10 * n})
		}
		return r
	}
	runs := []service.Run{run(3, 1020, service.Done, 1, 2), run(2, 1010, service.Done, 4), run(1, 900, service.Interrupted, 100)}
	text := fmt.Sprintf(`# TYPE slotferry_runs_total counter
slotferry_runs_total{job=%[1]q,status="done"} %%d
slotferry_runs_total{job=%[1]q,status="interrupted"} 0
# TYPE slotferry_keys_written_total counter
slotferry_keys_written_total{job=%[1]q,master="a"} 5
slotferry_keys_written_total{job=%[1]q,master="b"} %%d
# TYPE slotferry_bytes_written_total counter
slotferry_bytes_written_total{job=%[1]q,master="a"} 70
`, mirrorJob)
	for _, tc := range []struct {
		done, keys int
		want       []string
	}{
		{2, 2, nil},
		{3, 2, []string{"runs done: the metrics say 3, the history 2"}},
		{2, 1, []string{"keys written: the metrics say 6, the history 7"}},
	} {
		m, err := readMetrics(fmt.Appendf(nil, text, tc.done, tc.keys))
		if err != nil {
			t.Fatal(err)
		}
		got := unequal(m, runs, begun)
		for i := range got {
			got[i] = strings.TrimPrefix(got[i], "job "+mirrorJob+": ")
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%+v: %q", tc, got)
		}
	}
	if got := skippedIDs(runs); got != nil {
		t.Errorf("%q", got)
	}
	if got := skippedIDs([]service.Run{runs[0], runs[2]}); len(got) != 1 {
		t.Errorf("a run is missing, and nobody says so: %q", got)
	}
}

func TestUnexpected(t *testing.T) {
	at := func(second int) time.Time { return time.Unix(int64(10_000+second), 0) }
	s := &soak{
		faults: []*fault{{begun: at(100), ended: at(110)}}, quietSince: at(500),
	}
	run := func(job string, status service.Status, from, to int) service.Run {
		r := service.Run{Job: job, Status: status, Started: at(from)}
		if to > 0 {
			r.Ended = at(to)
		}
		return r
	}
	for _, tc := range []struct {
		name  string
		runs  []service.Run
		wrong int
	}{
		{"done", []service.Run{run(mirrorJob, service.Done, 1, 2)}, 0},
		{"killed", []service.Run{run(mirrorJob, service.Interrupted, 1, 0)}, 0},
		{"interrupted by a fault", []service.Run{run(mirrorJob, service.Interrupted, 90, 101)}, 0},
		{"interrupted by nothing", []service.Run{run(mirrorJob, service.Interrupted, 200, 201)}, 1},
		{"blocked by a fault", []service.Run{run(followJob, service.Blocked, 112, 113)}, 0},
		{"blocked by nothing", []service.Run{run(followJob, service.Blocked, 200, 201)}, 1},
		{"failed, whatever happened", []service.Run{run(mirrorJob, service.Failed, 100, 110)}, 1},
		{"refused, whatever happened", []service.Run{run(mirrorJob, service.Refused, 100, 110)}, 1},
		{"differs while it is written to", []service.Run{run(mirrorJob, service.Differences, 499, 600)}, 0},
		{"differs at rest", []service.Run{run(mirrorJob, service.Differences, 501, 600)}, 1},
		{"the last one is paused", []service.Run{run(followJob, service.Interrupted, 200, 300)}, 0},
		{"the one before was not", []service.Run{run(followJob, service.Done, 300, 301), run(followJob, service.Interrupted, 200, 300)}, 1},
	} {
		s.runs = tc.runs
		if got := s.unexpected(); len(got) != tc.wrong {
			t.Errorf("%s: %q", tc.name, got)
		}
	}
}

func TestTrends(t *testing.T) {
	begun := time.Unix(0, 0)
	samples := func(memory, goroutines, files float64) []sample {
		var out []sample
		for i := range 30 {
			s := sample{at: begun.Add(time.Duration(i) * time.Second), memory: 100, goroutines: 20, files: 10, calm: i%2 == 0}
			if i >= 20 {
				s.memory, s.goroutines, s.files = memory, goroutines, files
			}
			if !s.calm {
				s.goroutines, s.files = 1000, 1000
			}
			out = append(out, s)
		}
		return out
	}
	for _, tc := range []struct {
		samples []sample
		grown   string
	}{
		{samples(130, 28, 18), ""},
		{samples(131, 28, 18), "memory"},
		{samples(100, 29, 18), "goroutines"},
		{samples(100, 28, 19), "open files"},
		{samples(100, 20, 10)[:22], "memory goroutines open files"}, // too few to tell
	} {
		var grown []string
		for _, tr := range trends(tc.samples, begun, 30*time.Second) {
			if tr.grown() != nil {
				grown = append(grown, tr.name)
			}
		}
		if got := strings.Join(grown, " "); got != tc.grown {
			t.Errorf("%q grew, want %q", got, tc.grown)
		}
	}
}

// TestDraw wants each kind once before any comes again, and the early ones at
// first.
func TestDraw(t *testing.T) {
	for seed := range uint64(20) {
		s := &soak{options: options{seed: seed}}
		d := s.draw()
		seen := map[string]int{}
		for i := range len(kinds) {
			k := d.next(true)
			if i == 0 && !k.early {
				t.Errorf("seed %d: %s comes first", seed, k.name)
			}
			seen[k.name]++
		}
		if len(seen) != len(kinds) {
			t.Errorf("seed %d: %v", seed, seen)
		}
		for range 3 * len(kinds) {
			if k := d.next(false); k.early {
				t.Errorf("seed %d: %s comes late", seed, k.name)
			}
		}
	}
}

func TestReport(t *testing.T) {
	s := &soak{
		options: options{minutes: 2, lasts: 2 * time.Minute, seed: 5}, service: &serving{},
		runs:   []service.Run{{Job: mirrorJob, Status: service.Done, Result: service.Result{Counts: checkpoint.Counts{Read: 1}}}},
		faults: []*fault{{kind: kinds[0], begun: time.Unix(0, 0), ended: time.Unix(3, 0)}},
	}
	text := report{options: s.options, soak: s, failures: []error{fmt.Errorf("one\ntwo")}}.markdown()
	for _, want := range []string{
		"| mirror | 0 | 1 | 1 | 0 |", "| serve-kill | 1 | 3.0 |", "| memory | – | – | – | 0, 0 |", "- one\n  two", "1 failures", "--minutes 2 --seed 5",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing:\n%s", want, text)
		}
	}
}
