package target

import (
	"context"
	"sync"
)

// budget bounds the memory of all chunks: those being filled, queued, sent and
// not answered. Chunks of the usual size are used again.
type budget struct {
	mu      sync.Mutex
	changed *sync.Cond
	used    int64
	soft    int64 // beyond this many bytes only a lane with nothing to do justifies more
	hard    int64 // never beyond this, but for large values
	large   int64 // never beyond this with large values among them, but for one alone
	free    []*chunk
	hungry  func() bool // whether a lane has nothing to send
}

func newBudget(bytes, large int64, hungry func() bool) *budget {
	b := &budget{hard: bytes, soft: min(bytes/2, 24<<20), large: max(bytes, large), hungry: hungry}
	b.changed = sync.NewCond(&b.mu)
	return b
}

// largeCharge is the memory from which a record counts as a large value.
const largeCharge = 2 * chunkCharge

// fits reports whether n more bytes may be taken now.
func (b *budget) fits(n int64) bool {
	if b.used == 0 {
		return true
	}
	if n > largeCharge {
		return b.used+n <= b.large
	}
	if b.used+n > b.hard {
		return false
	}
	return b.used+n <= b.soft || b.hungry()
}

// chunk returns an empty chunk with room for a command of n bytes and charges
// extra bytes beside, waiting until the budget allows it. before is called
// ahead of a wait: what is still being filled must be sent, or nothing is ever
// answered.
func (b *budget) chunk(ctx context.Context, n int, extra int64, before func()) (*chunk, error) {
	charge := charge(n, extra)
	b.mu.Lock()
	if !b.fits(charge) {
		b.mu.Unlock()
		before()
		stop := context.AfterFunc(ctx, b.wake)
		defer stop()
		b.mu.Lock()
		for !b.fits(charge) && ctx.Err() == nil {
			b.changed.Wait()
		}
	}
	defer b.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	return b.take(n, charge), nil
}

// room waits until n more bytes fit beside what is out.
func (b *budget) room(ctx context.Context, n int64, before func()) error {
	before()
	stop := context.AfterFunc(ctx, b.wake)
	defer stop()
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.used > 0 && b.used+n > b.large && ctx.Err() == nil {
		b.changed.Wait()
	}
	return context.Cause(ctx)
}

// force is chunk for records that are on their way already: it never waits.
func (b *budget) force(n int, extra int64) *chunk {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.take(n, charge(n, extra))
}

// charge is the memory of a chunk with room for n bytes and of extra bytes
// beside it.
func charge(n int, extra int64) int64 { return max(int64(n), chunkCharge) + extra }

func (b *budget) take(n int, charge int64) *chunk {
	b.used += charge
	if last := len(b.free) - 1; last >= 0 && n <= chunkBytes {
		c := b.free[last]
		b.free = b.free[:last]
		c.charged = charge
		return c
	}
	if n > chunkBytes {
		return &chunk{buf: make([]byte, 0, n), charged: charge}
	}
	return &chunk{buf: make([]byte, 0, chunkBytes), entries: make([]entry, 0, chunkEntries), charged: charge}
}

// release takes a chunk back.
func (b *budget) release(c *chunk) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used -= c.charged
	if cap(c.buf) == chunkBytes {
		*c = chunk{buf: c.buf[:0], entries: c.entries[:0]}
		b.free = append(b.free, c)
	}
	b.changed.Broadcast()
}

// wake lets those who wait look again.
func (b *budget) wake() {
	b.mu.Lock()
	b.changed.Broadcast()
	b.mu.Unlock()
}

// drained waits until no chunk is out.
func (b *budget) drained(ctx context.Context) error {
	stop := context.AfterFunc(ctx, b.wake)
	defer stop()
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.used > 0 && ctx.Err() == nil {
		b.changed.Wait()
	}
	if b.used > 0 {
		return context.Cause(ctx)
	}
	return nil
}
