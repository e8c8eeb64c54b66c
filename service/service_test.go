package service

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
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

func TestControl(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		h := &memory{}
		f := &fake{takes: 10 * time.Minute}
		w := begin(t, h, hourly(t, f))
		wrong := func(err, want error) {
			t.Helper()
			if !errors.Is(err, want) {
				t.Errorf("%v, want %v", err, want)
			}
		}
		wrong(w.Start(ctx, "nobody"), ErrNoJob)
		wrong(w.Resume(ctx, "hourly"), ErrState)
		wrong(w.Stop(ctx, "hourly"), ErrState)
		w.order(w.Start(ctx, "hourly"))
		w.want("hourly", Running)
		wrong(w.Start(ctx, "hourly"), ErrState)
		w.pass(time.Minute)

		w.order(w.Pause(ctx, "hourly"))
		if v := w.want("hourly", Paused); !v.Resumable || v.Last.Status != Interrupted || !v.Next.IsZero() || v.Failures != 0 {
			t.Errorf("paused: %+v", v)
		}
		wrong(w.Start(ctx, "hourly"), ErrState)
		wrong(w.Pause(ctx, "hourly"), ErrState)
		w.pass(5 * time.Hour)
		w.end()

		w = begin(t, h, hourly(t, f)) // it stays paused
		w.pass(2 * time.Hour)
		w.want("hourly", Paused)
		if f.count() != 1 {
			t.Errorf("%d runs", f.count())
		}
		w.order(w.Resume(ctx, "hourly"))
		w.want("hourly", Running) // goes on where it was interrupted
		w.pass(11 * time.Minute)
		if v := w.want("hourly", Waiting); v.Resumable || v.Last.Status != Done {
			t.Errorf("resumed: %+v", v)
		}
		w.pass(50 * time.Minute)
		w.order(w.Stop(ctx, "hourly"))
		if v := w.want("hourly", Waiting); !v.Resumable || f.count() != 3 || time.Until(v.Next) < 30*time.Minute {
			t.Errorf("stopped: %+v, %d runs", v, f.count())
		}
		w.end()
		w = begin(t, h, hourly(t, f)) // a stopped one waits for its time
		w.want("hourly", Waiting)
		w.pass(time.Hour)
		if f.count() != 4 {
			t.Errorf("%d runs", f.count())
		}
		w.end()
		wrong(w.Start(ctx, "hourly"), ErrState)
		if len(w.alerts.list()) != 0 {
			t.Errorf("what was ordered is told: %v", w.alerts.list())
		}
	})
}

func TestStopGivesUpRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{takes: time.Second, ends: slices.Repeat([]error{errFailed}, 100)}
		w := begin(t, &memory{}, Job{Name: "live", Kind: Live, Runner: f, Retries: Retries{3, time.Minute}})
		defer w.end()
		w.pass(30 * time.Second)
		w.want("live", Waiting)
		w.order(w.Stop(t.Context(), "live"))
		w.pass(5 * time.Hour)
		w.want("live", Idle)
		if f.count() != 1 {
			t.Errorf("%d runs", f.count())
		}
	})
}

func TestLagAlerts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{lag: []float64{1, 9, 11, 20, 8, 12, 5, 4, 30}}
		w := begin(t, &memory{}, Job{Name: "live", Kind: Live, Runner: f})
		defer w.end()
		w.pass(20 * time.Second)
		if got := w.alerts.list(); !slices.Equal(got, []string{OnLag, OnRecovery, OnLag}) {
			t.Errorf("alerts: %v", got)
		}
		if v := w.want("live", Running); v.Current.Lag == nil || v.Current.Lag.Seconds != 30 {
			t.Errorf("%+v", v.Current)
		}
	})
}

func TestReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &memory{}
		same, changed, gone, added := &fake{takes: time.Hour}, &fake{takes: time.Hour}, &fake{}, &fake{takes: time.Minute}
		job := func(name, settings string, f *fake) Job {
			return Job{Name: name, Kind: Once, Runner: f, Settings: settings}
		}
		w := begin(t, h, job("same", "1", same), job("changed", "1", changed), job("gone", "1", gone))
		defer w.end()
		w.pass(time.Minute)
		events := w.Subscribe(t.Context())

		if err := w.Reload([]Job{job("a", "1", added), job("a", "1", added)}); err == nil || len(w.Jobs()) != 3 {
			t.Errorf("two jobs of one name: %v", err)
		}
		next := &fake{takes: time.Minute}
		if err := w.Reload([]Job{job("same", "1", next), job("changed", "2", next), job("added", "1", added)}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if _, ok := w.Job("gone"); ok || len(w.Jobs()) != 3 {
			t.Errorf("%d jobs", len(w.Jobs()))
		}
		if runs, _ := w.History("gone", 1, 0); len(runs) != 1 || runs[0].Status != Interrupted {
			t.Errorf("the run of what is gone: %+v", runs)
		}
		w.want("added", Running)
		w.want("same", Running)
		w.want("changed", Running)
		w.pass(time.Hour)
		if same.count() != 1 || changed.count() != 1 || next.count() != 0 {
			t.Errorf("%d, %d and %d runs", same.count(), changed.count(), next.count())
		}
		w.order(w.Start(t.Context(), "same"))
		w.order(w.Start(t.Context(), "changed"))
		if same.count() != 2 || changed.count() != 1 || next.count() != 1 {
			t.Errorf("after a start: %d, %d and %d runs", same.count(), changed.count(), next.count())
		}
		seen := map[string]bool{}
		for len(events) > 0 {
			seen[(<-events).Kind] = true
		}
		if !seen[JobsChanged] || !seen[StateChanged] || !seen[RunEnded] {
			t.Errorf("events: %v", seen)
		}
	})
}

// TestSlowReader shows that nobody waits for who does not read.
func TestSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{takes: time.Second}
		w := begin(t, &memory{}, hourly(t, f))
		defer w.end()
		ctx, cancel := context.WithCancel(t.Context())
		events := w.Subscribe(ctx)
		w.pass(48 * time.Hour)
		if f.count() != 48 {
			t.Errorf("%d runs", f.count())
		}
		cancel()
		synctest.Wait()
		n := 0
		for range events {
			n++
		}
		if n != backlog {
			t.Errorf("%d events were kept", n)
		}
	})
}

// TestOrdersAtOnce has many give orders at the same time; only the race detector
// and a deadlock can find something.
func TestOrdersAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{takes: time.Minute}
		w := begin(t, &memory{}, hourly(t, f))
		ctx := t.Context()
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				for n := range 50 {
					_ = []func(context.Context, string) error{w.Start, w.Pause, w.Resume, w.Stop}[(i+n)%4](ctx, "hourly")
					_, _ = w.Job("hourly")
					if n%10 == i {
						j := hourly(t, f)
						j.Settings = string(rune('a' + n))
						_ = w.Reload([]Job{j})
					}
					time.Sleep(time.Second)
				}
			})
		}
		wg.Wait()
		w.end()
		runs, _ := w.History("", 10000, 0)
		if len(runs) != f.count() || len(runs) == 0 {
			t.Errorf("%d runs, %d in the history", f.count(), len(runs))
		}
	})
}
