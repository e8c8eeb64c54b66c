package web

import (
	"context"
	"errors"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/slotferry/slotferry/checkpoint"
	"github.com/slotferry/slotferry/importer/target"
	"github.com/slotferry/slotferry/service"
)

// scraped are the service's own samples, by name and labels.
func scraped(t *testing.T, s *Site) map[string]float64 {
	t.Helper()
	r := ask(s, "GET", "/metrics")
	text := body(t, r)
	if r.StatusCode != 200 {
		t.Fatalf("%d: %s", r.StatusCode, text)
	}
	out := map[string]float64{}
	for _, m := range regexp.MustCompile(`(?m)^(slotferry_\S+) (\S+)$`).FindAllStringSubmatch(text, -1) {
		v, err := strconv.ParseFloat(m[2], 64)
		if err != nil {
			t.Fatal(err)
		}
		out[m[1]] = v
	}
	return out
}

func counted(t *testing.T, svc *service.Service) *Site {
	t.Helper()
	s := newSite(t, Options{Service: svc, Loopback: true, Version: "v1.2.3"})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return s
}

func TestMetrics(t *testing.T) {
	r, other := newRunner(), newRunner()
	svc := running(t, job("nightly", r), job("other", other))
	s := counted(t, svc)
	r.report(t, svc, "nightly", progress(60_000))
	first := scraped(t, s)
	for name, want := range map[string]float64{
		`slotferry_keys_read_total{job="nightly"}`:                                      60_000,
		`slotferry_keys_written_total{job="nightly",master="10.0.0.1:7000"}`:            30_000,
		`slotferry_bytes_written_total{job="nightly",master="10.0.0.1:7000"}`:           3_000_000,
		`slotferry_keys_skipped_total{job="nightly"}`:                                   10,
		`slotferry_keys_unchanged_total{job="nightly"}`:                                 7,
		`slotferry_keys_expired_total{job="nightly"}`:                                   5,
		`slotferry_keys_filtered_total{job="nightly"}`:                                  5,
		`slotferry_keys_failed_total{job="nightly"}`:                                    10,
		`slotferry_keys_deleted_total{job="nightly"}`:                                   3,
		`slotferry_retries_total{job="nightly",kind="moved"}`:                           4,
		`slotferry_runs_total{job="nightly",status="failed"}`:                           0,
		`slotferry_job_running{job="nightly"}`:                                          1,
		`slotferry_job_paused{job="nightly"}`:                                           0,
		`slotferry_job_failures_in_a_row{job="nightly"}`:                                0,
		`slotferry_job_skipped_runs_total{job="nightly"}`:                               0,
		`slotferry_last_success_timestamp_seconds{job="nightly"}`:                       0,
		`slotferry_lag_bytes{job="nightly"}`:                                            123_456,
		`slotferry_lag_seconds{job="nightly"}`:                                          2.5,
		`slotferry_stage_duration_seconds{job="nightly",stage="copy"}`:                  41.5,
		`slotferry_differences_found{job="nightly"}`:                                    0,
		`slotferry_keys_read_total{job="other"}`:                                        0,
		`slotferry_build_info{go_version="` + runtime.Version() + `",version="v1.2.3"}`: 1,
	} {
		if got, ok := first[name]; !ok || got != want {
			t.Errorf("%s is %v (%v), want %v", name, got, ok, want)
		}
	}
	if got, ok := first[`slotferry_lag_seconds{job="other"}`]; ok {
		t.Errorf("a lag that is not known is %v", got)
	}
	if problems, err := promlint.New(ask(s, "GET", "/metrics").Body).Lint(); err != nil || len(problems) > 0 {
		t.Errorf("the names are wrong: %v, %v", problems, err)
	}

	// A run that fails, one that begins anew, and one that is interrupted and
	// goes on: what was counted stays, and nothing counts twice.
	last := first
	step := func(what string, want map[string]float64) {
		t.Helper()
		now := scraped(t, s)
		for name, before := range last {
			if strings.Contains(name, "_total{") && now[name] < before {
				t.Errorf("%s: %s fell from %v to %v", what, name, before, now[name])
			}
		}
		for name, v := range want {
			if now[name] != v {
				t.Errorf("%s: %s is %v, want %v", what, name, now[name], v)
			}
		}
		last = now
	}
	r.end <- outcome{result(120_000), errors.New("the target is full")}
	awaitState(t, svc, "nightly", service.Waiting)
	step("failed", map[string]float64{
		`slotferry_keys_read_total{job="nightly"}`:                           120_000,
		`slotferry_keys_written_total{job="nightly",master="10.0.0.1:7000"}`: 60_000,
		`slotferry_runs_total{job="nightly",status="failed"}`:                1,
		`slotferry_job_failures_in_a_row{job="nightly"}`:                     1,
		`slotferry_job_running{job="nightly"}`:                               0,
		`slotferry_differences_found{job="nightly"}`:                         2,
	})
	start := func() {
		t.Helper()
		if err := svc.Start(t.Context(), "nightly"); err != nil {
			t.Fatal(err)
		}
	}
	start()
	r.report(t, svc, "nightly", progress(30_000))
	step("anew", map[string]float64{
		`slotferry_keys_read_total{job="nightly"}`:                           150_000,
		`slotferry_keys_written_total{job="nightly",master="10.0.0.1:7000"}`: 75_000,
	})
	if err := svc.Stop(t.Context(), "nightly"); err != nil {
		t.Fatal(err)
	}
	awaitState(t, svc, "nightly", service.Idle)
	step("interrupted", map[string]float64{`slotferry_runs_total{job="nightly",status="interrupted"}`: 1})
	start()
	resumed := progress(50_000)
	resumed.Masters = []target.Master{{Addr: "10.0.0.1:7000", Keys: 10_000, Bytes: 1_000_000}}
	r.report(t, svc, "nightly", resumed)
	step("resumed", map[string]float64{
		`slotferry_keys_read_total{job="nightly"}`:                           170_000,
		`slotferry_keys_written_total{job="nightly",master="10.0.0.1:7000"}`: 85_000,
	})
	// Something has to be done again.
	r.report(t, svc, "nightly", progress(40_000))
	step("back", map[string]float64{`slotferry_keys_read_total{job="nightly"}`: 170_000})
	r.end <- outcome{service.Result{Counts: checkpoint.Counts{Read: 55_000}, Resumed: true}, nil}
	awaitState(t, svc, "nightly", service.Idle)
	step("done", map[string]float64{
		`slotferry_keys_read_total{job="nightly"}`:          175_000,
		`slotferry_runs_total{job="nightly",status="done"}`: 1,
	})
	if last[`slotferry_last_success_timestamp_seconds{job="nightly"}`] == 0 {
		t.Error("the last success is not there")
	}

	// Short runs count between scrapes, too.
	for range 20 {
		start()
		r.end <- outcome{service.Result{Counts: checkpoint.Counts{Read: 1}}, nil}
		awaitState(t, svc, "nightly", service.Idle)
	}
	await(t, "all runs are counted", func() bool {
		now := scraped(t, s)
		return now[`slotferry_runs_total{job="nightly",status="done"}`] == 21 && now[`slotferry_keys_read_total{job="nightly"}`] == 175_020
	})
}

// TestTallyMissesNothing has runs end while nobody follows the events.
func TestTallyMissesNothing(t *testing.T) {
	r := newRunner()
	svc := running(t, job("nightly", r))
	r.end <- outcome{result(1000), nil} // before the site is there
	awaitState(t, svc, "nightly", service.Idle)
	tally := newTally(svc)
	for range 3 {
		if err := svc.Start(t.Context(), "nightly"); err != nil {
			t.Fatal(err)
		}
		r.end <- outcome{service.Result{Counts: checkpoint.Counts{Read: 10}}, nil}
		awaitState(t, svc, "nightly", service.Idle)
	}
	j, _ := svc.Job("nightly")
	for range 2 {
		total := tally.fold(&j).total
		if done, read := total[series{runsEnded, "done"}], total[series{keysRead, ""}]; done != 3 || read != 30 {
			t.Errorf("%d runs, %d keys", done, read)
		}
	}
}

func TestTallyOfResumedRuns(t *testing.T) {
	counts := func(read int64) checkpoint.Counts { return checkpoint.Counts{Read: read} }
	for _, c := range []struct {
		name  string
		last  *service.Run // before
		steps []int64      // keys read, as reported
		end   *service.Result
		want  int64
	}{
		{"goes on", &service.Run{ID: 1, Result: service.Result{Counts: counts(100)}}, []int64{0, 100, 130},
			&service.Result{Counts: counts(150), Resumed: true}, 50},
		{"the last one was killed", &service.Run{ID: 1}, []int64{0, 100, 130},
			&service.Result{Counts: counts(150), Resumed: true}, 50},
		{"had to begin anew", &service.Run{ID: 1, Result: service.Result{Counts: counts(100)}}, []int64{0, 20, 110},
			&service.Result{Counts: counts(150)}, 150},
		{"goes back", nil, []int64{100, 60, 80, 120}, &service.Result{Counts: counts(120)}, 120},
	} {
		t.Run(c.name, func(t *testing.T) {
			tally := newTally(running(t))
			job := service.JobView{Name: "nightly", Last: c.last, Resumable: c.last != nil}
			tally.of(&job)
			for _, read := range c.steps {
				job.Current = &service.Progress{Run: 2, Counts: counts(read)}
				tally.fold(&job)
			}
			job.Current, job.Last = nil, &service.Run{ID: 2, Status: service.Done, Result: *c.end}
			tally.fold(&job)
			if got := tally.fold(&job).total[series{keysRead, ""}]; got != c.want {
				t.Errorf("%d keys, want %d", got, c.want)
			}
		})
	}
}
