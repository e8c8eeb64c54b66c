package report

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/slotferry/slotferry/importer/route"
)

// mixed makes keys as a service has them: a few prefixes, many users, some of
// them with hash tags, all types.
func mixed(n int) []Key {
	rng := rand.New(rand.NewPCG(1, 2))
	kinds := []encoding{
		{"string", "string"}, {"hash", "listpack"}, {"hash", "hashtable"}, {"list", "quicklist"}, {"set", "intset"},
		{"set", "hashtable"}, {"zset", "listpack"}, {"zset", "skiplist"}, {"stream", "stream"},
	}
	keys := make([]Key, n)
	for i := range keys {
		user := rng.IntN(1_000_000)
		name := fmt.Appendf(nil, "%s:%d:profile", []string{"user", "session", "cart", "order"}[rng.IntN(4)], user)
		if rng.IntN(10) == 0 {
			name = fmt.Appendf(nil, "user:{%d}:%s", user/10, strconv.Itoa(rng.IntN(5)))
		}
		e := kinds[rng.IntN(len(kinds))]
		keys[i] = Key{Key: name, Name: name, Slot: route.Slot(name), Type: e.typ, Encoding: e.name, Bytes: int64(20 + rng.IntN(1000))}
		if rng.IntN(3) == 0 {
			keys[i].ExpireAt = 1_800_000_000_000 + rng.Int64N(40*24*3600*1000)
		}
	}
	return keys
}

func BenchmarkCounter(b *testing.B) {
	keys := mixed(1 << 18)
	c := NewCounter(CounterOptions{Table: route.Even(3), Now: time.UnixMilli(1_800_000_000_000)})
	for _, k := range keys {
		c.Key(k)
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		c.Key(keys[i%len(keys)])
		i++
	}
}

// Each key is larger than all before it.
func BenchmarkBigKeys(b *testing.B) {
	big := newBigKeys()
	name := []byte("user:123456:profile")
	b.ReportAllocs()
	n := int64(0)
	for b.Loop() {
		big.add(Key{Key: name, Slot: uint16(n % route.Slots), Bytes: n})
		n++
	}
}

// Every key has a prefix of its own: the tally drops again and again.
func BenchmarkTallyFull(b *testing.B) {
	t := newTally(defaultMemory / 2)
	var name [20]byte
	b.ReportAllocs()
	n := int64(0)
	for b.Loop() {
		name := strconv.AppendInt(append(name[:0], "prefix-"...), n, 36)
		t.add(t.hash(name), name, 0, 100)
		n++
	}
}
