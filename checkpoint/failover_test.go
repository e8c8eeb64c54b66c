package checkpoint

import (
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/slotferry/slotferry/internal/sandbox"
	"github.com/slotferry/slotferry/internal/sandbox/sandboxtest"
)

var errUntried = errors.New("not tried")

// TestLeaseOutlivesItsMaster kills the master that has lock and checkpoint. The
// holder goes on when the replica has taken over, although the lease's time went
// by, for what is kept tells that nobody came in between.
func TestLeaseOutlivesItsMaster(t *testing.T) {
	nodes := sandboxtest.Cluster(t, sandbox.ClusterOptions{Masters: 3, Replicas: 1, NodeTimeout: 1500 * time.Millisecond})
	ctx, client := t.Context(), nodes.Client()
	c := open(t, client, "job", brief)
	want(t, "save", c.Save(ctx, Checkpoint{Runs: 1}), nil)
	owner, err := nodes.OwnerOf(ctx, int(client.ClusterKeySlot(ctx, c.lock).Val()))
	if err != nil {
		t.Fatal(err)
	}
	_, err = owner.Client().Pipelined(ctx, func(p redis.Pipeliner) error { // the replica has what came before, too
		p.Set(ctx, "slotferry:{job}:mark", "", 0)
		return p.Do(ctx, "WAIT", 1, 10000).Err()
	})
	want(t, "the replica's word", err, nil)
	want(t, "kill", owner.Kill(), nil)
	begun := time.Now()
	for err = errUntried; err != nil && !errors.Is(err, ErrLost) && time.Since(begun) < 50*time.Second; time.Sleep(brief / 10) {
		err = c.Save(ctx, Checkpoint{Runs: 2})
	}
	t.Logf("the lock's master was replaced after %s", time.Since(begun).Round(time.Millisecond))
	want(t, "save", err, nil)
	want(t, "held", c.Held(), nil)
}
