package importer_test

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slotferry/slotferry/importer"
	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/importer/target"
	"github.com/slotferry/slotferry/internal/dataset"
	"github.com/slotferry/slotferry/internal/sandbox"
	"github.com/slotferry/slotferry/internal/sandbox/sandboxtest"
)

const amnesiaKeys = 3000

// into lets a run write to another cluster than the shared one, slowly enough
// for a master to have acknowledged something when it dies.
func into(c *sandbox.Cluster) (func(*target.Options), func(*importer.Options)) {
	return func(o *target.Options) { o.Seeds = c.Seeds() },
		func(o *importer.Options) { o.WatchEvery, o.RateKeys = 50*time.Millisecond, 4000 }
}

// forget kills a master that keeps nothing on disk and starts it again, empty.
func forget(t *testing.T, c *sandbox.Cluster, s *sandbox.Server) {
	t.Helper()
	n, err := s.Client().DBSize(t.Context()).Result()
	if err != nil || n == 0 {
		t.Errorf("%s holds %d keys before it is killed (%v)", s.Addr, n, err)
	}
	must(t, s.Kill(), s.Restart(t.Context()), c.WaitReady(t.Context()))
}

// once returns a hook that does something at the n-th record, the first time
// that a pass comes there.
func once(n int, do func()) func(int, *record.Record) {
	var first sync.Once
	return func(now int, _ *record.Record) {
		if now == n {
			first.Do(do)
		}
	}
}

// TestMasterForgets restarts a master that loses all it has acknowledged: it is
// noticed, and written again.
func TestMasterForgets(t *testing.T) {
	emptyCluster(t) // runs begin with it
	src, path := mixed(t, amnesiaKeys)
	c := sandboxtest.Cluster(t, sandbox.ClusterOptions{Options: sandbox.Options{Password: targetSecret}, NodeTimeout: time.Minute})
	to, often := into(c)
	for name, from := range map[string]func(*bench) importer.Source{"rdb": fromFile(path), "live": fromServer(src)} {
		t.Run(name, func(t *testing.T) {
			empty(t, c)
			out := run{from: from, dir: t.TempDir(), target: to, options: often, each: once(amnesiaKeys/2, func() { forget(t, c, c.Nodes[1]) })}.do(t)
			out.wantDone(t)
			if !strings.Contains(out.log, "replaced or restarted") {
				t.Errorf("the operator was not told:\n%s", out.log)
			}
			if out.Read != amnesiaKeys || out.Written != amnesiaKeys {
				t.Errorf("read %d, written %d, want %d", out.Read, out.Written, amnesiaKeys)
			}
			sandboxtest.Equal(t, src.Client(), c.Client(), dataset.CompareOptions{})
		})
	}
	t.Run("stream", func(t *testing.T) {
		empty(t, c)
		dir := t.TempDir()
		out := run{from: fromStream(t, path, 1<<20), dir: dir, target: to, options: often, each: once(amnesiaKeys/2, func() { forget(t, c, c.Nodes[1]) })}.do(t)
		if !errors.Is(out.err, record.ErrPatience) {
			t.Fatalf("ended with %v, want to be run again", out.err)
		}
		run{from: fromStream(t, path, 1<<20), dir: dir, target: to}.do(t).wantDone(t)
		sandboxtest.Equal(t, src.Client(), c.Client(), dataset.CompareOptions{})
	})
	t.Run("after the last answer", func(t *testing.T) {
		empty(t, c)
		out := run{from: fromFile(path), dir: t.TempDir(), target: to, options: often, each: once(amnesiaKeys, func() { forget(t, c, c.Nodes[2]) })}.do(t)
		out.wantDone(t)
		sandboxtest.Equal(t, src.Client(), c.Client(), dataset.CompareOptions{})
	})
	t.Run("between two runs", func(t *testing.T) {
		empty(t, c)
		dir := t.TempDir()
		run{from: fromFile(path), dir: dir, target: to, options: often, stop: amnesiaKeys / 2}.do(t).wantInterrupted(t)
		forget(t, c, c.Nodes[0])
		out := run{from: fromFile(path), dir: dir, target: to}.do(t)
		out.wantDone(t)
		if !strings.Contains(out.log, "since the last run") {
			t.Errorf("the operator was not told:\n%s", out.log)
		}
		sandboxtest.Equal(t, src.Client(), c.Client(), dataset.CompareOptions{})
	})
}

// TestKeysGoMissing empties a master under an import whose target was empty: at
// the end it holds fewer keys than it has acknowledged.
func TestKeysGoMissing(t *testing.T) {
	c := emptyCluster(t)
	_, path := mixed(t, amnesiaKeys)
	out := run{
		from: fromFile(path), dir: t.TempDir(), options: func(o *importer.Options) { o.RateKeys = 4000 },
		each: once(amnesiaKeys-1, func() { must(t, c.Nodes[1].Client().FlushAll(t.Context()).Err()) }),
	}.do(t)
	if !errors.Is(out.err, importer.ErrLost) || out.Status != importer.Failed || !strings.Contains(out.err.Error(), "verify --repair") {
		t.Errorf("%s, %v", out.Status, out.err)
	}
}

// TestFailoverKeepsEverything kills masters that have replicas, at full speed.
func TestFailoverKeepsEverything(t *testing.T) {
	emptyCluster(t) // runs begin with it
	src, path := mixed(t, 40000)
	c := sandboxtest.Cluster(t, sandbox.ClusterOptions{
		Options: sandbox.Options{Password: targetSecret, AppendOnly: true}, Masters: 3, Replicas: 1, NodeTimeout: 2 * time.Second,
	})
	to, _ := into(c)
	out := run{from: fromFile(path), dir: t.TempDir(), target: to, each: once(15000, func() { must(t, c.Nodes[0].Kill()) })}.do(t)
	out.wantDone(t)
	if out.Read != 40000 || out.Written != 40000 {
		t.Errorf("read %d, written %d", out.Read, out.Written)
	}
	must(t, c.Nodes[0].Restart(t.Context()), c.WaitReady(t.Context()))
	if r := sandboxtest.Equal(t, src.Client(), c.Client(), dataset.CompareOptions{}); r.Compared != 40000 {
		t.Error(r)
	}
}
