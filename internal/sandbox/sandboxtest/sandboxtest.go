// Package sandboxtest starts real servers for tests. A test fails, and never
// skips, when there is none to start; its servers end with it.
package sandboxtest

import (
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/slotferry/slotferry/internal/dataset"
	"github.com/slotferry/slotferry/internal/sandbox"
)

const logLines = 25

// Server starts a server that lives as long as the test.
func Server(t testing.TB, o sandbox.Options) *sandbox.Server {
	t.Helper()
	s, err := sandbox.Start(t.Context(), o)
	if err != nil {
		fatal(t, err)
	}
	t.Cleanup(func() {
		showLog(t, s)
		s.Stop()
	})
	return s
}

// Cluster starts a cluster that lives as long as the test.
func Cluster(t testing.TB, o sandbox.ClusterOptions) *sandbox.Cluster {
	t.Helper()
	start := time.Now()
	c, err := sandbox.StartCluster(t.Context(), o)
	if err != nil {
		fatal(t, err)
	}
	t.Logf("a cluster of %d nodes stands after %s", len(c.Nodes), time.Since(start).Round(time.Millisecond))
	t.Cleanup(func() {
		for _, s := range c.Nodes {
			showLog(t, s)
		}
		c.Stop()
	})
	return c
}

// Equal fails the test, with the first differences, unless the target holds
// exactly what o expects of the source. For a source that is an RDB file, start
// a scratch server from it.
func Equal(t testing.TB, src *redis.Client, target *redis.ClusterClient, o dataset.CompareOptions) dataset.Report {
	t.Helper()
	r, err := dataset.Compare(t.Context(), src, target, o)
	if err != nil {
		t.Fatalf("comparing source and target: %v", err)
	}
	if !r.OK() {
		t.Errorf("the target is not as it should be: %s", r)
	}
	return r
}

func fatal(t testing.TB, err error) {
	t.Helper()
	if errors.Is(err, sandbox.ErrNoServer) {
		t.Fatal("these tests talk to a real server: install redis-server (with redis-cli) or set SLOTFERRY_REDIS_SERVER")
	}
	t.Fatal(err)
}

func showLog(t testing.TB, s *sandbox.Server) {
	if t.Failed() {
		t.Logf("the end of the log of %s:\n%s", s.Addr, s.LogTail(logLines))
	}
}
