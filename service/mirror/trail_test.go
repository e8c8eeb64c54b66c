package mirror

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/slotferry/slotferry/importer"
	"github.com/slotferry/slotferry/importer/record"
)

// small is a memory in bytes that lets a trail's window be three pages long.
const small = 1

// trails returns the trails in a mirror's folder.
func (w *world) trails() int {
	w.t.Helper()
	found, err := filepath.Glob(filepath.Join(w.dir, "*.trail"))
	if err != nil {
		w.t.Fatal(err)
	}
	return len(found)
}

// astray does a run and returns how many keys were not where the trail led to,
// -1 without a trail at its end.
func (w *world) astray() int64 {
	w.t.Helper()
	m, err := Open(Options{Dir: w.dir, Memory: w.memory, MaxDelete: w.limit})
	if err != nil {
		w.t.Fatal(err)
	}
	defer m.Close()
	run := w.run
	run.Keys = int64(len(w.target))
	if _, err := m.Begin(w.t.Context(), run); err != nil {
		w.t.Fatal(err)
	}
	for _, name := range w.names() {
		same, err := m.Seen(&record.Record{Value: []byte(w.source[name].value)}, []byte(name))
		if err != nil || same != (w.source[name] == w.target[name]) {
			w.t.Fatalf("%s: unchanged is %v, %v", name, same, err)
		}
	}
	if m.trail == nil {
		return -1
	}
	return m.trail.misses
}

// TestOrders mirrors sources that come in another order than before.
func TestOrders(t *testing.T) {
	const keys = 3000
	r := rand.New(rand.NewPCG(1, 1))
	for _, tc := range []struct {
		name   string
		order  func(names []string)
		most   int64 // keys that may be elsewhere than the trail led to
		change func(w *world)
	}{
		{"the same", func([]string) {}, 0, nil},
		{"near", func(n []string) {
			for i := 0; i+20 < len(n); i += 20 {
				r.Shuffle(20, func(a, b int) { n[i+a], n[i+b] = n[i+b], n[i+a] })
			}
		}, 0, nil},
		{"every second, then the others", func(n []string) {
			old := slices.Clone(n)
			for i, s := range old {
				n[i%2*(len(n)+1)/2+i/2] = s
			}
		}, 400, nil},
		{"turned", func(n []string) {
			half := slices.Concat(n[len(n)/2:], n[:len(n)/2])
			copy(n, half)
		}, -1, nil},
		{"a stretch is gone", func([]string) {}, 300, func(w *world) {
			for i := range 1000 {
				delete(w.source, fmt.Sprintf("key:%d", 1000+i)) // in a row
			}
		}},
		{"some are new, some gone, some other", func([]string) {}, 0, func(w *world) {
			for i := range 100 {
				w.source[fmt.Sprintf("key:%d:new", i*23)] = held{value: "n"}
				delete(w.source, fmt.Sprintf("key:%d", i*27))
				w.source[fmt.Sprintf("key:%d", i*29)] = held{value: "o"}
			}
		}},
		{"many are other", func([]string) {}, 0, func(w *world) {
			for i := range 600 {
				w.source[fmt.Sprintf("key:%d", i*5)] = held{value: "o"}
			}
		}},
		{"some are elsewhere", func(n []string) {
			for range 30 {
				a, b := r.IntN(len(n)), r.IntN(len(n))
				n[a], n[b] = n[b], n[a]
			}
		}, 300, nil},
		{"another", slices.Reverse[[]string], -1, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			w.memory, w.order = small, func([]string) {}
			w.fill(keys, "a")
			w.wants(keys, 0)
			if w.trails() != 1 {
				t.Fatal("no trail after the first run")
			}
			w.order = tc.order
			if tc.change != nil {
				tc.change(w)
			}
			if n := w.astray(); n > tc.most || (n < 0) != (tc.most < 0) {
				t.Errorf("%d keys were elsewhere, want %d at most", n, tc.most)
			}
			r := w.mirror(-1, whole)
			if r.err != nil {
				t.Fatal(r.err)
			}
			w.wantSame()
			w.order = func([]string) {}
			if tc.most < 0 {
				w.order = tc.order
			}
			w.wants(0, 0)
			if n := w.astray(); n < 0 || n > 300 {
				t.Errorf("%d keys were elsewhere in the end", n)
			}
			clear(w.source)
			w.wants(0, int64(len(w.target)))
			w.wants(0, 0)
		})
	}
}

// TestStray is a key that comes by long before its place on the trail, and once
// more there, changed back in between.
func TestStray(t *testing.T) {
	w := newWorld(t)
	w.memory, w.order = small, func([]string) {}
	w.fill(5000, "a")
	w.wants(5000, 0)
	m, err := Open(Options{Dir: w.dir, Memory: w.memory})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	run := w.run
	run.Keys = 5000
	if _, err := m.Begin(t.Context(), run); err != nil {
		t.Fatal(err)
	}
	names := w.names()
	seen := func(name, value string, want bool) {
		t.Helper()
		unchanged, err := m.Seen(&record.Record{Value: []byte(value)}, []byte(name))
		if err != nil || unchanged != want {
			t.Errorf("%s: %v, %v", name, unchanged, err)
		}
	}
	early, back := names[4000], names[4001]
	seen(early, "b", false)
	seen(back, "a", true)
	for _, name := range names {
		seen(name, "a", name != early)
	}
	seen(names[0], "b", false)
	seen(names[0], "a", false)
	if m.trail == nil || m.trail.misses > 4 {
		t.Errorf("%+v", m.trail)
	}
	if n, err := m.Finish(t.Context(), importer.MirrorEnd{}); n != 0 || err != nil {
		t.Error(n, err)
	}
}

// TestDamagedTrail finds damage at the beginning, on the way and at the end: all
// that is lost is the trail.
func TestDamagedTrail(t *testing.T) {
	w := newWorld(t)
	w.memory, w.order = small, func([]string) {}
	w.fill(1000, "a")
	w.wants(1000, 0)
	for _, at := range []float64{0, 0.3, 0.5, 0.999} {
		for _, gone := range []string{"", "key:1", "key:3", "key:999"} {
			w.fill(1000, "a")
			w.mirror(-1, whole)
			if w.mirror(-1, whole); w.trails() != 1 {
				t.Fatal("no trail")
			}
			found, _ := filepath.Glob(filepath.Join(w.dir, "*.trail"))
			data, err := os.ReadFile(found[0])
			if err != nil {
				t.Fatal(err)
			}
			data[int(at*float64(len(data)-1))] ^= 1
			if err := os.WriteFile(found[0], data, 0o600); err != nil {
				t.Fatal(err)
			}
			deleted := int64(0)
			if gone != "" {
				delete(w.source, gone)
				deleted = 1
			}
			w.wants(0, deleted)
		}
	}
}

// TestLay refuses what is not the table's.
func TestLay(t *testing.T) {
	w := newWorld(t)
	w.fill(1000, "a")
	w.wants(1000, 0)
	for name, change := range map[string]func(*arrivals){
		"nothing": func(*arrivals) {}, "more": func(a *arrivals) { a.add(entry{1, 2, 3 << 50}) },
		"less": func(a *arrivals) { a.buf = a.buf[entryBytes:] }, "twice": func(a *arrivals) { a.buf = append(a.buf[entryBytes:], a.buf[entryBytes:2*entryBytes]...) },
		"other": func(a *arrivals) { a.buf[9] ^= 1 },
	} {
		m, err := Open(Options{Dir: w.dir})
		if err != nil {
			t.Fatal(err)
		}
		run := w.run
		run.Keys = 1000
		if _, err := m.Begin(t.Context(), run); err != nil {
			t.Fatal(err)
		}
		m.arrivals = &arrivals{create: func() (*os.File, error) { return nil, os.ErrPermission }}
		var digest uint64
		if err := m.trail.each(func(_ int64, e entry) error { digest += e.digest(); m.arrivals.add(e); return nil }); err != nil {
			t.Fatal(err)
		}
		change(m.arrivals)
		_ = m.trail.close()
		m.trail = nil
		err = m.tryLay(m.table.head, digest, &oddities{})
		if (err == nil) != (name == "nothing") || err != nil && !errors.Is(err, errNoTrail) {
			t.Errorf("%s: %v", name, err)
		}
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// FuzzTrail opens and walks a trail, whatever is in it.
func FuzzTrail(f *testing.F) {
	var out bytes.Buffer
	file, err := os.Create(filepath.Join(f.TempDir(), "t"))
	if err != nil {
		f.Fatal(err)
	}
	w := newTrailWriter(file, head{ID: 7})
	w.odd = &oddities{}
	for i := range uint64(5 * pageEntries) {
		if err := w.add(entry{i * 7, i, 0}); err != nil {
			f.Fatal(err)
		}
	}
	if ok, err := w.finish(w.keys, w.digest); !ok || err != nil {
		f.Fatal(ok, err)
	}
	if _, err := file.Seek(0, 0); err != nil {
		f.Fatal(err)
	}
	if _, err := out.ReadFrom(file); err != nil {
		f.Fatal(err)
	}
	f.Add(out.Bytes(), int64(5*pageEntries), uint64(7), false)
	f.Add(out.Bytes(), int64(5*pageEntries-3), uint64(7*1000), true)
	f.Add([]byte(strings.Repeat("x", pageBytes)), int64(1), uint64(0), true)
	f.Fuzz(func(t *testing.T, data []byte, keys int64, name uint64, mend bool) {
		h := head{ID: 7, Keys: keys}
		if keys <= 0 || keys > maxKeys { // as decodeHead sees to
			return
		}
		if mend {
			data = bytes.Clone(data)
			mendPages(data, trailID(7))
		}
		path := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		file, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		tr, err := newTrail(file, h, small)
		for i := uint64(0); err == nil && i < uint64(keys)+10; i++ {
			before := tr.hits
			var ok bool
			if _, ok, err = tr.next(name + i*7); err == nil && !ok {
				err = tr.miss()
			}
			if ok != (tr.hits > before) {
				t.Fatal(ok, before, tr.hits)
			}
		}
		if err == nil {
			n := int64(0)
			count := func(entry) error { n++; return nil }
			err = errors.Join(tr.visit(true, count), tr.visit(false, count))
			if err == nil && (n != keys || tr.hits > keys) {
				t.Fatal(n, tr.hits, keys)
			}
		}
		if err != nil && !errors.Is(err, errDamaged) {
			t.Fatal(err)
		}
	})
}
