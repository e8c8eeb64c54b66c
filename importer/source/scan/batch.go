package scan

import (
	"fmt"

	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/importer/wait"
)

const (
	partBytes  = 1 << 20 // of a part that is asked for, as far as one can know, and of a command that is made of it
	partWords  = 4096    // of such a command
	firstCount = 16      // elements asked for before anything is known of their length
	wordCost   = 32      // bytes that a word takes beside its own
)

// batch gathers the words of one command.
type batch struct {
	words [][]byte
	head  int    // words before the elements
	store []byte // what the words lie in, but for the longest
	bytes int64
}

// begin names the command that elements are gathered for.
func (t *batch) begin(command string, name []byte) {
	*t = batch{words: append(t.words[:0], []byte(command), name), head: 2, store: t.store[:0]}
}

// empty reports whether there are no elements.
func (t *batch) empty() bool { return len(t.words) == t.head }

// full reports whether the command should be sent before more is gathered.
func (t *batch) full() bool { return t.bytes >= partBytes || len(t.words) >= partWords }

// flush hands the command on and begins another such.
func (b *builder) flush() error {
	t := &b.batch
	if t.empty() {
		return nil
	}
	if err := b.emit(t.words); err != nil {
		return err
	}
	if b.after != nil {
		if err := b.after(t.words[t.head:]); err != nil {
			return err
		}
	}
	t.words, t.store, t.bytes = t.words[:t.head], t.store[:0], 0
	return nil
}

// elementMax is the longest unit of a value, such as a hash's field with its
// value, in bytes. The receiver holds it once more.
func (b *builder) elementMax() int64 { return max(2*partBytes, b.source.opts.MaxValue/2) }

// word reads a word that is good until the batch is flushed.
func (b *builder) word(command string) ([]byte, error) {
	h, err := b.head('$', command)
	if err != nil {
		return nil, err
	}
	if h.N < 0 {
		return nil, b.odd(command)
	}
	if err := b.charge(h.N); err != nil {
		return nil, err
	}
	word, owned, err := b.r.Body(h.N)
	if err != nil {
		return nil, b.wire(err)
	}
	if owned {
		return word, nil
	}
	n := len(b.batch.store)
	b.batch.store = append(b.batch.store, word...)
	return b.batch.store[n:len(b.batch.store):len(b.batch.store)], nil
}

// charge counts n bytes of a word for the unit that is read.
func (b *builder) charge(n int64) error {
	b.unit += n + wordCost
	b.batch.bytes += n + wordCost
	if limit := b.elementMax(); b.unit > limit {
		return fmt.Errorf("%w: a single element of it has more than %d bytes, which do not fit into the memory allowed; give more --memory, or import from an RDB file", record.ErrRefused, limit)
	}
	return nil
}

// part notes how long the n elements of a part were.
func (b *builder) part(n, bytes int64) {
	if n > 0 {
		b.mean = float64(bytes) / float64(n)
	}
}

// count is how many elements to ask for, at most limit. It waits first if the
// source's other clients are to have their turn.
func (b *builder) count(limit int) (int, error) {
	n := firstCount
	if b.mean > 0 {
		// What was seen may be unlike the rest, so it grows by and by.
		n = max(1, min(limit, b.asked*8, int(partBytes/b.mean)))
	}
	b.asked = n
	n, rest := b.source.brake.allow(n, b.mean)
	if rest > 0 {
		if err := wait.For(b.ctx, rest); err != nil {
			return 0, err
		}
	}
	return n, nil
}
