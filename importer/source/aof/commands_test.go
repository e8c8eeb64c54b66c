package aof

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slotferry/slotferry/importer/choice"
	"github.com/slotferry/slotferry/importer/record"
)

// noServer makes sure that none is found.
func noServer(t *testing.T) {
	t.Setenv("PATH", "")
	t.Setenv(serverVariable, "")
}

// TestCut cuts a file at every byte: what is read ends behind the last command
// that is whole, and before a MULTI that is open.
func TestCut(t *testing.T) {
	lines := []string{"SELECT 0", "SET a 1", "MULTI", "INCR a", "INCR a", "EXEC", "#TS:1700000000", "SET b 2", "MULTI", "SET c 3", "EXEC"}
	whole := wire(lines...)
	var safe []int // lengths at which a cut loses nothing
	open := false
	for i := range lines {
		open = lines[i] == "MULTI" || open && lines[i] != "EXEC"
		if n := len(wire(lines[:i+1]...)); !open && lines[i][0] != '#' {
			safe = append(safe, n)
		}
	}
	base := wire("SET z 1")
	for n := 1; n <= len(whole); n++ {
		end := 0
		for _, m := range safe {
			if m <= n {
				end = m
			}
		}
		for _, path := range []string{put(t, whole[:n]), folder(t, base, whole[:n])} {
			s, _, found := look(t, Options{Path: path})
			if len(found.Blockers()) > 0 {
				t.Fatalf("cut at %d: %v", n, found)
			}
			got := replayed(t, s)
			last := got.marks[len(got.marks)-1].Serial
			if several := len(s.files.parts) > 1; several {
				last -= int64(len(base))
			}
			if int(last) != end {
				t.Errorf("cut at %d: read up to %d, want %d", n, last, end)
			}
			// The line of a time stamp belongs to no command.
			tail := bytes.TrimPrefix(whole[end:n], []byte("#TS:1700000000\r\n"))
			if found.Has("aof_truncated") != (len(tail) > 0) {
				t.Errorf("cut at %d, safe to %d: %v", n, end, found)
			}
		}
		if n < len(whole) && !slices.Contains(safe, n) && !bytes.HasSuffix(whole[:n], []byte("#TS:1700000000\r\n")) {
			if _, _, found := look(t, Options{Path: folder(t, base, whole[:n], base)}); !found.Has("source_damaged") {
				t.Errorf("cut at %d with another file behind it: %v", n, found)
			}
		}
	}
}

func TestDamage(t *testing.T) {
	first := wire("SET a 1", "SET b 2")
	at := fmt.Sprintf(" at %d: ", len(first))
	for _, tc := range []struct{ name, tail, want string }{
		{"zeros", string(make([]byte, 100)), "damaged"},
		{"inline command", "SET a 1\r\n", "damaged"},
		{"no line end", "*1\r\n$4\r\nPINGxx", "damaged"},
		{"negative length", "*2\r\n$-1\r\n", "damaged"},
		{"endless length", "*2\r\n$99999999999\r\n", "too long"},
		{"an RDB behind commands", "REDIS0010", "damaged"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			noServer(t)
			_, _, found := look(t, Options{Path: put(t, slices.Concat(first, []byte(tc.tail)))})
			if got := fmt.Sprint(found.Blockers()); !strings.Contains(got, tc.want) || !strings.Contains(got, at) {
				t.Errorf("got %s", got)
			}
		})
	}
}

// TestPaths names what can't be read.
func TestPaths(t *testing.T) {
	dir := folder(t, wire("SET a 1"), wire("SET b 2"))
	two := folder(t, wire("SET a 1"))
	if err := os.WriteFile(filepath.Join(two, "other.manifest"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	server := t.TempDir()
	if err := os.Rename(folder(t, wire("SET a 1")), filepath.Join(server, appendDir)); err != nil {
		t.Fatal(err)
	}
	gone := folder(t, wire("SET a 1"), wire("SET b 2"), wire("SET c 3"))
	if err := os.Remove(filepath.Join(gone, "a.aof.1.incr.aof")); err != nil {
		t.Fatal(err)
	}
	odd := folder(t, wire("SET a 1"), wire("SET b 2"))
	if err := os.Remove(filepath.Join(odd, "a.aof.1.base.aof")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(odd, "a.aof.1.base.aof"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ name, path, code, want string }{
		{"folder", dir, "", ""},
		{"manifest", filepath.Join(dir, "a.aof.manifest"), "", ""},
		{"one of several", filepath.Join(dir, "a.aof.1.incr.aof"), "source_unreadable", "name their manifest"},
		{"two manifests", two, "source_unreadable", "several manifests"},
		{"the server's folder", server, "source_unreadable", "name that"},
		{"no manifest", t.TempDir(), "source_unreadable", "holds no manifest"},
		{"a file is missing", gone, "source_unreadable", "a.aof.1.incr.aof is named by the manifest but is not there"},
		{"a folder for a file", odd, "source_unreadable", "not a regular file"},
		{"nothing there", filepath.Join(dir, "x"), "source_unreadable", "no such file"},
		{"empty", put(t, nil), "source_not_aof", "holds nothing"},
		{"text", put(t, []byte("hello")), "source_not_aof", "begins with \"h\""},
		{"a damaged RDB", put(t, []byte("REDIS0010\xfa")), "source_damaged", "end too early"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, _, found := look(t, Options{Path: tc.path})
			if tc.code == "" {
				if got := replayed(t, s).commands; len(found) > 0 || fmt.Sprint(got) != "[0: SET a 1 0: SET b 2]" {
					t.Errorf("%v, %q", found, got)
				}
				return
			}
			if !found.Blockers().Has(tc.code) || !strings.Contains(fmt.Sprint(found), tc.want) {
				t.Errorf("got %v", found)
			}
		})
	}
}

// TestReplayable tells which commands can be applied to a cluster as they are.
// Times are relative to now, in seconds: @-5.
func TestReplayable(t *testing.T) {
	noServer(t)
	for _, tc := range []struct {
		name, commands string // separated by ;
		options        Options
		choice         choice.Options
		want           string // of what stands against it; "" for nothing
	}{
		{name: "plain", commands: "SET a 1;INCR a;DEL a b c;MSET a 1 b 2;SELECT 0"},
		{name: "one slot", commands: "RENAME {x}a {x}b;SUNIONSTORE {x}c {x}a {x}b"},
		{name: "slots", commands: "SET a 1;RENAME a b", want: "at 27: RENAME: its keys lie in different slots"},
		{name: "script", commands: "EVAL return 1 a", want: "EVAL"},
		{name: "unknown", commands: "BF.ADD a b", want: "BF.ADD: which keys it writes is not known"},
		{name: "malformed", commands: "SET a", want: "malformed"},
		{name: "databases", commands: "SET a 1;SELECT 3;SET b 1", want: "several databases (0, 3)"},
		{name: "one database chosen", commands: "SET a 1;RENAME a b;SELECT 3;SET b 1", choice: choice.Options{DBs: []int{3}}},
		{name: "swapped", commands: "SET a 1;SWAPDB 0 1", want: "swaps databases"},
		{name: "moved", commands: "SET a 1;MOVE a 1", want: "another database"},
		{name: "flushed", commands: "RENAME a b;EVAL return 1 0;SELECT 4;SET c 1;FLUSHALL;SELECT 0;SET a 1"},
		{name: "flushed in a transaction", commands: "SET a 1;MULTI;FLUSHALL;SET b 1;EXEC", want: "within a transaction"},
		{name: "flushed with functions", commands: "FUNCTION LOAD x;SET a 1;FLUSHALL;SET b 1", want: "not the functions"},
		{name: "the only database flushed", commands: "SELECT 2;RENAME a b;FLUSHDB;SET a 1"},
		{name: "one of several flushed", commands: "SET a 1;SELECT 2;SET b 1;FLUSHDB", want: "empties one of several"},
		{name: "expired", commands: "SET a 1;PEXPIREAT a @-5"},
		{name: "expired, then deleted", commands: "INCR a;PEXPIREAT a @-5;INCR a;DEL a"},
		{name: "expired, then new", commands: "INCR a;PEXPIREAT a @-5;INCR a;SET a 5"},
		{name: "expired, then more", commands: "INCR a;PEXPIREAT a @-5;INCR b;INCR a", want: "INCR: its key had an expiry"},
		{name: "expired again", commands: "INCR a;PEXPIREAT a @-9;INCR a;PEXPIREAT a @-5"},
		{name: "expired, then extended", commands: "SET a 1;PEXPIREAT a @-5;PEXPIREAT a @9000", want: "PEXPIREAT: its key had an expiry"},
		{name: "expired, then kept", commands: "SET a 1;PEXPIREAT a @-5;PERSIST a", want: "PERSIST: its key had an expiry"},
		{name: "expired in SET", commands: "SET a 1 PXAT @-5;SET a 2 KEEPTTL", want: "SET: its key had an expiry"},
		{name: "expired, then what might fail", commands: "LPUSH a 1;PEXPIREAT a @-5;LSET a 0 2;DEL a", want: "LSET: one of its keys expires earlier"},
		{name: "expired, then renamed", commands: "SET {a} 1;PEXPIREAT {a} @-5;RENAME {a} {a}b", want: "RENAME: one of its keys expires earlier"},
		{name: "soon", commands: "SET a 1 PXAT @600;INCR a", want: "INCR: its key had an expiry"},
		{name: "later", commands: "SET a 1 PXAT @7200;INCR a"},
		{name: "fields", commands: "HSET h f 1;HPEXPIREAT h @-5 FIELDS 1 f;HSET h g 1", want: "HSET: its key had an expiry"},
		{name: "other database", commands: "SELECT 1;SET a 1 PXAT @-5;SELECT 0;INCR a", choice: choice.Options{DBMap: map[int]string{0: "", 1: "x"}}, want: "two keys might get the same name"},
		{name: "types chosen", commands: "SET a 1", choice: choice.Options{Types: []string{"hash"}}, want: "types are chosen"},
		{name: "names chosen", commands: "RENAME a b", choice: choice.Options{Include: []string{"c*"}}},
		{name: "half chosen", commands: "RENAME {a} {a}b", choice: choice.Options{Exclude: []string{"*b"}}, want: "some of its keys are chosen"},
		{name: "values wanted", commands: "SET a 1", options: Options{Values: true}, want: "final values"},
		{name: "target not empty", commands: "SET a 1", options: Options{Filled: true}, want: "may hold keys"},
		{name: "long command", commands: "SET a " + strings.Repeat("x", 5000) + ";SET b 1", options: Options{MaxCommand: 4096}, want: "too long"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			lines := strings.Split(tc.commands, ";")
			for i, line := range lines {
				if before, n, ok := strings.Cut(line, "@"); ok {
					n, rest, _ := strings.Cut(n, " ")
					d, err := time.ParseDuration(n + "s")
					if err != nil {
						t.Fatal(err)
					}
					lines[i] = fmt.Sprintf("%s%d %s", before, time.Now().Add(d).UnixMilli(), rest)
				}
			}
			o := tc.options
			o.Path, o.Choice = put(t, wire(lines...)), chosen(t, tc.choice)
			s, _, found := look(t, o)
			if tc.want == "" {
				if len(found) > 0 {
					t.Fatal(found)
				}
				got, last := replayed(t, s).commands, lines[len(lines)-1]
				if !strings.HasSuffix(got[len(got)-1], ": "+strings.TrimSpace(last)) || len(got) > len(lines) {
					t.Errorf("replayed %q", got)
				}
				return
			}
			if !found.Has("aof_needs_server") || !strings.Contains(fmt.Sprint(found), tc.want) {
				t.Errorf("got %v, want %q", found, tc.want)
			}
			o.Via = Replay
			if _, _, found := look(t, o); !found.Has("aof_replay_impossible") || !strings.Contains(fmt.Sprint(found), tc.want) {
				t.Errorf("asked to replay: %v", found)
			}
		})
	}
}

// TestFlushed begins behind the last FLUSHALL, in the database selected there.
func TestFlushed(t *testing.T) {
	s := well(t, Options{Path: folder(t, wire("SET a 1", "RENAME a b"), wire("SELECT 5", "SET c 1", "FLUSHALL", "SET d 1"), wire("SELECT 5", "SET e 1"))})
	got := replayed(t, s)
	if want := "[5: SET d 1 5: SELECT 5 5: SET e 1]"; fmt.Sprint(got.commands) != want {
		t.Errorf("got %v, want %v", got.commands, want)
	}
}

// TestUntil stops before the first time stamp that is later.
func TestUntil(t *testing.T) {
	stamped := wire("#TS:1000", "SET a 1", "#TS:1010", "MULTI", "SET b 1", "EXEC", "SET c 1", "#TS:1020", "SET d 1")
	for _, tc := range []struct {
		name  string
		until int64
		parts [][]byte
		want  int // commands
		wrong string
	}{
		{name: "between", until: 1015, parts: [][]byte{stamped}, want: 5},
		{name: "just then", until: 1010, parts: [][]byte{stamped}, want: 5},
		{name: "the first second", until: 1009, parts: [][]byte{stamped}, want: 1},
		{name: "all", until: 2000, parts: [][]byte{stamped}, want: 6},
		{name: "before", until: 999, parts: [][]byte{stamped}, wrong: "the first time stamp is"},
		{name: "none", until: 1015, parts: [][]byte{wire("SET a 1")}, wrong: "no time stamps"},
		{name: "too late to tell", until: 999, parts: [][]byte{wire("SET a 1", "#TS:1000", "SET b 1")}, wrong: "commands come before"},
		{name: "several files", until: 1015, parts: [][]byte{wire("#TS:900", "SET z 1"), stamped, wire("#TS:1030", "SET e 1")}, want: 6},
		{name: "what is damaged is later", until: 1015, parts: [][]byte{slices.Concat(stamped, []byte("damage"))}, want: 5},
		{name: "within a transaction", until: 1015, parts: [][]byte{wire("#TS:1000", "SET a 1", "MULTI", "SET b 1", "#TS:1020", "SET c 1", "EXEC")}, want: 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, _, found := look(t, Options{Path: folder(t, tc.parts...), Until: time.Unix(tc.until, 0).UTC()})
			if tc.wrong != "" {
				if !found.Has("until_unknown") || !strings.Contains(fmt.Sprint(found), tc.wrong) {
					t.Errorf("got %v", found)
				}
				return
			}
			if len(found) > 0 {
				t.Fatal(found)
			}
			if got := replayed(t, s).commands; len(got) != tc.want {
				t.Errorf("got %d: %q, want %d", len(got), got, tc.want)
			}
		})
	}
}

// TestResume goes on behind each command, in files that were appended to
// meanwhile, and not in others.
func TestResume(t *testing.T) {
	last := wire("SELECT 3", "INCR c", "MULTI", "INCR d", "EXEC", "INCR e")
	parts := [][]byte{wire("SELECT 3", "INCR a", "INCR b"), last}
	dir := folder(t, parts...)
	s := well(t, Options{Path: dir})
	whole := replayed(t, s)
	ids := func(path string) []string {
		s := New(Options{Path: path, Choice: all(t)})
		defer s.Close()
		facts, found := s.Inspect(t.Context())
		if len(found) > 0 {
			t.Fatal(found)
		}
		return facts.IDs
	}
	before := ids(dir)
	tail := filepath.Join(dir, "a.aof.1.incr.aof")
	if err := os.WriteFile(tail, slices.Concat(last, wire("RENAME a b", "INCR f")), 0o600); err != nil {
		t.Fatal(err)
	}
	if now := ids(dir); !slices.Equal(now, before) {
		t.Errorf("appending made another source: %q, %q", before, now)
	}
	for i, from := range append([]record.Position{whole.copied[0]}, whole.ends...) {
		s := New(Options{Path: dir, Choice: all(t)})
		if _, found := s.Inspect(t.Context()); len(found) > 0 {
			t.Fatal(found)
		}
		rest := &notes{}
		if err := s.Stream(t.Context(), from, rest); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(rest.commands, whole.commands[i:]) || len(rest.copied) > 0 {
			t.Errorf("from %+v: %q, want %q", from, rest.commands, whole.commands[i:])
		}
		if got, want := rest.marks[len(rest.marks)-1], whole.marks[len(whole.marks)-1]; got != want {
			t.Errorf("from %+v: it ends at %+v, want %+v", from, got, want)
		}
		_ = s.Close()
	}
	other := slices.Clone(last)
	other[len(other)-3] = 'z'
	if err := os.WriteFile(tail, other, 0o600); err != nil {
		t.Fatal(err)
	}
	s = New(Options{Path: dir, Choice: all(t)})
	defer s.Close()
	if _, found := s.Inspect(t.Context()); len(found) > 0 {
		t.Fatal(found)
	}
	if err := s.Stream(t.Context(), whole.ends[2], &notes{}); !errors.Is(err, ErrChanged) {
		t.Errorf("in other files: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "a.aof.1.base.aof"), other, 0o600); err != nil {
		t.Fatal(err)
	}
	if now := ids(dir); slices.Equal(now, before) {
		t.Error("another base is the same source")
	}
}

// TestGrows appends while the files are read: only what was there is read.
func TestGrows(t *testing.T) {
	text := []string{"SET key:1 " + strings.Repeat("x", onlyHead), "INCR b"}
	path := put(t, wire(text...))
	s := New(Options{Path: path, Choice: all(t)})
	defer s.Close()
	facts, found := s.Inspect(t.Context())
	if len(found) > 0 {
		t.Fatal(found)
	}
	file, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.Write(wire("RENAME a b")); err != nil {
		t.Fatal(err)
	}
	if found := s.Survey(t.Context(), &facts); !found.Has("aof_growing") || len(found.Blockers()) > 0 {
		t.Errorf("found %v", found)
	}
	if got := replayed(t, s); len(got.commands) != 2 {
		t.Errorf("got %q", got.commands)
	}
	if again, _ := New(Options{Path: path, Choice: all(t)}).Inspect(t.Context()); !slices.Equal(again.IDs, facts.IDs) {
		t.Errorf("appending made another source: %q, %q", facts.IDs, again.IDs)
	}
	text[0] = strings.Replace(text[0], "key:1", "key:2", 1)
	if other, _ := New(Options{Path: put(t, wire(text...)), Choice: all(t)}).Inspect(t.Context()); slices.Equal(other.IDs, facts.IDs) {
		t.Errorf("another file is the same source")
	}
}

// FuzzCommands reads anything: never beyond the file, and what is replayed is
// what the review let pass.
func FuzzCommands(f *testing.F) {
	f.Add(wire("SELECT 0", "SET a 1", "MULTI", "INCR a", "EXEC"))
	f.Add(wire("#TS:1000", "SET a 1", "FLUSHALL", "SET b 1 PXAT 1"))
	f.Add(wire("SELECT 2", "HPEXPIREAT a 1 FIELDS 1 f", "DEL a b", "RENAME a b", "FLUSHDB"))
	f.Add([]byte("*1\r\n$4\r\nPING\r\n*2\r\n$3\r\nDEL"))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(dir, "fuzz.aof")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		s, _, found := look(t, Options{Path: path, Via: Replay, MaxCommand: 1 << 20})
		defer s.Close()
		if len(found.Blockers()) > 0 || s.chosen.way != wayReplay {
			return
		}
		n := replayed(t, s)
		open := false
		for _, c := range n.commands {
			_, words, _ := strings.Cut(strings.ToUpper(c), ": ")
			open = words == "MULTI" || open && !strings.HasPrefix(words, "EXEC")
		}
		if end := n.marks[len(n.marks)-1].Serial; end > int64(len(data)) || open {
			t.Errorf("%q was read up to %d, open %v", n.commands, end, open)
		}
	})
}
