package importer_test

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/slotferry/slotferry/checkpoint"
	"github.com/slotferry/slotferry/importer"
	"github.com/slotferry/slotferry/importer/choice"
	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/importer/route"
	"github.com/slotferry/slotferry/importer/source/scan"
	"github.com/slotferry/slotferry/importer/target"
	"github.com/slotferry/slotferry/internal/dataset"
	"github.com/slotferry/slotferry/internal/sandbox"
)

// sources are the ways to the same data.
func sources(t testing.TB, s *sandbox.Server, path string) map[string]func(*bench) importer.Source {
	t.Helper()
	return map[string]func(*bench) importer.Source{
		"file": fromFile(path), "stream": fromStream(t, path, 8<<20), "scan": fromServer(s),
	}
}

func TestTargetHoldsKeys(t *testing.T) {
	c := emptyCluster(t)
	src, path := mixed(t, 1000)
	ctx := t.Context()
	names, err := src.Client().Keys(ctx, "key:*").Result()
	must(t, err)
	there := map[string]bool{}
	fill := func(t *testing.T) {
		t.Helper()
		empty(t, c)
		for i, name := range names {
			if i%10 == 0 {
				there[name] = true
				must(t, c.Client().Set(ctx, name, "the target's own", 0).Err())
			}
		}
		must(t, c.Client().Set(ctx, "alone", "the target's own", time.Hour).Err())
	}
	alone := func(name string) bool { return name == "alone" }
	for how, from := range sources(t, src, path) {
		t.Run("fail "+how, func(t *testing.T) {
			fill(t)
			before := held(t)
			text := run{from: from}.do(t).wantBlocked(t, "target_not_empty")
			if !strings.Contains(text, fmt.Sprintf("holds %d keys", before)) || held(t) != before {
				t.Errorf("%d keys, then %d: %s", before, held(t), text)
			}
		})
		t.Run("replace "+how, func(t *testing.T) {
			fill(t)
			out := run{from: from, policy: importer.Replace}.do(t)
			out.wantDone(t)
			out.wantCounts(t, checkpoint.Counts{Read: 1000, Written: 1000})
			wantSame(t, src, dataset.CompareOptions{Ignore: alone})
		})
		t.Run("skip "+how, func(t *testing.T) {
			fill(t)
			out := run{from: from, policy: importer.Skip}.do(t)
			out.wantDone(t)
			n := int64(len(there))
			out.wantCounts(t, checkpoint.Counts{Read: 1000, Written: 1000 - n, Skipped: n})
			for name := range there {
				if got := c.Client().Get(ctx, name).Val(); got != "the target's own" {
					t.Fatalf("%q was written over: %q", name, got)
				}
			}
			wantSame(t, src, dataset.CompareOptions{
				Name:   func(_ int, key string) (string, bool) { return key, !there[key] },
				Ignore: func(name string) bool { return there[name] || alone(name) },
			})
		})
	}
}

// TestExpired has keys in the source that expired but still lie there.
func TestExpired(t *testing.T) {
	c := emptyCluster(t)
	src := source(t, sandbox.Options{})
	ctx, client := t.Context(), src.Client()
	must(t, client.Do(ctx, "DEBUG", "SET-ACTIVE-EXPIRE", "0").Err())
	for i := range 50 {
		must(t, client.Set(ctx, fmt.Sprintf("gone:%d", i), "x", time.Millisecond).Err(),
			client.Set(ctx, fmt.Sprintf("far:%d", i), "x", time.Duration(i+1)*time.Hour+time.Millisecond).Err(),
			client.Set(ctx, fmt.Sprintf("never:%d", i), "x", 0).Err())
	}
	must(t, client.PExpireAt(ctx, "far:0", time.UnixMilli(1<<53)).Err())
	time.Sleep(5 * time.Millisecond) // until the last one has expired
	path := saved(t, src)
	for how, from := range sources(t, src, path) {
		t.Run(how, func(t *testing.T) {
			empty(t, c)
			out := run{from: from}.do(t)
			out.wantDone(t)
			out.wantCounts(t, checkpoint.Counts{Read: 150 - skippedByScan(how, out), Written: 100, Expired: 50 - skippedByScan(how, out)})
			if out.Permanent != 50 || held(t) != 100 {
				t.Errorf("%d without expiry written, %d keys are there", out.Permanent, held(t))
			}
			wantSame(t, src, dataset.CompareOptions{Name: func(_ int, key string) (string, bool) { return key, !strings.HasPrefix(key, "gone:") }})
		})
	}
}

// skippedByScan is how many expired keys a server did not even name: SCAN
// deletes what has expired.
func skippedByScan(how string, o outcome) int64 {
	if how != "scan" {
		return 0
	}
	return 150 - o.Read
}

// TestChoice compares what each choice of keys brings with what it should.
func TestChoice(t *testing.T) {
	const keys = 1500
	c := emptyCluster(t)
	src, path := mixed(t, keys)
	ctx := t.Context()
	types := map[string]string{}
	names, err := src.Client().Keys(ctx, "*").Result()
	must(t, err)
	p := src.Client().Pipeline()
	for _, name := range names {
		p.Type(ctx, name)
	}
	cmds, err := p.Exec(ctx)
	must(t, err)
	for i, name := range names {
		types[name] = cmds[i].(*redis.StatusCmd).Val()
	}
	is := func(kinds ...string) func(string) bool {
		return func(key string) bool { return strings.Contains(" "+strings.Join(kinds, " ")+" ", " "+types[key]+" ") }
	}
	slot := func(key string) bool { n := route.Slot([]byte(key)); return n <= 5000 || n == 9000 || n >= 16000 }
	for name, tc := range map[string]struct {
		choice choice.Options
		want   func(key string) bool
		rename func(key string) string
	}{
		"include": {choice.Options{Include: []string{"user:*", "key:*7"}}, func(k string) bool {
			return strings.HasPrefix(k, "user:") || strings.HasPrefix(k, "key:") && strings.HasSuffix(k, "7")
		}, nil},
		"exclude":      {choice.Options{Exclude: []string{"*[0-4]"}}, func(k string) bool { return k == "" || !strings.Contains("01234", k[len(k)-1:]) }, nil},
		"nothing":      {choice.Options{Include: []string{"no such key"}}, func(string) bool { return false }, nil},
		"one type":     {choice.Options{Types: []string{"ZSET"}}, is("zset"), nil},
		"rare type":    {choice.Options{Types: []string{"stream"}}, is("stream"), nil},
		"three types":  {choice.Options{Types: []string{"hash", "set", "list"}}, is("hash", "set", "list"), nil},
		"another db":   {choice.Options{DBs: []int{5}}, func(string) bool { return false }, nil},
		"this db":      {choice.Options{DBs: []int{0, 5}}, func(string) bool { return true }, nil},
		"slots":        {choice.Options{Slots: "0-5000,9000,16000-16383"}, slot, nil},
		"all of these": {choice.Options{Include: []string{"key:*"}, Types: []string{"string"}, Slots: "0-5000,9000,16000-16383"}, func(k string) bool { return strings.HasPrefix(k, "key:") && is("string")(k) && slot(k) }, nil},
		"rename":       {choice.Options{Rename: []choice.Rename{{Old: "key:", New: "k{1}:"}, {Old: "user:", New: ""}}}, func(string) bool { return true }, func(k string) string { return strings.TrimPrefix(strings.Replace(k, "key:", "k{1}:", 1), "user:") }},
		"prefix":       {choice.Options{DBMap: map[int]string{0: "db0:"}}, func(string) bool { return true }, func(k string) string { return "db0:" + k }},
		"slots of new names": {choice.Options{DBMap: map[int]string{0: "x"}, Slots: "0-5000,9000,16000-16383"}, func(k string) bool { return slot("x" + k) },
			func(k string) string { return "x" + k }},
	} {
		for how, from := range sources(t, src, path) {
			t.Run(name+" "+how, func(t *testing.T) {
				empty(t, c)
				out := run{from: from, choice: tc.choice}.do(t)
				out.wantDone(t)
				want := int64(0)
				for key := range types {
					if tc.want(key) {
						want++
					}
				}
				read := int64(keys)
				if how == "scan" && len(tc.choice.Types) == 1 { // the server leaves the others out
					read = 0
					for _, kind := range types {
						if strings.EqualFold(kind, tc.choice.Types[0]) {
							read++
						}
					}
				}
				if how == "scan" && name == "another db" {
					read = 0
				}
				out.wantCounts(t, checkpoint.Counts{Read: read, Written: want, Filtered: read - want})
				report := wantSame(t, src, dataset.CompareOptions{Name: func(_ int, key string) (string, bool) {
					if tc.rename != nil {
						return tc.rename(key), tc.want(key)
					}
					return key, tc.want(key)
				}})
				if int64(report.Compared) != want {
					t.Errorf("%d keys compared, want %d", report.Compared, want)
				}
			})
		}
	}
}

// TestLargeAndOdd has long names and values, and little memory for them.
func TestLargeAndOdd(t *testing.T) {
	c := emptyCluster(t)
	src := source(t, sandbox.Options{})
	ctx, client := t.Context(), src.Client()
	uncompressed(t, src)
	noise := func(n int) string {
		b := make([]byte, n)
		x := uint32(1)
		for i := range b {
			x = x*1664525 + 1013904223
			b[i] = byte(x >> 24)
		}
		return string(b)
	}
	big := noise(70 << 20)
	for key, value := range map[string]string{
		"": "no name", "empty": "", " a key\r\n%s\x00{\xff} ": "odd", noise(10 << 20): "long name",
		"5 MB": big[:5<<20], "70 MB": big,
		"just below": big[:record.LargeBytes-1], "just": big[:record.LargeBytes], "just above": big[:record.LargeBytes+1],
		"a chunk": big[:256<<10], "half the buffer": big[:512<<10],
	} {
		must(t, client.Set(ctx, key, value, 0).Err())
	}
	for i := range 10 {
		must(t, client.RPush(ctx, fmt.Sprintf("list:%d", i), big[i:i+700_000], big[:i]).Err())
	}
	path := saved(t, src)
	little := func(o *target.Options) { o.Memory = 4 << 20 }
	for how, from := range map[string]func(*bench) importer.Source{
		"file":          fromFile(path),
		"scan":          fromServer(src, func(o *scan.Options) { o.MaxValue = 100 << 20 }),
		"scan in parts": fromServer(src, func(o *scan.Options) { o.MaxValue = 12 << 20 }),
	} {
		t.Run(how, func(t *testing.T) {
			empty(t, c)
			out := run{from: from, target: little}.do(t)
			out.wantDone(t)
			out.wantCounts(t, checkpoint.Counts{Read: 21, Written: 21})
			wantSame(t, src, dataset.CompareOptions{})
		})
	}
	t.Run("too large for a stream", func(t *testing.T) {
		empty(t, c)
		out := run{from: fromStream(t, path, 12<<20), target: little}.do(t)
		wantFailed(t, out, "70 MB")
		out.wantCounts(t, checkpoint.Counts{Read: 21, Written: 20, Failed: 1})
		if reason := out.Failures[0].Reason; !strings.Contains(reason, "--memory") || !strings.Contains(reason, "73400") {
			t.Errorf("the reason is %q", reason)
		}
		wantSame(t, src, dataset.CompareOptions{Name: func(_ int, key string) (string, bool) { return key, key != "70 MB" }})
	})
}

// wantFailed fails the test unless exactly these keys failed, by name.
func wantFailed(t testing.TB, o outcome, keys ...string) {
	t.Helper()
	if err := o.err; err == nil || o.Status != importer.Failed || !strings.Contains(err.Error(), importer.ErrFailedKeys.Error()) {
		t.Fatalf("%s, %v\n%s", o.Status, o.err, o.log)
	}
	left := map[string]bool{}
	for _, k := range keys {
		left[k] = true
	}
	for _, f := range o.Failures {
		if !left[string(f.Key)] {
			t.Errorf("%q failed: %s", f.Key[:min(len(f.Key), 100)], f.Reason)
		}
		if f.Reason == "" || f.Slot != route.Slot(f.Key) {
			t.Errorf("%q: slot %d, reason %q", f.Key, f.Slot, f.Reason)
		}
		delete(left, string(f.Key))
	}
	for k := range left {
		t.Errorf("%q did not fail", k)
	}
}

// TestUnsupportedIsSkipped is for values that can't be taken and may be left
// out.
func TestUnsupportedIsSkipped(t *testing.T) {
	emptyCluster(t)
	src := source(t, sandbox.Options{})
	ctx := t.Context()
	must(t, src.Client().Set(ctx, "long", strings.Repeat("ab", 1<<20), 0).Err(), src.Client().Set(ctx, "short", "x", 0).Err(),
		src.Client().ConfigSet(ctx, "rdbcompression", "no").Err())
	from := fromStream(t, saved(t, src), 1<<20)
	out := run{from: from, target: func(o *target.Options) { o.SkipUnsupported = true }}.do(t)
	out.wantDone(t)
	out.wantCounts(t, checkpoint.Counts{Read: 2, Written: 1, Skipped: 1})
	if len(out.Failures) != 1 || string(out.Failures[0].Key) != "long" || !out.Failures[0].Skipped {
		t.Errorf("failures %+v", out.Failures)
	}
	empty(t, shared.cluster)
	out = run{from: from, target: func(o *target.Options) { o.FailFast = true }}.do(t)
	if out.Status != importer.Failed || !strings.Contains(out.err.Error(), `"long"`) {
		t.Errorf("%s, %v", out.Status, out.err)
	}
}

// TestRates has limits that are smaller than one key, or one value.
func TestRates(t *testing.T) {
	c := emptyCluster(t)
	src := source(t, sandbox.Options{})
	ctx := t.Context()
	for i := range 20 {
		must(t, src.Client().Set(ctx, fmt.Sprint(i), strings.Repeat("v", i*100), 0).Err())
	}
	must(t, src.Client().Set(ctx, "large", bytes.Repeat([]byte{1, 2, 3, 5, 7}, 50_000), 0).Err(), src.Client().ConfigSet(ctx, "rdbcompression", "no").Err())
	path := saved(t, src)
	for how, from := range sources(t, src, path) {
		t.Run(how, func(t *testing.T) {
			empty(t, c)
			begun := time.Now()
			out := run{from: from, options: func(o *importer.Options) { o.RateKeys, o.RateBytes = 100, 1<<20 }}.do(t)
			out.wantDone(t)
			out.wantCounts(t, checkpoint.Counts{Read: 21, Written: 21})
			wantSame(t, src, dataset.CompareOptions{})
			// What exceeds the first twentieth of a second can't come sooner.
			if took, least := time.Since(begun), (float64(out.Bytes)-1<<20/20)/(1<<20); took.Seconds() < math.Min(least, 16/100.0) {
				t.Errorf("%d bytes took %s", out.Bytes, took)
			}
		})
	}
	// One byte a second: the wait can be interrupted.
	empty(t, c)
	r := run{from: fromFile(path), options: func(o *importer.Options) { o.RateKeys, o.RateBytes = 0.001, 1 }, stop: 1}
	r.do(t).wantInterrupted(t)
}

// TestProgress asks how far a run is, from another goroutine and at its end.
func TestProgress(t *testing.T) {
	emptyCluster(t)
	_, path := mixed(t, 1000)
	r := run{from: fromFile(path), dir: t.TempDir(), stop: 400}
	r.do(t).wantInterrupted(t)
	r.stop = 0
	stop := make(chan struct{})
	var asking sync.WaitGroup
	r.job = func(j *importer.Job) {
		asking.Go(func() {
			for last := int64(0); ; {
				p := j.Progress()
				if p.Counts.Read < last || p.Counts.Answered() > 1000 {
					t.Errorf("%+v after %d keys", p, last)
				}
				last = p.Counts.Read
				select {
				case <-stop:
					return
				case <-time.After(time.Millisecond):
				}
			}
		})
	}
	r.options = func(o *importer.Options) { o.RateKeys = 5000 }
	out := r.do(t)
	close(stop)
	asking.Wait()
	out.wantDone(t)
	p := out.last
	if p.Counts != out.Counts || p.Total != 1000 || p.Size == 0 || p.Offset == 0 || p.Offset > p.Size ||
		p.Resumed.Read == 0 || p.Phase != "finish" || len(p.Masters) != 3 {
		t.Errorf("%+v", p)
	}
}
