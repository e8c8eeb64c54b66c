package checkpoint

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/slotferry/slotferry/internal/sandbox"
	"github.com/slotferry/slotferry/internal/sandbox/sandboxtest"
)

// brief is a lease that a test can wait for.
const brief = 600 * time.Millisecond

func open(t *testing.T, client redis.UniversalClient, job string, term time.Duration) *Cluster {
	t.Helper()
	c, err := OpenClusterFor(t.Context(), client, job, term)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	return c
}

func want(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// kill ends a holder as a kill of its process does: nothing is given back.
func kill(c *Cluster) {
	c.stop()
	<-c.ended
}

func TestLease(t *testing.T) {
	server := sandboxtest.Server(t, sandbox.Options{})
	client, ctx := server.Client(), t.Context()

	t.Run("a living holder keeps it", func(t *testing.T) {
		a := open(t, client, "living", brief)
		time.Sleep(2 * brief) // nothing is saved meanwhile
		_, err := OpenClusterFor(ctx, client, "living", brief)
		want(t, "a second run", err, ErrLocked)
		want(t, "the first one", a.Held(), nil)
		want(t, "the first one's save", a.Save(ctx, Checkpoint{}), nil)
	})
	t.Run("a dead holder's ends", func(t *testing.T) {
		a := open(t, client, "dead", brief)
		want(t, "save", a.Save(ctx, Checkpoint{Runs: 7}), nil)
		kill(a)
		b := open(t, client, "dead", brief)
		if c, err := b.Load(ctx); err != nil || c.Runs != 7 {
			t.Errorf("loaded %+v, %v", c, err)
		}
	})
	t.Run("whoever waits can be stopped", func(t *testing.T) {
		open(t, client, "waiting", time.Minute)
		waiting, stop := context.WithTimeout(ctx, 50*time.Millisecond)
		defer stop()
		_, err := OpenClusterFor(waiting, client, "waiting", time.Minute)
		want(t, "the one that waited", err, context.DeadlineExceeded)
	})
	t.Run("a static lock is no excuse to wait for ever", func(t *testing.T) {
		want(t, "set", client.Set(ctx, "slotferry:{static}:lock", "of old", time.Minute).Err(), nil)
		_, err := OpenClusterFor(ctx, client, "static", brief)
		want(t, "open", err, ErrLocked)
	})
}

// TestLostLease stops a holder until its lease has ended and lets others do
// something meanwhile.
func TestLostLease(t *testing.T) {
	server := sandboxtest.Server(t, sandbox.Options{})
	client, ctx := server.Client(), t.Context()
	saved := Checkpoint{Job: "it", Runs: 1}
	for _, tc := range []struct {
		name      string
		meanwhile func(t *testing.T, job string)
		aWhile    bool // the lease's time went by
		unsaved   bool // the holder has not saved yet
		lost      bool
	}{
		{name: "nobody came", aWhile: true},
		{name: "nobody came, before anything was saved", unsaved: true},
		{name: "nobody came, but what was kept is gone as well", aWhile: true, unsaved: true, lost: true},
		{name: "the node lost both", meanwhile: func(t *testing.T, job string) {
			want(t, "del", client.Del(ctx, "slotferry:{"+job+"}:checkpoint").Err(), nil)
		}},
		{name: "another has it", aWhile: true, lost: true, meanwhile: func(t *testing.T, job string) { open(t, client, job, time.Minute) }},
		{name: "another saved", lost: true, meanwhile: func(t *testing.T, job string) {
			b := open(t, client, job, time.Minute)
			want(t, "save", errors.Join(b.Save(ctx, Checkpoint{Runs: 2}), b.Close(ctx)), nil)
		}},
		{name: "another finished", aWhile: true, lost: true, meanwhile: func(t *testing.T, job string) {
			b := open(t, client, job, time.Minute)
			want(t, "save", errors.Join(b.Save(ctx, Checkpoint{Runs: 2}), b.Save(ctx, Checkpoint{Done: true}), b.Close(ctx)), nil)
		}},
		{name: "another looked and left", aWhile: true, meanwhile: func(t *testing.T, job string) {
			b := open(t, client, job, time.Minute)
			want(t, "close", b.Close(ctx), nil)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := open(t, client, t.Name(), time.Minute)
			if !tc.unsaved {
				want(t, "the first save", a.Save(ctx, saved), nil)
			}
			want(t, "held", a.Held(), nil)
			want(t, "del", client.Del(ctx, a.lock).Err(), nil)
			if tc.aWhile {
				a.mu.Lock()
				a.since = time.Now().Add(-2 * time.Minute)
				a.mu.Unlock()
				want(t, "after a while", a.Held(), ErrUnsure)
			}
			if tc.meanwhile != nil {
				tc.meanwhile(t, t.Name())
			}
			before := client.Get(ctx, a.kept).Val()
			err := a.Save(ctx, Checkpoint{Job: "it", Runs: 9})
			if !tc.lost {
				want(t, "save", err, nil)
				want(t, "held again", a.Held(), nil)
				if c, err := a.Load(ctx); err != nil || c.Runs != 9 {
					t.Errorf("loaded %+v, %v", c, err)
				}
				return
			}
			want(t, "save", err, ErrLost)
			want(t, "held", a.Held(), ErrLost)
			want(t, "the end", a.Save(ctx, Checkpoint{Done: true}), ErrLost)
			if now := client.Get(ctx, a.kept).Val(); now != before {
				t.Errorf("what another saved was written over:\n%s\n%s", before, now)
			}
		})
	}
}

// TestLeaseBeforeFirstSave lets the lock be lost while what is kept is still
// another run's of before.
func TestLeaseBeforeFirstSave(t *testing.T) {
	server := sandboxtest.Server(t, sandbox.Options{})
	client, ctx := server.Client(), t.Context()
	a := open(t, client, "old", time.Minute)
	want(t, "save", errors.Join(a.Save(ctx, Checkpoint{Runs: 1}), a.Close(ctx)), nil)
	b := open(t, client, "old", time.Minute)
	_, err := b.Load(ctx)
	want(t, "load", err, nil)
	want(t, "del", client.Del(ctx, b.lock).Err(), nil)
	want(t, "save", b.Save(ctx, Checkpoint{Runs: 2}), nil)
}

func TestHolder(t *testing.T) {
	c := Checkpoint{Job: "{\"holder\":\"x\"", Runs: 3}
	data, err := Encode(c)
	if err != nil {
		t.Fatal(err)
	}
	if got := holderOf(data); got != "" {
		t.Errorf("holder %q of what nobody holds", got)
	}
	held := withHolder(data, "TOKEN")
	if got := holderOf(held); got != "TOKEN" {
		t.Errorf("holder %q", got)
	}
	if got, err := Decode(held); err != nil || !reflect.DeepEqual(got, c) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, odd := range []string{"", "{", `{"holder":"`, `{"holder":"x`} {
		if got := holderOf([]byte(odd)); got != "" {
			t.Errorf("holder of %q: %q", odd, got)
		}
	}
}

func FuzzHolder(f *testing.F) {
	for _, seed := range []string{"", "{", `{"holder":"TOKEN","slotferry_checkpoint":1}`, `{"holder":"x`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		holder := holderOf(data)
		if len(holder) > 100 {
			t.Fatalf("a holder of %d letters", len(holder))
		}
		if c, err := Decode(data); err == nil { // who holds it changes nothing
			if again, err := Decode(withHolder(data, "TOKEN")); err != nil || !reflect.DeepEqual(again, c) {
				t.Fatalf("%+v, then %+v, %v", c, again, err)
			}
		}
	})
}
