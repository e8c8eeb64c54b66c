package target

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

func TestBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var hungry atomic.Bool
		b := newBudget(8*chunkCharge, 0, hungry.Load)
		ctx, cancel := context.WithCancelCause(t.Context())
		take := func(n int, extra int64) *chunk {
			t.Helper()
			c, err := b.chunk(ctx, n, extra, func() { t.Error("it waits") })
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		var out []*chunk
		for range 4 {
			out = append(out, take(100, 0))
		}
		// Above the soft limit only a hungry lane justifies more.
		got := make(chan *chunk, 1)
		waits := func() (flushed func() bool) {
			n := 0
			go func() {
				c, _ := b.chunk(ctx, 100, 0, func() { n++ })
				got <- c
			}()
			synctest.Wait()
			return func() bool { return n == 1 }
		}
		flushed := waits()
		if !flushed() || len(got) > 0 {
			t.Error("nothing was flushed, or nobody waits")
		}
		hungry.Store(true)
		b.wake()
		out = append(out, <-got)
		for range 3 {
			out = append(out, take(100, 0))
		}
		// The hard limit holds for the hungry too.
		waits()
		if len(got) > 0 {
			t.Error("the hard limit does not hold")
		}
		b.release(out[0])
		out[0] = <-got
		// What is on its way already never waits, and counts.
		forced := b.force(100, 5)
		for _, c := range append(out, forced) {
			b.release(c)
		}
		if b.used != 0 {
			t.Errorf("%d bytes are out", b.used)
		}
		// One record alone may be larger than everything.
		huge := take(100*chunkBytes, 1<<30)
		room := make(chan error, 1)
		go func() { room <- b.room(ctx, 1, func() {}) }()
		drained := make(chan error, 1)
		go func() { drained <- b.drained(ctx) }()
		synctest.Wait()
		if len(room)+len(drained) > 0 {
			t.Error("there is room beside the largest, or nothing is out")
		}
		b.release(huge)
		if err := errors.Join(<-room, <-drained); err != nil {
			t.Error(err)
		}
		// The end of the context ends every wait.
		why := errors.New("why")
		last := take(100, 8*chunkCharge)
		failed := make(chan error, 3)
		go func() { failed <- b.room(ctx, 1, func() {}) }()
		go func() { failed <- b.drained(ctx) }()
		go func() {
			_, err := b.chunk(ctx, 100, 0, func() {})
			failed <- err
		}()
		synctest.Wait()
		cancel(why)
		for range 3 {
			if err := <-failed; !errors.Is(err, why) {
				t.Errorf("error is %v", err)
			}
		}
		b.release(last)
	})
}
