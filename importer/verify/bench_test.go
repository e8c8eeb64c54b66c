package verify

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/rdbparse"
)

// equalChunk is a full chunk and the answers of a node that has the same, with
// values of n bytes.
func equalChunk(n int) (*chunk, []byte) {
	ch := &chunk{
		commands: make([]byte, 0, chunkCommands), values: make([]byte, 0, chunkValues), entries: make([]entry, 0, chunkEntries),
	}
	var answers []byte
	r := record.Record{Value: append([]byte{0x40 | byte(n>>8), byte(n)}, bytes.Repeat([]byte("v"), n)...)}
	for i := 0; ; i++ {
		r.Key = fmt.Appendf(r.Key[:0], "key:%d", i)
		if !ch.fits(sizes(&r, r.Key)) {
			return ch, answers
		}
		r.ExpireAt = int64(i%2) * 4102444800000
		ch.add(question{}, &r, r.Key, 0, nil)
		payload := rdbparse.AppendPayload(nil, 0, r.Value, 11)
		answers = fmt.Appendf(answers, "$%d\r\n%s\r\n:%d\r\n", len(payload), payload, r.ExpireAt-int64((i+1)%2))
	}
}

// compareChunk fills the chunk anew, as Send does, and compares it.
func compareChunk(tb testing.TB, c *Comparer, ch, from *chunk, src *bytes.Reader, r replies) {
	ch.commands, ch.values, ch.entries, ch.expect = ch.commands[:0], ch.values[:0], ch.entries[:0], 0
	var rec record.Record
	for i := range from.entries {
		e := &from.entries[i]
		rec.Key, rec.Value, rec.ExpireAt = from.name(e), e.value.of(from.values), e.expireAt
		ch.add(c.question(), &rec, rec.Key, e.slot, nil)
	}
	_, _ = src.Seek(0, 0)
	r.Reset(src)
	for i := range ch.entries {
		if v, err := c.read(r, ch, &ch.entries[i], "", manner{}); err != nil || v.outcome != same {
			tb.Fatalf("key %d: %+v, %v", i, v, err)
		}
	}
}

// TestNoAllocations tells that keys that are the same cost no memory each.
func TestNoAllocations(t *testing.T) {
	from, answers := equalChunk(200)
	ch, _ := equalChunk(200)
	src := bytes.NewReader(answers)
	c, r := &Comparer{opts: Options{Exact: true}}, newReplies(src)
	if n := testing.AllocsPerRun(10, func() { compareChunk(t, c, ch, from, src, r) }); n != 0 {
		t.Errorf("%v allocations for %d keys", n, len(ch.entries))
	}
}

// BenchmarkCompare is what a key costs beside the network.
func BenchmarkCompare(b *testing.B) {
	for _, n := range []int{64, 500} {
		b.Run(fmt.Sprintf("%d bytes", n), func(b *testing.B) {
			from, answers := equalChunk(n)
			ch, _ := equalChunk(n)
			src := bytes.NewReader(answers)
			c, r := &Comparer{opts: Options{Exact: true}}, newReplies(src)
			b.ReportAllocs()
			keys := 0
			for b.Loop() {
				compareChunk(b, c, ch, from, src, r)
				keys += len(ch.entries)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(keys), "ns/key")
		})
	}
}
