package importer_test

import (
	"runtime"
	"testing"
	"time"

	"github.com/slotferry/slotferry/checkpoint"
	"github.com/slotferry/slotferry/importer"
	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/importer/target"
	"github.com/slotferry/slotferry/internal/dataset"
	"github.com/slotferry/slotferry/internal/sandbox"
)

// TestMemory stops one master while 60 MiB are imported: what is held for it
// stays within the budget.
func TestMemory(t *testing.T) {
	const (
		keys   = 1000
		budget = 24 << 20
		beside = 8 << 20 // buffers of connections and files, and what else lives
	)
	c := emptyCluster(t)
	src := source(t, sandbox.Options{})
	uncompressed(t, src)
	_, err := dataset.Fill(t.Context(), src.Client(), dataset.Options{Keys: keys, StringBytes: 60 << 10, NoExpiry: true})
	must(t, err)
	path := saved(t, src)
	masters, err := c.Masters(t.Context())
	must(t, err)
	before := liveHeap()
	r := run{from: fromFile(path), target: func(o *target.Options) { o.Memory = budget }}
	looked := make(chan struct{})
	r.job = func(j *importer.Job) {
		go func() {
			defer close(looked)
			// Until the copy stands still because of the one that is stopped.
			for last, still := int64(-1), 0; still < 20; time.Sleep(50 * time.Millisecond) {
				p := j.Progress()
				if p.Phase == "copy" && p.Counts.Written > 0 && p.Counts.Written == last {
					still++
				} else {
					last, still = p.Counts.Written, 0
				}
			}
			if p := j.Progress(); p.Counts.Read == keys {
				t.Errorf("all was read, %d keys are not answered: nothing held it back", p.Counts.Read-p.Counts.Answered())
			}
			if held := liveHeap() - before; held > budget+beside {
				t.Errorf("%d MiB are held, %d MiB allowed", held>>20, budget>>20)
			} else {
				t.Logf("%d MiB are held", held>>20)
			}
			_ = masters[0].Resume()
		}()
	}
	r.each = func(n int, _ *record.Record) {
		if n == 1 {
			expect(t, masters[0].Pause())
		}
	}
	out := r.do(t)
	<-looked
	out.wantDone(t)
	out.wantCounts(t, checkpoint.Counts{Read: keys, Written: keys})
	wantSame(t, src, dataset.CompareOptions{})
}

func liveHeap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
