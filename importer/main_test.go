package importer_test

import (
	"context"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/slotferry/slotferry/internal/sandbox"
)

// Passwords of both sides. Whatever a run says or keeps is searched for them.
const (
	sourceSecret = "s0urce-pässword-märker"
	targetSecret = "t4rget-pässword-märker"
)

// shared is the cluster that all tests write to, one after the other.
var shared struct {
	once    sync.Once
	cluster *sandbox.Cluster
	err     error
}

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		os.Exit(child())
	}
	code := m.Run()
	if shared.cluster != nil {
		shared.cluster.Stop()
	}
	os.Exit(code)
}

// emptyCluster returns the shared cluster of three masters, with nothing in it.
func emptyCluster(t testing.TB) *sandbox.Cluster {
	t.Helper()
	shared.once.Do(func() {
		shared.cluster, shared.err = sandbox.StartCluster(context.Background(), sandbox.ClusterOptions{
			Options:     sandbox.Options{Password: targetSecret},
			NodeTimeout: time.Minute, // tests stop masters for a while
		})
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	empty(t, shared.cluster)
	return shared.cluster
}

func empty(t testing.TB, c *sandbox.Cluster) {
	t.Helper()
	err := c.Client().ForEachMaster(t.Context(), func(ctx context.Context, m *redis.Client) error {
		if err := m.FlushAll(ctx).Err(); err != nil {
			return err
		}
		if err := m.ScriptFlush(ctx).Err(); err != nil {
			return err
		}
		if !c.Nodes[0].Version.AtLeast(7, 0) {
			return nil
		}
		return m.FunctionFlush(ctx).Err()
	})
	if err != nil {
		t.Fatal(err)
	}
}
