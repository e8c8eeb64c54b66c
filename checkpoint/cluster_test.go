package checkpoint_test

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/slotferry/slotferry/checkpoint"
	"github.com/slotferry/slotferry/internal/sandbox"
	"github.com/slotferry/slotferry/internal/sandbox/sandboxtest"
)

// TestCluster needs no cluster: its keys are in one slot wherever they are.
func TestCluster(t *testing.T) {
	server := sandboxtest.Server(t, sandbox.Options{})
	client, ctx := server.Client(), t.Context()
	for _, job := range []string{"plain", "}odd{", "with space\r\n"} {
		t.Run(job, func(t *testing.T) {
			c, err := checkpoint.OpenClusterFor(ctx, client, job, time.Second)
			if err != nil {
				t.Fatal(err)
			}
			for _, key := range c.Keys() {
				if !checkpoint.OwnKey(key) {
					t.Errorf("%q is not known as its own", key)
				}
			}
			if _, err := c.Load(ctx); !errors.Is(err, checkpoint.ErrNone) {
				t.Errorf("Load of nothing: %v", err)
			}
			if _, err := checkpoint.OpenClusterFor(ctx, client, job, time.Second); !errors.Is(err, checkpoint.ErrLocked) {
				t.Errorf("second OpenCluster: %v", err)
			}
			want := checkpoint.Checkpoint{Job: job, Runs: 2, Started: time.Unix(1, 0).UTC()}
			if err := c.Save(ctx, want); err != nil {
				t.Fatal(err)
			}
			if got, err := c.Load(ctx); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("loaded %+v, %v", got, err)
			}
			if err := client.SetRange(ctx, c.Keys()[0], 100, "x").Err(); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Load(ctx); !errors.Is(err, checkpoint.ErrDamaged) {
				t.Errorf("Load of something damaged: %v", err)
			}
			if err := c.Save(ctx, want); err != nil {
				t.Fatal(err)
			}
			if err := c.Close(ctx); err != nil {
				t.Fatal(err)
			}
			if keys := client.Keys(ctx, "*").Val(); len(keys) != 1 || keys[0] != c.Keys()[0] {
				t.Errorf("left behind: %q", keys)
			}
			again, err := checkpoint.OpenClusterFor(ctx, client, job, time.Second)
			if err != nil {
				t.Fatal(err)
			}
			want.Done = true
			if err := again.Save(ctx, want); err != nil {
				t.Fatal(err)
			}
			if err := again.Close(ctx); err != nil {
				t.Fatal(err)
			}
			if n := client.DBSize(ctx).Val(); n != 0 {
				t.Errorf("%d keys left after the job was done", n)
			}
		})
	}
}

func TestClusterLease(t *testing.T) {
	server := sandboxtest.Server(t, sandbox.Options{})
	client, ctx := server.Client(), t.Context()
	c, err := checkpoint.OpenCluster(ctx, client, "job")
	if err != nil {
		t.Fatal(err)
	}
	lock := c.Keys()[1]
	if ttl := client.PTTL(ctx, lock).Val(); ttl <= 0 || ttl > checkpoint.Lease {
		t.Errorf("the lease lasts %s", ttl)
	}
	if err := client.Del(ctx, lock).Err(); err != nil { // it ran out
		t.Fatal(err)
	}
	if err := c.Save(ctx, checkpoint.Checkpoint{}); err != nil {
		t.Errorf("a lease that ran out was not taken again: %v", err)
	}
	if ttl := client.PTTL(ctx, lock).Val(); ttl <= 0 || ttl > checkpoint.Lease {
		t.Errorf("the lease lasts %s after it was renewed", ttl)
	}
	if err := client.Set(ctx, lock, "another", time.Minute).Err(); err != nil {
		t.Fatal(err)
	}
	if err := c.Save(ctx, checkpoint.Checkpoint{Job: "thief"}); !errors.Is(err, checkpoint.ErrLost) {
		t.Errorf("Save without the lease: %v", err)
	}
	if got, err := c.Load(ctx); err != nil || got.Job == "thief" {
		t.Errorf("saved without the lease: %+v, %v", got, err)
	}
	if err := c.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if got := client.Get(ctx, lock).Val(); got != "another" {
		t.Errorf("another run's lease was given back: %q", got)
	}
	if checkpoint.OwnKey("slotferry:{x}:other") || checkpoint.OwnKey("user:{x}:lock") {
		t.Error("takes a user's key for its own")
	}
}
