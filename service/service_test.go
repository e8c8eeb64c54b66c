package service

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestScheduledRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{takes: 10 * time.Minute}
		w := begin(t, &memory{}, hourly(t, f))
		defer w.end()
		if v := w.want("hourly", Waiting); v.Next.Format(time.TimeOnly) != "01:00:00" {
			t.Errorf("next is %s", v.Next)
		}
		w.pass(59 * time.Minute)
		if f.count() != 0 {
			t.Error("it ran too early")
		}
		w.pass(2 * time.Minute)
		v := w.want("hourly", Running)
		if v.Current == nil || v.Current.Run != 1 {
			t.Errorf("no run is shown: %+v", v)
		}
		w.pass(24 * time.Hour)
		if got := f.count(); got != 25 {
			t.Errorf("%d runs in 25 hours", got)
		}
		for i, at := range f.at {
			if want := time.Date(2000, 1, 1, i+1, 0, 0, 0, time.UTC); !at.Equal(want) {
				t.Errorf("run %d began at %s", i+1, at)
			}
		}
		if runs, _ := w.History("hourly", 100, 0); len(runs) != 24 || runs[0].Status != Done || runs[0].Trigger != ByCron || runs[0].Written != 1 {
			t.Errorf("the history has %d runs: %+v", len(runs), runs[0])
		}
	})
}

func TestOverlapIsSkipped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{takes: 150 * time.Minute}
		w := begin(t, &memory{}, hourly(t, f))
		defer w.end()
		w.pass(3*time.Hour + time.Minute) // begun at 1, skipped at 2 and 3
		if v := w.want("hourly", Running); v.Skipped != 2 || f.count() != 1 {
			t.Errorf("%d skipped, %d runs", v.Skipped, f.count())
		}
		w.pass(time.Hour) // ended at 3:30, begun at 4
		if v := w.want("hourly", Running); v.Skipped != 2 || f.count() != 2 {
			t.Errorf("%d skipped, %d runs", v.Skipped, f.count())
		}
	})
}

func TestJitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{takes: time.Second}
		j := hourly(t, f)
		j.Schedule.Jitter = 20 * time.Minute
		w := begin(t, &memory{}, j)
		defer w.end()
		w.pass(25 * time.Hour)
		if f.count() != 24 && f.count() != 25 {
			t.Errorf("%d runs", f.count())
		}
		for i, at := range f.at {
			due := time.Date(2000, 1, 1, i+1, 0, 0, 0, time.UTC)
			if d := at.Sub(due); d != j.Schedule.Delay("hourly", due) {
				t.Errorf("run %d began %s after its time", i+1, d)
			}
		}
	})
}

// TestClockJumps sets the clock on the wall, and no time may be missed or come
// twice.
func TestClockJumps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{takes: time.Second}
		w := begin(t, &memory{}, hourly(t, f))
		defer w.end()
		dues := func() (out []string) {
			runs, _ := w.History("", 100, 0)
			for _, r := range slices.Backward(runs) {
				out = append(out, r.Due.UTC().Format(time.TimeOnly))
			}
			return out
		}
		steps := []struct {
			pass, jump time.Duration
			want       string
		}{
			{61 * time.Minute, 0, "01:00:00"},
			{5 * time.Minute, -10 * time.Minute, ""},            // 1:06 → 0:56, and 1:00 comes again
			{58 * time.Minute, -10 * time.Minute, ""},           // 1:54
			{10 * time.Minute, -10 * time.Minute, "02:00:00"},   // 2:04
			{time.Minute, 50 * time.Minute, "03:00:00"},         // 3:05: jumped over 3:00
			{2 * time.Minute, 4*time.Hour + time.Minute, ""},    // 6:18: jumped over 4, 5 and 6
			{2 * time.Minute, 4*time.Hour + time.Minute, "06:"}, // which is one run
		}
		want := []string{}
		for i, s := range steps {
			w.clock.set(s.jump)
			w.pass(s.pass)
			if s.want != "" {
				want = append(want, s.want)
			}
			got := dues()
			if i == len(steps)-2 {
				continue
			}
			if len(got) != len(want) || !slices.EqualFunc(got, want, strings.HasPrefix) {
				t.Fatalf("step %d: ran for %v, want %v", i, got, want)
			}
		}
	})
}

// TestClockFarAhead is a clock that was wrong by years, and is put right.
func TestClockFarAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{takes: time.Second}
		w := begin(t, &memory{}, hourly(t, f))
		defer w.end()
		w.clock.set(5 * 365 * 24 * time.Hour)
		w.pass(2 * time.Minute)
		before := f.count()
		w.clock.set(0)
		w.pass(2 * time.Hour)
		if f.count() != before+2 {
			t.Errorf("%d runs in two hours", f.count()-before)
		}
	})
}

func TestMissedRuns(t *testing.T) {
	for _, tc := range []struct {
		name    string
		catchUp bool
		want    []Trigger
	}{
		{"caught up with once", true, []Trigger{ByCatchUp}},
		{"left alone", false, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &memory{}
				j := hourly(t, &fake{takes: time.Second})
				w := begin(t, h, j)
				w.pass(90 * time.Minute)
				w.end()
				time.Sleep(5*time.Hour - 10*time.Minute) // 6:20

				f := &fake{takes: time.Second}
				j.CatchUp, j.Runner = tc.catchUp, f
				w = begin(t, h, j)
				defer w.end()
				w.pass(time.Minute)
				if got := f.triggers(); !slices.Equal(got, tc.want) {
					t.Errorf("runs by %v, want %v", got, tc.want)
				}
				w.pass(time.Hour)
				if got := f.triggers(); !slices.Equal(got, append(tc.want, ByCron)) {
					t.Errorf("an hour later: runs by %v", got)
				}
			})
		})
	}
}

// TestOtherScheduleMissesNothing starts with another expression after a while:
// its times of the past were never meant.
func TestOtherScheduleMissesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &memory{}
		w := begin(t, h, hourly(t, &fake{takes: time.Second}))
		w.pass(90 * time.Minute)
		w.end()
		f := &fake{takes: time.Second}
		j := hourly(t, f)
		j.CatchUp = true
		j.Schedule, _ = ParseSchedule("15 * * * *", time.UTC)
		w = begin(t, h, j)
		defer w.end()
		w.pass(time.Minute)
		if f.count() != 0 {
			t.Error("it ran for a time that was never its own")
		}
	})
}

func TestRetries(t *testing.T) {
	for _, tc := range []struct {
		name   string
		kind   Kind
		ends   []error
		want   []Trigger     // within half an hour of the first
		after  State         // then
		alerts []string      // up to then
		gaps   time.Duration // between the first two runs
	}{
		{"failed twice", Cron, []error{errFailed, errFailed}, []Trigger{ByCron, ByRetry, ByRetry}, Waiting, nil, 2 * time.Minute},
		{"failed too often", Cron, []error{errFailed, errFailed, errFailed, errFailed}, []Trigger{ByCron, ByRetry, ByRetry}, Waiting, []string{OnFailure}, 2 * time.Minute},
		{"blocked", Cron, []error{errBlocked}, []Trigger{ByCron}, Waiting, []string{OnFailure}, 0},
		{"refused", Cron, []error{errRefused}, []Trigger{ByCron}, Waiting, []string{OnFailure}, 0},
		{"out of patience, again and again", Cron, slices.Repeat([]error{errPatience}, 4), []Trigger{ByCron, ByRetry, ByRetry, ByRetry, ByRetry}, Waiting, []string{OnFailure, OnRecovery}, 2 * time.Minute},
		{"a single copy that failed", Once, []error{errFailed}, []Trigger{ByStart, ByRetry}, Idle, nil, 2 * time.Minute},
		{"a single copy that is blocked", Once, []error{errBlocked}, []Trigger{ByStart}, Idle, []string{OnFailure}, 0},
		{"live, blocked", Live, []error{errBlocked, errBlocked}, []Trigger{ByStart, ByRetry, ByRetry}, Idle, []string{OnFailure, OnRecovery}, 6 * time.Minute},
		{"live, failed again and again", Live, slices.Repeat([]error{errFailed}, 4), []Trigger{ByStart, ByRetry, ByRetry, ByRetry, ByRetry}, Idle, []string{OnFailure, OnRecovery}, 2 * time.Minute},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fake{takes: time.Minute, ends: tc.ends}
				j := hourly(t, f)
				if j.Kind = tc.kind; tc.kind != Cron {
					j.Schedule = nil
				}
				w := begin(t, &memory{}, j)
				defer w.end()
				if tc.kind == Cron {
					w.pass(time.Hour)
				}
				w.pass(30 * time.Minute)
				if got := f.triggers(); !slices.Equal(got, tc.want) {
					t.Errorf("runs by %v, want %v", got, tc.want)
				}
				if tc.gaps > 0 && f.at[1].Sub(f.at[0]) != tc.gaps {
					t.Errorf("the second run began %s after the first", f.at[1].Sub(f.at[0]))
				}
				w.want("hourly", tc.after)
				if got := w.alerts.list(); !slices.Equal(got, tc.alerts) {
					t.Errorf("alerts: %v, want %v", got, tc.alerts)
				}
			})
		})
	}
}

// TestRetriesBeginAnew gives each time its own number of tries.
func TestRetriesBeginAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{takes: time.Minute, ends: slices.Repeat([]error{errFailed}, 100)}
		w := begin(t, &memory{}, hourly(t, f))
		defer w.end()
		w.pass(150 * time.Minute)
		if f.count() != 6 {
			t.Errorf("%d runs for two times, each with two more tries", f.count())
		}
		if v := w.want("hourly", Waiting); v.Failures != 6 || !v.LastSuccess.IsZero() || v.Last.Error != "boom" {
			t.Errorf("%+v", v)
		}
		if got := w.alerts.list(); len(got) != 2 {
			t.Errorf("alerts: %v", got)
		}
	})
}

func TestPanicIsOneJobsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad, good := &fake{panic: true}, &fake{takes: time.Second}
		other := hourly(t, good)
		other.Name = "other"
		w := begin(t, &memory{}, hourly(t, bad), other)
		defer w.end()
		w.pass(90 * time.Minute)
		if v := w.want("hourly", Waiting); v.Last == nil || v.Last.Status != Failed || !strings.Contains(v.Last.Error, "out of order") {
			t.Errorf("the panic is not told: %+v", v.Last)
		}
		if good.count() != 1 || bad.count() != 3 {
			t.Errorf("%d and %d runs", good.count(), bad.count())
		}
	})
}

func TestHistoryThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &memory{fail: errors.New("no space left on device")}
		f := &fake{takes: time.Second}
		w := begin(t, h, hourly(t, f))
		defer w.end()
		w.pass(150 * time.Minute)
		if f.count() != 2 || w.want("hourly", Waiting).Last.ID != 2 {
			t.Errorf("%d runs", f.count())
		}
		if w.Ready() == nil {
			t.Error("it is ready with a history that can't be written")
		}
	})
}

func TestOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &memory{}
		f := &fake{takes: time.Minute}
		j := Job{Name: "move", Kind: Once, Runner: f, Source: "a", Target: "b"}
		w := begin(t, h, j)
		w.pass(30 * time.Second)
		w.want("move", Running)
		w.end() // interrupted

		w = begin(t, h, j)
		w.pass(2 * time.Minute)
		w.want("move", Idle)
		w.end()

		w = begin(t, h, j) // it was done
		w.pass(time.Hour)
		if f.count() != 2 || !slices.Equal(f.triggers(), []Trigger{ByStart, ByStart}) {
			t.Errorf("runs by %v", f.triggers())
		}
		w.order(w.Start(t.Context(), "move"))
		w.want("move", Running)
		w.end()

		j.Target = "c" // another job by the same name
		f.runs = nil
		w = begin(t, h, j)
		defer w.end()
		if f.count() != 1 {
			t.Error("another target is not copied to")
		}
	})
}

func TestProcessThatDied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &memory{}
		w := begin(t, h, hourly(t, &fake{takes: 10 * time.Minute}))
		w.pass(65 * time.Minute)
		left := &memory{runs: slices.Clone(h.runs), marks: map[string]Mark{"hourly": h.marks["hourly"]}}
		w.end()
		left.die()
		f := &fake{takes: time.Minute}
		w = begin(t, left, hourly(t, f))
		defer w.end()
		w.pass(time.Second)
		if !slices.Equal(f.triggers(), []Trigger{ByStart}) {
			t.Errorf("runs by %v, want it resumed", f.triggers())
		}
	})
}
