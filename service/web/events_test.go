package web

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/slotferry/slotferry/service"
)

// TestStream reads a stream from a real server: recorders have no deadlines and
// no clients that leave.
func TestStream(t *testing.T) {
	r := newRunner()
	svc := running(t, job("nightly", r))
	r.report(t, svc, "nightly", progress(100_000))
	s := newSite(t, Options{Service: svc, Loopback: true})
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, "GET", server.URL+"/api/v1/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Last-Event-ID", "18446744073709551616; drop")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if kind := answer.Header.Get("Content-Type"); answer.StatusCode != 200 || kind != "text/event-stream" {
		t.Fatalf("%d, %s", answer.StatusCode, kind)
	}
	lines := bufio.NewReader(answer.Body)
	next := func() service.JobView {
		t.Helper()
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			data, ok := strings.CutPrefix(line, "data: ")
			if !ok {
				continue
			}
			var list JobList
			if err := json.Unmarshal([]byte(data), &list); err != nil {
				t.Fatal(err)
			}
			if len(list.Jobs) != 1 {
				t.Fatalf("%d jobs", len(list.Jobs))
			}
			return list.Jobs[0]
		}
	}
	first := next()
	if first.Current == nil || first.Current.Read != 100_000 || first.Current.Slots != nil {
		t.Errorf("the first event has %+v", first.Current)
	}
	// Many changes at once are one event.
	for i := range int64(50) {
		r.report(t, svc, "nightly", progress(200_000+i))
	}
	events := 0
	for job := first; job.Current.Read != 200_049; events++ {
		job = next()
	}
	if events > 10 {
		t.Errorf("50 changes are %d events", events)
	}
	if j, _ := svc.Job("nightly"); len(j.Current.Slots) != 16384 {
		t.Error("leaving slots out has changed the job itself")
	}
	cancel()
	await(t, "the stream's place is free again", func() bool { return len(s.streams) == 0 })
}

func TestStreamEndsWithSite(t *testing.T) {
	s := newSite(t, Options{Service: running(t), Loopback: true})
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	answer, err := http.Get(server.URL + "/api/v1/events")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if text := body(t, answer); !strings.Contains(text, `data: {"jobs":[]}`) {
		t.Errorf("the stream was %q", text)
	}
}
