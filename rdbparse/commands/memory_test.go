package commands

import (
	"bytes"
	"encoding/binary"
	"github.com/slotferry/slotferry/rdbparse"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// generated reads what next gives, piece by piece, until it gives nothing.
type generated struct {
	next func(dst []byte) []byte
	left []byte
	buf  []byte
}

func (g *generated) Read(p []byte) (int, error) {
	if len(g.left) == 0 {
		g.buf = g.next(g.buf[:0])
		g.left = g.buf
	}
	if len(g.left) == 0 {
		return 0, io.EOF
	}
	n := copy(p, g.left)
	g.left = g.left[n:]
	return n, nil
}

// repeated gives first and then n times what each gives.
func repeated(first string, n int, each func(dst []byte, i int) []byte) io.Reader {
	i := 0
	return io.MultiReader(strings.NewReader(first), &generated{next: func(dst []byte) []byte {
		for ; i < n && len(dst) < 1<<15; i++ {
			dst = each(dst, i)
		}
		return dst
	}})
}

func long(n int) string { return string(binary.BigEndian.AppendUint32([]byte{0x80}, uint32(n))) }

var lzfPattern = func() (p []byte) {
	for i := range lzfBack {
		p = append(p, byte(i^i>>8))
	}
	return p
}()

// longLZF is a string of 8192 bytes that differ and then what refers back as far as
// possible, again and again.
func longLZF(references int) (body io.Reader, plain int) {
	var head []byte
	for run := range slices.Chunk(lzfPattern, 32) {
		head = append(append(head, 31), run...)
	}
	plain = lzfBack + references*lzfLongest
	return repeated("\xc3"+long(len(head)+3*references)+long(plain)+string(head), references, func(dst []byte, i int) []byte {
		return append(dst, 0xff, 0xff, 0xff) // 264 bytes from 8192 before
	}), plain
}

// TestMemory writes values that are far longer than what may be held.
func TestMemory(t *testing.T) {
	const most = 4 << 20 // of live memory, 1 MiB of which is one command's
	lzf, plain := longLZF(800_000)
	at := 0
	for _, tc := range []struct {
		name   string
		typ    byte
		value  io.Reader
		want   int // bytes of elements
		verify func(t *testing.T, words [][]byte)
	}{
		{"LZF string", rdbparse.TypeString, lzf, plain, func(t *testing.T, words [][]byte) {
			for left := words[2]; len(left) > 0; {
				n := min(len(left), lzfBack-at%lzfBack)
				if !bytes.Equal(left[:n], lzfPattern[at%lzfBack:][:n]) {
					t.Fatalf("wrong after %d bytes", at)
				}
				left, at = left[n:], at+n
			}
		}},
		{"plain string", rdbparse.TypeString, repeated(long(200_000*1000), 200_000, func(dst []byte, i int) []byte {
			return append(dst, strings.Repeat("x", 1000)...)
		}), 200_000 * 1000, nil},
		{"list", rdbparse.TypeList, repeated(long(200_000), 200_000, func(dst []byte, i int) []byte {
			return append(dst, "\x07element"...)
		}), 7 * 200_000, nil},
		{"list of listpacks", rdbparse.TypeQuicklist2, repeated(long(2_000), 2_000, func(dst []byte, i int) []byte {
			return append(append(dst, 2), thousand...)
		}), 6 * 2_000_000, nil},
		{"zset", rdbparse.TypeZset2, repeated(long(200_000), 200_000, func(dst []byte, i int) []byte {
			return append(dst, "\x06member\x00\x00\x00\x00\x00\x00\xf8\x3f"...) // 1.5
		}), 9 * 200_000, nil},
		{"hash with expiries", rdbparse.TypeHashTTL, repeated("\x00\x00\x00\x00\x00\x00\x00\x00"+long(100_000), 100_000, func(dst []byte, i int) []byte {
			dst = binary.BigEndian.AppendUint64(append(dst, 0x81), 1<<42+uint64(i/1000))
			return append(dst, "\x01f\x01v"...)
		}), 0, nil},
		{"stream", rdbparse.TypeStream, io.MultiReader(repeated(long(1000), 1000, func(dst []byte, i int) []byte {
			dst = binary.BigEndian.AppendUint64(append(dst, 16), uint64(i+1))
			return append(binary.BigEndian.AppendUint64(dst, 0), node...)
		}), strings.NewReader(long(100_000)+long(1000)+"\x00\x00")), 0, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var base, now runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&base)
			peak, commands, length := uint64(0), 0, 0
			err := Write(0, tc.typ, tc.value, []byte("k"), Options{MaxHeld: 1 << 20, Now: 1, Target: everything}, func(words [][]byte) error {
				if commands++; commands%32 == 1 && (commands < 1000 || commands%1024 == 1) {
					runtime.GC()
					runtime.ReadMemStats(&now)
					peak = max(peak, now.HeapAlloc)
				}
				for _, word := range words[2:] {
					length += len(word)
				}
				if tc.verify != nil {
					tc.verify(t, words)
				}
				return nil
			})
			if err != nil || commands < 3 || tc.want != 0 && length != tc.want {
				t.Errorf("%d commands of %d bytes, want %d: %v", commands, length, tc.want, err)
			}
			took := int64(peak) - int64(base.HeapAlloc)
			t.Logf("%d commands, %d bytes, %d KiB held at most", commands, length, took>>10)
			if took > most {
				t.Errorf("%d KiB held", took>>10)
			}
		})
	}
}

// thousand is a listpack of a thousand elements.
var thousand = listpack(strings.Split(strings.TrimSuffix(strings.Repeat("\x86sixsix,", 1000), ","), ",")...)

// node is the listpack of a hundred entries of a stream.
var node = func() string {
	elements := []string{"\xf1\x64\x00", "\x00", "\x01", "\x81f", "\x00"}
	for i := range byte(100) {
		elements = append(elements, "\x02", "\x00", string([]byte{i}), "\x85value", "\x04")
	}
	return listpack(elements...)
}()

func BenchmarkWrite(b *testing.B) {
	head := repeated(long(1000), 1000, func(dst []byte, i int) []byte { return append(append(dst, 2), thousand...) })
	body, err := io.ReadAll(head)
	if err != nil {
		b.Fatal(err)
	}
	lzf, _ := longLZF(100_000)
	packed, err := io.ReadAll(lzf)
	if err != nil {
		b.Fatal(err)
	}
	for _, bc := range []struct {
		name string
		typ  byte
		body []byte
	}{{"list of a million", rdbparse.TypeQuicklist2, body}, {"LZF string of 26 MB", rdbparse.TypeString, packed}} {
		b.Run(bc.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := Write(0, bc.typ, bytes.NewReader(bc.body), []byte("k"), Options{}, func([][]byte) error { return nil }); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
