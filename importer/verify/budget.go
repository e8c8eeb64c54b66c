package verify

import (
	"context"
	"sync"
)

// budget bounds the memory of all chunks. Chunks of the usual size are used
// again.
type budget struct {
	mu      sync.Mutex
	changed *sync.Cond
	used    int64
	limit   int64
	free    []*chunk
}

func newBudget(bytes int64) *budget {
	b := &budget{limit: bytes}
	b.changed = sync.NewCond(&b.mu)
	return b
}

// wait blocks until n more bytes fit beside what is out, or nothing is out. With
// mu held. before is called ahead of a wait: what is still being filled must be
// sent, or nothing is ever answered.
func (b *budget) wait(ctx context.Context, n int64, before func()) error {
	fits := func() bool { return b.used == 0 || b.used+n <= b.limit }
	if fits() {
		return context.Cause(ctx)
	}
	b.mu.Unlock()
	before()
	stop := context.AfterFunc(ctx, b.wake)
	defer stop()
	b.mu.Lock()
	for !fits() && ctx.Err() == nil {
		b.changed.Wait()
	}
	return context.Cause(ctx)
}

// chunk returns an empty chunk with room for a record, extra bytes charged
// beside.
func (b *budget) chunk(ctx context.Context, commands, values int, extra int64, before func()) (*chunk, error) {
	usual := commands <= chunkCommands && values <= chunkValues
	charge := chunkCharge + extra
	if !usual {
		charge = int64(commands) + int64(values) + extra
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.wait(ctx, charge, before); err != nil {
		return nil, err
	}
	b.used += charge
	var c *chunk
	switch last := len(b.free) - 1; {
	case !usual:
		c = &chunk{commands: make([]byte, 0, commands), values: make([]byte, 0, values), entries: make([]entry, 0, 1)}
	case last >= 0:
		c = b.free[last]
		b.free = b.free[:last]
	default:
		c = &chunk{
			commands: make([]byte, 0, chunkCommands), values: make([]byte, 0, chunkValues), entries: make([]entry, 0, chunkEntries),
		}
	}
	c.charged = charge
	c.holders.Store(1)
	return c, nil
}

// drop takes one holder from a chunk; the last one gives it back.
func (b *budget) drop(c *chunk) {
	if c.holders.Add(-1) > 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used -= c.charged
	if cap(c.entries) == chunkEntries {
		clear(c.entries) // it must not keep values alive
		c.commands, c.values, c.entries, c.expect = c.commands[:0], c.values[:0], c.entries[:0], 0
		b.free = append(b.free, c)
	}
	b.changed.Broadcast()
}

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
