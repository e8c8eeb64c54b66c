package importer_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/slotferry/slotferry/checkpoint"
	"github.com/slotferry/slotferry/importer"
	"github.com/slotferry/slotferry/importer/choice"
	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/internal/dataset"
	"github.com/slotferry/slotferry/internal/sandbox"
)

// several starts a server with keys of the same names in databases 0, 3 and 9.
func several(t testing.TB, keys int) (*sandbox.Server, string) {
	t.Helper()
	src := source(t, sandbox.Options{})
	for _, db := range []int{0, 3, 9} {
		_, err := dataset.Fill(t.Context(), src.Client(), dataset.Options{Keys: keys, DB: db, Seed: int64(db), BinaryKeys: true})
		must(t, err)
	}
	return src, saved(t, src)
}

func TestSeveralDatabases(t *testing.T) {
	const keys = 400
	c := emptyCluster(t)
	src, path := several(t, keys)
	prefix := map[int]string{0: "", 3: "three:", 9: "nine:"}
	mapped := dataset.CompareOptions{Name: func(db int, key string) (string, bool) { return prefix[db] + key, true }}
	for how, from := range sources(t, src, path) {
		t.Run("refused "+how, func(t *testing.T) {
			empty(t, c)
			out := run{from: from, dir: t.TempDir()}.do(t)
			if how != "stream" {
				text := out.wantBlocked(t, "databases")
				for _, w := range []string{"db 0: 400 keys", "db 3: 400 keys", "db 9: 400 keys", "--db-map 3=db3:", "--db-map 9=db9:", `"db9:user:1"`} {
					if !strings.Contains(text, w) {
						t.Errorf("the error does not say %q: %s", w, text)
					}
				}
				if n := held(t); n != 0 {
					t.Errorf("%d keys were written", n)
				}
				return
			}
			text := out.wantMidway(t, "databases")
			if !strings.Contains(text, "databases 0 and 3") || !strings.Contains(text, "--db-map 3=db3:") {
				t.Errorf("the error does not say which: %s", text)
			}
			out.wantCounts(t, checkpoint.Counts{Read: keys, Written: keys})
			wantSame(t, src, dataset.CompareOptions{DBs: []int{0}})
		})
		t.Run("mapped "+how, func(t *testing.T) {
			empty(t, c)
			out := run{from: from, choice: choice.Options{DBMap: map[int]string{3: "three:", 9: "nine:"}}}.do(t)
			out.wantDone(t)
			out.wantCounts(t, checkpoint.Counts{Read: 3 * keys, Written: 3 * keys})
			wantSame(t, src, mapped)
		})
		t.Run("one chosen "+how, func(t *testing.T) {
			empty(t, c)
			out := run{from: from, choice: choice.Options{DBs: []int{3}}}.do(t)
			out.wantDone(t)
			want := checkpoint.Counts{Read: 3 * keys, Written: keys, Filtered: 2 * keys}
			if how == "scan" {
				want = checkpoint.Counts{Read: keys, Written: keys} // the others are not even scanned
			}
			out.wantCounts(t, want)
			wantSame(t, src, dataset.CompareOptions{DBs: []int{3}})
		})
		t.Run("resumed "+how, func(t *testing.T) {
			empty(t, c)
			r := run{from: from, dir: t.TempDir(), choice: choice.Options{DBMap: map[int]string{3: "three:", 9: "nine:"}}}
			for r.stop = 170; ; r.stop += 10 { // in and between all databases
				out := r.do(t)
				if out.err != nil {
					out.wantInterrupted(t)
					if how == "stream" {
						r.stop += 200 // it begins anew each time, because of names that could collide
					}
					continue
				}
				out.wantDone(t)
				if out.Runs < 4 {
					t.Errorf("only %d runs", out.Runs)
				}
				out.wantCounts(t, checkpoint.Counts{Read: 3 * keys, Written: 3 * keys})
				break
			}
			wantSame(t, src, mapped)
		})
	}
}

// TestSecondDatabaseAfterResume interrupts a stream between its databases: the
// second one is refused in the next run as well.
func TestSecondDatabaseAfterResume(t *testing.T) {
	const keys = 100
	emptyCluster(t)
	src, path := several(t, keys)
	r := run{from: fromStream(t, path, 1<<20), dir: t.TempDir(), stop: keys}
	first := r.do(t)
	first.wantInterrupted(t)
	first.wantCounts(t, checkpoint.Counts{Read: keys, Written: keys})
	r.stop = 0
	for range 2 {
		out := r.do(t)
		out.wantMidway(t, "databases")
		out.wantCounts(t, checkpoint.Counts{Read: keys, Written: keys})
	}
	wantSame(t, src, dataset.CompareOptions{DBs: []int{0}})
}

func TestCollisions(t *testing.T) {
	const keys = 200
	c := emptyCluster(t)
	src := source(t, sandbox.Options{})
	ctx := t.Context()
	for db := range 2 {
		_, err := dataset.Fill(ctx, src.Client(), dataset.Options{Keys: keys, DB: db})
		must(t, err)
	}
	// The last key of database 0 gets the name that one of database 1 will have.
	must(t, src.Client().Set(ctx, "one:key:00000001", "x", 0).Err())
	path := saved(t, src)
	mapped := choice.Options{DBMap: map[int]string{1: "one:"}}
	for how, from := range sources(t, src, path) {
		t.Run(how, func(t *testing.T) {
			empty(t, c)
			out := run{from: from, choice: mapped}.do(t)
			if how != "stream" {
				if text := out.wantBlocked(t, "collision"); !strings.Contains(text, "key:00000001") {
					t.Errorf("the error does not name the key: %s", text)
				}
				if n := held(t); n != 0 {
					t.Errorf("%d keys were written", n)
				}
				return
			}
			if text := out.wantMidway(t, "collision"); !strings.Contains(text, "key:00000001") || !strings.Contains(text, "db 1") {
				t.Errorf("the error does not name the key: %s", text)
			}
			if got := c.Client().Get(ctx, "one:key:00000001").Val(); got != "x" {
				t.Errorf("the first of the two keys was written over: %q", got)
			}
		})
	}
	t.Run("stream, seen only after it was resumed", func(t *testing.T) {
		empty(t, c)
		r := run{from: fromStream(t, path, 1<<20), choice: mapped, dir: t.TempDir(), stop: keys + 1}
		r.do(t).wantInterrupted(t)
		r.stop = 0
		r.do(t).wantMidway(t, "collision")
		if got := c.Client().Get(ctx, "one:key:00000001").Val(); got != "x" {
			t.Errorf("the first of the two keys was written over: %q", got)
		}
	})
	t.Run("stream, first database renamed", func(t *testing.T) {
		// What database 0 wrote can't be compared with a database that nobody announced.
		empty(t, c)
		out := run{from: fromStream(t, path, 1<<20), choice: choice.Options{DBMap: map[int]string{0: "zero:"}}}.do(t)
		out.wantMidway(t, "collisions_unknown")
		empty(t, c)
		out = run{from: fromStream(t, path, 1<<20), choice: choice.Options{DBMap: map[int]string{0: "zero:", 1: ""}}}.do(t)
		out.wantDone(t)
		out.wantCounts(t, checkpoint.Counts{Read: 2*keys + 1, Written: 2*keys + 1})
	})
	t.Run("renamed", func(t *testing.T) {
		empty(t, c)
		must(t, src.Client().Set(ctx, "a:1", "x", 0).Err(), src.Client().Set(ctx, "b:1", "y", 0).Err())
		again := saved(t, src)
		for _, from := range sources(t, src, again) {
			out := run{from: from, choice: choice.Options{DBs: []int{0}, Rename: []choice.Rename{{Old: "a:", New: "b:"}}}}.do(t)
			if out.Status == importer.Done {
				t.Errorf("two keys of one name: %+v", out.Counts)
			}
		}
		must(t, src.Client().Del(ctx, "b:1").Err())
		again = saved(t, src)
		for _, from := range sources(t, src, again) {
			empty(t, c)
			run{from: from, choice: choice.Options{DBs: []int{0}, Rename: []choice.Rename{{Old: "a:", New: "b:"}}}}.do(t).wantDone(t)
		}
	})
}

// TestDatabaseAppearsMidway writes to another database of the source while the
// first is scanned and the source starts again.
func TestDatabaseAppearsMidway(t *testing.T) {
	emptyCluster(t)
	src, _ := mixed(t, 500)
	other := inDB(t, src, 2)
	r := run{from: fromServer(src), each: func(n int, _ *record.Record) {
		if n == 300 {
			expect(t, other.Set(t.Context(), "late", "x", 0).Err(), src.Restart(t.Context()))
		}
	}}
	out := r.do(t)
	if text := out.wantMidway(t, "databases"); !strings.Contains(text, "databases 0 and 2") {
		t.Error(text)
	}
	if n := shared.cluster.Client().Exists(t.Context(), "late").Val(); n != 0 {
		t.Error("the other database's key was written")
	}
}

// TestManySmallDatabases scans databases that fit into a page, one of them of
// filtered keys alone.
func TestManySmallDatabases(t *testing.T) {
	emptyCluster(t)
	src := source(t, sandbox.Options{})
	maps := map[int]string{}
	want := int64(0)
	for db := range 16 {
		maps[db] = fmt.Sprintf("%d:", db)
		c := inDB(t, src, db)
		for i := range db * 7 {
			name := "k"
			if db%5 == 4 {
				name = "left out"
			} else {
				want++
			}
			must(t, c.Set(t.Context(), fmt.Sprintf("%s:%d", name, i), db, 0).Err())
		}
	}
	for how, from := range sources(t, src, saved(t, src)) {
		empty(t, shared.cluster)
		out := run{from: from, choice: choice.Options{DBMap: maps, Exclude: []string{"left out*"}}}.do(t)
		out.wantDone(t)
		if out.Written != want || out.Filtered != 7*(4+9+14) {
			t.Errorf("%s: %+v", how, out.Counts)
		}
		wantSame(t, src, dataset.CompareOptions{Name: func(db int, key string) (string, bool) {
			return maps[db] + key, strings.HasPrefix(key, "k")
		}})
	}
}
