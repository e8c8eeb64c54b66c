package verify

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// FuzzReplies reads whatever a node might send: no panic, no memory for lengths
// that are only claimed, and the same however the bytes arrive.
func FuzzReplies(f *testing.F) {
	for _, s := range []string{
		"+OK\r\n", "-MOVED 1 h:1\r\n", ":-2\r\n", "$5\r\nhello\r\n", "$-1\r\n", "*2\r\n$2\r\n17\r\n$1\r\n5\r\n",
		"$999999999999\r\nx", "$5\r\nhelloXX", "*3\r\n", ":\r\n", "\r\n", "$2\n", ":99999999999999999999\r\n",
	} {
		f.Add([]byte(s))
	}
	read := func(src io.Reader) string {
		var out strings.Builder
		r := newReplies(src)
		for {
			h, err := r.head()
			if err != nil {
				return fmt.Sprintf("%s %v", &out, err)
			}
			fmt.Fprintf(&out, "%c %q %d\n", h.kind, h.line, h.n)
			if h.kind == '*' {
				if at, err := r.clock(h); err != nil {
					return fmt.Sprintf("%s %v", &out, err)
				} else {
					fmt.Fprintln(&out, at)
				}
			}
			if h.kind != '$' || h.n < 0 {
				continue
			}
			sum := 0
			if err := r.parts(h.n, func(part []byte) error {
				sum += len(part)
				return nil
			}); err != nil {
				return fmt.Sprintf("%s %v", &out, err)
			}
			if int64(sum) != h.n {
				return fmt.Sprintf("%d bytes instead of %d", sum, h.n)
			}
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		whole, slow := read(bytes.NewReader(data)), read(iotest.OneByteReader(bytes.NewReader(data)))
		if whole != slow || strings.Contains(whole, "instead of") {
			t.Errorf("%q gives %q, and byte by byte %q", data, whole, slow)
		}
	})
}

func TestHeads(t *testing.T) {
	for line, want := range map[string]reply{
		"+OK\r\n":               {'+', []byte("OK"), 0},
		"-ERR no\r\n":           {'-', []byte("ERR no"), 0},
		":-2\r\n":               {':', nil, -2},
		"$-1\r\n":               {'$', nil, -1},
		"*2\r\n":                {'*', nil, 2},
		":123456789012\n":       {},
		"$-2\r\n":               {},
		"$1x\r\n":               {},
		"$\r\n":                 {},
		"!\r\n":                 {},
		"$9999999999999999\r\n": {},
		"+" + strings.Repeat("x", readBytes+1) + "\r\n": {},
	} {
		h, err := newReplies(strings.NewReader(line)).head()
		if (err != nil) != (want.kind == 0) || err == nil && (h.kind != want.kind || string(h.line) != string(want.line) || h.n != want.n) {
			t.Errorf("%.30q gives %+v, %v", line, h, err)
		}
	}
}

// FuzzReason brings differences into a checkpoint's failures and back.
func FuzzReason(f *testing.F) {
	f.Add("value: field x is missing")
	f.Add("ttl: ")
	f.Add("not of ours: nothing")
	f.Fuzz(func(t *testing.T, s string) {
		kind, detail := parseReason(s)
		again, same := parseReason(reason(kind, detail))
		if again != kind || same != detail {
			t.Errorf("%q is %s, %q and then %s, %q", s, kind, detail, again, same)
		}
		if back := reason(kind, detail); back != s && (kind != Value || detail != s) {
			t.Errorf("%q became %q", s, back)
		}
	})
}

// FuzzPlainLength reads heads of strings.
func FuzzPlainLength(f *testing.F) {
	f.Add([]byte{5}, int64(5))
	f.Add([]byte{0xc3, 3, 0x40, 100}, int64(100))
	f.Fuzz(func(t *testing.T, b []byte, n int64) {
		if got := plainLength(b); got < -1 {
			t.Errorf("%x has a length of %d", b, got)
		}
		if n < 0 {
			return
		}
		long := binary.BigEndian.AppendUint64([]byte{0x81}, uint64(n))
		packed := append([]byte{packedString, 7}, long...)
		if plainLength(long) != n || plainLength(packed) != n {
			t.Errorf("%d is read as %d and %d", n, plainLength(long), plainLength(packed))
		}
	})
}

// TestNames goes over many names with memory for few: each is held in just one
// pass.
func TestNames(t *testing.T) {
	const keys = 8_000
	name := func(i int) []byte { return fmt.Appendf(nil, "name:%d", i) }
	for memory, fewest := range map[int64]int{1: 8, 50_000: 2, 16 << 20: 1} {
		n := newNames(memory)
		times := make([]int, keys)
		passes := 1
		for ; ; passes++ {
			for i := range keys {
				n.add(name(i))
			}
			for i := range keys {
				if h := n.hash(name(i)); n.holds(h) {
					times[i]++
					if !n.has(h) {
						t.Fatalf("memory %d, pass %d: %q is not there", memory, passes, name(i))
					}
				}
			}
			if n.has(n.hash([]byte("another"))) {
				t.Errorf("memory %d: it has a name that nobody gave", memory)
			}
			if taken := int64(len(n.table)) * 8; taken > max(memory, 8*leastNames) {
				t.Fatalf("memory %d: %d bytes", memory, taken)
			}
			if !n.next() {
				break
			}
		}
		for i, k := range times {
			if k != 1 {
				t.Fatalf("memory %d: %q was held %d times", memory, name(i), k)
			}
		}
		if passes < fewest || fewest == 1 && passes != 1 {
			t.Errorf("memory %d: %d passes", memory, passes)
		}
	}
}

// FuzzShuffled takes any bytes for a hash or a set: no panic, and what it takes
// apart is the same in the reverse order, and not with one bit changed.
func FuzzShuffled(f *testing.F) {
	f.Add([]byte{2, 1, 'a', 0xc0, 7, 0xc3, 2, 9, 'x', 'y', 0x40, 1, 'z'})
	f.Add([]byte{3, 1, 'a', 0xc1, 1, 2, 0xc2, 1, 2, 3, 4})
	c := &Comparer{seed: maphash.MakeSeed()}
	f.Fuzz(func(t *testing.T, b []byte) {
		for typ, each := range map[byte]int{hashedSet: 1, hashedHash: 2} {
			if _, ok := c.sum(b, each); !ok {
				continue
			}
			n, rest := length(b)
			head := b[:len(b)-len(rest)]
			reversed := []byte(nil)
			for range n {
				end := 0
				for range each {
					end += stringEnd(rest[end:])
				}
				reversed = append(append([]byte(nil), rest[:end]...), reversed...)
				rest = rest[end:]
			}
			reversed = append(append([]byte(nil), head...), reversed...)
			if !c.shuffled(typ, b, reversed) {
				t.Errorf("type %d: %x is not %x in another order", typ, reversed, b)
			}
			reversed[len(reversed)-1] ^= 1
			if c.shuffled(typ, b, reversed) {
				t.Errorf("type %d: %x is taken for %x", typ, reversed, b)
			}
		}
	})
}
