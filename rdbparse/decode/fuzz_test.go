package decode

import (
	"bytes"
	"runtime/metrics"
	"strings"
	"testing"

	"github.com/slotferry/slotferry/rdbparse"
)

// FuzzDecode feeds any bytes to the decoder: it must not panic, take memory only
// in proportion to them, leave them as they are and give a value that doesn't
// differ from itself. What it says of two values stays short.
func FuzzDecode(f *testing.F) {
	for _, fixture := range fixtures {
		for _, s := range readFixture(f, fixture) {
			if len(s.body) < 5000 {
				f.Add(s.vendor == rdbparse.Valkey, s.typ, s.body)
			}
		}
	}
	for _, v := range oldValues {
		f.Add(false, v.typ, []byte(v.body))
	}
	f.Fuzz(func(t *testing.T, valkey bool, typ byte, body []byte) {
		vendor := rdbparse.Redis
		if valkey {
			vendor = rdbparse.Valkey
		}
		given, before := bytes.Clone(body), allocated()
		v, err := Decode(vendor, typ, body)
		if err != nil {
			if v != nil {
				t.Error("a value with an error")
			}
			v = &Value{}
		}
		// LZF can give 88 times its own length, of which a packed element takes 2.
		if took, most := allocated()-before, uint64(1<<20+10000*len(body)); took > most {
			t.Errorf("%d bytes taken for %d", took, len(body))
		}
		if !bytes.Equal(body, given) {
			t.Error("the body was changed")
		}
		if err != nil {
			return
		}
		again, err := Decode(vendor, typ, given)
		if err != nil {
			t.Fatal(err)
		}
		if d := Difference(v, again); d != "" {
			t.Errorf("differs from itself: %s", d)
		}
		if d := Difference(v, &Value{Type: v.Type, Stream: &Stream{Revision: 5, Idempotence: &Idempotence{}}}); len(d) > 1000 {
			t.Errorf("%d bytes of text", len(d))
		}
		v.DropExpired(1 << 50)
		_ = strings.Join(lines(v), "")
	})
}

// allocated is all memory that was ever taken.
func allocated() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}
