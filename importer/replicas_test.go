package importer_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/slotferry/slotferry/checkpoint"
	"github.com/slotferry/slotferry/importer"
	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/importer/target"
	"github.com/slotferry/slotferry/internal/dataset"
	"github.com/slotferry/slotferry/internal/sandbox"
	"github.com/slotferry/slotferry/internal/sandbox/sandboxtest"
)

// TestWaitReplicas stops a replica: what was copied since stays out of the
// checkpoint until it has that, and the job is not called done before.
func TestWaitReplicas(t *testing.T) {
	emptyCluster(t)
	c := sandboxtest.Cluster(t, sandbox.ClusterOptions{
		Options: sandbox.Options{Password: targetSecret}, Masters: 3, Replicas: 1, NodeTimeout: time.Minute,
	})
	masters, err := c.Masters(t.Context())
	must(t, err)
	all, err := c.Replicas(t.Context(), masters[0])
	must(t, err)
	replica := all[0]
	src, _ := mixed(t, 3000)
	log := &logText{}
	base := run{from: fromServer(src), target: func(o *target.Options) { o.Seeds = c.Seeds() }}
	with := func(replicas int, patience time.Duration) func(*importer.Options) {
		return func(o *importer.Options) { o.WaitReplicas, o.RetryFor, o.Log = replicas, patience, log.logger() }
	}
	saved := func(dir string) int64 {
		data, err := os.ReadFile(filepath.Join(dir, "checkpoint.json"))
		expect(t, err)
		var file struct{ Checkpoint checkpoint.Checkpoint }
		expect(t, json.Unmarshal(data, &file))
		return file.Checkpoint.State.Counts.Read
	}
	until := func(what string, holds func() bool) {
		for begun := time.Now(); !holds(); time.Sleep(20 * time.Millisecond) {
			if time.Since(begun) > 30*time.Second {
				t.Errorf("waited in vain for %s\n%s", what, log)
				return
			}
		}
	}

	r := base
	r.options = with(2, time.Minute)
	if text := r.do(t).wantBlocked(t, "replicas", "replicas", "replicas"); !strings.Contains(text, "has 1 replicas online, fewer than --wait-replicas 2") {
		t.Error(text)
	}

	const stopped = 1000 // records, when the replica stops
	r = base
	r.dir, r.options = t.TempDir(), with(1, time.Minute)
	r.each = func(n int, _ *record.Record) {
		switch n {
		case stopped:
			expect(t, replica.Pause())
		case 2500:
			until("the reason", func() bool { return strings.Contains(log.String(), "the checkpoint waits for replicas") })
			if n := saved(r.dir); n > stopped || !strings.Contains(log.String(), masters[0].Addr+": 0 of its 1 replicas") {
				t.Errorf("the checkpoint has %d keys, the replica stopped at %d\n%s", n, stopped, log)
			}
			expect(t, replica.Resume())
			until("the checkpoint", func() bool { return saved(r.dir) > stopped })
		}
	}
	r.do(t).wantDone(t)
	if !strings.Contains(log.String(), "the checkpoint goes on") {
		t.Errorf("it does not say that it goes on\n%s", log)
	}
	sandboxtest.Equal(t, src.Client(), c.Client(), dataset.CompareOptions{})

	// Without the replica patience ends, but only after all was copied.
	empty(t, c)
	r.dir, r.options = t.TempDir(), with(1, 2500*time.Millisecond)
	r.each = func(n int, _ *record.Record) {
		if n == stopped {
			expect(t, replica.Pause())
		}
	}
	out := r.do(t)
	if !errors.Is(out.err, record.ErrPatience) || out.Status != importer.Interrupted || !strings.Contains(out.err.Error(), "--wait-replicas") ||
		out.Read > stopped || saved(r.dir) != out.Read {
		t.Errorf("%s, %v, %d keys told, %d kept", out.Status, out.err, out.Read, saved(r.dir))
	}
	must(t, replica.Resume())
	r.each, r.options = nil, with(1, time.Minute)
	out = r.do(t)
	out.wantDone(t)
	if !out.Resumed || out.Read < 3000 {
		t.Errorf("resumed %v, %d keys", out.Resumed, out.Read)
	}
	sandboxtest.Equal(t, src.Client(), c.Client(), dataset.CompareOptions{})
}
