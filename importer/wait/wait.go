// Package wait says how long to wait before another attempt, and waits so that
// the end of a context ends it.
package wait

import (
	"context"
	"math/rand/v2"
	"time"
)

// Backoff grows from about 50 ms after the first failure to about 2 s, with
// jitter so that those who wait don't knock together.
func Backoff(failures int) time.Duration {
	d := min(50*time.Millisecond<<min(failures-1, 6), 2*time.Second)
	return d/2 + rand.N(d)
}

// For waits, or returns the context's cause when that ends first.
func For(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
