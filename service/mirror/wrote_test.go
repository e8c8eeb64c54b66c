package mirror

import "testing"

// TestWrote lets a verification write keys that the mirror has not seen: they
// have to go when the source no longer has them.
func TestWrote(t *testing.T) {
	for _, first := range []int{0, 300} { // keys that were mirrored before
		w := newWorld(t)
		w.fill(first, "a")
		w.wants(first, 0)
		m, err := Open(Options{Dir: w.dir, MaxDelete: w.limit})
		if err != nil {
			t.Fatal(err)
		}
		run := w.run
		run.Keys = int64(len(w.target))
		if _, err := m.Begin(t.Context(), run); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"new:1", "new:2", "key:5"} {
			w.target[name] = held{value: "b"}
			if err := m.Wrote([]byte(name)); err != nil {
				t.Fatal(err)
			}
		}
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
		// One of the new keys is there still, the others have gone meanwhile.
		w.source["new:1"] = held{value: "b"}
		if first == 0 {
			w.source["key:5"] = held{value: "b"}
		}
		w.wants(2, 1)
		w.wants(0, 0)
	}
}
