package aof

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/internal/dataset"
	"github.com/slotferry/slotferry/internal/sandbox"
	"github.com/slotferry/slotferry/internal/sandbox/sandboxtest"
	"github.com/slotferry/slotferry/rdbparse"
)

// taker is a sink that a plain server stands behind.
type taker struct {
	ctx  context.Context
	conn *redis.Conn
	db   int

	n int
}

func (s *taker) do(words ...any) error {
	err := s.conn.Do(s.ctx, words...).Err()
	if errors.Is(err, redis.Nil) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%.200q: %w", words, err)
	}
	return nil
}

func (s *taker) choose(db int) error {
	if db == s.db {
		return nil
	}
	s.db = db
	return s.do("SELECT", db)
}

func (s *taker) Record(r *record.Record) error {
	if r.Fate != record.Copy {
		return fmt.Errorf("%q: fate %d, %s", r.Key, r.Fate, r.Reason)
	}
	value := r.Value
	if r.Large != nil {
		var err error
		if value, err = io.ReadAll(r.Large); err != nil {
			return err
		}
	}
	if err := s.choose(r.DB); err != nil {
		return err
	}
	return s.do("RESTORE", r.Key, r.ExpireAt, rdbparse.AppendPayload(nil, r.Type, value, r.Version), "ABSTTL")
}

func (s *taker) Program(p record.Program) error { return s.do("FUNCTION", "LOAD", p.Code) }
func (s *taker) Mark(record.Position) error     { return nil }
func (s *taker) Idle() error                    { return nil }
func (s *taker) Copied(record.Position) error   { return s.choose(0) }

func (s *taker) Command(c *record.Command) error {
	s.n++
	words := make([]any, len(c.Words))
	for i, w := range c.Words {
		words[i] = w
	}
	if err := s.choose(c.DB); err != nil {
		return err
	}
	return s.do(words...)
}

// sameData has a plain server take what a source yields, and compares.
func sameData(t *testing.T, s *Source, binary, want string) *taker {
	t.Helper()
	to := sandboxtest.Server(t, sandbox.Options{Binary: binary, Args: debugging(binary)})
	conn := to.Client().Conn()
	defer conn.Close()
	sink := &taker{ctx: t.Context(), conn: conn}
	if err := s.Stream(t.Context(), record.Position{}, sink); err != nil {
		t.Fatal(err)
	}
	if got := digest(t, to); got != want {
		t.Errorf("the keys differ: %s, want %s", got, want)
	}
	return sink
}

func digest(t *testing.T, s *sandbox.Server) string {
	t.Helper()
	d, err := s.Client().Do(t.Context(), "DEBUG", "DIGEST").Text()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func debugging(binary string) []string {
	if strings.Contains(binary, "redis-6.0") {
		return nil
	}
	return []string{"--enable-debug-command", "yes"}
}

// binaries are the servers to test with: "" for the installed one.
func binaries() map[string]string {
	m := map[string]string{"installed": ""}
	for _, name := range []string{"redis-6.0", "redis-7.0", "redis-8.6", "valkey-9.1"} {
		binary := filepath.Join(os.Getenv("SLOTFERRY_SERVERS"), name, "bin", "redis-server")
		if _, err := os.Stat(binary); err == nil && os.Getenv("SLOTFERRY_SERVERS") != "" {
			m[name] = binary
		}
	}
	return m
}

// live starts a server that appends, with its data: a base of all types and what
// followed it, up to two increments.
func live(t *testing.T, binary string, preamble bool, args ...string) (*sandbox.Server, string) {
	t.Helper()
	yes := map[bool]string{true: "yes", false: "no"}[preamble]
	// Without fsync every write is in the file before it is answered.
	o := sandbox.Options{Binary: binary, AppendOnly: true, Args: slices.Concat(debugging(binary), []string{"--aof-use-rdb-preamble", yes, "--appendfsync", "no"}, args)}
	s, ctx := sandboxtest.Server(t, o), t.Context()
	if _, err := dataset.Fill(ctx, s.Client(), dataset.Options{Keys: 400, BinaryKeys: true, Functions: preamble}); err != nil {
		t.Fatal(err)
	}
	if err := s.Client().BgRewriteAOF(ctx).Err(); err != nil {
		t.Fatal(err)
	}
	for done := false; !done; {
		info, err := s.Client().Info(ctx, "persistence").Result()
		if err != nil {
			t.Fatal(err)
		}
		done = field(info, "aof_rewrite_in_progress")+field(info, "aof_rewrite_scheduled") == 0
		time.Sleep(20 * time.Millisecond)
	}
	conn := s.Client().Conn()
	defer conn.Close()
	run(t, conn, "SET late 1", "INCR late", "EXPIRE late 90000", "SETEX later 90000 x", "LPUSH {q} a b c", "RPOPLPUSH {q} {q}2", "MULTI", "INCR m", "INCR n", "EXEC",
		"SADD s a b c d", "SPOP s 2", "XADD x * f v", "XGROUP CREATE x g 0", "XREADGROUP GROUP g c STREAMS x >", "ZADD z 1 a 2 b", "ZPOPMIN z", "HINCRBYFLOAT h f 1.5",
		"SET gone 1 PX 1", "DEL m", "MSET a 1 b 2 c 3", "BITFIELD bf SET u8 0 200", "PFADD p a b c", "GETDEL nothing", "SETRANGE late 5 x")
	path := filepath.Join(s.Dir, appendDir)
	if _, err := os.Stat(path); err != nil {
		path = filepath.Join(s.Dir, appendName)
	}
	return s, path
}

// run sends commands; a newer one that the server does not know is no fault.
func run(t *testing.T, conn *redis.Conn, lines ...string) {
	t.Helper()
	for _, line := range lines {
		var words []any
		for _, w := range strings.Fields(line) {
			words = append(words, w)
		}
		if err := conn.Do(t.Context(), words...).Err(); err != nil && !errors.Is(err, redis.Nil) && !strings.Contains(err.Error(), "unknown command") {
			t.Fatalf("%s: %v", line, err)
		}
	}
}

// TestServers reads what real servers wrote, in each way, and compares with
// what they hold.
func TestServers(t *testing.T) {
	all := binaries()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		binary := all[name]
		for _, preamble := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/preamble=%v", name, preamble), func(t *testing.T) {
				s, path := live(t, binary, preamble)
				time.Sleep(5 * time.Millisecond)
				run(t, s.Client().Conn(), "GET gone") // it expires then at the latest
				want := digest(t, s)
				source := well(t, Options{Path: path, Via: Replay})
				if source.chosen.way != wayReplay || (source.base != nil) != preamble {
					t.Fatalf("%+v, base %v", source.chosen, source.base)
				}
				if sink := sameData(t, source, binary, want); sink.n < 25 {
					t.Errorf("%d commands", sink.n)
				}
				work := t.TempDir()
				source = well(t, Options{Path: path, Via: Scratch, WorkDir: work, ScratchServer: s.Binary})
				if source.chosen.way != wayScratch {
					t.Fatalf("%+v", source.chosen)
				}
				sameData(t, source, binary, want)

				run(t, s.Client().Conn(), "RENAME a b", "SDIFFSTORE y s z2")
				want = digest(t, s)
				source = well(t, Options{Path: path, WorkDir: work, ScratchServer: s.Binary})
				if source.chosen.way != wayScratch {
					t.Fatalf("%+v", source.chosen)
				}
				sameData(t, source, binary, want)
				if d := digest(t, s); d != want {
					t.Errorf("the source has changed: %s, %s", d, want)
				}
				if left, err := filepath.Glob(filepath.Join(work, "*")); err != nil || len(left) != 2 {
					t.Errorf("left there: %v", left)
				}
				if err := source.Discard(); err != nil {
					t.Error(err)
				}
				if left, _ := os.ReadDir(work); len(left) != 0 {
					t.Errorf("left there: %v", left)
				}
			})
		}
	}
}

// TestBaseOnly walks the RDB where nothing follows it.
func TestBaseOnly(t *testing.T) {
	noServer(t)
	data, err := os.ReadFile(filepath.Join("..", "..", "..", "rdbparse", "testdata", "redis-7.0.rdb"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{put(t, data), folder(t, data, nil), folder(t, data, []byte("#TS:1000\r\n"))} {
		s, facts, found := look(t, Options{Path: path, Values: true})
		if len(found.Blockers()) > 0 || s.chosen.way != wayBase || facts.Total() == 0 {
			t.Fatalf("%v, %+v, %d keys", found, s.chosen, facts.Total())
		}
		n := &notes{}
		if err := s.Stream(t.Context(), record.Position{}, n); err != nil || int64(len(n.records)) != facts.Total() {
			t.Fatalf("%d records of %d, %v", len(n.records), facts.Total(), err)
		}
		names := 0
		if err := s.Names(t.Context(), func(int, []byte) error { names++; return nil }); err != nil || names != len(n.records) {
			t.Errorf("%d names, %v", names, err)
		}
	}
}
