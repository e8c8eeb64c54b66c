package mirror

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/slotferry/slotferry/importer"
	"github.com/slotferry/slotferry/importer/record"
)

// BenchmarkFind looks up what is in memory, in an order of its own.
func BenchmarkFind(b *testing.B) {
	const keys = 1_000_000
	r := rand.New(rand.NewPCG(1, 2))
	names := make([]uint64, keys)
	for i := range names {
		names[i] = r.Uint64()
	}
	order := slices.Clone(names)
	slices.Sort(names)
	tab := tableOf(b, names, 64<<20)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, _, ok, err := tab.find(order[i%keys]); !ok || err != nil {
			b.Fatal(ok, err)
		}
	}
}

// BenchmarkSeen looks up 1 M keys in the order of the run before, or in another
// one as after a restart of the source, with nothing changed and with some. The
// time of Finish is a part of it.
func BenchmarkSeen(b *testing.B) {
	const keys = 1_000_000
	value := make([]byte, 500)
	for _, bc := range []struct {
		name    string
		changed int // in a thousand
		memory  int64
		another bool // order
	}{
		{"unchanged", 0, 0, false}, {"1 percent", 10, 0, false}, {"20 percent", 200, 0, false}, {"not in memory", 10, 1 << 20, false},
		{"all", 1000, 0, false}, {"another order", 0, 0, true}, {"another order, not in memory", 0, 1 << 20, true},
	} {
		b.Run(bc.name, func(b *testing.B) {
			dir := b.TempDir()
			r := rand.New(rand.NewPCG(1, 2))
			order := r.Perm(keys)
			pass := func(salt uint64, changed int) {
				m, err := Open(Options{Dir: dir, Memory: bc.memory})
				if err != nil {
					b.Fatal(err)
				}
				_, err = m.Begin(b.Context(), importer.MirrorRun{Source: "s", Target: []string{"t"}, Keys: keys})
				if err != nil {
					b.Fatal(err)
				}
				written := 0
				rec := record.Record{Value: value}
				for _, i := range order {
					rec.Key = fmt.Appendf(rec.Key[:0], "user:%d:profile", i)
					binary.LittleEndian.PutUint64(value, uint64(i))
					binary.LittleEndian.PutUint64(value[8:], 0)
					if i%1000 < changed {
						binary.LittleEndian.PutUint64(value[8:], salt)
					}
					unchanged, err := m.Seen(&rec, rec.Key)
					if err != nil {
						b.Fatal(err)
					}
					if !unchanged {
						written++
					}
				}
				if _, err := m.Finish(b.Context(), importer.MirrorEnd{}); err != nil {
					b.Fatal(err)
				}
				if err := m.Close(); err != nil {
					b.Fatal(err)
				}
				if salt > 1 && written != keys/1000*changed {
					b.Fatalf("%d written", written)
				}
			}
			pass(1, bc.changed)
			b.ReportAllocs()
			salt := uint64(1)
			for b.Loop() {
				salt++
				if bc.another {
					b.StopTimer()
					order = r.Perm(keys)
					b.StartTimer()
				}
				pass(salt, bc.changed)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/keys, "ns/key")
		})
	}
}
