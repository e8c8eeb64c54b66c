package effect_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/slotferry/slotferry/importer/effect"
	"github.com/slotferry/slotferry/internal/sandbox"
	"github.com/slotferry/slotferry/internal/sandbox/sandboxtest"
)

// versions starts a server of each version at hand, one after the other.
func versions(t *testing.T, test func(t *testing.T, s *sandbox.Server)) {
	binaries := map[string]string{"the system's": ""}
	if dir := os.Getenv("SLOTFERRY_SERVERS"); dir != "" {
		paths, _ := filepath.Glob(filepath.Join(dir, "*", "bin", "redis-server")) // the pattern is sound
		for _, path := range paths {
			binaries[filepath.Base(filepath.Dir(filepath.Dir(path)))] = path
		}
	}
	for name, binary := range binaries {
		t.Run(name, func(t *testing.T) {
			test(t, sandboxtest.Server(t, sandbox.Options{Binary: binary, Args: []string{"--repl-diskless-sync", "no"}}))
		})
	}
}

func TestServers(t *testing.T) {
	versions(t, func(t *testing.T, s *sandbox.Server) {
		known := commandsOf(t, s.Client())
		t.Run("keys and flags", func(t *testing.T) { compareTable(t, known) })
		t.Run("movable keys", func(t *testing.T) { compareKeys(t, s.Client(), known) })
		t.Run("changed keys", func(t *testing.T) { watchChanges(t, s.Client(), known) })
		t.Run("replication stream", func(t *testing.T) { followStream(t, s, known) })
		t.Run("rewritten file", func(t *testing.T) { readRewritten(t, s) })
		t.Run("absolute expiries", func(t *testing.T) { runAbsolute(t, s, known) })
	})
}

// info is a line of a server's COMMAND.
type info struct {
	arity, first, last, step int
	write, movable           bool
}

func commandsOf(t *testing.T, c *redis.Client) map[string]info {
	t.Helper()
	lines, err := c.Do(t.Context(), "COMMAND").Slice()
	if err != nil || len(lines) < 200 {
		t.Fatalf("%d commands, %v", len(lines), err)
	}
	known := map[string]info{}
	var add func(line []any, write bool)
	add = func(line []any, write bool) {
		in := info{arity: int(line[1].(int64)), first: int(line[3].(int64)), last: int(line[4].(int64)), step: int(line[5].(int64)), write: write}
		for _, f := range line[2].([]any) {
			in.write = in.write || f == "write"
			in.movable = in.movable || f == "movablekeys"
		}
		name, sub, _ := strings.Cut(strings.ToUpper(line[0].(string)), "|")
		if sub == "" {
			known[name] = in
		} else if parent := known[name]; in.write && !parent.write {
			parent.write, parent.first, parent.last, parent.step = true, in.first, in.last, in.step
			known[name] = parent
		}
		if len(line) > 9 {
			for _, l := range line[9].([]any) {
				add(l.([]any), false)
			}
		}
	}
	for _, l := range lines {
		add(l.([]any), false)
	}
	return known
}

// clusterOnly are writing commands that do something in a cluster only.
var clusterOnly = []string{"CLUSTER", "TRIMSLOTS"}

// compareTable runs every writing command of the server with as many words as it
// asks for, and looks at what was made of them.
func compareTable(t *testing.T, known map[string]info) {
	for name, in := range known {
		if !in.write || slices.Contains(clusterOnly, name) {
			continue
		}
		n := max(in.arity, -in.arity)
		if n == 1 && in.first > 0 { // a module's command, which counts its words itself
			n = 6
		}
		words := strings.Fields(strings.ToLower(name) + strings.Repeat(" 1", n-1))
		var e effect.Effect
		err := effect.Of(split(words), 0, &e)
		if e.Kind == effect.Unknown || e.Name != name {
			t.Errorf("%s is not in the table", name)
			continue
		}
		if in.movable || in.first == 0 || e.Kind == effect.Nothing || name == "XGROUP" {
			continue // see compareKeys
		}
		var want []int
		last := in.last
		if last < 0 {
			last += len(words)
		}
		for i := in.first; i <= last; i += in.step {
			want = append(want, i)
		}
		if fields := strings.HasPrefix(name, "H") && strings.HasSuffix(name, "EX"); err != nil && fields {
			continue // needs the word FIELDS
		}
		if err != nil || !slices.Equal(e.Keys, want) {
			t.Errorf("%q: %+v, %v; its keys are %v", words, e, err, want)
		}
	}
}

// compareKeys compares keys with those that the server's COMMAND GETKEYS finds.
func compareKeys(t *testing.T, c *redis.Client, known map[string]info) {
	compared := 0
	for _, line := range append(slices.Clone(movable), writes...) {
		words := strings.Fields(strings.TrimPrefix(line, "?"))
		if _, ok := known[words[0]]; !ok {
			continue
		}
		var e effect.Effect
		err := effect.Of(split(words), 0, &e)
		if err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		args := []any{"COMMAND", "GETKEYS"}
		for _, w := range words {
			args = append(args, w)
		}
		want, err := c.Do(t.Context(), args...).StringSlice()
		if err != nil || e.Kind == effect.Nothing { // the server knows no keys of it, or none that are written
			continue
		}
		compared++
		if got := keysOf(words, e.Keys); !slices.Equal(sorted(got), sorted(want)) {
			t.Errorf("%s: %v, the server says %v", line, got, want)
		}
	}
	if compared < 120 {
		t.Errorf("only %d commands were compared", compared)
	}
}

func sorted(s []string) []string { s = slices.Clone(s); slices.Sort(s); return s }

func keysOf(words []string, at []int) []string {
	var keys []string
	for _, i := range at {
		keys = append(keys, words[i])
	}
	return keys
}

func split(words []string) [][]byte {
	out := make([][]byte, len(words))
	for i, w := range words {
		out[i] = []byte(w)
	}
	return out
}

// run runs a line, whose words are separated by spaces.
func run(ctx context.Context, c interface {
	Do(context.Context, ...any) *redis.Cmd
}, line string, instead ...string) error {
	var args []any
	for _, w := range strings.Split(line, " ") {
		if i := slices.Index(instead, w); i >= 0 {
			w = instead[i+1]
		} else {
			w = strings.ReplaceAll(w, "^", " ")
		}
		args = append(args, w)
	}
	if err := c.Do(ctx, args...).Err(); err != nil && err != redis.Nil {
		return err
	}
	return nil
}

// runAbsolute runs commands with a relative expiry as if they were older than
// they are, and asks the server when the key expires.
func runAbsolute(t *testing.T, s *sandbox.Server, known map[string]info) {
	ctx, c := t.Context(), s.Client()
	dump, err := c.Dump(ctx, "s:expiring").Result()
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().Add(-time.Hour).UnixMilli()
	for _, tc := range []struct {
		line  string
		after int64
	}{
		{"EXPIRE k 7200", 7200e3},
		{"PEXPIRE k 7200001", 7200001},
		{"SETEX k 7200 v", 7200e3},
		{"PSETEX k 7200001 v", 7200001},
		{"SET k v EX 7200", 7200e3},
		{"SET k v XX PX 7200001", 7200001},
		{"GETEX k EX 7200", 7200e3},
		{"RESTORE k 7200001 DUMP REPLACE", 7200001},
		{"MSETEX 1 k v EX 7200", 7200e3},
		{"HEXPIRE h 7200 FIELDS 1 f", 7200e3},
		{"HPEXPIRE h 7200001 FIELDS 1 f", 7200001},
		{"HSETEX h EX 7200 FIELDS 1 f v", 7200e3},
		{"HGETEX h PX 7200001 FIELDS 1 f", 7200001},
	} {
		words := strings.Fields(tc.line)
		if _, ok := known[words[0]]; !ok {
			continue
		}
		for _, before := range []string{"DEL k h", "SET k v", "HSET h f v"} {
			if err := run(ctx, c, before); err != nil {
				t.Fatal(err)
			}
		}
		for i, w := range words {
			if w == "DUMP" {
				words[i] = dump
			}
		}
		for _, command := range effect.Absolute(split(words), now, nil) {
			var args []any
			for _, w := range command {
				args = append(args, w)
			}
			if err := c.Do(ctx, args...).Err(); err != nil {
				t.Errorf("%s became %q: %v", tc.line, command, err)
			}
		}
		ask := []any{"PTTL", "k"}
		if words[0][0] == 'H' {
			ask = []any{"HPTTL", "h", "FIELDS", 1, "f"}
		}
		reply, err := c.Do(ctx, ask...).Result()
		if list, ok := reply.([]any); ok && len(list) == 1 {
			reply = list[0]
		}
		left, ok := reply.(int64)
		// An hour has gone by, and at most a minute since.
		if hour := int64(3600e3); err != nil || !ok || left > tc.after-hour || left < tc.after-hour-60e3 {
			t.Errorf("%s: %v, %v are left", tc.line, fmt.Sprint(reply), err)
		}
	}
}
