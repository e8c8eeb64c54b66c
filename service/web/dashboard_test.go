package web

import (
	"errors"
	"net/http"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/slotferry/slotferry/checkpoint"
	"github.com/slotferry/slotferry/service"
)

func page200(t *testing.T, s *Site, url string) string {
	t.Helper()
	r := ask(s, "GET", url)
	text := body(t, r)
	if r.StatusCode != 200 || r.Header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Fatalf("%s: %d, %s", url, r.StatusCode, text)
	}
	return text
}

// TestPage looks at what has no numbers, no jobs, no past, and at what somebody
// wrote to do harm.
func TestPage(t *testing.T) {
	none := newSite(t, Options{Service: running(t), Loopback: true})
	if text := page200(t, none, "/"); !strings.Contains(text, "There are no jobs") {
		t.Error("without jobs the page doesn't say so")
	}

	hostile := newRunner()
	svc := running(t, job("nightly", hostile))
	s := newSite(t, Options{Service: svc, Loopback: true})
	if text := page200(t, s, "/?job=gone"); strings.Contains(text, `id="job-title"`) || !strings.Contains(text, "Past runs of gone") {
		t.Error("a job that is not there is shown")
	}
	const harm = `</p><script>alert(1)</script>" onload="x`
	hostile.end <- outcome{service.Result{Remedy: harm}, errors.New(harm)}
	awaitState(t, svc, "nightly", service.Waiting)
	for _, url := range []string{"/", "/?job=nightly", "/?before=99", "/?before=nonsense", "/?job=" + "%3Cscript%3Ealert(1)%3C/script%3E"} {
		text := page200(t, s, url)
		if strings.Contains(text, "<script>alert") || strings.Contains(text, `" onload="x`) {
			t.Errorf("%s has what was written to do harm", url)
		}
		// The policy forbids these, and the browser would say so.
		if bad := regexp.MustCompile(` style=| on[a-z]+=|<script>|<style|https?://[a-z]`).FindString(regexp.MustCompile(`alert.*`).ReplaceAllString(text, "")); bad != "" {
			t.Errorf("%s has %q", url, bad)
		}
	}
	if text := page200(t, s, "/"); !strings.Contains(text, "failed in run 1") || !strings.Contains(text, "→ &lt;/p&gt;") {
		t.Error("the last error and what can be done about it are not there")
	}
}

func TestAssets(t *testing.T) {
	s := newSite(t, Options{Service: running(t), Token: secret})
	names := regexp.MustCompile(`/static/[^"]+`).FindAllString(body(t, ask(s, "GET", "/")), -1)
	if len(names) != 3 {
		t.Fatalf("the page has %q", names)
	}
	kinds := map[string]string{".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
	for _, name := range names {
		r := ask(s, "GET", name)
		kind := kinds[name[strings.LastIndex(name, "."):]]
		if r.StatusCode != 200 || !strings.HasPrefix(r.Header.Get("Content-Type"), kind) || !strings.Contains(r.Header.Get("Cache-Control"), "immutable") {
			t.Errorf("%s: %d, %v", name, r.StatusCode, r.Header)
		}
	}
	for _, name := range []string{"/static/app.js", "/static/app.0000000000000000.js", "/static/", "/static/..%2fpage.tmpl", "/page.tmpl"} {
		if r := ask(s, "GET", name); r.StatusCode != 404 {
			t.Errorf("%s: %d", name, r.StatusCode)
		}
	}
}

func TestHowFar(t *testing.T) {
	counts := checkpoint.Counts{Read: 80, Written: 50, Skipped: 10}
	for _, c := range []struct {
		name string
		p    service.Progress
		want far
	}{
		{"keys", service.Progress{Counts: counts, Total: 240, Size: 10}, far{250, "25 %: 60 of 240 keys"}},
		{"more keys than there were", service.Progress{Counts: counts, Total: 30}, far{1000, "100 %: 60 of 30 keys"}},
		{"a file", service.Progress{Counts: counts, Offset: 512, Size: 2048}, far{250, "25 %: 512 B of 2.0 KiB"}},
		{"nothing known", service.Progress{Counts: counts}, far{0, "60 keys"}},
	} {
		if got := howFar(&c.p); *got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, *got, c.want)
		}
	}
}

func TestLasting(t *testing.T) {
	for _, c := range []struct {
		seconds float64
		want    string
	}{
		{-1, "0 ms"}, {0.25, "250 ms"}, {2.55, "2.5 s"}, {59.9, "59 s"}, {61, "1 min 01 s"},
		{3600, "1 h 00 min"}, {49 * 3600, "2 d 01 h"}, {1e300, "1157 d 09 h"},
	} {
		if got := lasting(c.seconds); got != c.want {
			t.Errorf("%v: %s, want %s", c.seconds, got, c.want)
		}
	}
}

// TestTroubles tells what needs a look from what does not.
func TestTroubles(t *testing.T) {
	run := func(s service.Status) *service.Run { return &service.Run{ID: 7, Status: s, Error: "why"} }
	for _, c := range []struct {
		name string
		job  service.JobView
		want string
	}{
		{"new", service.JobView{}, ""},
		{"done", service.JobView{Last: run(service.Done)}, ""},
		{"stopped by somebody", service.JobView{Last: run(service.Interrupted)}, ""},
		{"out of patience", service.JobView{Last: run(service.Interrupted), Failures: 2}, "interrupted in run 7, 2 in a row,"},
		{"failed", service.JobView{Last: run(service.Failed), Failures: 1}, "failed in run 7,"},
		{"differences", service.JobView{Last: run(service.Differences), Failures: 1}, "differences in run 7,"},
		{"runs again after it failed", service.JobView{Last: run(service.Failed), Failures: 1, Current: &service.Progress{}}, "failed in run 7,"},
		{"stands still", service.JobView{Last: run(service.Done), Current: &service.Progress{Message: "all pause"}}, "stands still"},
	} {
		got := ""
		if trouble := newTrouble(&c.job); trouble != nil {
			got = trouble.What
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// FuzzHost looks for a name that a name server could give and the guard takes
// for this machine.
func FuzzHost(f *testing.F) {
	for _, host := range []string{"localhost", "127.0.0.1:8474", "[::1]:8474", "::1", "[::ffff:127.0.0.1]", "127.1", "0", "localhost.", "[127.0.0.1", "evil.example:80"} {
		f.Add(host)
	}
	g := newGuard("", true)
	f.Fuzz(func(t *testing.T, host string) {
		if g.checkHost(&http.Request{Host: host}) != nil {
			return
		}
		name := strings.Trim(regexp.MustCompile(`:[^:\]]*$`).ReplaceAllString(host, ""), "[]")
		whole := strings.Trim(host, "[]")
		for _, n := range []string{name, whole} {
			if ip, err := netip.ParseAddr(n); strings.EqualFold(n, "localhost") || err == nil && ip.Unmap().IsLoopback() {
				return
			}
		}
		t.Errorf("%q is taken for this machine", host)
	})
}

func TestReadinessIsNotAskedTooOften(t *testing.T) {
	asked := 0
	r := readiness{look: func() error { asked++; return errors.New("no") }}
	for range 10 {
		if r.check() == nil {
			t.Error("it was ready")
		}
	}
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}
	r.at = time.Now().Add(-time.Second)
	if _ = r.check(); asked != 2 {
		t.Errorf("asked %d times after a second", asked)
	}
}
