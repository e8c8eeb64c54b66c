package decode

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slotferry/slotferry/rdbparse"
)

// fixtures are what servers of all versions saved of the same keys.
var fixtures = []string{
	"redis-6.0", "redis-7.0", "redis-7.0-plain", "redict-7.3",
	"redis-8.0", "redis-8.6", "valkey-8.0", "valkey-8.1", "valkey-9.1",
}

// serialized is one value as a server wrote it.
type serialized struct {
	vendor rdbparse.Vendor
	typ    byte
	body   []byte
}

func (s serialized) decode(t testing.TB) *Value {
	t.Helper()
	v, err := Decode(s.vendor, s.typ, s.body)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// readFixture gives the values of database 0 by key.
func readFixture(t testing.TB, name string) map[string]serialized {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "testdata", name+".rdb"))
	if err != nil {
		t.Fatal(err)
	}
	w, err := rdbparse.NewWalker(bytes.NewReader(data), rdbparse.Options{InlineMax: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]serialized{}
	for {
		e, err := w.Next()
		if err == io.EOF {
			return values
		}
		if err != nil {
			t.Fatal(err)
		}
		if e.Kind == rdbparse.KindKey && e.DB == 0 && e.Module == "" {
			values[string(e.Key)] = serialized{w.Header().Vendor, e.Type, bytes.Clone(e.Value)}
		}
	}
}

// TestFixtures decodes what servers of all versions made of the same commands:
// it must come to the same, however they store it. Streams were filled at
// different times.
func TestFixtures(t *testing.T) {
	want := readFixture(t, "redis-6.0")
	for _, fixture := range fixtures {
		t.Run(fixture, func(t *testing.T) {
			for key, s := range readFixture(t, fixture) {
				got := s.decode(t)
				if w, ok := want[key]; ok {
					if d := Difference(w.decode(t), got); d != "" && !strings.HasPrefix(key, "stream") {
						t.Errorf("%q of type %d: %s", key, s.typ, d)
					}
				}
			}
		})
	}
}

func TestOldValues(t *testing.T) {
	for _, tc := range oldValues {
		t.Run(tc.name, func(t *testing.T) {
			v := serialized{typ: tc.typ, body: []byte(tc.body)}.decode(t)
			if got := fmt.Sprint(lines(v)); got != tc.want {
				t.Errorf("%.300s, want %.300s", got, tc.want)
			}
		})
	}
}
