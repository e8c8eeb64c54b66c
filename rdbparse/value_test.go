package rdbparse

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
)

// streamHead is a stream of one entry, as far as the numbers of revision 1: what
// Redis gave for XADD s 1-1 f v.
var streamHead = "\x01\x10" + id11 + // one node, its first id
	"\x1d\x1d\x00\x00\x00\x0a\x00\x01\x01\x00\x01\x01\x01\x81f\x02\x00\x01\x02\x01\x00\x01\x00\x01\x81v\x02\x04\x01\xff" +
	"\x01\x01\x01" // entries, last id

var id11 = strings.Repeat("\x00\x00\x00\x00\x00\x00\x00\x01", 2)

var id16 = "0123456789abcdef"

// handMade are values of every type, above all those that the servers behind
// the fixtures don't write. onServer is what Redis 7.0 makes of them; type 27
// and the release candidates' are put together by their description only.
var handMade = []struct {
	name     string
	vendor   Vendor
	typ      byte
	value    string
	onServer string
}{
	{"empty string", Redis, 0, "\x00", ""},
	{"int8", Redis, 0, "\xc0\x07", ""},
	{"int16", Redis, 0, "\xc1\x07\x00", ""},
	{"int32", Redis, 0, "\xc2\x07\x00\x00\x00", ""},
	{"length of 14 bits", Redis, 0, "\x40\x03abc", ""},
	{"length of 32 bits", Redis, 0, "\x80\x00\x00\x00\x03abc", ""},
	{"length of 64 bits", Redis, 0, "\x81\x00\x00\x00\x00\x00\x00\x00\x03abc", ""},
	{"LZF", Redis, 0, "\xc3\x05\x40\x50\x00a\x40\x00\x00", ""},
	{"LZF, lengths of 64 bits", Redis, 0, "\xc3\x81\x00\x00\x00\x00\x00\x00\x00\x02\x81\x00\x00\x00\x00\x00\x00\x00\x05ab", ""},
	{"list", Redis, 1, "\x03\x01a\xc0\x05\xc3\x04\x08\x00x\xa0\x00", "[a 5 xxxxxxxx]"},
	{"empty list", Redis, 1, "\x00", ""},
	{"set", Redis, 2, "\x01\x01a", "[a]"},
	{"zset with text", Redis, 3, "\x03\x01a\x031.5\x01b\xfe\x01c\xff", "[{-Inf c} {1.5 a} {+Inf b}]"},
	{"zset with not-a-number", Redis, 3, "\x01\x01a\xfd", ""},
	{"hash", Redis, 4, "\x02\x01a\x01b\x01c\xc0\x01", "map[a:b c:1]"},
	{"zset", Redis, 5, "\x01\x01a\x00\x00\x00\x00\x00\x00\xf0\x3f", "[{1 a}]"},
	{"module", Redis, 7, "\x81\x01\x02\x03\x04\x05\x06\x07\x08\x02\x05\x01\x06\x03abcd\x0412345678\x05\x03abc\x00", ""},
	{"zipmap", Redis, 9, "\x0b\x01\x03foo\x03\x00bar\xff", "map[foo:bar]"},
	{"list ziplist", Redis, 10, "\x0f\x0f\x00\x00\x00\x0a\x00\x00\x00\x01\x00\x00\x02hi\xff", "[hi]"},
	{"intset", Redis, 11, "\x0a\x02\x00\x00\x00\x01\x00\x00\x00\x05\x00", "[5]"},
	{"zset ziplist", Redis, 12, "\x12\x12\x00\x00\x00\x0e\x00\x00\x00\x02\x00\x00\x02hi\x04\xfe\x05\xff", "[{5 hi}]"},
	{"hash ziplist", Redis, 13, "\x12\x12\x00\x00\x00\x0e\x00\x00\x00\x02\x00\x00\x02hi\x04\xfe\x05\xff", "map[hi:5]"},
	{"quicklist", Redis, 14, "\x01\x0f\x0f\x00\x00\x00\x0a\x00\x00\x00\x01\x00\x00\x02hi\xff", "[hi]"},
	{"stream", Redis, 15, streamHead + "\x01\x01g\x01\x01\x01" + id11 + "12345678\x01\x01\x01c12345678\x01" + id11, "1"},
	{"hash listpack", Redis, 16, "\x0d\x0d\x00\x00\x00\x02\x00\x82hi\x03\x05\x01\xff", "map[hi:5]"},
	{"zset listpack", Redis, 17, "\x0d\x0d\x00\x00\x00\x02\x00\x82hi\x03\x05\x01\xff", "[{5 hi}]"},
	{"quicklist 2", Redis, 18, "\x02\x02\x0b\x0b\x00\x00\x00\x01\x00\x82hi\x03\xff\x01\x05plain", "[hi plain]"},
	{"stream 2", Redis, 19, streamHead + "\x01\x01\x00\x00\x01" + "\x01\x01g\x00\x00\x00\x00\x01\x01c12345678\x00", "1"},
	{"set listpack", Redis, 20, "\x0b\x0b\x00\x00\x00\x01\x00\x82hi\x03\xff", ""},
	{"stream 3", Redis, 21, streamHead + "\x01\x01\x00\x00\x01" + "\x01\x01g\x00\x00\x00\x01" + id16 + "12345678\x01\x01\x01c1234567812345678\x01" + id16, ""},
	{"hash with TTLs of a release candidate", Redis, 22, "\x02\x00\x01a\x01b\x81\x00\x00\x01\x00\x00\x00\x00\x00\x01c\x01d", ""},
	{"the same as a listpack", Redis, 23, "\x03abc", ""},
	{"hash with TTLs", Redis, 24, "12345678\x02\x00\x01a\x01b\x05\x01c\x01d", ""},
	{"the same as a listpack", Redis, 25, "12345678\x03abc", ""},
	{"stream 4", Redis, 26, streamHead + "\x01\x01\x00\x00\x01\x00\x40\x64\x40\x64\x01\x01p\x02\x01i\x01\x01\x01j\x01\x02\x03\x00", ""},
	{"stream 5", Redis, 27, streamHead + "\x01\x01\x00\x00\x01\x01\x01g\x00\x00\x00\x01" + id16 + "12345678\x01\x01\x01c1234567812345678\x00\x01" + id16 + "\x40\x64\x40\x64\x00\x03\x00", ""},
	{"Valkey's hash with TTLs", Valkey, 22, "\x02\x01a\x01b12345678\x01c\x01d\xff\xff\xff\xff\xff\xff\xff\xff", ""},
	{"Valkey's set", Valkey, 20, "\x03abc", ""},
}

func file(h Header, body string) []byte {
	magic := fmt.Sprintf("REDIS%04d", h.Version)
	if h.Vendor == Valkey {
		magic = fmt.Sprintf("VALKEY%03d", h.Version)
	}
	data := []byte(magic + body + "\xff")
	if h.Version < 5 {
		return data
	}
	return append(data, 0, 0, 0, 0, 0, 0, 0, 0)
}

// TestHandMade puts each value between two keys, with readers that give
// everything at once and byte by byte.
func TestHandMade(t *testing.T) {
	for _, tc := range handMade {
		t.Run(tc.name, func(t *testing.T) {
			h := Header{Redis, 12}
			if tc.vendor == Valkey {
				h = Header{Valkey, 80}
			}
			data := file(h, "\x00\x01a\x01b"+string(tc.typ)+"\x01k"+tc.value+"\x00\x01y\x01z"+strings.Repeat("\xfe\x00", 20))
			for _, step := range []int{1, 2, 1 << 20} {
				w, err := NewWalker(&slowReader{data, step}, Options{})
				if err != nil {
					t.Fatal(err)
				}
				items, err := walkAll(w)
				if err != nil {
					t.Fatal(err)
				}
				keys := keysOf(items)
				if len(keys) != 3 || string(keys[1].Value) != tc.value || string(keys[2].Key) != "y" {
					t.Fatalf("found %+v", keys)
				}
			}
			if TypeName(tc.vendor, tc.typ) == "" {
				t.Error("the type has no name")
			}
		})
	}
	if _, err := walkBytes(file(Header{Valkey, 81}, "\x17\x01k\x00"), Options{}); !errors.Is(err, ErrUnknownType) {
		t.Errorf("Valkey's type 23: %v", err)
	}
}

func TestEntries(t *testing.T) {
	meta := "\xf3\x01clas\x02\x05\x00"
	for _, tc := range []struct {
		name string
		h    Header
		body string
		want []Entry // Offset, ValueOffset, ValueLen and Value aside
	}{
		{"nothing", Header{Redis, 7}, "", nil},
		{"version without a checksum", Header{Redis, 4}, "\x00\x01k\x01v", []Entry{{Key: []byte("k")}}},
		{"seconds", Header{Redis, 7}, "\xfd\x10\x00\x00\x00\x00\x01k\x01v", []Entry{{Key: []byte("k"), ExpireAt: 16000}}},
		{"seconds before 1970", Header{Redis, 7}, "\xfd\xff\xff\xff\xff\x00\x01k\x01v", []Entry{{Key: []byte("k"), ExpireAt: -1000}}},
		{"milliseconds", Header{Redis, 7}, "\xfc\x10\x00\x00\x00\x00\x00\x00\x00\x00\x01k\x01v", []Entry{{Key: []byte("k"), ExpireAt: 16}}},
		{"expired in 1970 is not without expiry", Header{Redis, 7}, "\xfc\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01k\x01v\xfd\x00\x00\x00\x00\x00\x01l\x01v",
			[]Entry{{Key: []byte("k"), ExpireAt: 1}, {Key: []byte("l"), ExpireAt: 1}}},
		{"-1 is none", Header{Redis, 7}, "\xfc\xff\xff\xff\xff\xff\xff\xff\xff\x00\x01k\x01v", []Entry{{Key: []byte("k")}}},
		{"the expiry is one key's", Header{Redis, 9}, "\xfc\x10\x00\x00\x00\x00\x00\x00\x00\xf9\x05\x00\x01k\x01v\xf8\x40\x99\x00\x01l\x01v",
			[]Entry{{Key: []byte("k"), ExpireAt: 16}, {Key: []byte("l")}}},
		{"integers as keys", Header{Redis, 9}, "\x00\xc0\xff\x01v\x00\xc1\x00\x80\x01v\x00\xc2\xff\xff\xff\x7f\x01v",
			[]Entry{{Key: []byte("-1")}, {Key: []byte("-32768")}, {Key: []byte("2147483647")}}},
		{"LZF key", Header{Redis, 9}, "\x00\xc3\x04\x08\x00x\xa0\x00\x01v", []Entry{{Key: []byte("xxxxxxxx")}}},
		{"no key", Header{Redis, 9}, "\x00\x00\x01v", []Entry{{Key: []byte{}}}},
		{"databases", Header{Redis, 9}, "\xfe\x03\xfb\x02\x01\x00\x01k\x01v\xfe\x40\x64\x00\x01k\x01v",
			[]Entry{{Kind: KindSelectDB, DB: 3}, {Kind: KindResize, DB: 3, Keys: 2, Expires: 1}, {DB: 3, Key: []byte("k")}, {Kind: KindSelectDB, DB: 100}, {DB: 100, Key: []byte("k")}}},
		{"facts", Header{Redis, 9}, "\xfa\x01a\xc0\x05", []Entry{{Kind: KindAux, Name: []byte("a"), Text: []byte("5")}}},
		{"KeyDB's fact on a key", Header{Redis, 9}, "\xfc\x10\x00\x00\x00\x00\x00\x00\x00\xfa\x01a\x01b\x00\x01k\x01v", []Entry{{Key: []byte("k"), ExpireAt: 16}}},
		{"function", Header{Redis, 10}, "\xf5\xc3\x04\x08\x00x\xa0\x00", []Entry{{Kind: KindFunction, Text: []byte("xxxxxxxx")}}},
		{"slots", Header{Redis, 12}, "\xf4\x40\x99\x05\x01\x00\x01k\x01v", []Entry{{Key: []byte("k")}}},
		{"module's data", Header{Redis, 9}, "\xf7\x81\x00\x00\x00\x00\x00\x00\x04\x00\x02\x01\x05\x01a\x00", []Entry{{Kind: KindModuleAux, Module: "AAAAAAAAB"}}},
		{"module's value", Header{Redis, 9}, "\x07\x01k\x81\x00\x00\x00\x00\x00\x00\x04\x00\x00", []Entry{{Key: []byte("k"), Type: 7, Module: "AAAAAAAAB"}}},
		{"metadata of a key", Header{Redis, 13}, "\xfc\x10\x00\x00\x00\x00\x00\x00\x00" + meta + "\x00\x01k\x01v\x00\x01l\x01v",
			[]Entry{{Key: []byte("k"), ExpireAt: 16, Meta: []byte(meta)}, {Key: []byte("l")}}},
		{"Valkey's slots that come in", Header{Valkey, 80}, "\xf3\x04name\x02\x00\x05\x40\x99\x40\x99\x00\x01k\x01v", []Entry{{Key: []byte("k")}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w, err := NewWalker(bytes.NewReader(file(tc.h, tc.body)), Options{})
			if err != nil {
				t.Fatal(err)
			}
			items, err := walkAll(w)
			if err != nil {
				t.Fatal(err)
			}
			if w.Header() != tc.h || w.ChecksumPresent() {
				t.Errorf("header %+v, checksum %v", w.Header(), w.ChecksumPresent())
			}
			if len(items) != len(tc.want) {
				t.Fatalf("%d entries, want %d", len(items), len(tc.want))
			}
			for i, got := range items {
				got.Offset, got.ValueOffset, got.ValueLen, got.Value = 0, 0, 0, nil
				if !equalEntry(got.Entry, tc.want[i]) {
					t.Errorf("entry %d is %+v, want %+v", i, got.Entry, tc.want[i])
				}
			}
		})
	}
}

// endless is a file with one key whose key and value are as long as wanted,
// without being anywhere.
func endless(key, value int) io.Reader {
	length := func(n int) string {
		return string([]byte{long32, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
	}
	return io.MultiReader(
		strings.NewReader("REDIS0012\x00"+length(key)), io.LimitReader(zeros{}, int64(key)),
		strings.NewReader(length(value)), io.LimitReader(zeros{}, int64(value)),
		strings.NewReader("\x00\x01k\x01v\xff"), strings.NewReader(strings.Repeat("\x00", 8)),
	)
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// TestMemory bounds what huge values take: memory in all, freed or not.
func TestMemory(t *testing.T) {
	const mb = 1 << 20
	for _, tc := range []struct {
		name       string
		key, value int
		o          Options
		most       uint64
	}{
		{"a file's value of 1 GiB", 10, 1 << 30, Options{Seekable: true, SkipCRC: true}, 2 * mb},
		{"a stream's value of 1 GiB", 10, 1 << 30, Options{BufferMax: 64 * mb, SkipCRC: true}, 2 * mb},
		{"a stream's value of 50 MiB", 10, 50 * mb, Options{BufferMax: 64 * mb}, 53 * mb},
		{"a key of 10 MiB", 10 * mb, 10, Options{Seekable: true}, 80 * mb},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			w, err := NewWalker(endless(tc.key, tc.value), tc.o)
			if err != nil {
				t.Fatal(err)
			}
			e, err := w.Next()
			if err != nil {
				t.Fatal(err)
			}
			if len(e.Key) != tc.key || e.ValueLen != int64(tc.value)+5 {
				t.Errorf("key of %d, value of %d bytes", len(e.Key), e.ValueLen)
			}
			if want := int64(tc.value) > 1000 && int64(tc.value) <= tc.o.BufferMax; e.Owned != want || want && (len(e.Value) != tc.value+5 || cap(e.Value) != len(e.Value)) {
				t.Errorf("owned %v, %d bytes in %d", e.Owned, len(e.Value), cap(e.Value))
			}
			if e, err := w.Next(); err != nil || string(e.Key) != "k" || string(e.Value) != "\x01v" {
				t.Errorf("then %+v, %v", e, err)
			}
			if _, err := w.Next(); err != io.EOF {
				t.Error(err)
			}
			runtime.ReadMemStats(&after)
			if took := after.TotalAlloc - before.TotalAlloc; took > tc.most {
				t.Errorf("took %d bytes, at most %d are due", took, tc.most)
			}
		})
	}
}

// TestGrownInSteps is about a long value whose length isn't told beforehand.
func TestGrownInSteps(t *testing.T) {
	element := "\x7f\xff" + strings.Repeat("e", 1<<14-1)
	body := "\x01\x01k\x40\xc8" + strings.Repeat(element, 200) + "\x00\x01l\x01v"
	items := mustWalk(t, file(Header{Redis, 12}, body), Options{BufferMax: 4 << 20})
	if k := items[0]; !k.Owned || string(k.Value) != "\x40\xc8"+strings.Repeat(element, 200) {
		t.Errorf("owned %v, %d bytes", k.Owned, len(k.Value))
	}
	items = mustWalk(t, file(Header{Redis, 12}, body), Options{BufferMax: 3 << 20})
	if k := items[0]; !k.Dropped || k.Value != nil || k.ValueLen != 2+200*int64(len(element)) {
		t.Errorf("dropped %v, %d bytes", k.Dropped, len(k.Value))
	}
	if string(items[1].Value) != "\x01v" {
		t.Errorf("then %+v", items[1].Entry)
	}
}
