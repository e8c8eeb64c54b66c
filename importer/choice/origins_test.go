package choice

import (
	"fmt"
	"math"
	"testing"

	"github.com/slotferry/slotferry/importer/route"
)

// TestOrigins goes from keys to names and back: whatever has a name is found by
// it, and nothing else is.
func TestOrigins(t *testing.T) {
	dbs := []int{0, 1, 3}
	var keys []string
	for _, a := range []string{"", "a", "a:", "b:", "ab:", "db1:", "x:a:"} {
		for _, b := range []string{"", "1", "a:", "\x00\xff"} {
			keys = append(keys, a+b)
		}
	}
	for _, o := range []Options{
		{},
		{DBMap: map[int]string{1: "db1:", 3: ""}},
		{Rename: []Rename{{"ab:", ""}, {"a:", "b:"}, {"b:", "a:"}}},
		{DBMap: map[int]string{1: "a:"}, Rename: []Rename{{"a", "x:a"}}},
		{Include: []string{"a*"}, Exclude: []string{"*1"}, DBs: []int{0, 3}},
		{Slots: "0-8000", DBMap: map[int]string{1: "db1:"}},
		{Sample: 0.5, Seed: 7},
	} {
		c, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]map[string]bool{} // name → keys
		for _, db := range dbs {
			for _, k := range keys {
				name := string(c.Name(nil, db, []byte(k)))
				if want[name] == nil {
					want[name] = map[string]bool{}
				}
				if c.DB(db) && c.Key(db, []byte(k)) && c.Slot(route.Slot([]byte(name))) {
					want[name][fmt.Sprintf("%d %q", db, k)] = true
				}
			}
		}
		for name, origins := range want {
			found := map[string]bool{}
			c.Origins([]byte(name), dbs, func(db int, key []byte) {
				found[fmt.Sprintf("%d %q", db, key)] = true
				if back := string(c.Name(nil, db, key)); back != name {
					t.Errorf("%s: %q comes from %q of db %d, whose name is %q", c.Identity(), name, key, db, back)
				}
			})
			for k := range origins {
				if !found[k] {
					t.Errorf("%s: %q comes from %s, which is not found", c.Identity(), name, k)
				}
			}
		}
	}
}

func TestSample(t *testing.T) {
	for _, part := range []float64{0.01, 0.3, 0.999} {
		c, err := New(Options{Sample: part, Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		other, err := New(Options{Sample: part, Seed: 2})
		if err != nil {
			t.Fatal(err)
		}
		const keys = 100_000
		n, both := 0, 0
		for i := range keys {
			k := fmt.Appendf(nil, "user:%d", i)
			if c.Key(0, k) {
				n++
				if other.Key(0, k) {
					both++
				}
			}
		}
		within := func(n int, want float64) bool {
			return math.Abs(float64(n)-want*keys) < 6*math.Sqrt(want*(1-want)*keys)
		}
		if !within(n, part) || !within(both, part*part) {
			t.Errorf("%v of %d keys: %d picked, %d by another seed too", part, keys, n, both)
		}
	}
	for _, part := range []float64{-0.1, 1.1, math.NaN()} {
		if _, err := New(Options{Sample: part}); err == nil {
			t.Errorf("a sample of %v passes", part)
		}
	}
	if c, err := New(Options{Sample: 1, Seed: 9}); err != nil || !c.All() {
		t.Errorf("a sample of 1 is not all: %v", err)
	}
}
