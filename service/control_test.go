package service

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

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
