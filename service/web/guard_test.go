package web

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/slotferry/slotferry/service"
)

const secret = "a-token-of-some-length"

func TestGuard(t *testing.T) {
	svc := running(t, job("nightly", newRunner()))
	bearer := []string{"Authorization", "Bearer " + secret}
	json := []string{"Content-Type", "application/json"}
	with := func(parts ...[]string) (all []string) {
		for _, p := range parts {
			all = append(all, p...)
		}
		return all
	}
	const look, act, shell = "GET /api/v1/jobs", "POST /api/v1/jobs/nightly/resume", "GET /"
	// An order that is let in meets a job that is not paused.
	const in = http.StatusConflict
	for _, c := range []struct {
		name     string
		token    string
		loopback bool
		request  string
		headers  []string
		want     int
	}{
		{"local, open, look", "", true, look, nil, 200},
		{"local, open, act", "", true, act, json, in},
		{"local, open, a form of another site", "", true, act, []string{"Content-Type", "application/x-www-form-urlencoded", "Origin", "https://evil.example"}, 403},
		{"local, open, a fetch of another site", "", true, act, with(json, []string{"Sec-Fetch-Site", "cross-site"}), 403},
		{"local, open, another port of this machine", "", true, act, with(json, []string{"Sec-Fetch-Site", "same-site"}), 403},
		{"local, open, an old browser", "", true, act, with(json, []string{"Origin", "http://127.0.0.1:9999"}), 403},
		{"local, open, an origin of no site", "", true, act, with(json, []string{"Origin", "null"}), 403},
		{"local, open, its own page", "", true, act, with(json, []string{"Sec-Fetch-Site", "same-origin", "Origin", "http://127.0.0.1:8474"}), in},
		{"local, open, no JSON", "", true, act, nil, 415},
		{"local, open, a name that leads here, act", "", true, act, with(json, []string{"Host", "evil.example:8474"}), 403},
		{"local, open, a name that leads here, look", "", true, look, []string{"Host", "evil.example:8474"}, 403},
		{"local, open, a name that leads here, page", "", true, shell, []string{"Host", "evil.example"}, 403},
		{"local, open, a name that leads here, metrics", "", true, "GET /metrics", []string{"Host", "evil.example"}, 403},
		{"local, localhost", "", true, look, []string{"Host", "LocalHost:8474"}, 200},
		{"local, IPv6", "", true, look, []string{"Host", "[::1]:8474"}, 200},
		{"local, a number that is not local", "", true, look, []string{"Host", "192.0.2.1"}, 403},
		{"local, a name that begins as one", "", true, look, []string{"Host", "127.0.0.1.evil.example"}, 403},
		{"local, no name", "", true, look, []string{"Host", ""}, 403},
		{"local, a token nobody asked for", "", true, look, bearer, 200},

		{"local, token, look", secret, true, look, nil, 200},
		{"local, token, act without", secret, true, act, json, 401},
		{"local, token, act", secret, true, act, bearer, in},
		{"local, token, under another name", secret, true, look, with(bearer, []string{"Host", "ferry.example"}), 200},
		{"local, token, wrong, under another name", secret, true, look, []string{"Host", "ferry.example", "Authorization", "Bearer x"}, 401},
		{"local, token, page under another name", secret, true, shell, []string{"Host", "ferry.example"}, 200},

		{"far, look without", secret, false, look, nil, 401},
		{"far, look", secret, false, look, bearer, 200},
		{"far, lower case", secret, false, look, []string{"Authorization", "bearer " + secret}, 200},
		{"far, wrong", secret, false, look, []string{"Authorization", "Bearer " + secret + "x"}, 401},
		{"far, a part of it", secret, false, look, []string{"Authorization", "Bearer " + secret[:8]}, 401},
		{"far, nothing", secret, false, look, []string{"Authorization", "Bearer "}, 401},
		{"far, another scheme", secret, false, look, []string{"Authorization", "Basic " + secret}, 401},
		{"far, in the address", secret, false, look + "?token=" + secret, nil, 401},
		{"far, act without", secret, false, act, json, 401},
		{"far, act", secret, false, act, with(bearer, json), in},
		{"far, metrics without", secret, false, "GET /metrics", nil, 401},
		{"far, metrics", secret, false, "GET /metrics", bearer, 200},
		{"far, events without", secret, false, "GET /api/v1/events", nil, 401},
		{"far, page without", secret, false, shell, nil, 200},
		{"far, page with a wrong one", secret, false, shell, []string{"Authorization", "Bearer x"}, 401},
		{"far, alive", secret, false, "GET /healthz", nil, 200},
		{"far, ready", secret, false, "GET /readyz", nil, 200},
		{"a long address", "", true, look + "?" + strings.Repeat("x", maxURL), nil, 414},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t, Options{Service: svc, Token: c.token, Loopback: c.loopback})
			method, url, _ := strings.Cut(c.request, " ")
			r := ask(s, method, url, c.headers...)
			if r.StatusCode != c.want {
				t.Errorf("%d, want %d: %s", r.StatusCode, c.want, body(t, r))
			}
			for _, name := range []string{"Content-Security-Policy", "X-Frame-Options", "Referrer-Policy", "X-Content-Type-Options"} {
				if r.Header.Get(name) == "" {
					t.Errorf("no header %s", name)
				}
			}
			if url == "/" && r.StatusCode == 200 && strings.Contains(body(t, r), "nightly") {
				t.Error("the page names a job")
			}
		})
	}
	if _, err := New(Options{Service: svc}); err == nil {
		t.Error("a site that everybody can change")
	}
}

// TestReadingChangesNothing gives every order by GET.
func TestReadingChangesNothing(t *testing.T) {
	svc := running(t, job("nightly", newRunner()))
	s := newSite(t, Options{Service: svc, Loopback: true})
	for order := range orders {
		if r := ask(s, "GET", "/api/v1/jobs/nightly/"+order); r.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("%s: %d", order, r.StatusCode)
		}
	}
	if j, _ := svc.Job("nightly"); j.State != service.Running {
		t.Errorf("it is %s", j.State)
	}
}

func TestTooManyTokens(t *testing.T) {
	s := newSite(t, Options{Service: running(t), Token: secret})
	now := time.Now()
	s.guard.failures.now = func() time.Time { return now }
	get := func(token string) int {
		return ask(s, "GET", "/api/v1/jobs", "Authorization", "Bearer "+token).StatusCode
	}
	for i := range freeTries {
		if got := get("wrong"); got != 401 {
			t.Fatalf("try %d: %d", i, got)
		}
	}
	if got := get("wrong"); got != 429 {
		t.Errorf("one too many: %d", got)
	}
	if got := get(secret); got != 429 {
		t.Errorf("the right one tells that it is right: %d", got)
	}
	now = now.Add(retryAfter)
	if got := get(secret); got != 200 {
		t.Errorf("after a while: %d", got)
	}
	if got := get("wrong"); got != 401 {
		t.Errorf("one more try: %d", got)
	}
	if got := get("wrong"); got != 429 {
		t.Errorf("and no second: %d", got)
	}
}

func TestFailuresAreBounded(t *testing.T) {
	f := newFailures()
	now := time.Now()
	f.now = func() time.Time { return now }
	at := func(i int) netip.Prefix {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 32)
	}
	for i := range 3 * maxClients {
		f.add(at(i))
	}
	if len(f.by) > maxClients+1 {
		t.Errorf("%d clients are kept", len(f.by))
	}
	if !f.mayTry(at(0)) {
		t.Error("a client is refused for what others did")
	}
	if f.mayTry(at(9 * maxClients)) {
		t.Error("those that there is no room for are not bounded together")
	}
	now = now.Add(freeTries * retryAfter)
	f.add(at(9 * maxClients))
	if len(f.by) > 2 {
		t.Errorf("%d clients are kept that have been forgiven", len(f.by))
	}
}

func TestClient(t *testing.T) {
	for _, c := range []struct{ remote, want string }{
		{"192.0.2.7:1234", "192.0.2.7/32"},
		{"[::ffff:192.0.2.7]:1234", "192.0.2.7/32"},
		{"[2001:db8:1:2:3::4]:1234", "2001:db8:1:2::/64"},
		{"[fe80::1%eth0]:1234", "fe80::/64"},
		{"@", "invalid Prefix"},
	} {
		if got := client(&http.Request{RemoteAddr: c.remote}).String(); got != c.want {
			t.Errorf("%s: %s, want %s", c.remote, got, c.want)
		}
	}
}
