package aof

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slotferry/slotferry/importer/preflight"
	"github.com/slotferry/slotferry/importer/record"
)

// spread is commands that only a server can make values of.
func spread(n int) []byte {
	lines := []string{"SET a 1", "RENAME a b"}
	for i := range n {
		lines = append(lines, fmt.Sprintf("RPUSH list:%d %d two three", i, i))
	}
	return wire(lines...)
}

// TestScratchPlaces has the server load what is cut, joined or linked, and looks
// that nothing of the files was changed.
func TestScratchPlaces(t *testing.T) {
	first, second := wire("#TS:1000", "SELECT 3", "SET a 1", "RENAME a b"), wire("SET c 1", "RENAME c d", "#TS:1010", "MULTI", "SET e 1", "EXEC", "#TS:1020", "MULTI", "SET f 1")
	for _, tc := range []struct {
		name  string
		until int64
		want  string
	}{
		{"an open transaction", 0, "0 d, 0 e, 3 b"},
		{"until then", 1005, "0 d, 3 b"},
		{"all", 1015, "0 d, 0 e, 3 b"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := folder(t, first, second)
			before := listing(t, dir)
			o := Options{Path: dir, Values: true, WorkDir: t.TempDir()}
			if tc.until != 0 {
				o.Until = time.Unix(tc.until, 0)
			}
			s := well(t, o)
			n := &notes{}
			if err := s.Stream(t.Context(), record.Position{}, n); err != nil {
				t.Fatal(err)
			}
			if got := names(n.records); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
			if after := listing(t, dir); after != before {
				t.Errorf("the files were %s, are %s", before, after)
			}
		})
	}
	t.Run("a long command", func(t *testing.T) {
		text := slices.Concat(wire("SET a 1", "SET big "+strings.Repeat("x", 5000), "RENAME a b", "MULTI", "SET c 1"), []byte("*2\r\n$3"))
		s := well(t, Options{Path: put(t, text), MaxCommand: 4096, WorkDir: t.TempDir()})
		n := &notes{}
		if err := s.Stream(t.Context(), record.Position{}, n); err != nil || names(n.records) != "0 b, 0 big" {
			t.Errorf("got %q, %v", names(n.records), err)
		}
	})
	t.Run("joined for an old server", func(t *testing.T) {
		s := well(t, Options{Path: folder(t, first, second), Via: Scratch, WorkDir: t.TempDir()})
		dir := t.TempDir()
		if err := s.lay(t.Context(), dir, &reviewed{end: s.chosen.end}, false); err != nil {
			t.Fatal(err)
		}
		program, err := s.program()
		if err != nil {
			t.Fatal(err)
		}
		server := &server{program: program, dir: dir, pulse: &s.pulse, log: s.log, databases: 4}
		if err := server.save(t.Context()); err != nil {
			t.Fatal(err)
		}
		joined := well(t, Options{Path: filepath.Join(dir, dumpName)})
		n := &notes{}
		if err := joined.Stream(t.Context(), record.Position{}, n); err != nil || names(n.records) != "0 d, 0 e, 3 b" {
			t.Errorf("got %q, %v", n.records, err)
		}
	})
}

func names(records []string) string {
	var out []string
	for _, r := range records {
		words := strings.Fields(r)
		out = append(out, words[0]+" "+strings.Trim(words[1], `"`))
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

func listing(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s: %q\n", e.Name(), data)
	}
	return b.String()
}

// TestScratchResume goes on from each mark, in the RDB that was made before.
func TestScratchResume(t *testing.T) {
	path, work := put(t, spread(9000)), t.TempDir()
	o := Options{Path: path, WorkDir: work}
	whole := &notes{}
	if err := well(t, o).Stream(t.Context(), record.Position{}, whole); err != nil {
		t.Fatal(err)
	}
	if len(whole.records) != 9001 || len(whole.marks) < 3 {
		t.Fatalf("%d records, %d marks", len(whole.records), len(whole.marks))
	}
	file, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.Write(wire("SET more 1")); err != nil {
		t.Fatal(err)
	}
	_ = file.Close()
	resume := func(from record.Position) (*notes, error) {
		t.Setenv("PATH", "") // no server is needed any more
		s := New(Options{Path: path, WorkDir: work, Choice: all(t)})
		defer s.Close()
		if _, found := s.Inspect(t.Context()); len(found) > 0 {
			t.Fatal(found)
		}
		n := &notes{}
		return n, s.Stream(t.Context(), from, n)
	}
	for i, m := range whole.marks {
		rest, err := resume(m)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(rest.records, whole.records[whole.at[i]:]) {
			t.Errorf("from %+v: %d records, want %d", m, len(rest.records), len(whole.records)-whole.at[i])
		}
	}
	if err := New(o).Discard(); err != nil {
		t.Fatal(err)
	}
	if _, err := resume(whole.marks[0]); err == nil || !strings.Contains(err.Error(), "it is gone") {
		t.Errorf("without the RDB: %v", err)
	}
}

// TestScratchRefused tells the server's own words.
func TestScratchRefused(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("..", "..", "..", "rdbparse", "testdata", "redis-7.0.rdb"))
	if err != nil {
		t.Fatal(err)
	}
	newer := slices.Concat(data[:5], []byte("0050"), data[9:])
	script := filepath.Join(t.TempDir(), "server")
	if err := os.WriteFile(script, []byte("#!/bin/sh\necho hello\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, server string
		contents     []byte
		want         string
	}{
		{"newer RDB", "", slices.Concat(newer, wire("SET a 1")), "RDB format version 50"},
		{"unknown command", "", wire("SET a 1", "BF.ADD a b"), "Unknown command 'BF.ADD'"},
		{"failing command", "", wire("SET a x", "INCR a"), "1 commands of the files failed there"},
		{"no server", script, spread(1), `no redis-server or valkey-server: --version says "hello\n"`},
		{"not there", "/nowhere/redis-server", spread(1), "can't be run"},
		{"a folder", t.TempDir(), spread(1), "can't be run"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			work := t.TempDir()
			_, _, found := look(t, Options{Path: put(t, tc.contents), Via: Scratch, WorkDir: work, ScratchServer: tc.server})
			if !found.Has("scratch_failed", "aof_needs_server") || !strings.Contains(fmt.Sprint(found), tc.want) {
				t.Errorf("got %v", found)
			}
			if left, err := os.ReadDir(work); err != nil || len(left) > 0 {
				t.Errorf("left there: %v, %v", left, err)
			}
		})
	}
}

// TestScratchInterrupted ends the server with the survey.
func TestScratchInterrupted(t *testing.T) {
	work := t.TempDir()
	s := New(Options{Path: put(t, spread(200_000)), Choice: all(t), Via: Scratch, WorkDir: work})
	defer s.Close()
	facts, found := s.Inspect(t.Context())
	if len(found) > 0 {
		t.Fatal(found)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		for {
			if made, _ := filepath.Glob(filepath.Join(work, scratchPrefix+"*", appendDir)); len(made) > 0 {
				cancel(errors.New("enough"))
				return
			}
			if ctx.Err() != nil {
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	found = s.Survey(ctx, &facts)
	cancel(nil)
	if !found.Has("interrupted") || s.chosen != nil {
		t.Errorf("found %v", found)
	}
	if left, err := os.ReadDir(work); err != nil || len(left) > 0 {
		t.Errorf("left there: %v, %v", left, err)
	}
}

// TestSweep removes what a killed run left, and not what another one works with.
func TestSweep(t *testing.T) {
	work := t.TempDir()
	dead := filepath.Join(work, scratchPrefix+"dead")
	if err := os.Mkdir(dead, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dead, lockName), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	path := put(t, spread(1))
	seen := false
	done := make(chan preflight.Findings)
	s := New(Options{Path: path, Choice: all(t), Via: Scratch, WorkDir: work})
	defer s.Close()
	facts, _ := s.Inspect(t.Context())
	go func() { done <- s.Survey(t.Context(), &facts) }()
	for {
		select {
		case found := <-done:
			if _, err := os.Stat(dead); err == nil || len(found) > 0 {
				t.Errorf("%s is there still; %v", dead, found)
			}
			if !seen {
				t.Log("the other one was too quick to be seen")
			}
			return
		default:
			made, _ := filepath.Glob(filepath.Join(work, scratchPrefix+"*", appendDir))
			seen = seen || len(made) > 0
			if len(made) > 0 {
				sweep(work)
			}
		}
	}
}
