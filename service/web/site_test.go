package web

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/slotferry/slotferry/checkpoint"
	"github.com/slotferry/slotferry/importer/target"
	"github.com/slotferry/slotferry/service"
	"github.com/slotferry/slotferry/service/history"
)

// runner is a run that a test leads: it reports what it is sent, and ends when
// it is told how, or interrupted.
type runner struct {
	progress chan service.Progress
	end      chan outcome
}

type outcome struct {
	result service.Result
	err    error
}

func newRunner() *runner {
	return &runner{progress: make(chan service.Progress), end: make(chan outcome)}
}

func (r *runner) Run(ctx context.Context, o service.RunOptions) (service.Result, error) {
	var last service.Progress
	for {
		select {
		case last = <-r.progress:
			o.Report(last)
		case e := <-r.end:
			return e.result, e.err
		case <-ctx.Done():
			return service.Result{Counts: last.Counts, Masters: last.Masters, Retries: last.Retries, Resumed: o.ID > 1},
				&service.StatusError{Status: service.Interrupted, Err: errors.New("interrupted; run it again to resume")}
		}
	}
}

// progress is one that has everything.
func progress(keys int64) service.Progress {
	left := 75.0
	p := service.Progress{
		Phase: "copy", Counts: checkpoint.Counts{Read: keys, Written: keys - 30, Skipped: 10, Expired: 5, Filtered: 5, Failed: 10, Bytes: keys * 100, Permanent: 1},
		Unchanged: 7, Deleted: 3, Total: 1_000_000, Offset: 512 << 20, Size: 1 << 30, KeysPerSecond: 431_234.5, BytesPerSecond: 220 << 20,
		SecondsLeft: &left, Lag: &service.Lag{Bytes: 123_456, Seconds: 2.5}, Slots: make([]int64, 16384),
		Retries: target.Retries{Moved: 4, Ask: 2, Paused: 1, Lost: 1, Restamped: 3, Rebuilt: 2},
		Stages:  map[string]float64{"preflight": 0.3, "copy": 41.5, "drain": 0.1},
		Masters: []target.Master{
			{Addr: "10.0.0.1:7000", ID: "a", Slots: 5461, Keys: keys / 2, Bytes: keys * 50},
			{Addr: "10.0.0.2:7000", ID: "b", Slots: 5462, Keys: keys / 3, Bytes: keys * 33},
			{Addr: "10.0.0.3:7000", ID: "c", Slots: 5461, Keys: keys / 6, Bytes: keys * 17, Status: "pausing: OOM command not allowed"},
		},
	}
	for i := range p.Slots {
		p.Slots[i] = keys / 16384 * int64(i%97) / 48
	}
	return p
}

func result(keys int64) service.Result {
	p := progress(keys)
	return service.Result{
		Counts: p.Counts, Unchanged: p.Unchanged, Deleted: p.Deleted, Differences: 2, Retries: p.Retries, Masters: p.Masters, Stages: p.Stages,
		Remedy: "give the masters more memory",
	}
}

// running starts a service and stops it with the test.
func running(t *testing.T, jobs ...service.Job) *service.Service {
	t.Helper()
	store, err := history.Open(t.TempDir(), history.Options{})
	if err != nil {
		t.Fatal(err)
	}
	svc, err := service.New(service.Options{Jobs: jobs, History: store})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- svc.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	await(t, "the service runs", func() bool { return svc.Ready() == nil })
	return svc
}

func job(name string, r *runner) service.Job {
	return service.Job{Name: name, Kind: service.Live, Source: "redis://10.0.0.9:6379", Target: "redis://10.0.0.1:7000", Settings: name, Runner: r}
}

// await waits until something is so.
func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if is() {
			return
		}
	}
	t.Fatalf("waited in vain: %s", what)
}

func awaitState(t *testing.T, svc *service.Service, name string, state service.State) {
	t.Helper()
	await(t, name+" is "+string(state), func() bool {
		j, ok := svc.Job(name)
		return ok && j.State == state
	})
}

// report sends a progress and waits until the job shows it.
func (r *runner) report(t *testing.T, svc *service.Service, name string, p service.Progress) {
	t.Helper()
	r.progress <- p
	await(t, "the progress shows", func() bool {
		j, _ := svc.Job(name)
		return j.Current != nil && j.Current.Read == p.Read
	})
}

func newSite(t *testing.T, o Options) *Site {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// ask sends a request as a program on this machine does; headers are name and
// value in turn.
func ask(h http.Handler, method, url string, headers ...string) *http.Response {
	// A stream that should have been refused must not hold up the test.
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	r := httptest.NewRequestWithContext(ctx, method, url, nil)
	r.Host = "127.0.0.1:8474"
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
		}
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}
