package commands

import (
	"bytes"
	"errors"
	"runtime/metrics"
	"testing"

	"github.com/slotferry/slotferry/rdbparse"
	"github.com/slotferry/slotferry/rdbparse/decode"
)

// FuzzWrite feeds any bytes to Write: it must not panic, must take memory only
// in proportion to them, and emit commands that a server takes. Where the other
// decoder reads a value, the commands make just that.
func FuzzWrite(f *testing.F) {
	for _, s := range allValues(f) {
		if len(s.body) < 3000 {
			f.Add(s.vendor == rdbparse.Valkey, s.typ, s.body, uint16(100))
		}
	}
	f.Fuzz(func(t *testing.T, valkey bool, typ byte, body []byte, most uint16) {
		s := serialized{typ: typ, body: body}
		if valkey {
			s.vendor = rdbparse.Valkey
		}
		o := Options{MaxBytes: 1 + int(most), MaxElements: 1 + int(most)/16, MaxHeld: 1 << 16, Now: now, Target: everything}
		given, before := bytes.Clone(body), allocated()
		err := Write(s.vendor, s.typ, bytes.NewReader(body), []byte("k"), o, func(words [][]byte) error {
			for _, word := range words {
				if word == nil || len(word) > max(o.MaxHeld, o.MaxBytes) {
					t.Fatalf("a word of %d bytes in %.100q", len(word), words)
				}
			}
			return nil
		})
		// LZF can give 88 times its own length, of which a packed element takes 2.
		if took, limit := allocated()-before, uint64(2<<20+10000*len(body)); took > limit {
			t.Errorf("%d bytes taken for %d", took, len(body))
		}
		if !bytes.Equal(body, given) {
			t.Error("the body was changed")
		}
		m, again := inModel(s, bytes.NewReader(body), o)
		if (err == nil) != (again == nil) {
			t.Fatalf("first %v, then %v", err, again)
		}
		compareDecoders(t, s, m, err)
	})
}

func compareDecoders(t *testing.T, s serialized, m *model, err error) {
	want, wrong := decode.Decode(s.vendor, s.typ, s.body)
	if wrong != nil {
		return // or a name stands twice, which is not noticed here
	}
	switch {
	case errors.Is(err, ErrUnsupported), errors.Is(err, rdbparse.ErrTooLong), err != nil && want.Type == "stream":
	case err != nil:
		t.Errorf("%v, of what is no damage", err)
	default:
		want.DropExpired(now)
		if x := want.Stream; x != nil && len(x.Entries) > 0 {
			x.FirstID = x.Entries[0].ID // which the stream may have wrong
		}
		got := m.value()
		if got.Type == "" { // nothing was left
			got.Type = want.Type
		}
		if d := decode.Difference(sayable(want, everything), sayable(got, everything)); d != "" {
			t.Errorf("type %d: %s", s.typ, d)
		}
	}
}

// FuzzLZF compares with the decompressor that has everything in memory.
func FuzzLZF(f *testing.F) {
	f.Add([]byte("\x00x\xa0\x00"), uint32(8))
	f.Add([]byte("\x02abc\xe0\xff\x02\x20\x00"), uint32(270))
	f.Fuzz(func(t *testing.T, packed []byte, n uint32) {
		want, wrong := rdbparse.DecompressLZF(nil, packed, int(n))
		var body []byte
		for _, length := range []uint32{uint32(len(packed)), n} {
			body = append(body, 0x80, byte(length>>24), byte(length>>16), byte(length>>8), byte(length))
		}
		m, err := inModel(serialized{typ: rdbparse.TypeString, body: append(append([]byte{lzfS}, body...), packed...)}, bytes.NewReader(append(append([]byte{lzfS}, body...), packed...)), Options{})
		if len(packed) == 0 || n == 0 {
			wrong = errors.New("LZF data for nothing")
		}
		if (err == nil) != (wrong == nil) || err == nil && !bytes.Equal(m.text, want) {
			t.Errorf("%d bytes, %v; want %d, %v", len(m.text), err, len(want), wrong)
		}
	})
}

// allocated is all memory that was ever taken.
func allocated() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}
