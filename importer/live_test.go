package importer_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/slotferry/slotferry/checkpoint"
	"github.com/slotferry/slotferry/importer"
	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/importer/source/scan"
	"github.com/slotferry/slotferry/internal/dataset"
	"github.com/slotferry/slotferry/internal/sandbox"
)

// TestSourceRestartsMidway restarts the source while it is scanned: the cursor
// is void, so the scan begins anew, and says so.
func TestSourceRestartsMidway(t *testing.T) {
	const keys = 2000
	emptyCluster(t)
	src, _ := mixed(t, keys)
	r := run{from: fromServer(src), each: func(n int, _ *record.Record) {
		if n == 700 {
			expect(t, src.Restart(t.Context()))
		}
	}}
	out := r.do(t)
	out.wantDone(t)
	if n := out.source.(*scan.Source).Restarts(); n != 1 || !strings.Contains(out.log, "the source was restarted") {
		t.Errorf("%d restarts noticed\n%s", n, out.log)
	}
	if out.Read <= keys || out.UniqueAtLeast != keys || out.Failed != 0 {
		t.Errorf("counts %+v, unique %d", out.Counts, out.UniqueAtLeast)
	}
	wantSame(t, src, dataset.CompareOptions{})
}

// TestCursorGoesOn resumes a scan on the same server process: nothing before
// the cursor is read again.
func TestCursorGoesOn(t *testing.T) {
	const keys = 2000
	emptyCluster(t)
	src, _ := mixed(t, keys)
	must(t, src.Restart(t.Context())) // its table has its size now
	r := run{from: fromServer(src), dir: t.TempDir(), stop: 900}
	first := r.do(t)
	first.wantInterrupted(t)
	read := 0
	r.stop, r.each = 0, func(n int, _ *record.Record) { read = n }
	out := r.do(t)
	out.wantDone(t)
	if int64(read) != keys-first.Read || out.Read != keys || first.Read < 700 {
		t.Errorf("%d keys read after %d; in all %d", read, first.Read, out.Read)
	}
	if strings.Contains(out.log, "restarted") {
		t.Errorf("it says that the source was restarted\n%s", out.log)
	}
	wantSame(t, src, dataset.CompareOptions{})
}

// TestConnectionIsKilled has the source end the connection again and again.
func TestConnectionIsKilled(t *testing.T) {
	const keys = 2000
	emptyCluster(t)
	src, _ := mixed(t, keys)
	admin := src.Client()
	kills := 0
	r := run{from: fromServer(src), each: func(n int, _ *record.Record) {
		if n%450 == 0 {
			kills++
			expect(t, admin.Do(t.Context(), "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes").Err())
		}
	}}
	out := r.do(t)
	out.wantDone(t)
	if kills < 4 || !strings.Contains(out.log, "trying again") {
		t.Errorf("killed %d times\n%s", kills, out.log)
	}
	if out.Read < keys || out.UniqueAtLeast != keys {
		t.Errorf("counts %+v, unique %d", out.Counts, out.UniqueAtLeast)
	}
	wantSame(t, src, dataset.CompareOptions{})
}

// TestSourceStops freezes the source for longer than a connection may be
// silent.
func TestSourceStops(t *testing.T) {
	const keys = 2000
	emptyCluster(t)
	src, _ := mixed(t, keys)
	r := run{from: fromServer(src, func(o *scan.Options) { o.Timeout = 200 * time.Millisecond })}
	r.each = func(n int, _ *record.Record) {
		if n == 500 {
			expect(t, src.Pause())
			time.AfterFunc(time.Second, func() { _ = src.Resume() })
		}
	}
	out := r.do(t)
	out.wantDone(t)
	if !strings.Contains(out.log, "trying again") {
		t.Errorf("it did not notice\n%s", out.log)
	}
	wantSame(t, src, dataset.CompareOptions{})
}

// TestSourceGoesAway kills the source for good: the run gives up, and goes on
// when the source is back.
func TestSourceGoesAway(t *testing.T) {
	const keys = 1000
	emptyCluster(t)
	src, _ := mixed(t, keys)
	r := run{from: fromServer(src, func(o *scan.Options) { o.RetryFor = 300 * time.Millisecond }), dir: t.TempDir()}
	r.each = func(n int, _ *record.Record) {
		if n == 500 {
			expect(t, src.Kill())
		}
	}
	out := r.do(t)
	if !errors.Is(out.err, record.ErrPatience) || out.Status != importer.Interrupted || !strings.Contains(out.err.Error(), src.Addr) {
		t.Fatalf("%s, %v", out.Status, out.err)
	}
	must(t, src.Restart(t.Context()))
	r.each = nil
	out = r.do(t)
	out.wantDone(t)
	if !out.Resumed || !strings.Contains(out.log, "the source was restarted") {
		t.Errorf("resumed %v\n%s", out.Resumed, out.log)
	}
	wantSame(t, src, dataset.CompareOptions{})
}

// TestSourceLoadsMidway has the source reload its data in the middle, which
// keeps its run_id, so that the cursor is still good.
func TestSourceLoadsMidway(t *testing.T) {
	const keys = 2000
	emptyCluster(t)
	src, _ := mixed(t, keys)
	if !src.Version.AtLeast(7, 0) {
		t.Skip("it can't be made to load slowly")
	}
	reloaded := make(chan error, 1)
	r := run{from: fromServer(src), each: func(n int, _ *record.Record) {
		if n == 500 {
			slowLoading(t, src, 500)
			go func() { reloaded <- src.Client().WithTimeout(time.Minute).Do(t.Context(), "DEBUG", "RELOAD").Err() }()
			waitLoading(t, src)
		}
	}}
	out := r.do(t)
	must(t, <-reloaded)
	out.wantDone(t)
	if !strings.Contains(out.log, "trying again") || strings.Contains(out.log, "was restarted") {
		t.Errorf("log:\n%s", out.log)
	}
	wantSame(t, src, dataset.CompareOptions{})
}

// slowLoading makes the server take µs for each key that it loads, and answer
// meanwhile.
func slowLoading(t testing.TB, s *sandbox.Server, µs int) {
	t.Helper()
	ctx := t.Context()
	expect(t, s.Client().ConfigSet(ctx, "loading-process-events-interval-bytes", "1024").Err(),
		s.Client().ConfigSet(ctx, "key-load-delay", fmt.Sprint(µs)).Err())
}

func waitLoading(t testing.TB, s *sandbox.Server) {
	t.Helper()
	for range 1000 {
		info, err := s.Client().Info(t.Context(), "persistence").Result()
		if err == nil && strings.Contains(info, "loading:1") {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Error("the server does not load")
}

// TestTableGrowsAndShrinks changes the source's table while it is scanned, so
// that SCAN gives keys twice: what was there all the time must arrive, and the
// account must add up.
func TestTableGrowsAndShrinks(t *testing.T) {
	const keys = 1500
	emptyCluster(t)
	src := source(t, sandbox.Options{})
	ctx, client := t.Context(), src.Client()
	_, err := dataset.Fill(ctx, client, dataset.Options{Keys: keys, Prefix: "stays:"})
	must(t, err)
	change := func(from, to int, write func(p redis.Pipeliner, key string)) {
		p := client.Pipeline()
		for i := from; i < to; i++ {
			write(p, fmt.Sprintf("passing:%d", i))
		}
		_, err := p.Exec(ctx)
		expect(t, err)
	}
	set := func(p redis.Pipeliner, key string) { p.Set(ctx, key, "x", 0) }
	unlink := func(p redis.Pipeliner, key string) { p.Unlink(ctx, key) }
	change(0, 10_000, set)
	r := run{from: fromServer(src), each: func(n int, _ *record.Record) {
		switch n {
		case 1500, 2000, 2500: // fewer, and fewer: the table shrinks
			k := (n - 1500) / 500
			change(k*3333, (k+1)*3333, unlink)
		case 3000, 3100, 3200, 3300: // more than ever: it grows
			k := (n-3000)/100 + 1
			change(k*10_000, (k+1)*10_000, set)
		}
	}}
	out := r.do(t)
	out.wantDone(t)
	t.Logf("%+v, unique at least %d", out.Counts, out.UniqueAtLeast)
	if out.UniqueAtLeast > out.Written || out.UniqueAtLeast < keys || out.UniqueAtLeast > held(t) {
		t.Errorf("counts %+v, unique %d of %d", out.Counts, out.UniqueAtLeast, held(t))
	}
	passing := func(key string) bool { return strings.HasPrefix(key, "passing:") }
	report := wantSame(t, src, dataset.CompareOptions{
		Name:   func(_ int, key string) (string, bool) { return key, !passing(key) },
		Ignore: passing,
	})
	if report.Compared != keys {
		t.Errorf("%d keys compared", report.Compared)
	}
}

// TestKeysVanish deletes keys between the SCAN that gave their names and the
// DUMP that asks for their values.
func TestKeysVanish(t *testing.T) {
	const keys = 1000
	emptyCluster(t)
	src := source(t, sandbox.Options{})
	ctx, client := t.Context(), src.Client()
	_, err := dataset.Fill(ctx, client, dataset.Options{Keys: keys})
	must(t, err)
	one := func(o *scan.Options) { o.Count = 2 * keys } // one page has all names
	r := run{from: fromServer(src, one), each: func(n int, _ *record.Record) {
		if n == 1 {
			expect(t, client.FlushAll(ctx).Err())
		}
	}}
	out := r.do(t)
	out.wantDone(t)
	out.wantCounts(t, checkpoint.Counts{Read: keys, Written: out.Written, Expired: keys - out.Written})
	if out.Written == 0 || out.Written > 200 || held(t) != out.Written {
		t.Errorf("%d keys written, %d are there", out.Written, held(t))
	}
}
