package mirror

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// tableOf makes a table of some hashes.
func tableOf(t testing.TB, names []uint64, memory int64) *table {
	t.Helper()
	dir := t.TempDir()
	var files [2]*os.File
	for i, name := range []string{"pages", "names"} {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		files[i] = f
	}
	b := newBuilder(files[0], files[1], head{ID: 7})
	for _, n := range names {
		if err := b.add(entry{n, ^n, 0}, fmt.Append(nil, n)); err != nil {
			t.Fatal(err)
		}
	}
	h, err := b.finish()
	if err != nil {
		t.Fatal(err)
	}
	tab, err := openTable(h, files[0], files[1], memory)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tab.close() })
	return tab
}

func TestFind(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	even := func(n int) (list []uint64) {
		for range n {
			list = append(list, r.Uint64())
		}
		return list
	}
	heaped := func(n int) (list []uint64) { // as no hash would
		for i := range n {
			list = append(list, uint64(i)*2+5, ^uint64(0)-uint64(i)*3)
		}
		return list
	}
	for name, names := range map[string][]uint64{
		"none": nil, "one": even(1), "ends": {0, ^uint64(0)}, "a page": even(pageEntries), "more": even(pageEntries + 1),
		"many": even(5000), "heaped": heaped(2000),
	} {
		for _, memory := range []int64{1 << 20, 2 * pageBytes} {
			slices.Sort(names)
			names = slices.Compact(names)
			tab := tableOf(t, names, memory)
			for i, n := range names {
				at, e, ok, err := tab.find(n)
				if err != nil || !ok || e != (entry{n, ^n, 0}) || at != int64(i) {
					t.Fatalf("%s: %d of %d: %v %v %v %v", name, i, len(names), at, e, ok, err)
				}
			}
			for _, n := range append(even(1000), 0, 1, ^uint64(0)) {
				_, has := slices.BinarySearch(names, n)
				if _, _, ok, err := tab.find(n); ok != has || err != nil {
					t.Fatalf("%s: %d is found: %v, %v", name, n, ok, err)
				}
			}
			seen := 0
			err := tab.each(func(int, int) bool { return true }, func(at int64, e entry, text []byte) error {
				if at != int64(seen) || names[at] != e.name || string(text) != fmt.Sprint(e.name) {
					return fmt.Errorf("%d: %v %q", at, e, text)
				}
				seen++
				return nil
			})
			if err != nil || seen != len(names) {
				t.Errorf("%s: %d seen, %v", name, seen, err)
			}
		}
	}
}

// TestSorterParts sorts what memory does not hold.
func TestSorterParts(t *testing.T) {
	for _, parts := range []int{1, 7} {
		dir := t.TempDir()
		s := &sorter{most: parts, part: 25 << 10, temp: func(i int) (*os.File, error) { return os.Create(filepath.Join(dir, fmt.Sprint(i))) }}
		want := map[string]uint64{}
		var changes []change
		for i := range uint64(5000) {
			name := fmt.Appendf(nil, "key:%d", i%3700)
			changes = append(changes, change{value: i, mark: i, name: name})
			want[string(name)] = i // the last one counts
		}
		if err := s.divide(int64(len(changes)) * 40); err != nil || len(s.parts) != parts {
			t.Fatal(err, len(s.parts))
		}
		for _, c := range changes {
			if err := s.add(c); err != nil {
				t.Fatal(err)
			}
		}
		var last uint64
		err := s.each(func(name uint64, c change) error {
			if name <= last || name != hashName(c.name) || want[string(c.name)] != c.value {
				return fmt.Errorf("%x after %x: %v", name, last, c)
			}
			last = name
			delete(want, string(c.name))
			return nil
		})
		if err != nil || len(want) != 0 {
			t.Errorf("%d parts: %v, %d left out", parts, err, len(want))
		}
		if err := s.close(); err != nil {
			t.Error(err)
		}
	}
}

// FuzzTable opens and reads a table's files, whatever is in them: what was not
// written is found damaged, and nothing is read beyond its end.
func FuzzTable(f *testing.F) {
	tab := tableOf(f, []uint64{1, 2, 3, 1 << 40, 1 << 63}, 1<<20)
	for _, file := range []*os.File{tab.pages, tab.names} {
		if _, err := file.Seek(0, 0); err != nil {
			f.Fatal(err)
		}
	}
	var pages, names bytes.Buffer
	if _, err := pages.ReadFrom(tab.pages); err != nil {
		f.Fatal(err)
	}
	if _, err := names.ReadFrom(tab.names); err != nil {
		f.Fatal(err)
	}
	line, err := seal(tab.head)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(line, pages.Bytes(), names.Bytes(), uint64(3), false)
	f.Add(line, pages.Bytes(), names.Bytes()[1:], uint64(1<<63), true)
	f.Fuzz(func(t *testing.T, line, pages, names []byte, name uint64, mend bool) {
		h, err := decodeHead(line)
		if err != nil {
			if !mend {
				return
			}
			h = head{ID: 7, Keys: int64(len(pages)) / entryBytes, NamesBytes: int64(len(names))}
		}
		if mend { // so that what is behind the checksums is reached
			mendPages(pages, h.ID)
		}
		var files [2]*os.File
		for i, data := range [][]byte{pages, names} {
			path := filepath.Join(t.TempDir(), "f")
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
			if files[i], err = os.Open(path); err != nil {
				t.Fatal(err)
			}
			defer files[i].Close()
		}
		for _, memory := range []int64{1 << 20, 1} {
			tab, err := openTable(h, files[0], files[1], memory)
			if err != nil {
				if !errors.Is(err, errDamaged) {
					t.Fatal(err)
				}
				continue
			}
			if _, _, _, err := tab.find(name); err != nil {
				t.Fatal(err)
			}
			n := int64(0)
			err = tab.each(func(int, int) bool { return true }, func(int64, entry, []byte) error { n++; return nil })
			if err != nil && !errors.Is(err, errDamaged) || err == nil && n != h.Keys {
				t.Fatal(n, err)
			}
		}
	})
}
