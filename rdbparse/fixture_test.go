package rdbparse

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// golden is what testdata/make.go recorded from the server that wrote a file.
type golden struct {
	Server    string
	Version   uint16 `json:"rdb_version"`
	Libraries []string
	Keys      []goldenKey
}

type goldenKey struct {
	Key      string // base64
	DB       int
	Type     string
	ExpireAt int64 `json:"expire_at"`
	Dump     string
}

var fixtureNames = []string{
	"redis-6.0", "redis-7.0", "redis-7.0-plain", "redis-7.0-nocrc", "redict-7.3",
	"redis-8.0", "redis-8.6", "valkey-8.0", "valkey-8.1", "valkey-9.1",
}

func readFixture(tb testing.TB, name string) []byte {
	tb.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name+".rdb"))
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

func readGolden(t *testing.T, name string) golden {
	t.Helper()
	js, err := os.ReadFile(filepath.Join("testdata", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var g golden
	if err := json.Unmarshal(js, &g); err != nil {
		t.Fatal(err)
	}
	return g
}

// item is an Entry that stays.
type item struct{ Entry }

func keep(e *Entry) item {
	c := *e
	for _, p := range []*[]byte{&c.Key, &c.Value, &c.Meta, &c.Name, &c.Text} {
		*p = bytes.Clone(*p)
	}
	return item{c}
}

// walkAll gives every entry up to the end or the first error, which is nil for
// a file that is whole.
func walkAll(w *Walker) ([]item, error) {
	var items []item
	for {
		e, err := w.Next()
		if err == io.EOF {
			return items, nil
		}
		if err != nil {
			return items, err
		}
		items = append(items, keep(e))
	}
}

func walkBytes(data []byte, o Options) ([]item, error) {
	w, err := NewWalker(bytes.NewReader(data), o)
	if err != nil {
		return nil, err
	}
	return walkAll(w)
}

func mustWalk(tb testing.TB, data []byte, o Options) []item {
	tb.Helper()
	items, err := walkBytes(data, o)
	if err != nil {
		tb.Fatal(err)
	}
	return items
}

func keysOf(items []item) []item {
	return slices.DeleteFunc(slices.Clone(items), func(i item) bool { return i.Kind != KindKey })
}

func shortHash(p []byte) string {
	sum := sha256.Sum256(p)
	return hex.EncodeToString(sum[:8])
}

// TestFixtures holds what the walk finds and frames against what the servers
// themselves said of each key, byte by byte.
func TestFixtures(t *testing.T) {
	for _, name := range fixtureNames {
		t.Run(name, func(t *testing.T) {
			data, want := readFixture(t, name), readGolden(t, name)
			w, err := NewWalker(bytes.NewReader(data), Options{})
			if err != nil {
				t.Fatal(err)
			}
			vendor := Redis
			if want.Version >= 80 {
				vendor = Valkey
			}
			if h := w.Header(); h != (Header{vendor, int(want.Version)}) {
				t.Errorf("header %+v, the server writes version %d", h, want.Version)
			}
			items, err := walkAll(w)
			if err != nil {
				t.Fatal(err)
			}
			if got := w.ChecksumPresent(); got == strings.HasSuffix(name, "nocrc") {
				t.Errorf("ChecksumPresent() = %v", got)
			}
			if more, err := w.Trailing(); more || err != nil {
				t.Errorf("Trailing() = %v, %v", more, err)
			}
			if got := w.State().Offset; got != int64(len(data)) {
				t.Errorf("ended at %d of %d", got, len(data))
			}
			var got []goldenKey
			for _, k := range keysOf(items) {
				if !bytes.Equal(k.Value, data[k.ValueOffset:k.ValueOffset+k.ValueLen]) {
					t.Errorf("%q: Value isn't what stands at ValueOffset", k.Key)
				}
				typ := TypeName(vendor, k.Type)
				if typ == "module" && k.Module == "vectorset" {
					typ = k.Module
				}
				got = append(got, goldenKey{
					base64.StdEncoding.EncodeToString(k.Key), k.DB, typ, k.ExpireAt,
					shortHash(AppendPayload(nil, k.Type, k.Value, want.Version)),
				})
			}
			byKey := func(a, b goldenKey) int {
				if a.DB != b.DB {
					return a.DB - b.DB
				}
				return strings.Compare(a.Key, b.Key)
			}
			slices.SortFunc(got, byKey)
			slices.SortFunc(want.Keys, byKey)
			if len(got) != len(want.Keys) {
				t.Errorf("%d keys, the server has %d", len(got), len(want.Keys))
			}
			for i := range min(len(got), len(want.Keys)) {
				if got[i] != want.Keys[i] {
					key, _ := base64.StdEncoding.DecodeString(want.Keys[i].Key)
					t.Errorf("key %q:\n got %+v\nwant %+v", key, got[i], want.Keys[i])
				}
			}
			checkSections(t, name, items, want)
		})
	}
}

func checkSections(t *testing.T, name string, items []item, want golden) {
	t.Helper()
	var libraries []string
	var resized, keys int64
	aux := map[string]string{}
	for _, i := range items {
		switch i.Kind {
		case KindFunction:
			libraries = append(libraries, string(i.Text))
		case KindResize:
			resized += i.Keys
		case KindAux:
			aux[string(i.Name)] = string(i.Text)
		case KindKey:
			keys++
		}
	}
	slices.Sort(libraries)
	if !slices.Equal(libraries, want.Libraries) {
		t.Errorf("libraries %q, want %q", libraries, want.Libraries)
	}
	if resized != keys {
		t.Errorf("the file announces %d keys and has %d", resized, keys)
	}
	if aux["redis-bits"] != "64" && aux["valkey-bits"] != "64" && aux["redict-bits"] != "64" {
		t.Errorf("facts %v", aux)
	}
	if name == "redis-6.0" && !strings.Contains(aux["lua"], "redis.call") {
		t.Errorf("no script among the facts %v", aux)
	}
}

// TestTypesCovered fails when the servers stop writing what the fixtures are
// there to show.
func TestTypesCovered(t *testing.T) {
	types := map[string][]byte{
		"redis-6.0":  {0, 2, 4, 5, 11, 12, 13, 14, 15},
		"redis-7.0":  {0, 2, 4, 5, 11, 16, 17, 18, 19},
		"redict-7.3": {0, 2, 4, 5, 11, 16, 17, 18, 20, 21},
		"redis-8.0":  {0, 2, 4, 5, 7, 11, 16, 17, 18, 20, 21, 24, 25},
		"redis-8.6":  {0, 2, 4, 5, 7, 11, 16, 17, 18, 20, 24, 25, 26},
		"valkey-8.0": {0, 2, 4, 5, 11, 16, 17, 18, 20, 21},
		"valkey-8.1": {0, 2, 4, 5, 11, 16, 17, 18, 20, 21},
		"valkey-9.1": {0, 2, 4, 5, 11, 16, 17, 18, 20, 21, 22},
	}
	for name, want := range types {
		var got []byte
		for _, k := range keysOf(mustWalk(t, readFixture(t, name), Options{})) {
			if !slices.Contains(got, k.Type) {
				got = append(got, k.Type)
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s has types %v, want %v", name, got, want)
		}
	}
}

// sameItems compares entries, but not the ways their values are held.
func sameItems(t *testing.T, what string, got, want []item, data []byte) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d entries, want %d", what, len(got), len(want))
	}
	for i := range got {
		g, w := got[i], want[i]
		if g.Large {
			g.Value = data[g.ValueOffset : g.ValueOffset+g.ValueLen]
		}
		g.Large, g.Owned, w.Large, w.Owned = false, false, false, false
		if !bytes.Equal(g.Value, w.Value) || !bytes.Equal(g.Key, w.Key) || !bytes.Equal(g.Text, w.Text) || !bytes.Equal(g.Name, w.Name) || !bytes.Equal(g.Meta, w.Meta) {
			t.Fatalf("%s: entry %d at %d differs in its bytes", what, i, w.Offset)
		}
		for _, e := range []*Entry{&g.Entry, &w.Entry} {
			e.Value, e.Key, e.Text, e.Name, e.Meta = nil, nil, nil, nil, nil
		}
		if !equalEntry(g.Entry, w.Entry) {
			t.Fatalf("%s: entry %d is %+v, want %+v", what, i, g.Entry, w.Entry)
		}
	}
}

func equalEntry(a, b Entry) bool {
	return reflect.DeepEqual(a, b)
}

// slowReader gives few bytes at a time, with its end sometimes along with the
// last of them.
type slowReader struct {
	data []byte
	step int
}

func (s *slowReader) Read(p []byte) (int, error) {
	if len(s.data) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.data[:min(s.step, len(s.data))])
	s.data = s.data[n:]
	if len(s.data) == 0 && s.step%2 == 1 {
		return n, io.EOF
	}
	return n, nil
}

// TestWindows walks with windows and readers of every size: what is found must
// not depend on where blocks begin.
func TestWindows(t *testing.T) {
	for _, name := range []string{"redis-8.6", "valkey-9.1", "redis-6.0", "redis-7.0-plain"} {
		data := readFixture(t, name)
		want := mustWalk(t, data, Options{InlineMax: 1 << 20})
		for _, inline := range []int64{1, 7, 100, 1000, 5000} {
			for _, step := range []int{1, 2, 7, 511, 4096, 1 << 20} {
				for _, o := range []Options{
					{Seekable: true, InlineMax: inline, BlockBytes: leastBlock},
					{BufferMax: 1 << 20, InlineMax: inline, BlockBytes: leastBlock},
					{Seekable: true, InlineMax: inline, BlockBytes: 700},
				} {
					w, err := NewWalker(&slowReader{data, step}, o)
					if err != nil {
						t.Fatal(err)
					}
					got, err := walkAll(w)
					if err != nil {
						t.Fatalf("%s %+v: %v", name, o, err)
					}
					for _, k := range keysOf(got) {
						long := k.ValueLen > inline
						if k.Large != (long && o.Seekable) || k.Owned != (long && !o.Seekable) || k.Dropped {
							t.Fatalf("%s %+v: %q of %d bytes is held as %+v", name, o, k.Key, k.ValueLen, k.Entry)
						}
					}
					sameItems(t, name, got, want, data)
				}
			}
		}
	}
}

func TestDropped(t *testing.T) {
	data := readFixture(t, "redis-7.0-plain")
	want := keysOf(mustWalk(t, data, Options{}))
	dropped := 0
	for i, k := range keysOf(mustWalk(t, data, Options{InlineMax: 100, BufferMax: 3000, BlockBytes: leastBlock})) {
		switch {
		case k.ValueLen > 3000:
			dropped++
			if !k.Dropped || k.Value != nil || k.Owned || k.Large {
				t.Errorf("%q of %d bytes: %+v", k.Key, k.ValueLen, k.Entry)
			}
		case k.Dropped || !bytes.Equal(k.Value, want[i].Value):
			t.Errorf("%q of %d bytes is wrong", k.Key, k.ValueLen)
		}
	}
	if dropped == 0 {
		t.Error("nothing was long enough to be dropped")
	}
}

// TestOwnedStays overwrites nothing: what the caller may keep must not change.
func TestOwnedStays(t *testing.T) {
	data := readFixture(t, "redis-7.0-plain")
	w, err := NewWalker(bytes.NewReader(data), Options{InlineMax: 64, BufferMax: 1 << 20, BlockBytes: leastBlock})
	if err != nil {
		t.Fatal(err)
	}
	kept := map[int64][]byte{}
	for {
		e, err := w.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e.Owned {
			kept[e.ValueOffset] = e.Value
		}
	}
	if len(kept) < 10 {
		t.Fatalf("only %d owned values", len(kept))
	}
	for at, value := range kept {
		if !bytes.Equal(value, data[at:at+int64(len(value))]) {
			t.Errorf("the value at %d changed", at)
		}
	}
}

func TestSurvey(t *testing.T) {
	for _, name := range fixtureNames {
		data := readFixture(t, name)
		want := mustWalk(t, data, Options{})
		got := mustWalk(t, data, Options{SkipCRC: true, SkipKeys: true})
		for i := range want {
			want[i].Key = nil
		}
		sameItems(t, name, got, want, data)
	}
}

// TestResume stops at every boundary and goes on there: the same entries must
// come, and the same verdict on the checksum.
func TestResume(t *testing.T) {
	for _, name := range fixtureNames {
		t.Run(name, func(t *testing.T) {
			data := readFixture(t, name)
			damaged := bytes.Clone(data)
			damaged[len(damaged)-1] ^= 1
			want := mustWalk(t, data, Options{})
			o := Options{Seekable: true, InlineMax: 200, BlockBytes: leastBlock, Name: name}
			w, err := NewWalker(bytes.NewReader(data), o)
			if err != nil {
				t.Fatal(err)
			}
			for i := 0; ; i++ {
				s := w.State()
				if i < 3 || i%5 == 0 {
					if s.CRC != CRC64(0, data[:s.Offset]) {
						t.Fatalf("before entry %d: CRC is wrong at %d", i, s.Offset)
					}
					rest, err := walkAll(Resume(bytes.NewReader(data[s.Offset:]), w.Header(), s, o))
					if err != nil {
						t.Fatal(err)
					}
					sameItems(t, "resumed", rest, want[i:], data)
					_, err = walkAll(Resume(bytes.NewReader(damaged[s.Offset:]), w.Header(), s, o))
					if !errors.Is(err, ErrChecksum) && !strings.HasSuffix(name, "nocrc") {
						t.Fatalf("damaged file, resumed: %v", err)
					}
				}
				if _, err := w.Next(); err == io.EOF {
					if i != len(want) {
						t.Errorf("%d entries, want %d", i, len(want))
					}
					break
				} else if err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}
