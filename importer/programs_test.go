package importer_test

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/slotferry/slotferry/importer"
	"github.com/slotferry/slotferry/importer/choice"
	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/importer/target"
	"github.com/slotferry/slotferry/internal/sandbox"
	"github.com/slotferry/slotferry/rdbparse"
)

const (
	first  = "#!lua name=first\nredis.register_function('answer', function(keys, args) return 42 end)\n"
	second = "#!lua name=second\nredis.register_function{function_name='get', callback=function(keys) return redis.call('GET', keys[1]) end, flags={'no-writes'}}\n"
)

func libraries(t testing.TB, client *redis.Client) map[string]string {
	t.Helper()
	list, err := client.FunctionList(t.Context(), redis.FunctionListQuery{WithCode: true}).Result()
	must(t, err)
	codes := map[string]string{}
	for _, l := range list {
		codes[l.Name] = l.Code
	}
	return codes
}

func TestFunctions(t *testing.T) {
	c := emptyCluster(t)
	src := source(t, sandbox.Options{})
	if !src.Version.AtLeast(7, 0) {
		t.Skip("functions came with 7.0")
	}
	ctx := t.Context()
	must(t, src.Client().FunctionLoad(ctx, first).Err(), src.Client().FunctionLoad(ctx, second).Err(), src.Client().Set(ctx, "k", "v", 0).Err())
	path := saved(t, src)
	masters, err := c.Masters(ctx)
	must(t, err)
	const mine = "#!lua name=first\nredis.register_function('answer', function(keys, args) return 41 end)\n"
	for how, from := range sources(t, src, path) {
		t.Run(how, func(t *testing.T) {
			empty(t, c)
			run{from: from}.do(t).wantDone(t)
			for _, m := range masters {
				if got := libraries(t, m.Client()); len(got) != 2 || got["first"] != first || got["second"] != second {
					t.Errorf("%s has %q", m.Addr, got)
				}
			}
			if got, err := masters[2].Client().FCall(ctx, "answer", nil).Int(); err != nil || got != 42 {
				t.Errorf("answer = %d, %v", got, err)
			}
		})
		for policy, tc := range map[target.Functions]struct {
			want string
			fail bool
		}{target.ReplaceFunctions: {first, false}, target.SkipFunctions: {mine, false}, target.FailFunctions: {mine, true}} {
			empty(t, c)
			must(t, masters[1].Client().FunctionLoad(ctx, mine).Err())
			out := run{from: from, target: func(o *target.Options) { o.Functions = policy }}.do(t)
			if tc.fail != errors.Is(out.err, target.ErrProgram) || tc.fail != (out.Status == importer.Failed) {
				t.Errorf("%s, policy %d: %s, %v", how, policy, out.Status, out.err)
			}
			if got := libraries(t, masters[1].Client())["first"]; got != tc.want {
				t.Errorf("%s, policy %d: the library is %q", how, policy, got)
			}
		}
	}
	t.Run("interrupted and resumed", func(t *testing.T) {
		empty(t, c)
		r := run{from: fromServer(src), dir: t.TempDir(), stop: 1}
		r.target = func(o *target.Options) { o.Functions = target.FailFunctions }
		r.do(t).wantInterrupted(t)
		r.stop = 0
		r.do(t).wantDone(t) // those that are there are its own
	})
}

// TestScripts brings over the script cache that servers before 7.0 keep in
// their files.
func TestScripts(t *testing.T) {
	c := emptyCluster(t)
	path := "../rdbparse/testdata/redis-6.0.rdb"
	in, err := os.Open(path)
	must(t, err)
	defer in.Close()
	w, err := rdbparse.NewWalker(in, rdbparse.Options{})
	must(t, err)
	var sums []string
	for {
		e, err := w.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		must(t, err)
		if e.Kind == rdbparse.KindAux && string(e.Name) == "lua" {
			sum := sha1.Sum(e.Text)
			sums = append(sums, hex.EncodeToString(sum[:]))
		}
	}
	if len(sums) == 0 {
		t.Fatal("the file has no scripts")
	}
	run{from: fromFile(path), choice: choice.Options{DBs: []int{0}}}.do(t).wantDone(t)
	masters, err := c.Masters(t.Context())
	must(t, err)
	for _, m := range masters {
		there, err := m.Client().ScriptExists(t.Context(), sums...).Result()
		must(t, err)
		for i, ok := range there {
			if !ok {
				t.Errorf("%s lacks script %s", m.Addr, sums[i])
			}
		}
	}
}

// broken is a source that yields a library which no server takes.
type broken struct{ importer.Source }

func (b broken) Stream(_ context.Context, _ record.Position, sink record.Sink) error {
	return sink.Program(record.Program{Function: true, Code: "#!lua name=broken\nthis is no Lua"})
}

func TestBrokenLibrary(t *testing.T) {
	emptyCluster(t)
	src, _ := mixed(t, 1)
	out := run{from: func(b *bench) importer.Source { return broken{fromServer(src)(b)} }}.do(t)
	if !errors.Is(out.err, target.ErrProgram) || out.Status != importer.Failed || !strings.Contains(out.err.Error(), "broken") {
		t.Errorf("%s, %v", out.Status, out.err)
	}
}
