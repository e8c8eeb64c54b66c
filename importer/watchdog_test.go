package importer

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slotferry/slotferry/importer/pulse"
)

// TestWatchdog looks at a job second by second and notes when it is told what.
func TestWatchdog(t *testing.T) {
	minute := 60
	for _, tc := range []struct {
		name    string
		seconds int
		rest    time.Duration
		moves   func(second int) bool
		limited func(second int) bool
		asleep  func(second int) bool // no look then
		ends    func(second int) bool
		want    []string
	}{
		{name: "always something", seconds: 10 * minute, moves: func(s int) bool { return s%29 == 0 }},
		{name: "one standstill", seconds: 65 * minute, moves: func(s int) bool { return s >= 41*minute },
			want: []string{"30s", "1m0s", "2m0s", "5m0s", "10m0s", "20m0s", "30m0s", "40m0s", "over 41m0s"}},
		{name: "two of them", seconds: 200, moves: func(s int) bool { return s == 40 || s >= 150 },
			want: []string{"30s", "over 40s", "30s", "1m0s", "over 1m50s"}},
		{name: "it gives up", seconds: 61, ends: func(s int) bool { return s > 40 }, want: []string{"30s", "1m0s"}},
		{name: "a limit", seconds: 10 * minute, limited: func(s int) bool { return s%20 != 0 }},
		{name: "rounds with pauses", seconds: 10 * minute, rest: 3 * time.Minute, moves: func(s int) bool { return s%200 == 0 }},
		{name: "the machine slept", seconds: 20 * minute, asleep: func(s int) bool { return s > 5 && s < 19*minute }, want: []string{"30s"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var got []string
			j := New(Options{Standstill: func(s Standstill) {
				text := s.For.String()
				if s.Over {
					text = "over " + text
				}
				got = append(got, text)
			}})
			j.rest = tc.rest
			w := &watchdog{job: j, after: j.opts.StandstillAfter}
			begun, v := time.Now(), vitals{}
			for s := range tc.seconds {
				if tc.asleep != nil && tc.asleep(s) {
					continue
				}
				if tc.moves != nil && tc.moves(s) {
					v.moved++
				}
				stage := "copy"
				if tc.ends != nil && tc.ends(s) {
					stage = "finish"
				}
				w.look(begun.Add(time.Duration(s)*time.Second), stage, v, tc.limited != nil && tc.limited(s))
				if told := len(got) > 0 && !strings.HasPrefix(got[len(got)-1], "over"); told != (j.standing.Load() != nil) {
					t.Fatalf("after %d s: told %q, shown %v", s, got, j.standing.Load())
				}
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("told %q, want %q", got, tc.want)
			}
		})
	}
}

func TestStandstillText(t *testing.T) {
	since := time.Date(2026, 1, 2, 3, 4, 5, 0, time.Local)
	remedy := "see that it is up"
	s := Standstill{Stage: "copy", For: 90 * time.Second, Outlook: "it goes on by itself", Waits: []pulse.Wait{
		{On: "10.0.0.1:6379", What: "an answer", Since: since, Remedy: remedy},
		{On: "10.0.0.2:6379", What: "a good answer (OOM)", Since: since, Remedy: remedy},
	}}
	want := "no progress for 1m30s (stage: copy): waiting for an answer from 10.0.0.1:6379 since 03:04:05; " +
		"waiting for a good answer (OOM) from 10.0.0.2:6379 since 03:04:05 → see that it is up; it goes on by itself"
	if got := fmt.Sprint(s); got != want {
		t.Errorf("%q\nwant %q", got, want)
	}
	s.Waits = nil
	if got := fmt.Sprint(s); !strings.Contains(got, "kill -QUIT") {
		t.Errorf("%q", got)
	}
}
