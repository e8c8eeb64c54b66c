package importer_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/slotferry/slotferry/checkpoint"
	"github.com/slotferry/slotferry/importer"
	"github.com/slotferry/slotferry/importer/choice"
	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/importer/source/rdb"
	"github.com/slotferry/slotferry/importer/target"
	"github.com/slotferry/slotferry/internal/dataset"
	"github.com/slotferry/slotferry/internal/sandbox"
)

// kept reads a checkpoint that no run holds.
func kept(t testing.TB, dir string) checkpoint.Checkpoint {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "checkpoint.json"))
	expect(t, err)
	c, err := checkpoint.Decode(data)
	expect(t, err)
	return c
}

// keep writes a checkpoint.
func keep(t testing.TB, dir string, c checkpoint.Checkpoint) {
	t.Helper()
	data, err := checkpoint.Encode(c)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "checkpoint.json"), data, 0o600))
}

func TestInterruptAndResume(t *testing.T) {
	const keys = 3000
	c := emptyCluster(t)
	src, path := mixed(t, keys)
	must(t, src.Restart(t.Context())) // loaded from a file its table has its size, and SCAN gives no key twice
	for name, from := range map[string]func(*bench) importer.Source{
		"file": fromFile(path), "stream": fromStream(t, path, 1<<20), "scan": fromServer(src),
	} {
		for _, inside := range []bool{false, true} {
			if inside {
				name += ", checkpoint in the target"
			}
			t.Run(name, func(t *testing.T) {
				empty(t, c)
				r := run{from: from, dir: t.TempDir()}
				if inside {
					r.dir, r.inside = "", "job 1"
				}
				random := rand.New(rand.NewPCG(1, uint64(len(name))))
				var last outcome
				interruptions := 0
				for {
					r.stop = 100 + random.IntN(500)
					r.each = func(n int, _ *record.Record) {
						if n > 1 || inside {
							return
						}
						// Saving goes on meanwhile, but nothing of this run was sent.
						if got := kept(t, r.dir); got.Runs != interruptions+1 || got.State.Counts != last.Counts || got.Done {
							t.Errorf("before the first key the checkpoint says %+v", got)
						}
					}
					out := r.do(t)
					if out.err == nil {
						last = out
						break
					}
					out.wantInterrupted(t)
					if interruptions++; interruptions > 100 {
						t.Fatal("it makes no progress")
					}
					if out.Read < last.Read || out.Resumed != (interruptions > 1) {
						t.Errorf("%d keys read after %d, resumed: %v", out.Read, last.Read, out.Resumed)
					}
					if !inside {
						if got := kept(t, r.dir); got.State.Counts != out.Counts {
							t.Errorf("summary %+v, checkpoint %+v", out.Counts, got.State.Counts)
						}
					}
					last = out
				}
				if interruptions < 5 {
					t.Fatalf("only %d interruptions", interruptions)
				}
				last.wantDone(t)
				last.wantCounts(t, checkpoint.Counts{Read: keys, Written: keys})
				if last.Runs != interruptions+1 || !last.Resumed {
					t.Errorf("runs %d, resumed %v", last.Runs, last.Resumed)
				}
				if wantUnique := int64(0); strings.HasPrefix(name, "scan") {
					if wantUnique = keys; last.UniqueAtLeast != wantUnique {
						t.Errorf("%d unique keys at least, want %d", last.UniqueAtLeast, wantUnique)
					}
				}
				wantSame(t, src, dataset.CompareOptions{Ignore: func(string) bool { return false }})
				if !inside && !kept(t, r.dir).Done {
					t.Error("the checkpoint does not say that the job is done")
				}
			})
		}
	}
}

// TestOtherJob resumes with something else than what the checkpoint is about.
func TestOtherJob(t *testing.T) {
	emptyCluster(t)
	src, path := mixed(t, 500)
	must(t, src.Client().Set(t.Context(), "another", "key", 0).Err())
	other := saved(t, src)
	right := run{from: fromFile(path), dir: t.TempDir(), stop: 200}
	right.do(t).wantInterrupted(t)
	before := kept(t, right.dir)
	for name, tc := range map[string]struct {
		change func(*run)
		codes  []string
		words  []string
	}{
		"source":          {func(r *run) { r.from = fromFile(other) }, []string{"checkpoint_other_source"}, []string{path, other}},
		"kind of source":  {func(r *run) { r.from = fromServer(src) }, []string{"checkpoint_other_source"}, []string{path, src.Addr}},
		"stream for file": {func(r *run) { r.from = fromStream(t, path, 1<<20) }, []string{"checkpoint_other_source"}, []string{path, "standard input"}},
		"choice": {func(r *run) { r.choice.Exclude = []string{"user:*"} }, []string{"checkpoint_other_choice"},
			[]string{"all keys", "--exclude user:*"}},
		"policy": {func(r *run) { r.policy = importer.Replace }, []string{"checkpoint_other_policy"}, []string{"fail", "replace"}},
		"all of it": {func(r *run) {
			r.from, r.policy, r.choice.Slots = fromFile(other), importer.Skip, "0-8000"
		}, []string{"checkpoint_other_source", "checkpoint_other_choice", "checkpoint_other_policy"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			r := right
			tc.change(&r)
			text := r.do(t).wantBlocked(t, tc.codes...)
			for _, w := range append(tc.words, "--restart", "--job") {
				if !strings.Contains(text, w) {
					t.Errorf("the error does not say %q: %s", w, text)
				}
			}
			if now := kept(t, right.dir); now.State.Counts != before.State.Counts || now.Runs != before.Runs {
				t.Errorf("the checkpoint was changed: %+v", now)
			}
		})
	}
	t.Run("target", func(t *testing.T) {
		alien := before
		alien.Target = checkpoint.Identity{Text: "10.0.0.1:7000", IDs: []string{strings.Repeat("a", 40)}}
		keep(t, right.dir, alien)
		defer keep(t, right.dir, before)
		if text := right.do(t).wantBlocked(t, "checkpoint_other_target"); !strings.Contains(text, "10.0.0.1:7000") {
			t.Errorf("the error does not name the target: %s", text)
		}
	})
	right.stop = 0
	right.do(t).wantDone(t)
	wantSame(t, src, dataset.CompareOptions{Name: func(_ int, key string) (string, bool) { return key, key != "another" }})
}

// TestMovedFile makes sure that a file is known by what it holds, not by where
// it lies.
func TestMovedFile(t *testing.T) {
	emptyCluster(t)
	src, path := mixed(t, 500)
	r := run{from: fromFile(path), dir: t.TempDir(), stop: 200}
	r.do(t).wantInterrupted(t)
	moved := filepath.Join(t.TempDir(), "copy.rdb")
	must(t, os.Rename(path, moved))
	r.from, r.stop = fromFile(moved), 0
	out := r.do(t)
	out.wantDone(t)
	out.wantCounts(t, checkpoint.Counts{Read: 500, Written: 500})
	wantSame(t, src, dataset.CompareOptions{})
}

func TestOneRunAtATime(t *testing.T) {
	emptyCluster(t)
	_, path := mixed(t, 50)
	r := run{from: fromFile(path), dir: t.TempDir()}
	first, err := checkpoint.OpenFile(r.dir)
	must(t, err)
	if text := r.do(t).wantBlocked(t, "checkpoint_locked"); !strings.Contains(text, r.dir) {
		t.Errorf("the error does not name the folder: %s", text)
	}
	if n := held(t); n != 0 {
		t.Errorf("%d keys were written", n)
	}
	must(t, first.Close(t.Context()))
	r.do(t).wantDone(t)

	empty(t, shared.cluster)
	inside, err := checkpoint.OpenCluster(t.Context(), shared.cluster.Client(), "twice")
	must(t, err)
	r = run{from: fromFile(path), inside: "twice"}
	r.do(t).wantBlocked(t, "checkpoint_locked")
	must(t, inside.Close(t.Context()))
	r.do(t).wantDone(t)
}

// TestLockTakenOver has another run take the lease in the target: this one must
// stop, and leave the checkpoint to the other.
func TestLockTakenOver(t *testing.T) {
	emptyCluster(t)
	_, path := mixed(t, 2000)
	ctx, client := t.Context(), shared.cluster.Client()
	r := run{from: fromFile(path), inside: "stolen"}
	r.options = func(o *importer.Options) { o.RateKeys = 2000 }
	r.each = func(n int, _ *record.Record) {
		if n == 100 {
			expect(t, client.Set(ctx, "slotferry:{stolen}:lock", "another", time.Minute).Err())
		}
	}
	out := r.do(t)
	if !errors.Is(out.err, checkpoint.ErrLost) || out.Status != importer.Interrupted {
		t.Errorf("%s, %v", out.Status, out.err)
	}
	if got := client.Get(ctx, "slotferry:{stolen}:lock").Val(); got != "another" {
		t.Errorf("the other run's lock is %q", got)
	}
}

func TestDamagedCheckpoint(t *testing.T) {
	emptyCluster(t)
	src, path := mixed(t, 500)
	r := run{from: fromFile(path), dir: t.TempDir(), stop: 200}
	r.do(t).wantInterrupted(t)
	r.stop = 0
	name := filepath.Join(r.dir, "checkpoint.json")
	good, err := os.ReadFile(name)
	must(t, err)
	flipped := bytes.Clone(good)
	flipped[len(flipped)/2] ^= 1
	for what, data := range map[string][]byte{
		"flipped": flipped, "cut": good[:len(good)-20], "empty": {},
		"format": bytes.Replace(good, []byte(`"slotferry_checkpoint":1`), []byte(`"slotferry_checkpoint":9`), 1),
	} {
		must(t, os.WriteFile(name, data, 0o600))
		text := r.do(t).wantBlocked(t, "checkpoint_damaged", "target_not_empty")
		if !strings.Contains(text, name) || !strings.Contains(text, "--restart") {
			t.Errorf("%s: the error names neither file nor way out: %s", what, text)
		}
		if now, err := os.ReadFile(name); err != nil || !bytes.Equal(now, data) {
			t.Errorf("%s: the checkpoint was touched", what)
		}
	}
	r.restart, r.policy = true, importer.Replace
	out := r.do(t)
	out.wantDone(t)
	out.wantCounts(t, checkpoint.Counts{Read: 500, Written: 500})
	if out.Resumed || out.Runs != 1 {
		t.Errorf("resumed %v, runs %d", out.Resumed, out.Runs)
	}
	wantSame(t, src, dataset.CompareOptions{})
}

func TestRestartForgets(t *testing.T) {
	emptyCluster(t)
	src, path := mixed(t, 500)
	r := run{from: fromFile(path), dir: t.TempDir(), stop: 200}
	r.do(t).wantInterrupted(t)
	r.stop, r.restart = 0, true
	r.do(t).wantBlocked(t, "target_not_empty")
	empty(t, shared.cluster)
	out := r.do(t)
	out.wantDone(t)
	out.wantCounts(t, checkpoint.Counts{Read: 500, Written: 500})
	wantSame(t, src, dataset.CompareOptions{})

	// A job that is done begins anew by itself.
	r.restart = false
	r.do(t).wantBlocked(t, "target_not_empty")
	r.policy = importer.Replace
	if out := r.do(t); out.Resumed || out.Read != 500 || !strings.Contains(out.log, "beginning anew") {
		t.Errorf("resumed %v, %d keys read\n%s", out.Resumed, out.Read, out.log)
	}
}

func TestTargetEmptiedBetweenRuns(t *testing.T) {
	c := emptyCluster(t)
	src, path := mixed(t, 1000)
	r := run{from: fromFile(path), dir: t.TempDir(), stop: 600}
	r.do(t).wantInterrupted(t)
	r.stop = 0
	masters, err := c.Masters(t.Context())
	must(t, err)
	must(t, masters[0].Client().FlushAll(t.Context()).Err())
	if out := (run{from: r.from, dir: r.dir, stop: 1}).do(t); !out.warnings.Has("target_lost_keys") {
		t.Errorf("no warning that a third is gone: %+v", out.warnings)
	}
	empty(t, c)
	r.do(t).wantBlocked(t, "target_lost_keys")
	r.restart = true
	r.do(t).wantDone(t)
	wantSame(t, src, dataset.CompareOptions{})
}

// TestOlderCheckpoint goes on from an older copy of the checkpoint, as after a
// crash that lost the newer one: what is sent twice does no harm.
func TestOlderCheckpoint(t *testing.T) {
	c := emptyCluster(t)
	src, path := mixed(t, 1500)
	for name, from := range map[string]func(*bench) importer.Source{
		"file": fromFile(path), "stream": fromStream(t, path, 1<<20), "scan": fromServer(src),
	} {
		t.Run(name, func(t *testing.T) {
			empty(t, c)
			r := run{from: from, dir: t.TempDir(), stop: 400}
			r.do(t).wantInterrupted(t)
			old := kept(t, r.dir)
			r.stop = 800
			r.do(t).wantInterrupted(t)
			keep(t, r.dir, old)
			r.stop = 0
			out := r.do(t)
			out.wantDone(t)
			if name != "scan" {
				out.wantCounts(t, checkpoint.Counts{Read: 1500, Written: 1500})
			}
			wantSame(t, src, dataset.CompareOptions{})
		})
	}
}

func TestSameFileAgain(t *testing.T) {
	emptyCluster(t)
	src, path := mixed(t, 1000)
	for range 2 {
		out := run{from: fromFile(path), policy: importer.Replace}.do(t)
		out.wantDone(t)
		out.wantCounts(t, checkpoint.Counts{Read: 1000, Written: 1000})
		wantSame(t, src, dataset.CompareOptions{})
	}
}

// TestOtherStream resumes with a stream that begins alike but is another one.
func TestOtherStream(t *testing.T) {
	emptyCluster(t)
	_, path := mixed(t, 2000)
	data, err := os.ReadFile(path)
	must(t, err)
	r := run{from: fromBytes(data, 1<<20), dir: t.TempDir(), stop: 1500}
	r.do(t).wantInterrupted(t)
	at := kept(t, r.dir).State.Position.Offset
	if at < 100<<10 {
		t.Fatalf("the checkpoint is at %d only", at)
	}
	r.stop = 0
	altered := bytes.Clone(data)
	altered[80<<10] ^= 1
	r.from = fromBytes(altered, 1<<20)
	if out := r.do(t); out.Status != importer.Failed || !strings.Contains(out.err.Error(), "not those of the interrupted run") {
		t.Errorf("%s, %v", out.Status, out.err)
	}
	r.from = fromBytes(data[:at-10], 1<<20)
	if out := r.do(t); out.Status != importer.Failed || !strings.Contains(out.err.Error(), "before the checkpoint's offset") {
		t.Errorf("%s, %v", out.Status, out.err)
	}
	r.from = fromBytes(data, 1<<20)
	out := r.do(t)
	out.wantDone(t)
	out.wantCounts(t, checkpoint.Counts{Read: 2000, Written: 2000})
}

// TestInterruptedWhileWaiting interrupts a run that waits for its stream: at
// its beginning, while it skips what was imported before, and in the middle.
func TestInterruptedWhileWaiting(t *testing.T) {
	emptyCluster(t)
	src, path := mixed(t, 2000)
	data, err := os.ReadFile(path)
	must(t, err)
	dir := t.TempDir()
	for _, part := range []int{10, len(data) / 2, len(data) / 4, len(data) * 3 / 4} {
		ctx, cancel := context.WithCancel(t.Context())
		waits := &pausing{data: data[:part], waits: cancel, end: make(chan struct{})}
		out := run{dir: dir, from: func(b *bench) importer.Source {
			return rdb.New(rdb.Options{Stream: waits, Choice: b.keys, MaxValue: 1 << 20, Log: b.log})
		}}.doIn(ctx, t)
		close(waits.end)
		out.wantInterrupted(t)
		if part > 10 {
			if at := kept(t, dir).State.Position.Offset; part == len(data)/2 && (at > int64(part) || at < int64(part)-100<<10) {
				t.Errorf("stopped for want of data at %d, the checkpoint is at %d", part, at)
			}
		}
	}
	out := run{dir: dir, from: fromBytes(data, 1<<20)}.do(t)
	out.wantDone(t)
	out.wantCounts(t, checkpoint.Counts{Read: 2000, Written: 2000})
	wantSame(t, src, dataset.CompareOptions{})
}

// pausing gives its data, calls waits, and then nothing more until end.
type pausing struct {
	data  []byte
	waits func()
	end   chan struct{}
}

func (p *pausing) Read(b []byte) (int, error) {
	if len(p.data) == 0 {
		p.waits()
		<-p.end
		return 0, io.EOF
	}
	n := copy(b, p.data)
	p.data = p.data[n:]
	return n, nil
}

// TestDrainTakesTooLong interrupts a run whose target does not answer: it ends
// all the same, as interrupted, with a checkpoint that loses nothing.
func TestDrainTakesTooLong(t *testing.T) {
	c := emptyCluster(t)
	src, path := mixed(t, 2000)
	masters, err := c.Masters(t.Context())
	must(t, err)
	r := run{from: fromFile(path), dir: t.TempDir(), stop: 1500}
	r.each = func(n int, _ *record.Record) {
		if n == 700 {
			expect(t, masters[1].Pause())
		}
	}
	r.options = func(o *importer.Options) { o.DrainFor = 300 * time.Millisecond }
	out := r.do(t)
	must(t, masters[1].Resume())
	out.wantInterrupted(t)
	out = run{from: fromFile(path), dir: r.dir}.do(t)
	out.wantDone(t)
	out.wantCounts(t, checkpoint.Counts{Read: 2000, Written: 2000})
	wantSame(t, src, dataset.CompareOptions{})
}

// TestTargetOutOfPatience has a master that does not answer: the run gives up
// and the same command goes on later.
func TestTargetOutOfPatience(t *testing.T) {
	c := emptyCluster(t)
	src, path := mixed(t, 2000)
	masters, err := c.Masters(t.Context())
	must(t, err)
	r := run{from: fromFile(path), dir: t.TempDir()}
	r.each = func(n int, _ *record.Record) {
		if n == 700 {
			expect(t, masters[2].Pause())
		}
	}
	r.target = func(o *target.Options) {
		o.ReplyTimeout, o.RetryFor, o.Endpoint.DialTimeout = 300*time.Millisecond, 300*time.Millisecond, 300*time.Millisecond
	}
	out := r.do(t)
	must(t, masters[2].Resume())
	var patience *target.PatienceError
	if !errors.As(out.err, &patience) || out.Status != importer.Interrupted || patience.Addr != masters[2].Addr {
		t.Fatalf("%s, %v", out.Status, out.err)
	}
	out = run{from: fromFile(path), dir: r.dir}.do(t)
	out.wantDone(t)
	out.wantCounts(t, checkpoint.Counts{Read: 2000, Written: 2000})
	wantSame(t, src, dataset.CompareOptions{})
}

// TestCheckpointCanNotBeSaved takes the folder away in the middle.
func TestCheckpointCanNotBeSaved(t *testing.T) {
	emptyCluster(t)
	_, path := mixed(t, 1000)
	dir := filepath.Join(t.TempDir(), "job")
	r := run{from: fromFile(path), dir: dir}
	r.options = func(o *importer.Options) { o.RateKeys, o.SavePatient = 1000, 100*time.Millisecond }
	r.each = func(n int, _ *record.Record) {
		if n == 100 {
			expect(t, os.RemoveAll(dir))
		}
	}
	out := r.do(t)
	if !errors.Is(out.err, record.ErrPatience) || out.Status != importer.Interrupted || !strings.Contains(out.err.Error(), "checkpoint can't be saved") {
		t.Errorf("%s, %v", out.Status, out.err)
	}
	// Before the first key it is a blocker.
	empty(t, shared.cluster)
	r = run{from: fromFile(path), dir: file(t, "plain", nil)}
	r.do(t).wantBlocked(t, "checkpoint_unusable")
	if n := held(t); n != 0 {
		t.Errorf("%d keys were written", n)
	}
}

// TestFilteredKeysCountOnce resumes a scan that leaves keys out by name, slot
// and type: each counts once, whatever page it came with.
func TestFilteredKeysCountOnce(t *testing.T) {
	const keys = 3000
	c := emptyCluster(t)
	src, path := mixed(t, keys)
	must(t, src.Restart(t.Context()))
	for name, from := range map[string]func(*bench) importer.Source{"file": fromFile(path), "scan": fromServer(src)} {
		t.Run(name, func(t *testing.T) {
			empty(t, c)
			r := run{from: from, dir: t.TempDir(), choice: choice.Options{Include: []string{"key:*[05]"}, Slots: "0-9999"}}
			whole := run{from: from, choice: r.choice}.do(t)
			whole.wantDone(t)
			if whole.Read != keys || whole.Filtered == 0 || whole.Written == 0 {
				t.Fatalf("counts %+v", whole.Counts)
			}
			empty(t, c)
			for r.stop = 300; ; r.stop = 700 {
				out := r.do(t)
				if out.err != nil {
					out.wantInterrupted(t)
					continue
				}
				if out.Counts != whole.Counts {
					t.Errorf("%d runs count %+v, one run counts %+v", out.Runs, out.Counts, whole.Counts)
				}
				if out.Runs < 3 {
					t.Errorf("only %d runs", out.Runs)
				}
				break
			}
		})
	}
}

// TestManyRestartsAreNoLoss begins a scan anew several times: that keys were
// written more than once must not look as if the target had lost some.
func TestManyRestartsAreNoLoss(t *testing.T) {
	emptyCluster(t)
	src := source(t, sandbox.Options{})
	_, err := dataset.Fill(t.Context(), src.Client(), dataset.Options{Keys: 800, NoExpiry: true})
	must(t, err)
	r := run{from: fromServer(src), dir: t.TempDir(), stop: 700}
	for range 4 {
		r.do(t).wantInterrupted(t)
		must(t, src.Restart(t.Context()))
	}
	r.stop = 0
	out := r.do(t)
	out.wantDone(t)
	if !strings.Contains(out.log, "scanning from the beginning") || out.UniqueAtLeast != 800 {
		t.Errorf("%d unique keys at least\n%s", out.UniqueAtLeast, out.log)
	}
	wantSame(t, src, dataset.CompareOptions{})
}
