package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/slotferry/slotferry/service"
)

// brokenHistory can be read no more.
type brokenHistory struct{}

func (brokenHistory) Put(*service.Run, service.Mark) error { return errors.New("the disk is full") }
func (brokenHistory) Runs(string, int, uint64) ([]service.Run, error) {
	return nil, errors.New("/secret/folder: input/output error")
}
func (brokenHistory) Mark(string) (service.Mark, error) { return service.Mark{}, nil }

// TestAPIMatchesDescription asks for everything that the description has, gets
// every answer that it names, and none that it doesn't.
func TestAPIMatchesDescription(t *testing.T) {
	full, empty, waiting := newRunner(), newRunner(), newRunner()
	schedule, err := service.ParseSchedule("0 3 * * *", time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	cron := job("weekly", waiting)
	cron.Kind, cron.Schedule = service.Cron, schedule
	svc := running(t, job("full", full), job("empty", empty), cron)
	local := newSite(t, Options{Service: svc, Loopback: true})
	far := newSite(t, Options{Service: svc, Token: secret})
	throttled := newSite(t, Options{Service: svc, Token: secret})
	for range freeTries {
		ask(throttled, "GET", "/api/v1/jobs", "Authorization", "Bearer wrong")
	}
	crowded := newSite(t, Options{Service: svc, Loopback: true})
	for range maxStreams {
		crowded.streams <- struct{}{}
	}
	still, err := service.New(service.Options{History: brokenHistory{}})
	if err != nil {
		t.Fatal(err)
	}
	broken := newSite(t, Options{Service: still, Loopback: true})

	// A run that went wrong in every way, and one that is going on.
	full.report(t, svc, "full", progress(100_000))
	if err := svc.Pause(t.Context(), "full"); err != nil {
		t.Fatal(err)
	}
	awaitState(t, svc, "full", service.Paused)
	if err := svc.Resume(t.Context(), "full"); err != nil {
		t.Fatal(err)
	}
	p := progress(200_000)
	p.Message = "all masters pause"
	full.report(t, svc, "full", p)
	if err := svc.Start(t.Context(), "weekly"); err != nil {
		t.Fatal(err)
	}
	waiting.end <- outcome{result(10_000), errors.New("it failed")}
	awaitState(t, svc, "weekly", service.Waiting)

	d := describedAPI(t, local)
	anyHost := []string{"Content-Type", "application/json"}
	for _, c := range []struct {
		site    *Site
		method  string
		path    string // as in the description
		query   string
		status  int
		headers []string
	}{
		{local, "GET", "/api/v1/jobs", "", 200, nil},
		{local, "GET", "/api/v1/jobs/{name}", "full", 200, nil},
		{local, "GET", "/api/v1/jobs/{name}", "empty", 200, nil},
		{local, "GET", "/api/v1/jobs/{name}", "weekly", 200, nil},
		{local, "GET", "/api/v1/jobs/{name}", "gone", 404, nil},
		{local, "GET", "/api/v1/history", "", 200, nil},
		{local, "GET", "/api/v1/history", "?job=weekly&limit=1", 200, nil},
		{local, "GET", "/api/v1/history", "?limit=0", 400, nil},
		{local, "GET", "/api/v1/history", "?limit=501", 400, nil},
		{local, "GET", "/api/v1/history", "?before=-1", 400, nil},
		{broken, "GET", "/api/v1/history", "", 500, nil},
		{crowded, "GET", "/api/v1/events", "", 503, nil},
		{local, "GET", "/api/v1/openapi.json", "", 200, nil},
	} {
		d.ask(c.site, c.method, c.path, c.query, c.status, "", append(c.headers, anyHost...)...)
	}
	// The orders, in a sequence that each of them is possible in.
	for _, c := range []struct {
		order, name string
		status      int
		body        string
		headers     []string
	}{
		{"start", "full", 409, "{}", anyHost},
		{"resume", "full", 409, "{}", anyHost},
		{"pause", "full", 200, "{}", anyHost},
		{"pause", "full", 409, "", anyHost},
		{"stop", "full", 409, "", anyHost},
		{"resume", "full", 200, "", anyHost},
		{"stop", "full", 200, "", anyHost},
		{"start", "full", 200, "", anyHost},
	} {
		d.ask(local, "POST", "/api/v1/jobs/{name}/"+c.order, c.name, c.status, c.body, c.headers...)
		await(t, "it comes to rest", func() bool {
			j, _ := svc.Job("full")
			return j.State != service.Pausing && j.State != service.Stopping
		})
	}
	for order := range orders {
		path := "/api/v1/jobs/{name}/" + order
		d.ask(local, "POST", path, "gone", 404, "", anyHost...)
		d.ask(local, "POST", path, "empty", 400, `{"force":true}`, anyHost...)
		d.ask(local, "POST", path, "empty", 400, "[", anyHost...)
		d.ask(local, "POST", path, "empty", 413, strings.Repeat(" ", maxBody+1), anyHost...)
		d.ask(local, "POST", path, "empty", 415, "", "Content-Type", "text/plain")
	}
	for _, e := range d.endpoints() {
		headers := append([]string{"Host", "evil.example"}, anyHost...)
		d.ask(local, e.method, e.path, "empty", 403, "", headers...)
		d.ask(far, e.method, e.path, "empty", 401, "", anyHost...)
		d.ask(throttled, e.method, e.path, "empty", 429, "", append(anyHost, "Authorization", "Bearer "+secret)...)
	}
	d.seen["GET /api/v1/events 200"] = true // by TestStream

	if j, _ := svc.Job("empty"); j.State != service.Running || j.Last != nil {
		t.Errorf("refused orders have made the job %+v", j)
	}
	for _, answer := range d.missing() {
		t.Errorf("no test got %s", answer)
	}
	d.sameRoutes(local)
}

// description is the API as it is described.
type description struct {
	t    *testing.T
	doc  *openapi3.T
	seen map[string]bool // "GET /path 200"
}

func describedAPI(t *testing.T, s *Site) *description {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData([]byte(body(t, ask(s, "GET", "/api/v1/openapi.json"))))
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return &description{t, doc, map[string]bool{}}
}

func (d *description) endpoints() (all []endpoint) {
	for path, item := range d.doc.Paths.Map() {
		for method := range item.Operations() {
			all = append(all, endpoint{method: method, path: path})
		}
	}
	return all
}

// ask gets an answer and compares it with the description.
func (d *description) ask(s *Site, method, path, query string, status int, sent string, headers ...string) {
	d.t.Helper()
	url := path
	if strings.Contains(path, "{name}") {
		url = strings.Replace(path, "{name}", query, 1)
	} else if strings.HasPrefix(query, "?") {
		url += query
	}
	r := httptest.NewRequest(method, url, strings.NewReader(sent))
	r.Host = "localhost:8474"
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
		}
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	what := fmt.Sprintf("%s %s", method, url)
	if w.Code != status {
		d.t.Errorf("%s: %d, want %d: %s", what, w.Code, status, w.Body)
		return
	}
	operation := d.doc.Paths.Value(path).GetOperation(method)
	answer := operation.Responses.Value(strconv.Itoa(status))
	if answer == nil {
		d.t.Errorf("%s: %d is not described", what, status)
		return
	}
	d.seen[fmt.Sprintf("%s %s %d", method, path, status)] = true
	media := answer.Value.Content[w.Header().Get("Content-Type")]
	if media == nil {
		d.t.Errorf("%s: %d has the type %q", what, status, w.Header().Get("Content-Type"))
		return
	}
	var v any
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		d.t.Errorf("%s: %v", what, err)
		return
	}
	if err := media.Schema.Value.VisitJSON(v, openapi3.MultiErrors()); err != nil {
		d.t.Errorf("%s: %d is not as described: %v", what, status, err)
	}
	for name := range answer.Value.Headers {
		if w.Header().Get(name) == "" {
			d.t.Errorf("%s: %d has no header %s", what, status, name)
		}
	}
	if strings.Contains(w.Body.String(), "/secret/folder") {
		d.t.Errorf("%s tells what belongs into the log: %s", what, w.Body)
	}
}

// missing are the described answers that were not seen.
func (d *description) missing() (out []string) {
	for path, item := range d.doc.Paths.Map() {
		for method, operation := range item.Operations() {
			for status := range operation.Responses.Map() {
				if answer := method + " " + path + " " + status; !d.seen[answer] {
					out = append(out, answer)
				}
			}
		}
	}
	return out
}

// sameRoutes compares what is described with what is there.
func (d *description) sameRoutes(s *Site) {
	d.t.Helper()
	there, err := s.endpoints()
	if err != nil {
		d.t.Fatal(err)
	}
	for _, e := range there {
		item := d.doc.Paths.Value(e.path)
		if item == nil || item.GetOperation(e.method) == nil {
			d.t.Errorf("%s %s is not described", e.method, e.path)
		}
	}
	if n := len(d.endpoints()); n != len(there) {
		d.t.Errorf("%d endpoints are described, %d are there", n, len(there))
	}
	// What is not there is told in JSON, too.
	for _, c := range []struct {
		method, path, allow string
		status              int
	}{
		{"GET", "/api/v1/nothing", "", http.StatusNotFound},
		{"DELETE", "/api/v1/jobs/full", "GET", http.StatusMethodNotAllowed},
		{"GET", "/api/v1/jobs/full/start", "POST", http.StatusMethodNotAllowed},
		{"POST", "/api/v1/jobs/full/explode", "", http.StatusNotFound},
	} {
		r := ask(s, c.method, c.path, "Content-Type", "application/json")
		var p problem
		if err := json.Unmarshal([]byte(body(d.t, r)), &p); err != nil || p.Error.Code == "" || r.StatusCode != c.status || r.Header.Get("Allow") != c.allow {
			d.t.Errorf("%s %s: %d, allow %q, %+v, %v", c.method, c.path, r.StatusCode, r.Header.Get("Allow"), p, err)
		}
	}
}

func TestHistoryPages(t *testing.T) {
	r := newRunner()
	svc := running(t, job("nightly", r))
	s := newSite(t, Options{Service: svc, Loopback: true})
	const total = 5
	for i := range total {
		if i > 0 {
			if err := svc.Start(t.Context(), "nightly"); err != nil {
				t.Fatal(err)
			}
		}
		r.end <- outcome{}
		awaitState(t, svc, "nightly", service.Idle)
	}
	var got []uint64
	for before := uint64(0); ; {
		var page RunList
		if err := json.Unmarshal([]byte(body(t, ask(s, "GET", fmt.Sprintf("/api/v1/history?job=nightly&limit=2&before=%d", before)))), &page); err != nil {
			t.Fatal(err)
		}
		for _, run := range page.Runs {
			got = append(got, run.ID)
		}
		if before = page.Before; before == 0 {
			break
		}
	}
	if len(got) != total || got[0] <= got[total-1] {
		t.Errorf("runs %v", got)
	}
}
