package decode

import (
	"strconv"
	"testing"
)

// BenchmarkDecode decodes values of the fixtures, and compares one of each kind
// with itself.
func BenchmarkDecode(b *testing.B) {
	values := readFixture(b, "redis-7.0")
	for _, key := range []string{"text:200", "compressible", "hash:small", "hash:large", "list:small", "set:ints16", "set:small", "set:large", "zset:small", "zset:large", "stream:few", "stream"} {
		s := values[key]
		b.Run(key+"/type "+strconv.Itoa(int(s.typ)), func(b *testing.B) {
			b.SetBytes(int64(len(s.body)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Decode(s.vendor, s.typ, s.body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkDifference(b *testing.B) {
	values := readFixture(b, "redis-7.0")
	for _, key := range []string{"hash:large", "set:large", "zset:large", "stream"} {
		want, got := values[key].decode(b), values[key].decode(b)
		b.Run(key, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if d := Difference(want, got); d != "" {
					b.Fatal(d)
				}
			}
		})
	}
}
