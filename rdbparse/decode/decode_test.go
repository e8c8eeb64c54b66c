package decode

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
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
	first, compared := map[string]*Value{}, map[string]int{}
	for _, fixture := range fixtures {
		for key, s := range readFixture(t, fixture) {
			got, want := s.decode(t), first[key]
			if want == nil {
				first[key] = got
				continue
			}
			if d := Difference(want, got); d != "" && !strings.HasPrefix(key, "stream") {
				t.Errorf("%s: %q of type %d: %s", fixture, key, s.typ, d)
			}
			compared[key]++
		}
	}
	// Field TTLs have come last.
	for _, key := range []string{"hash:ttl:small", "hash:ttl:large"} {
		if compared[key] < 2 || !slices.ContainsFunc(first[key].Hash, func(f Field) bool { return f.ExpireAt != 0 }) {
			t.Errorf("%s was compared %d times", key, compared[key])
		}
	}
}

// TestAppend appends to parts of a value, which must leave the others alone.
func TestAppend(t *testing.T) {
	body := []byte("\x04\xc0\x01\xc0\x02\x01a\x01b")
	v := serialized{typ: rdbparse.TypeList, body: body}.decode(t)
	for _, e := range v.List {
		_ = append(e, "more"...)
	}
	if got := fmt.Sprintf("%s", v.List); got != "[1 2 a b]" {
		t.Error(got)
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
