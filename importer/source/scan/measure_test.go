package scan_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/slotferry/slotferry/importer/choice"
	"github.com/slotferry/slotferry/importer/endpoint"
	"github.com/slotferry/slotferry/importer/preflight"
	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/importer/source/scan"
	"github.com/slotferry/slotferry/internal/sandbox"
	"github.com/slotferry/slotferry/internal/sandbox/sandboxtest"
	"github.com/slotferry/slotferry/rdbparse"
)

// kept is a sink that keeps all records.
type kept map[string]record.Record

func (k kept) Record(r *record.Record) error {
	c := *r
	c.Key, c.Value, c.Footer = bytes.Clone(r.Key), bytes.Clone(r.Value), bytes.Clone(r.Footer)
	k[fmt.Sprintf("%d/%s", r.DB, r.Key)] = c
	return nil
}
func (kept) Program(record.Program) error { return nil }
func (kept) Mark(record.Position) error   { return nil }

// choose makes a choice of keys.
func choose(t *testing.T, o choice.Options) *choice.Choice {
	t.Helper()
	c, err := choice.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// open inspects a source that lives as long as the test.
func open(t *testing.T, o scan.Options) (*scan.Source, preflight.Source, preflight.Findings) {
	t.Helper()
	if o.Choice == nil {
		o.Choice = choose(t, choice.Options{})
	}
	s := scan.New(o)
	t.Cleanup(func() { _ = s.Close() })
	facts, found := s.Inspect(t.Context())
	if len(found.Blockers()) > 0 {
		t.Fatal(found)
	}
	return s, facts, found
}

func streamed(t *testing.T, s *scan.Source) kept {
	t.Helper()
	k := kept{}
	if err := s.Stream(t.Context(), record.Position{}, k); err != nil {
		t.Fatal(err)
	}
	return k
}

// user lets somebody in by the given rules.
func user(t *testing.T, server *sandbox.Server, name string, rules ...any) endpoint.Endpoint {
	t.Helper()
	if err := server.Client().Do(t.Context(), append([]any{"ACL", "SETUSER", name, "on", ">pw"}, rules...)...).Err(); err != nil {
		t.Fatal(err)
	}
	return endpoint.Endpoint{Addr: server.Addr, Username: name, Password: "pw"}
}

// versions starts a server of each version at hand, with keys of every kind
// that it knows.
func versions(t *testing.T, test func(t *testing.T, server *sandbox.Server)) {
	binaries := map[string]string{"redis-7.0": ""}
	if dir := os.Getenv("SLOTFERRY_SERVERS"); dir != "" {
		paths, _ := filepath.Glob(filepath.Join(dir, "*", "bin", "redis-server")) // the pattern is sound
		for _, path := range paths {
			binaries[filepath.Base(filepath.Dir(filepath.Dir(path)))] = path
		}
	}
	for name, binary := range binaries {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, sandboxtest.Server(t, sandbox.Options{Binary: binary, RDB: "../../../rdbparse/testdata/" + name + ".rdb"}))
		})
	}
}

// TestMeasure compares what is measured with what is copied, and with what the
// server says of each key.
func TestMeasure(t *testing.T) {
	const hashTTL, hash, valkeyHash = 24, 4, 22
	versions(t, func(t *testing.T, server *sandbox.Server) {
		copier, _, _ := open(t, scan.Options{Endpoint: endpoint.Endpoint{Addr: server.Addr}})
		s, facts, found := open(t, scan.Options{Endpoint: endpoint.Endpoint{Addr: server.Addr}, Measure: true})
		if len(found) > 0 || facts.Measure != preflight.MeasureMemory || facts.Memory <= 0 || facts.Version != facts.Server.Version.String() {
			t.Fatalf("%+v, %+v", facts, found)
		}
		v := facts.Server.Version
		if s.Exact() != v.AtLeast(7, 0) || s.Vendor() == rdbparse.Valkey != (v.Product == "valkey") {
			t.Errorf("%s: exact %t, types are %s's", v, s.Exact(), s.Vendor())
		}
		want, got := streamed(t, copier), streamed(t, s)
		if len(got) != len(want) || len(got) < 25 {
			t.Errorf("%d keys are measured, %d copied", len(got), len(want))
		}
		for name, w := range want {
			g, o := got[name], server.ClientOptions()
			o.DB, o.Protocol = w.DB, 2
			c := redis.NewClient(o)
			key, ctx := string(w.Key), t.Context()
			m := record.Measure{Bytes: c.MemoryUsage(ctx, key).Val(), Type: c.Type(ctx, key).Val(), Encoding: c.ObjectEncoding(ctx, key).Val()}
			_ = c.Close()
			if w.Type == 7 {
				m.Encoding = "module"
			}
			if g.Measure != m || m.Bytes == 0 || g.Len() != m.Bytes || g.Value != nil || g.Footer != nil || g.Fate != record.Copy {
				t.Errorf("%q: %+v, want %+v", name, g, m)
			}
			if off := g.ExpireAt - w.ExpireAt; off != 0 && (s.Exact() || off < -2 || off > 2) {
				t.Errorf("%q expires at %d, want %d", name, g.ExpireAt, w.ExpireAt)
			}
			known := w.Type
			if known == hashTTL || known == valkeyHash { // which no answer tells
				known = hash
			}
			if g.Type != known {
				t.Errorf("%q: RDB type %d, want %d (%s)", name, g.Type, w.Type, m.Encoding)
			}
		}
	})
}

// TestMeasureByDump has users who may not ask for measures, or not for all keys.
func TestMeasureByDump(t *testing.T) {
	server, total := fill(t)
	rights := []any{"+scan", "+dump", "+pexpiretime", "+select", "+time", "+info"}
	measuring := []any{"+type", "+object|encoding", "+memory|usage"}
	want := streamed(t, func() *scan.Source {
		s, _, _ := open(t, scan.Options{Endpoint: endpoint.Endpoint{Addr: server.Addr}})
		return s
	}())
	for name, tc := range map[string]struct {
		rules  []any
		memory bool
		denied string
	}{
		"all rights":        {append(measuring, "~*"), true, ""},
		"not MEMORY":        {append(measuring, "~*", "-memory"), false, "MEMORY USAGE"},
		"not TYPE":          {append(measuring, "~*", "-type"), false, "TYPE"},
		"none":              {[]any{"~*"}, false, "TYPE, OBJECT ENCODING, MEMORY USAGE"},
		"some keys":         {append(measuring, "~*7*"), true, ""},
		"some keys by DUMP": {[]any{"~*7*"}, false, "OBJECT ENCODING"},
	} {
		t.Run(name, func(t *testing.T) {
			in := user(t, server, strings.ReplaceAll(name, " ", "_"), append(rights[:len(rights):len(rights)], tc.rules...)...)
			s, facts, found := open(t, scan.Options{Endpoint: in, Measure: true})
			if found.Has("measure_dump") == tc.memory || (facts.Measure == preflight.MeasureMemory) != tc.memory {
				t.Fatalf("measured by %s, %+v", facts.Measure, found)
			}
			for _, f := range found {
				if f.Code == "measure_dump" && !strings.Contains(f.Message, tc.denied) {
					t.Errorf("%q does not name %q", f.Message, tc.denied)
				}
			}
			got := streamed(t, s)
			if len(got) != total || len(want) != total {
				t.Fatalf("%d keys of %d", len(got), total)
			}
			for key, w := range want {
				g := got[key]
				if strings.HasPrefix(name, "some keys") && !bytes.Contains(w.Key, []byte("7")) {
					if g.Fate != record.Refused || !strings.Contains(g.Reason, "NOPERM") || g.Measure.Encoding != "" {
						t.Fatalf("%q: %+v", key, g)
					}
					continue
				}
				m := record.Measure{Bytes: w.Len(), Type: rdbparse.TypeName(rdbparse.Redis, w.Type), Encoding: rdbparse.EncodingName(rdbparse.Redis, w.Type)}
				if tc.memory {
					m.Bytes, m.Encoding = g.Measure.Bytes, g.Measure.Encoding
				}
				if g.Measure != m || g.Len() != m.Bytes || g.Type != w.Type || g.ExpireAt != w.ExpireAt || g.Value != nil || g.Footer != nil || g.Fate != record.Copy {
					t.Fatalf("%q: %+v, want %+v", key, g, m)
				}
			}
		})
	}
}

// TestMeasureSome chooses keys by type while measuring.
func TestMeasureSome(t *testing.T) {
	server, _ := fill(t)
	keys := choose(t, choice.Options{Types: []string{"zset", "list"}, Include: []string{"*1*"}})
	for _, denied := range []string{"", "-memory"} {
		in := user(t, server, "u"+denied, "~*", "+@all")
		if denied != "" {
			in = user(t, server, "u"+denied, denied)
		}
		s, _, _ := open(t, scan.Options{Endpoint: in, Choice: keys, Measure: true, Count: 10})
		got := map[string]bool{}
		for name, r := range streamed(t, s) {
			if r.Fate == record.Copy {
				got[name] = true
			}
		}
		if want := expected(t, server, keys); len(want) == 0 || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("denied %q: %d keys, want %d", denied, len(got), len(want))
		}
	}
}
