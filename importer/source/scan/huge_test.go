package scan_test

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/slotferry/slotferry/importer/choice"
	"github.com/slotferry/slotferry/importer/endpoint"
	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/importer/source/scan"
	"github.com/slotferry/slotferry/internal/sandbox"
	"github.com/slotferry/slotferry/internal/sandbox/sandboxtest"
)

// TestHuge counts how often the server serializes huge values among short ones.
func TestHuge(t *testing.T) {
	t.Parallel()
	const short, huge = 6000, 40
	server := populated(t, short)
	ctx, c := t.Context(), server.Client()
	if err := c.ConfigSet(ctx, "rdbcompression", "no").Err(); err != nil {
		t.Fatal(err)
	}
	for i := range huge {
		if err := c.Set(ctx, fmt.Sprint("huge ", i), strings.Repeat("x", hugeFrom+i), time.Hour).Err(); err != nil {
			t.Fatal(err)
		}
	}
	in := endpoint.Endpoint{Addr: server.Addr}
	rights := []any{"~*", "+scan", "+dump", "+pexpiretime", "+select", "+time", "+info", "+multi", "+exec", "+watch", "+type", "+getrange"}
	for name, tc := range map[string]struct {
		options scan.Options
		dumps   func(n int64) bool // of huge values, however many short ones there are
		refused string
	}{
		"blindly at first":       {scan.Options{Endpoint: in}, func(n int64) bool { return n > 0 && n < huge }, ""},
		"sizes first":            {scan.Options{Endpoint: in, MaxLatency: time.Minute}, func(n int64) bool { return n == 0 }, ""},
		"far, sizes first":       {scan.Options{Endpoint: endpoint.Endpoint{Addr: far(t, server.Addr, 5*time.Millisecond)}, MaxLatency: time.Minute, Count: 100}, func(n int64) bool { return n == 0 }, ""},
		"no right to sizes":      {scan.Options{Endpoint: user(t, server, "unsized", rights...)}, func(n int64) bool { return n == huge }, ""},
		"right to sizes":         {scan.Options{Endpoint: user(t, server, "sized", append(rights, "+memory|usage")...), MaxLatency: time.Minute}, func(n int64) bool { return n == 0 }, ""},
		"no right to parts":      {scan.Options{Endpoint: user(t, server, "partless", append(rights, "+memory|usage", "-getrange", "-exec")...), MaxLatency: time.Minute}, func(n int64) bool { return n == 0 }, "ACL SETUSER <user> +getrange +exec"},
		"no right to their type": {scan.Options{Endpoint: user(t, server, "typeless", append(rights, "-type")...)}, func(n int64) bool { return n == huge }, "'type'"},
		"another type":           {scan.Options{Endpoint: in, Choice: choose(t, choice.Options{Types: []string{"list", "set"}})}, func(n int64) bool { return n > 0 && n < huge }, "filtered"},
	} {
		t.Run(name, func(t *testing.T) {
			tc.options.MaxValue = hugeFrom
			s, _, _ := open(t, tc.options)
			before := calls(t, server, "dump")
			got := streamed(t, s)
			if len(got) != short+huge {
				t.Errorf("%d keys", len(got))
			}
			if n := calls(t, server, "dump") - before - short; !tc.dumps(n) {
				t.Errorf("%d huge values were serialized", n)
			}
			for name, r := range got {
				switch {
				case !strings.Contains(name, "huge"):
					if r.Build != nil || tc.refused != "filtered" && r.Fate != record.Copy {
						t.Fatalf("%q: %+v", name, r)
					}
				case tc.refused == "filtered":
					if r.Fate != record.Filtered {
						t.Fatalf("%q: %+v", name, r)
					}
				case tc.refused != "":
					if r.Fate != record.Refused || !strings.Contains(r.Reason, tc.refused) {
						t.Fatalf("%q: %+v", name, r)
					}
				case r.Build == nil || r.Fate != record.Copy || r.Len() <= hugeFrom || r.ExpireAt == 0:
					t.Fatalf("%q: %+v", name, r)
				}
			}
		})
	}
}

// TestBuildRights takes a right away when the value is read already.
func TestBuildRights(t *testing.T) {
	t.Parallel()
	server := sandboxtest.Server(t, sandbox.Options{})
	c, ctx := server.Client(), t.Context()
	fillHuge(t, c, false)
	in := user(t, server, "somebody", "~*", "+@all")
	s, _, _ := open(t, scan.Options{Endpoint: in, MaxValue: hugeFrom})
	records := builders(t, s)
	for key, right := range map[string]string{"list": "lrange", "hash": "hscan", "stream": "xpending", "set": "watch"} {
		user(t, server, "somebody", "+@all", "-"+right)
		_, err := records["0/"+key].Build(ctx, []byte("copy"), func([][]byte) error { return nil })
		if !errors.Is(err, record.ErrRefused) || !errors.Is(err, scan.ErrDenied) || !strings.Contains(err.Error(), "+"+right) {
			t.Errorf("without %s: %v", right, err)
		}
	}
	user(t, server, "somebody", "+@all", "resetkeys", "~s*")
	if _, err := records["0/list"].Build(ctx, []byte("copy"), func([][]byte) error { return nil }); !errors.Is(err, record.ErrRefused) {
		t.Errorf("without a right to the key: %v", err)
	}
	// An element that does not fit.
	if err := c.LSet(ctx, "list", 9, strings.Repeat("x", 4<<20)).Err(); err != nil {
		t.Fatal(err)
	}
	user(t, server, "somebody", "~*")
	if _, err := records["0/list"].Build(ctx, []byte("copy"), func([][]byte) error { return nil }); !errors.Is(err, record.ErrRefused) || !strings.Contains(err.Error(), "element") {
		t.Errorf("a huge element: %v", err)
	}
}

// TestBuildMemory reads a large hash by a receiver that keeps nothing.
func TestBuildMemory(t *testing.T) {
	const fields = 1_000_000
	server := sandboxtest.Server(t, sandbox.Options{})
	ctx := t.Context()
	// A script is quicker than so many commands.
	if err := database(t, server, 0).Eval(ctx, `for i = 1, ARGV[1] do redis.call("HSET", KEYS[1], "field " .. i, "some value " .. i) end return 1`, []string{"hash"}, fields).Err(); err != nil {
		t.Fatal(err)
	}
	s, _, _ := open(t, scan.Options{Endpoint: endpoint.Endpoint{Addr: server.Addr}, MaxValue: 8 << 20})
	r := builders(t, s)["0/hash"]
	if r.Build == nil {
		t.Fatal("it is not huge")
	}
	var peak uint64
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	base := m.HeapAlloc
	n, commands := 0, 0
	_, err := r.Build(ctx, []byte("copy"), func(words [][]byte) error {
		n += len(words)/2 - 1
		if commands++; commands%50 == 0 {
			runtime.GC()
			runtime.ReadMemStats(&m)
			peak = max(peak, m.HeapAlloc)
		}
		return nil
	})
	if err != nil || n < fields || n > fields+fields/10 {
		t.Errorf("%d fields, %v", n, err)
	}
	if grown := int64(peak) - int64(base); peak == 0 || grown > 4<<20 {
		t.Errorf("it held %d bytes", grown)
	}
}
