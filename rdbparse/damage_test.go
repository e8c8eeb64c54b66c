package rdbparse

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
)

func TestNotRDB(t *testing.T) {
	for _, tc := range []struct {
		data string
		want error
	}{
		{"", ErrEmpty},
		{"REDIS", ErrTruncated},
		{"REDIS001", ErrTruncated},
		{"VALKEY08", ErrTruncated},
		{"*2\r\n$6\r\nSELECT\r\n", ErrNotRDB},
		{"hello", ErrNotRDB},
		{"h", ErrNotRDB},
		{"REDISX011", ErrNotRDB},
		{"REDIS00a1", ErrNotRDB},
		{"REDIY0011", ErrNotRDB},
		{"REDIS0000", ErrVersion},
		{"REDIS0080", ErrVersion},
		{"VALKEY011", ErrVersion},
	} {
		_, err := NewWalker(strings.NewReader(tc.data), Options{Name: "x.rdb"})
		if !errors.Is(err, tc.want) {
			t.Errorf("%q: %v, want %v", tc.data, err, tc.want)
		}
		var e *Error
		if !errors.As(err, &e) || e.Name != "x.rdb" {
			t.Errorf("%q: %#v is no *Error with the name", tc.data, err)
		}
	}
}

func TestTruncatedAnywhere(t *testing.T) {
	for name, step := range map[string]int{"redis-6.0": 1, "redis-8.6": 7, "valkey-9.1": 7} {
		data := readFixture(t, name)
		for n := 1; n < len(data); n += step {
			o := Options{BlockBytes: leastBlock, InlineMax: 100, Seekable: true, SkipCRC: true}
			if n%97 == 0 {
				o = Options{}
			}
			_, err := walkBytes(data[:n], o)
			var e *Error
			if !errors.Is(err, ErrTruncated) || !errors.As(err, &e) || e.Offset > int64(n) {
				t.Fatalf("%s cut to %d bytes: %v", name, n, err)
			}
		}
	}
}

func TestFlippedAnywhere(t *testing.T) {
	known := []error{ErrNotRDB, ErrVersion, ErrTruncated, ErrChecksum, ErrUnknownType, ErrTooLong, ErrCorrupt}
	for name, step := range map[string]int{"redis-7.0": 5, "valkey-9.1": 29} {
		data := readFixture(t, name)
		for i := len(data) - 1; i >= 0; i -= step {
			bit := byte(1) << (i % 8)
			data[i] ^= bit
			_, err := walkBytes(data, Options{BlockBytes: leastBlock, InlineMax: 100, Seekable: true})
			data[i] ^= bit
			if i >= len(data)-8 && !errors.Is(err, ErrChecksum) {
				t.Fatalf("%s with byte %d of the checksum flipped: %v", name, i, err)
			}
			if !slices.ContainsFunc(known, func(k error) bool { return errors.Is(err, k) }) {
				t.Fatalf("%s with bit %d of byte %d flipped: %v", name, i%8, i, err)
			}
		}
	}
}

// everyKind is a small file of a vendor that is whole: a value of every type,
// LZF strings, expiries, idle times, functions, facts, modules' data, slots.
func everyKind(t *testing.T, v Vendor) []byte {
	t.Helper()
	h, names := Header{Redis, 13}, []string{"redis-8.6", "redis-8.0", "redis-7.0", "redis-6.0"}
	body := "\xfa\x09redis-ver\x058.6.0\xfa\x05ctime\xc2\x00\x00\x00\x60"
	if v == Valkey {
		h, names = Header{Valkey, 80}, []string{"valkey-9.1", "valkey-8.1"}
	}
	body += "\xf5\x15#!lua name=a\nreturn 1\xf7\x81\x01\x02\x03\x04\x05\x06\x07\x08\x02\x01\x05\x01x\x00\xfe\x00\xfb\x40\x50\x04\xf4\x01\x02\x03"
	had := map[string]bool{}
	for _, name := range names {
		data := readFixture(t, name)
		for _, i := range keysOf(mustWalk(t, data, Options{})) {
			kind := fmt.Sprint(i.Type, i.ExpireAt != 0, i.Value[0] == lzfS)
			if i.ValueLen > 160 || len(i.Key) > 100 || had[kind] {
				continue
			}
			had[kind] = true
			body += string(data[i.Offset : i.ValueOffset+i.ValueLen])
		}
	}
	body += "\xfe\x05"
	for i, tc := range handMade {
		if tc.vendor == v || tc.typ <= TypeStream3 {
			body += "\xf8\x09\xfd1234" + string(tc.typ) + fmt.Sprintf("\x03k%02d", i) + tc.value
		}
	}
	body += "\xf9\x07\xfc12345678\x00\xc3\x06\x14\x01ab\xe0\x09\x01\x04last"
	data := file(h, body)
	crc := CRC64(0, data[:len(data)-8])
	return binary.LittleEndian.AppendUint64(data[:len(data)-8], crc)
}

// wantDamage wants that the walk of an altered or cut file ended with an error
// that says where, and gave nothing but what the whole file holds before the
// damage.
func wantDamage(t *testing.T, data []byte, at int, got, whole []item, err error, known ...error) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Name != "f.rdb" || e.Offset < 0 || e.Offset > int64(len(data)) {
		t.Fatalf("%#v with %d of %d entries, want an *Error with the place", err, len(got), len(whole))
	}
	if !slices.ContainsFunc(known, func(k error) bool { return errors.Is(err, k) }) {
		t.Fatalf("%v, want one of %v", err, known)
	}
	sound := 0 // entries that end before the damage
	for sound+1 < len(whole) && whole[sound+1].Offset <= int64(at) {
		sound++
	}
	if len(got) < sound {
		t.Fatalf("%d entries, want the %d before the damage: %v", len(got), sound, err)
	}
	near := max(0, sound-2) // all of them take long
	sameSoFar(t, got[near:sound], whole[near:sound], data)
}

// sameSoFar compares entries, but not values that were too long to be kept.
func sameSoFar(t *testing.T, got, want []item, data []byte) {
	t.Helper()
	got = slices.Clone(got)
	for i := range min(len(got), len(want)) {
		if got[i].Dropped {
			got[i].Value, got[i].Dropped = want[i].Value, false
		}
	}
	sameItems(t, "what is sound", got, want, data)
}

// damageOptions are small windows, so that values cross their ends, and a large
// one. Each step'th bit is flipped: of every byte at least one.
var damageOptions = map[string]struct {
	Options
	step int
}{
	"file":   {Options{Name: "f.rdb", BlockBytes: leastBlock, InlineMax: 50, Seekable: true}, 3},
	"stream": {Options{Name: "f.rdb", BlockBytes: leastBlock, InlineMax: 20, BufferMax: 1000}, 7},
	"whole":  {Options{Name: "f.rdb", BlockBytes: 1 << 13, InlineMax: 1 << 13}, 7},
}

// TestEveryByteFlipped damages small files that hold everything. Even where a
// bit is inside a value it is seen, at the latest by the checksum.
func TestEveryByteFlipped(t *testing.T) {
	known := []error{ErrNotRDB, ErrVersion, ErrTruncated, ErrChecksum, ErrUnknownType, ErrTooLong, ErrCorrupt}
	for _, v := range []Vendor{Redis, Valkey} {
		data := everyKind(t, v)
		whole := mustWalk(t, data, Options{})
		for how, o := range damageOptions {
			for i := 0; i < 8*len(data); i += o.step {
				at, bit := i/8, byte(1)<<(i%8)
				data[at] ^= bit
				before := allocated()
				got, err := walkBytes(data, o.Options)
				if took := allocated() - before; took > 1<<20 {
					t.Errorf("%d bytes taken", took)
				}
				if at < headerLen && err == nil { // a version before checksums
					sameSoFar(t, got, whole, data)
				} else {
					wantDamage(t, data, at, got, whole, err, known...)
				}
				if t.Failed() {
					t.Fatalf("%s, bit %d of byte %d of %d: %v", how, i%8, at, len(data), err)
				}
				data[at] ^= bit
			}
		}
	}
}

// TestEveryTruncation cuts the same files at every place.
func TestEveryTruncation(t *testing.T) {
	for _, v := range []Vendor{Redis, Valkey} {
		data := everyKind(t, v)
		whole := mustWalk(t, data, Options{})
		for _, o := range damageOptions {
			for n := 0; n < len(data); n += o.step / 3 {
				got, err := walkBytes(data[:n:n], o.Options)
				wantDamage(t, data[:n:n], n, got, whole, err, ErrTruncated, ErrEmpty)
			}
		}
	}
}

// rdb puts a file together, its checksum included.
func rdb(parts ...string) []byte {
	data := []byte("REDIS0012" + strings.Join(parts, "") + "\xff")
	crc := CRC64(0, data)
	for i := range 8 {
		data = append(data, byte(crc>>(8*i)))
	}
	return data
}

func TestDamagedEntries(t *testing.T) {
	long64Max := "\x81\xff\xff\xff\xff\xff\xff\xff\xff"
	for _, tc := range []struct {
		name, data string
		want       error
		key        string // "" for not known
	}{
		{"type 8", "\x08\x01k\x00", ErrUnknownType, "k"},
		{"type 6", "\x06\x01k\x00", ErrUnknownType, "k"},
		{"type 28", "\x1c\x01k\x00", ErrUnknownType, "k"},
		{"type 241", "\xf1\x01k\x00", ErrUnknownType, "k"},
		{"opcode 242", "\xf2", ErrUnknownType, ""},
		{"functions of a release candidate", "\xf6\x01k", ErrUnknownType, ""},
		{"key of 2^64-1 bytes", "\x00" + long64Max + "abc", ErrTooLong, ""},
		{"key of 4 GiB", "\x00\x80\xff\xff\xff\xffabc", ErrTooLong, ""},
		{"key of 500 MiB that isn't there", "\x00\x80\x1f\x00\x00\x00abc", ErrTruncated, ""},
		{"LZF key of 500 MiB out of 3 bytes", "\x00\xc3\x03\x80\x1f\x00\x00\x00abc", ErrCorrupt, ""},
		{"LZF key for nothing", "\x00\xc3\x03\x00abc", ErrCorrupt, ""},
		{"LZF key that can't be unpacked", "\x00\xc3\x03\x05\xe0\xff\xff", ErrCorrupt, ""},
		{"string of 2^64-1 bytes", "\x00\x01k" + long64Max, ErrTooLong, "k"},
		{"string of 1 GiB that isn't there", "\x00\x01k\x80\x40\x00\x00\x00abc", ErrTruncated, "k"},
		{"LZF of 2^63 bytes", "\x00\x01k\xc3\x81\x80\x00\x00\x00\x00\x00\x00\x00\x05", ErrTooLong, "k"},
		{"unknown string encoding", "\x00\x01k\xc4", ErrCorrupt, "k"},
		{"unknown length encoding", "\x00\x01k\x82", ErrCorrupt, "k"},
		{"list of 2^64-1 elements", "\x01\x01k" + long64Max + "\x01a", ErrCorrupt, "k"},
		{"hash of 2^64-1 fields", "\x04\x01k" + long64Max, ErrTooLong, "k"},
		{"stream with 2^64-1 pending ids", "\x0f\x01s\x00\x00\x00\x00\x01\x01g\x00\x00\x00\x01\x01c12345678" + long64Max, ErrTooLong, "s"},
		{"list of strings for a count", "\x01\x01k\xc0\x01", ErrCorrupt, "k"},
		{"list container 3", "\x12\x01k\x01\x03\x01a", ErrCorrupt, "k"},
		{"module item 6", "\x07\x01k\x00\x06", ErrCorrupt, "k"},
		{"module data without a time", "\xf7\x00\x01\x00\x00", ErrCorrupt, ""},
		{"expiry of the end", "\xfc12345678", ErrCorrupt, ""},
		{"expiry of a database", "\xfc12345678\xfe\x00", ErrCorrupt, ""},
		{"database 2^40", "\xfe\x81\x00\x00\x01\x00\x00\x00\x00\x00", ErrCorrupt, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			head := "\xfe\x02\x00\x05first\x05value"
			w, err := NewWalker(bytes.NewReader(rdb(head, tc.data)), Options{Name: "f", InlineMax: 16, BlockBytes: leastBlock})
			if err != nil {
				t.Fatal(err)
			}
			items, err := walkAll(w)
			if len(items) != 2 {
				t.Errorf("%d entries before the damage, want 2", len(items))
			}
			var e *Error
			if !errors.Is(err, tc.want) || !errors.As(err, &e) {
				t.Fatalf("%v, want %v", err, tc.want)
			}
			at := int64(headerLen + len(head))
			if e.Offset != at || string(e.Key) != tc.key || e.DB != 2 && tc.name != "expiry of a database" {
				t.Errorf("%+v, want offset %d, key %q, database 2", e, at, tc.key)
			}
			if _, again := w.Next(); again != err {
				t.Errorf("the next call says %v", again)
			}
			if s := w.State(); s.Offset != at || s.CRC != CRC64(0, rdb(head)[:at]) || s.DB != 2 {
				t.Errorf("after the error %+v, want the place before the entry", s)
			}
		})
	}
}

func TestErrorText(t *testing.T) {
	e := &Error{Name: "dump.rdb", Offset: 4096, Key: []byte("a\x00b"), Err: ErrCorrupt}
	if got, want := e.Error(), `dump.rdb at 4096, key "a\x00b": damaged data`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	e.Key = bytes.Repeat([]byte("x"), 10000)
	if got := e.Error(); len(got) > 250 {
		t.Errorf("a message of %d bytes", len(got))
	}
}

func TestReaderFails(t *testing.T) {
	data := readFixture(t, "redis-7.0")
	broken := errors.New("connection reset")
	for _, n := range []int{0, 5, 9, 100, 10000} {
		r := io.MultiReader(bytes.NewReader(data[:n]), readerFunc(func([]byte) (int, error) { return 0, broken }))
		w, err := NewWalker(r, Options{})
		if err == nil {
			_, err = walkAll(w)
		}
		if !errors.Is(err, broken) || errors.Is(err, ErrTruncated) {
			t.Errorf("after %d bytes: %v", n, err)
		}
	}
	stuck := io.MultiReader(bytes.NewReader(data[:100]), readerFunc(func([]byte) (int, error) { return 0, nil }))
	w, err := NewWalker(stuck, Options{})
	if err == nil {
		_, err = walkAll(w)
	}
	if !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("a reader that gives nothing: %v", err)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// TestTrailing is about an AOF that begins with an RDB.
func TestTrailing(t *testing.T) {
	data := readFixture(t, "redis-7.0")
	commands := strings.Repeat("*1\r\n$4\r\nPING\r\n", 5000)
	for _, o := range []Options{{}, {BlockBytes: leastBlock, InlineMax: 10}} {
		w, err := NewWalker(io.MultiReader(bytes.NewReader(data), strings.NewReader(commands)), o)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := walkAll(w); err != nil {
			t.Fatal(err)
		}
		if more, err := w.Trailing(); !more || err != nil {
			t.Errorf("Trailing() = %v, %v", more, err)
		}
		if at := w.State().Offset; at != int64(len(data)) {
			t.Errorf("the RDB ends at %d, want %d", at, len(data))
		}
		rest, err := io.ReadAll(w.Rest())
		if err != nil || string(rest) != commands {
			t.Errorf("%d bytes are left (%v), want %d", len(rest), err, len(commands))
		}
	}
}

func ExampleError() {
	w, err := NewWalker(bytes.NewReader(rdb("\x1c\x05hello\x00")), Options{Name: "dump.rdb"})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = w.Next()
	fmt.Println(err)
	fmt.Println(errors.Is(err, ErrUnknownType))
	// Output:
	// dump.rdb at 9, key "hello": unknown type 28
	// true
}
