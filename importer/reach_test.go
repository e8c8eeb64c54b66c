package importer_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/slotferry/slotferry/checkpoint"
	"github.com/slotferry/slotferry/importer"
	"github.com/slotferry/slotferry/importer/choice"
	"github.com/slotferry/slotferry/importer/endpoint"
	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/importer/source/scan"
	"github.com/slotferry/slotferry/importer/target"
	"github.com/slotferry/slotferry/internal/dataset"
	"github.com/slotferry/slotferry/internal/sandbox"
	"github.com/slotferry/slotferry/internal/sandbox/sandboxtest"
)

// at scans under an endpoint.
func at(e endpoint.Endpoint) func(*bench) importer.Source {
	return func(b *bench) importer.Source {
		return scan.New(scan.Options{Endpoint: e, Choice: b.keys, Count: 50, Room: b.cluster.Room, Log: b.log})
	}
}

func TestWaysToTheSource(t *testing.T) {
	c := emptyCluster(t)
	for name, o := range map[string]sandbox.Options{"TLS": {TLS: true}, "socket": {UnixSocket: true}} {
		t.Run(name, func(t *testing.T) {
			empty(t, c)
			src := source(t, o)
			_, err := dataset.Fill(t.Context(), src.Client(), dataset.Mixed(500))
			must(t, err)
			e := endpoint.Endpoint{Addr: src.Addr, Password: sourceSecret, TLS: src.TLSConfig()}
			if o.UnixSocket {
				e = endpoint.Endpoint{Network: "unix", Addr: src.Socket, Password: sourceSecret}
			}
			out := run{from: at(e)}.do(t)
			out.wantDone(t)
			out.wantCounts(t, checkpoint.Counts{Read: 500, Written: 500})
			wantSame(t, src, dataset.CompareOptions{})
			if o.TLS {
				empty(t, c)
				e.TLS = nil
				e.DialTimeout = time.Second
				run{from: at(e)}.do(t).wantBlocked(t, "source_unreachable")
			}
		})
	}
}

func TestSourceRefuses(t *testing.T) {
	emptyCluster(t)
	src, _ := mixed(t, 100)
	ctx, admin := t.Context(), src.Client()
	open := sandboxtest.Server(t, sandbox.Options{})
	user := func(name string, rules ...any) endpoint.Endpoint {
		t.Helper()
		must(t, admin.Do(ctx, append([]any{"ACL", "SETUSER", name, "reset", "on", ">" + sourceSecret}, rules...)...).Err())
		return endpoint.Endpoint{Addr: src.Addr, Username: name, Password: sourceSecret}
	}
	all := []any{"~*", "+scan", "+dump", "+pttl", "+time", "+select", "+info"}
	if src.Version.AtLeast(7, 0) {
		all = append(all, "+pexpiretime", "+function|dump")
	}
	less := func(not string) []any { return append(append([]any{}, all...), "-"+not) }
	for name, tc := range map[string]struct {
		e     endpoint.Endpoint
		code  string
		words string
	}{
		"wrong password":     {endpoint.Endpoint{Addr: src.Addr, Password: "not the s0urce-pässword"}, "source_auth", "SLOTFERRY_SOURCE_PASSWORD"},
		"no password":        {endpoint.Endpoint{Addr: src.Addr}, "source_auth", "--source-password-file"},
		"needless password":  {endpoint.Endpoint{Addr: open.Addr, Username: "nobody", Password: sourceSecret}, "source_auth", ""},
		"unknown user":       {endpoint.Endpoint{Addr: src.Addr, Username: "nobody", Password: sourceSecret}, "source_auth", ""},
		"nobody there":       {endpoint.Endpoint{Addr: "127.0.0.1:1", Password: sourceSecret}, "source_unreachable", "127.0.0.1:1"},
		"may not DUMP":       {user("nodump", less("dump")...), "source_rights", "DUMP"},
		"may not SCAN":       {user("noscan", less("scan")...), "source_rights", "SCAN"},
		"may not SELECT":     {user("noselect", less("select")...), "source_rights", "SELECT"},
		"may not INFO":       {user("noinfo", less("info")...), "source_rights", "+info"},
		"may not TIME":       {user("notime", less("time")...), "source_rights", "+time"},
		"may nothing at all": {user("nothing"), "source_rights", "ACL SETUSER"},
		"a cluster's node":   {endpoint.Endpoint{Addr: shared.cluster.Nodes[0].Addr, Password: targetSecret}, "source_is_cluster", "standalone"},
	} {
		t.Run(name, func(t *testing.T) {
			out := run{from: at(tc.e), dir: t.TempDir()}.do(t)
			text := out.wantBlocked(t, tc.code)
			if !strings.Contains(text, tc.words) {
				t.Errorf("the error does not say %q: %s", tc.words, text)
			}
			if name != "may not DUMP" {
				return
			}
			// What it says to do is a command that does it.
			_, rules, _ := strings.Cut(text, "ACL SETUSER <user> ")
			args := []any{"ACL", "SETUSER", "nodump"}
			for _, rule := range strings.Fields(rules) {
				args = append(args, rule)
			}
			must(t, admin.Do(ctx, args...).Err())
			run{from: at(tc.e)}.do(t).wantDone(t)
			empty(t, shared.cluster)
		})
	}
	t.Run("just enough rights", func(t *testing.T) {
		empty(t, shared.cluster)
		out := run{from: at(user("enough", all...))}.do(t)
		out.wantDone(t)
		out.wantCounts(t, checkpoint.Counts{Read: 100, Written: 100})
	})
	t.Run("no functions", func(t *testing.T) {
		if !src.Version.AtLeast(7, 0) {
			t.Skip("functions came with 7.0")
		}
		empty(t, shared.cluster)
		out := run{from: at(user("nofunctions", less("function|dump")...))}.do(t)
		out.wantDone(t)
		if !out.warnings.Has("functions_unread") {
			t.Errorf("warnings %+v", out.warnings)
		}
	})
	t.Run("some keys", func(t *testing.T) {
		empty(t, shared.cluster)
		out := run{from: at(user("some", append(append([]any{}, all...), "resetkeys", "~key:*")...))}.do(t)
		if !out.warnings.Has("source_key_rights") {
			t.Errorf("warnings %+v", out.warnings)
		}
		names, err := admin.Keys(ctx, "*").Result()
		must(t, err)
		var others []string
		for _, n := range names {
			if !strings.HasPrefix(n, "key:") {
				others = append(others, n)
			}
		}
		wantFailed(t, out, others...)
		out.wantCounts(t, checkpoint.Counts{Read: 100, Written: 100 - int64(len(others)), Failed: int64(len(others))})
	})
	t.Run("the target refuses too", func(t *testing.T) {
		out := run{from: at(endpoint.Endpoint{Addr: src.Addr}), target: func(o *target.Options) { o.Endpoint.Password = "wrong" }}.do(t)
		out.wantBlocked(t, "target_auth", "source_auth")
	})
	t.Run("rights taken away midway", func(t *testing.T) {
		empty(t, shared.cluster)
		_, err := dataset.Fill(ctx, admin, dataset.Options{Keys: 1000, Prefix: "more:"})
		must(t, err)
		r := run{from: at(user("fallen", all...)), each: func(n int, _ *record.Record) {
			if n == 60 {
				expect(t, admin.Do(ctx, "ACL", "SETUSER", "fallen", "-dump").Err())
			}
		}}
		out := r.do(t)
		if !errors.Is(out.err, scan.ErrDenied) || out.Status != importer.Failed || !strings.Contains(out.err.Error(), "DUMP") {
			t.Errorf("%s, %v", out.Status, out.err)
		}
	})
}

func TestSourceIsLoading(t *testing.T) {
	emptyCluster(t)
	src, _ := mixed(t, 1000)
	if !src.Version.AtLeast(7, 0) {
		t.Skip("it can't be made to load slowly")
	}
	slowLoading(t, src, 1000)
	reloaded := make(chan error, 1)
	go func() { reloaded <- src.Client().WithTimeout(time.Minute).Do(t.Context(), "DEBUG", "RELOAD").Err() }()
	waitLoading(t, src)
	out := run{from: fromServer(src)}.do(t)
	must(t, <-reloaded)
	out.wantBlocked(t, "source_loading")
	run{from: fromServer(src)}.do(t).wantDone(t)
	wantSame(t, src, dataset.CompareOptions{})
}

// TestTargetWarnings has things about the target that should be known.
func TestTargetWarnings(t *testing.T) {
	c := emptyCluster(t)
	src := source(t, sandbox.Options{})
	ctx := t.Context()
	for i := range 300 {
		must(t, src.Client().Set(ctx, fmt.Sprint(i), strings.Repeat("v", 100_000), 0).Err())
	}
	set := func(name, value string) {
		for _, n := range c.Nodes {
			must(t, n.Client().ConfigSet(ctx, name, value).Err())
		}
	}
	defer set("maxmemory", "0")
	defer set("maxmemory-policy", "noeviction")
	set("maxmemory", "8mb")
	set("maxmemory-policy", "allkeys-lru")
	out := run{from: fromServer(src)}.do(t)
	out.wantBlocked(t, "memory", "memory", "memory")
	if !out.warnings.Has("eviction") {
		t.Errorf("warnings %+v", out.warnings)
	}
	set("maxmemory-policy", "noeviction")
	r := run{from: fromServer(src), dir: t.TempDir(), target: func(o *target.Options) { o.RetryFor = 300 * time.Millisecond }}
	out = r.do(t)
	if out.Status != importer.Interrupted || !strings.Contains(out.err.Error(), "OOM") || !out.warnings.Has("memory") {
		t.Fatalf("%s, %v, %+v", out.Status, out.err, out.warnings)
	}
	set("maxmemory", "0")
	r.target = nil
	out = r.do(t)
	out.wantDone(t)
	wantSame(t, src, dataset.CompareOptions{})
}

func TestTargetIsNoCluster(t *testing.T) {
	emptyCluster(t)
	_, path := mixed(t, 10)
	plain := sandboxtest.Server(t, sandbox.Options{})
	for name, tc := range map[string]struct {
		seed string
		code string
	}{"standalone": {plain.Addr, "target_not_cluster"}, "nobody": {"127.0.0.1:1", "target_unreachable"}} {
		out := run{from: fromFile(path), dir: t.TempDir(), target: func(o *target.Options) {
			o.Seeds = []string{tc.seed}
			if tc.seed == plain.Addr {
				o.Endpoint.Password = ""
			}
		}}.do(t)
		if text := out.wantBlocked(t, tc.code); !strings.Contains(text, tc.seed) {
			t.Errorf("%s: the error does not name it: %s", name, text)
		}
	}
}

// TestStrangeNames has text in names that is syntax elsewhere.
func TestStrangeNames(t *testing.T) {
	c := emptyCluster(t)
	src := source(t, sandbox.Options{})
	for _, name := range []string{"", " ", "%", "%s%d", "\x00", "\r\n", "*1\r\n$4\r\nPING\r\n", "{}", "{", "}{", "{a}{b}", "\xff\xfe", "é", "slotferry:probe", "slotferry:{test}:other"} {
		must(t, src.Client().Set(t.Context(), name, name, 0).Err())
	}
	for how, from := range sources(t, src, saved(t, src)) {
		empty(t, c)
		out := run{from: from, choice: choice.Options{DBMap: map[int]string{0: "\x00%\r\n{"}}}.do(t)
		out.wantDone(t)
		if out.Written != 15 {
			t.Errorf("%s: %+v", how, out.Counts)
		}
		wantSame(t, src, dataset.CompareOptions{Name: func(_ int, key string) (string, bool) { return "\x00%\r\n{" + key, true }})
	}
}
