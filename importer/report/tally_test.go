package report

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
)

// exactly is what a tally should say, kept without a limit.
type exactly map[string]share

func (c exactly) add(name string, bytes int64) {
	s := c[name]
	s.add(bytes)
	c[name] = s
}

// checkTally tests what a tally promises of every name.
func checkTally(t *testing.T, tally *tally, want exactly) {
	t.Helper()
	bad := func(name string, what string, got share, true share) {
		t.Errorf("%.40q: %s: %v, the truth is %v, the error %v", name, what, got, true, tally.error)
	}
	for name, w := range want {
		e := tally.find(tally.hash([]byte(name)), []byte(name))
		if e == nil {
			if w.keys > tally.error.keys || w.bytes > tally.error.bytes {
				bad(name, "missing", share{}, w)
			}
			continue
		}
		got := e.counted
		if got.keys > w.keys || got.bytes > w.bytes {
			bad(name, "too much", got, w)
		}
		if w.keys-got.keys > tally.error.keys || w.bytes-got.bytes > tally.error.bytes {
			bad(name, "too little", got, w)
		}
		if most := e.most(); most.keys < w.keys || most.bytes < w.bytes {
			bad(name, "its most is too little", most, w)
		}
	}
	for i := range tally.n {
		if name := string(tally.name(tally.at(i))); want[name].keys == 0 {
			t.Errorf("%.40q was never added", name)
		}
	}
	if tally.taken > max(tally.limit, 40<<10) {
		t.Errorf("takes %d bytes of %d", tally.taken, tally.limit)
	}
}

func TestTallyExact(t *testing.T) {
	tally, want := newTally(1<<20), exactly{}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 30_000 {
		name := strings.Repeat("\x00é\xff", rng.IntN(30)) + fmt.Sprint(rng.IntN(100))
		bytes := rng.Int64N(1000)
		want.add(name, bytes)
		tally.add(tally.hash([]byte(name)), []byte(name), 0, bytes)
	}
	if !tally.exact() || tally.n != len(want) {
		t.Fatalf("holds %d names of %d, the error is %v", tally.n, len(want), tally.error)
	}
	checkTally(t, tally, want)
}

// Names come and go in every mixture of weights, with far too little memory.
func TestTallyShort(t *testing.T) {
	for seed := range uint64(12) {
		rng := rand.New(rand.NewPCG(seed, 3))
		tally, want := newTally(int64(rng.IntN(80<<10))), exactly{}
		add := func(name string, bytes int64) {
			want.add(name, bytes)
			tally.add(tally.hash([]byte(name)), []byte(name), 0, bytes)
		}
		const n = 20_000
		zipf := rand.NewZipf(rng, 1.1, 1, n)
		for i := range n {
			switch rng.IntN(4) {
			case 0:
				add(fmt.Sprint("once", i), 1)
			case 1:
				add(fmt.Sprint("zipf", zipf.Uint64()), rng.Int64N(100))
			case 2: // many keys, no bytes; comes back long after it was light
				add(fmt.Sprint("keys", rng.IntN(1+i/50)), 0)
			case 3: // few keys, many bytes, long names of all lengths
				add(strings.Repeat("b", rng.IntN(1027))+fmt.Sprint(rng.IntN(50)), rng.Int64N(1<<20))
			}
		}
		if tally.exact() {
			t.Errorf("seed %d: %d names fit into %d bytes", seed, len(want), tally.limit)
		}
		checkTally(t, tally, want)
	}
}

// Light names without end don't hide heavy ones, and don't blur them much.
func TestTallyHeavyAmongLight(t *testing.T) {
	const light = 200_000
	tally, want := newTally(64<<10), exactly{}
	add := func(name string, bytes int64) {
		want.add(name, bytes)
		tally.add(tally.hash([]byte(name)), []byte(name), 0, bytes)
	}
	for i := range light {
		add(fmt.Sprint("light", i), 1)
		if i%50 == 0 {
			add("many keys", 1)
		}
		if i%20_000 == 5000 {
			add("many bytes", 10_000)
		}
	}
	checkTally(t, tally, want)
	// About 450 names fit.
	if e := tally.error; e.keys > light/80 || e.bytes > 4*(light+100_000)/400 {
		t.Errorf("the error is %v", e)
	}
	for _, by := range []struct {
		name        string
		bytes, keys int
	}{{"many bytes", 1, 0}, {"many keys", 0, 1}} {
		if list := tally.heaviest(by.bytes, by.keys); len(list) != 1 || string(tally.name(list[0])) != by.name {
			t.Errorf("%q is not the first of %d", by.name, len(list))
		}
	}
}

// Dropping half of all names need not make room for one that is longer than all of these.
func TestTallyLongName(t *testing.T) {
	tally, want := newTally(32<<10), exactly{}
	add := func(name string, bytes int64) {
		want.add(name, bytes)
		tally.add(tally.hash([]byte(name)), []byte(name), 0, bytes)
	}
	for i := range 15 {
		add(strings.Repeat(string(rune('a'+i)), 1027), 1000)
	}
	for i := range 200 {
		add(string([]byte{byte(i)}), 1)
	}
	add(strings.Repeat("long", 250), 1)
	if tally.exact() {
		t.Error("all fitted")
	}
	checkTally(t, tally, want)
}

// Two names that were shortened to the same are told apart by their hashes.
func TestTallyHash(t *testing.T) {
	tally := newTally(1 << 20)
	for i := range uint64(6) {
		tally.add(i%2*firstIndex, []byte("same"), 0, 10) // the same cell at first
	}
	if tally.n != 2 || tally.at(0).counted != (share{3, 30}) || tally.at(1).counted != (share{3, 30}) {
		t.Errorf("%d names", tally.n)
	}
}

func TestCounterMemory(t *testing.T) {
	const memory = 2 << 20
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	c := NewCounter(CounterOptions{Memory: memory, Separator: ":"})
	var name []byte
	for i := range 100_000 {
		name = fmt.Appendf(name[:0], "p%d:{t%d}:%064d", i, i, i)
		c.Key(Key{Key: name, Name: name, Type: "string", Bytes: 100})
	}
	if took := heap() - before; took > memory+(1<<20) {
		t.Errorf("takes %d bytes", took)
	}
	if c.tags.exact() || c.prefixes.exact() {
		t.Error("all of it fitted: the test tests nothing")
	}
	runtime.KeepAlive(c)
}
