package rdbparse

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
)

// benchFile is a file of about 550 bytes a key, in types and encodings as a
// server mixes them, and the number of its keys.
func benchFile(keys int) ([]byte, int) {
	rng := rand.New(rand.NewPCG(3, 4))
	str := func(dst []byte, n int) []byte {
		switch {
		case n < 64:
			dst = append(dst, byte(n))
		case n < 1<<14:
			dst = append(dst, byte(0x40|n>>8), byte(n))
		default:
			dst = binary.BigEndian.AppendUint32(append(dst, long32), uint32(n))
		}
		for range n / 8 {
			dst = binary.LittleEndian.AppendUint64(dst, rng.Uint64())
		}
		return append(dst, "1234567"[:n%8]...)
	}
	data := []byte("REDIS0010\xfe\x00")
	for i := range keys {
		if i%4 == 0 {
			data = binary.LittleEndian.AppendUint64(append(data, opExpireMs), 4102444800000)
		}
		typ := []byte{TypeString, TypeString, TypeHashListpack, TypeZsetListpack, TypeQuicklist2, TypeHash, TypeSetIntset, TypeString, TypeZset2, TypeSet}[i%10]
		key := fmt.Sprintf("object:%d:%d", typ, i)
		data = append(append(data, typ, byte(len(key))), key...)
		switch typ {
		case TypeHash:
			data = append(data, 30)
			for range 30 {
				data = str(str(data, 8), 20)
			}
		case TypeSet:
			data = append(data, 40)
			for range 40 {
				data = str(data, 12)
			}
		case TypeZset2:
			data = append(data, 30)
			for range 30 {
				data = append(str(data, 10), "12345678"...)
			}
		case TypeQuicklist2:
			data = str(append(data, 1, 2), 700)
		default:
			data = str(data, rng.IntN(1000))
		}
	}
	data = append(data, opEOF)
	return binary.LittleEndian.AppendUint64(data, CRC64(0, data)), keys
}

func benchmarkWalk(b *testing.B, data []byte, keys int, o Options, each func(e *Entry)) {
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		w, err := NewWalker(bytes.NewReader(data), o)
		if err != nil {
			b.Fatal(err)
		}
		n := 0
		for {
			e, err := w.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				b.Fatal(err)
			}
			if e.Kind == KindKey {
				n++
				if each != nil {
					each(e)
				}
			}
		}
		if n != keys {
			b.Fatalf("%d keys, want %d", n, keys)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(keys), "ns/key")
}

func BenchmarkWalk(b *testing.B) {
	data, keys := benchFile(100_000)
	benchmarkWalk(b, data, keys, Options{Seekable: true}, nil)
}

func BenchmarkWalkAndFrame(b *testing.B) {
	data, keys := benchFile(100_000)
	var frame []byte
	benchmarkWalk(b, data, keys, Options{Seekable: true}, func(e *Entry) {
		frame = AppendPayload(frame[:0], e.Type, e.Value, 10)
	})
}

func BenchmarkSurvey(b *testing.B) {
	data, keys := benchFile(100_000)
	benchmarkWalk(b, data, keys, Options{Seekable: true, SkipCRC: true, SkipKeys: true}, nil)
}
