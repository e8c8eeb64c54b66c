package rdbparse

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// TestCRC64 compares each way with a sum that takes one bit at a time.
func TestCRC64(t *testing.T) {
	for _, way := range crcWays {
		t.Run(way, func(t *testing.T) {
			defer useCRC(way)()
			// The check value is in src/crc64.c of Redis.
			if got := CRC64(0, []byte("123456789")); got != 0xe9c6d914c4b8d9ca {
				t.Errorf("%016x", got)
			}
			rng := rand.New(rand.NewPCG(1, 2))
			data := randomBytes(rng, 5000)
			first := rng.Uint64()
			want := first
			for n := 0; ; n++ {
				if got := CRC64(first, data[:n]); got != want {
					t.Fatalf("of %d bytes: %016x, want %016x", n, got, want)
				}
				at := rng.IntN(n + 1)
				if got := CRC64(CRC64(first, data[:at]), data[at:n]); got != want {
					t.Fatalf("of %d and %d bytes: %016x, want %016x", at, n-at, got, want)
				}
				if n == len(data) {
					break
				}
				want ^= uint64(data[n])
				for range 8 {
					if want&1 == 1 {
						want = want>>1 ^ jonesReversed
					} else {
						want >>= 1
					}
				}
			}
		})
	}
}

// TestCRC64Places compares the ways at all alignments, and over long stretches
// cut anywhere.
func TestCRC64Places(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	data := randomBytes(rng, 1<<20)
	for n := range 1101 {
		for at := range 32 {
			sameCRC(t, rng.Uint64(), data[at:at+n], rng.IntN(n+1))
		}
	}
	for range 50 {
		at := rng.IntN(1000)
		n := rng.IntN(len(data) - at)
		sameCRC(t, rng.Uint64(), data[at:at+n], rng.IntN(n+1))
	}
}

func FuzzCRC64(f *testing.F) {
	rng := rand.New(rand.NewPCG(9, 10))
	for _, n := range []int{0, 7, 15, 16, 17, 64, 80, 256, 300, 1500} {
		f.Add(rng.Uint64(), randomBytes(rng, n), n/3)
	}
	f.Fuzz(func(t *testing.T, crc uint64, data []byte, at int) {
		sameCRC(t, crc, data, max(0, min(at, len(data))))
	})
}

// sameCRC wants the same of all ways, also when p is cut at a place.
func sameCRC(t *testing.T, crc uint64, p []byte, at int) {
	t.Helper()
	var want uint64
	for _, way := range crcWays {
		done := useCRC(way)
		whole, parts := CRC64(crc, p), CRC64(CRC64(crc, p[:at]), p[at:])
		done()
		if way == "tables" {
			want = whole
		}
		if whole != want || parts != want {
			t.Fatalf("%016x and %d bytes by %s: %016x, cut at %d %016x, want %016x", crc, len(p), way, whole, at, parts, want)
		}
	}
}

func randomBytes(rng *rand.Rand, n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(rng.Uint32())
	}
	return p
}

func BenchmarkCRC64(b *testing.B) {
	data := randomBytes(rand.New(rand.NewPCG(1, 2)), 1<<16)
	for _, n := range []int{8, 16, 32, 64, 100, 200, 512, 4096, 1 << 16} {
		for _, way := range crcWays {
			b.Run(fmt.Sprintf("%d/%s", n, way), func(b *testing.B) {
				defer useCRC(way)()
				b.SetBytes(int64(n))
				b.ReportAllocs()
				for b.Loop() {
					CRC64(0, data[:n])
				}
			})
		}
	}
	// Lengths as values have them, which the processor can't foresee.
	for _, most := range []int{15, 64, 512} {
		rng := rand.New(rand.NewPCG(3, 4))
		var lengths [4096]int
		total := 0
		for i := range lengths {
			lengths[i] = 1 + rng.IntN(most)
			total += lengths[i]
		}
		for _, way := range crcWays {
			b.Run(fmt.Sprintf("to%d/%s", most, way), func(b *testing.B) {
				defer useCRC(way)()
				b.SetBytes(int64(total / len(lengths)))
				i, at := 0, 0
				for b.Loop() {
					n := lengths[i%len(lengths)]
					if at+n > len(data) {
						at = 0
					}
					CRC64(0, data[at:at+n])
					at += n
					i++
				}
			})
		}
	}
}
