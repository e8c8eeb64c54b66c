package rdbparse

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"runtime/metrics"
	"testing"
)

// FuzzWalk feeds any bytes to the walk. Whatever they are, it must not panic or
// take much memory, entries must follow each other inside the file, and all
// ways of walking must agree.
func FuzzWalk(f *testing.F) {
	for _, name := range fixtureNames {
		data := readFixture(f, name)
		if len(data) < 40_000 {
			f.Add(data)
		}
		for _, i := range mustWalk(f, data, Options{}) { // small files find more in less time
			if i.Kind == KindKey && i.ValueLen < 500 {
				f.Add(append(bytes.Clone(data[:9]), data[i.Offset:i.ValueOffset+i.ValueLen]...))
			}
		}
	}
	for _, tc := range handMade {
		h := Header{Redis, 12}
		if tc.vendor == Valkey {
			h.Vendor, h.Version = Valkey, 80
		}
		f.Add(file(h, string(tc.typ)+"\x01k"+tc.value+"\xfe\x01\x00\x01l\x01v"))
	}
	f.Add(file(Header{Redis, 13}, "\xfc12345678\xf3\x01clas\x02\x05\x00\xf8\x09\x00\x01k\x01v\xf7\x00\x02\x01\x00\xf5\x01f\xf4\x01\x02\x03"))
	f.Fuzz(func(t *testing.T, data []byte) {
		before := allocated()
		fileOptions := Options{Seekable: true, InlineMax: 256, BlockBytes: leastBlock}
		got, err := walkBytes(data, fileOptions)
		// LZF can give 88 times its own length; the rest is copies of entries.
		if took, most := allocated()-before, uint64(1<<20+2000*len(data)); took > most {
			t.Errorf("%d bytes taken for a file of %d", took, len(data))
		}
		checkOrder(t, got, data)

		stream, streamErr := walkBytes(data, Options{InlineMax: 100, BufferMax: 1 << 20, BlockBytes: leastBlock})
		whole, wholeErr := walkBytes(data, Options{InlineMax: 1 << 20})
		if errText(err) != errText(streamErr) || errText(err) != errText(wholeErr) {
			t.Fatalf("file: %v\nstream: %v\nin one block: %v", err, streamErr, wholeErr)
		}
		checkOrder(t, whole, data)
		sameItems(t, "stream", stream, whole, data)
		sameItems(t, "file", got, whole, data)
		survey, surveyErr := walkBytes(data, Options{InlineMax: 100, BlockBytes: leastBlock, SkipCRC: true})
		if surveyErr == nil && err != nil && !errors.Is(err, ErrChecksum) || surveyErr != nil && errText(surveyErr) != errText(err) || len(survey) != len(whole) {
			t.Fatalf("%v, but without checksum: %v", err, surveyErr)
		}
		if errors.Is(err, ErrChecksum) {
			data, err = withChecksum(t, data), nil
		}
		if err == nil {
			checkResume(t, data, whole, fileOptions)
		}
	})
}

// allocated is all memory that was ever taken.
func allocated() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// withChecksum sets the right checksum in a file in which nothing else is wrong.
func withChecksum(t *testing.T, data []byte) []byte {
	t.Helper()
	w, err := NewWalker(bytes.NewReader(data), Options{})
	for err == nil {
		_, err = w.Next()
	}
	at := w.State().Offset
	if !errors.Is(err, ErrChecksum) || data[at] != opEOF {
		t.Fatalf("at %d: %v", at, err)
	}
	data = bytes.Clone(data)
	binary.LittleEndian.PutUint64(data[at+1:], CRC64(0, data[:at+1]))
	return data
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// checkOrder wants entries one after the other, and values inside the file.
func checkOrder(t *testing.T, items []item, data []byte) {
	t.Helper()
	at := int64(headerLen)
	for _, i := range items {
		if i.Offset < at {
			t.Fatalf("an entry at %d after %d", i.Offset, at)
		}
		at = i.Offset + 1
		if i.Kind != KindKey {
			continue
		}
		if i.ValueOffset <= i.Offset || i.ValueOffset+i.ValueLen > int64(len(data)) {
			t.Fatalf("a value of %d bytes at %d in a file of %d", i.ValueLen, i.ValueOffset, len(data))
		}
		if !i.Large && !bytes.Equal(i.Value, data[i.ValueOffset:i.ValueOffset+i.ValueLen]) {
			t.Fatalf("the value at %d isn't the file's", i.ValueOffset)
		}
		at = i.ValueOffset + i.ValueLen
	}
}

// checkResume goes on from the boundary in the middle.
func checkResume(t *testing.T, data []byte, want []item, o Options) {
	t.Helper()
	w, err := NewWalker(bytes.NewReader(data), o)
	if err != nil {
		t.Fatal(err)
	}
	for range len(want) / 2 {
		if _, err := w.Next(); err != nil {
			t.Fatal(err)
		}
	}
	s := w.State()
	if s.CRC != CRC64(0, data[:s.Offset]) {
		t.Fatalf("CRC at %d is wrong", s.Offset)
	}
	rest, err := walkAll(Resume(bytes.NewReader(data[s.Offset:]), w.Header(), s, o))
	if err != nil {
		t.Fatalf("resumed at %d: %v", s.Offset, err)
	}
	sameItems(t, "resumed", rest, want[len(want)/2:], data)
}

// FuzzLZF compares with the plainest way of unpacking.
func FuzzLZF(f *testing.F) {
	f.Add([]byte("\x00x\xa0\x00"), 8)
	f.Add([]byte("\x02abc\xe0\x00\x02"), 12)
	f.Add([]byte("\x02abc\xe0\xff\x02"), 267)
	for _, k := range keysOf(mustWalk(f, readFixture(f, "redis-6.0"), Options{})) {
		if len(k.Value) > 3 && k.Value[0] == lzfS {
			w := windowOver(k.Value)
			if packed, unpacked, err := w.head(maxKey); err == nil {
				f.Add(k.Value[w.pos:w.pos+int(packed)], int(unpacked))
			}
		}
	}
	f.Fuzz(func(t *testing.T, src []byte, n int) {
		got, err := DecompressLZF(nil, src, n)
		want, ok := plainLZF(src, n)
		if ok != (err == nil) || ok && !bytes.Equal(got, want) {
			t.Errorf("%q to %d bytes: %q, %v; want %q, %v", src, n, got, err, want, ok)
		}
	})
}

func plainLZF(src []byte, n int) (out []byte, ok bool) {
	r := bytes.NewReader(src)
	next := func() int {
		c, err := r.ReadByte()
		if err != nil {
			return -1
		}
		return int(c)
	}
	for r.Len() > 0 {
		ctrl := next()
		if ctrl < 32 {
			p := make([]byte, ctrl+1)
			if _, err := io.ReadFull(r, p); err != nil {
				return nil, false
			}
			out = append(out, p...)
			continue
		}
		length := ctrl>>5 + 2
		if length == 9 {
			more := next()
			if more < 0 {
				return nil, false
			}
			length += more
		}
		low := next()
		back := ctrl&31*256 + low + 1
		if low < 0 || back > len(out) {
			return nil, false
		}
		for range length {
			out = append(out, out[len(out)-back])
		}
	}
	return out, len(out) == n
}

// FuzzPayload wants that what is taken apart gives the same when put together.
func FuzzPayload(f *testing.F) {
	for _, k := range keysOf(mustWalk(f, readFixture(f, "redis-8.6"), Options{})) {
		if k.ValueLen < 500 {
			f.Add(AppendPayload(nil, k.Type, k.Value, 13))
		}
	}
	f.Add(append([]byte("\xf5\x03one\xf5\x03two\x0a\x00"), make([]byte, 8)...))
	f.Fuzz(func(t *testing.T, p []byte) {
		libraries, _ := FunctionLibraries(p)
		for _, l := range libraries {
			if len(l) > lzfMaxRatio*len(p) {
				t.Errorf("%d bytes of code from %d", len(l), len(p))
			}
		}
		typ, value, version, err := SplitPayload(p)
		if err != nil {
			return
		}
		again := AppendPayload(nil, typ, value, version)
		if unchecked := bytes.HasSuffix(p, make([]byte, 8)); !bytes.Equal(again[:len(p)-8], p[:len(p)-8]) || !unchecked && !bytes.Equal(again, p) {
			t.Errorf("%q became %q", p, again)
		}
	})
}
