package choice

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

type dbKey struct {
	db  int
	key string
}

func randomText(max int) string {
	b := make([]byte, rand.IntN(max+1))
	for i := range b {
		b[i] = "ab:"[rand.IntN(3)]
	}
	return string(b)
}

func randomOptions() Options {
	o := Options{DBMap: map[int]string{}}
	for range rand.IntN(4) {
		o.DBMap[rand.IntN(4)] = randomText(2)
	}
	for range rand.IntN(3) {
		o.Rename = append(o.Rename, Rename{"a" + randomText(1), randomText(2)})
	}
	return o
}

// Every collision is found, and nothing else, whatever is known in advance:
// compared with all names written down.
func TestCollisionsByBruteForce(t *testing.T) {
	collided := 0
	for round := range 5000 {
		o := randomOptions()
		c, err := New(o)
		if err != nil {
			continue // rules that are in each other's way
		}
		var keys []dbKey
		names := map[string]map[dbKey]bool{}
		for range rand.IntN(12) {
			k := dbKey{rand.IntN(4), randomText(4)}
			keys = append(keys, k)
			name := string(c.Name(nil, k.db, []byte(k.key)))
			if names[name] == nil {
				names[name] = map[dbKey]bool{}
			}
			names[name][k] = true
		}
		var known []int
		for range rand.IntN(5) {
			known = append(known, rand.IntN(4))
		}
		two, one := c.Collisions(known, 0), c.Collisions(known, 0)
		if (two == nil) == c.Renames() {
			t.Fatalf("Collisions() = %v for %+v", two, o)
		}
		if two == nil {
			continue
		}
		for _, k := range keys {
			two.Note(k.db, []byte(k.key))
		}
		foundTwo, foundOne := map[string]bool{}, map[string]bool{}
		for _, k := range keys {
			name := string(c.Name(nil, k.db, []byte(k.key)))
			if two.Check(k.db, []byte(k.key)) {
				foundTwo[name] = true
			}
			if one.Both(k.db, []byte(k.key)) {
				foundOne[name] = true
			}
		}
		for name, from := range names {
			want := len(from) > 1
			if want {
				collided++
			}
			context := fmt.Sprintf("round %d, %+v, known %v, keys %+v: name %q", round, o, known, keys, name)
			if foundTwo[name] != want {
				t.Fatalf("two passes: collision %v, want %v: %s", foundTwo[name], want, context)
			}
			if foundOne[name] != want && !(want && one.Late()) {
				t.Fatalf("one pass: collision %v, want %v: %s", foundOne[name], want, context)
			}
		}
	}
	if collided < 250 {
		t.Errorf("only %d collisions were tried", collided)
	}
}

// With all databases known in advance one pass is never too late.
func TestBothKnown(t *testing.T) {
	for range 2000 {
		c, err := New(randomOptions())
		if err != nil {
			continue
		}
		x := c.Collisions([]int{0, 1, 2, 3}, 0)
		for range 20 {
			x.Both(rand.IntN(4), []byte(randomText(4)))
		}
		if x.Late() {
			t.Fatalf("late with %+v", c)
		}
	}
}

func TestCollisionsKeepsFew(t *testing.T) {
	for _, tc := range []struct {
		name  string
		o     Options
		known []int
	}{
		{"map of the second", Options{DBMap: map[int]string{1: "db1:"}}, []int{0, 1}},
		{"the same, unknown", Options{DBMap: map[int]string{1: "db1:"}}, nil},
		{"map of the first", Options{DBMap: map[int]string{0: "db0:"}}, []int{0, 1}},
		{"map of all", Options{DBMap: map[int]string{0: "a:", 1: "b:"}}, nil},
		{"rename", Options{Rename: []Rename{{"x:", "y:"}}}, []int{0}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			x := mustNew(t, tc.o).Collisions(tc.known, 0)
			for db := range 2 {
				if len(tc.o.DBMap) == 0 && db == 1 {
					break // one database only
				}
				for i := range 1000 {
					x.Note(db, fmt.Appendf(nil, "user:%d", i))
					x.Note(db, fmt.Appendf(nil, "x:%d", i))
				}
			}
			if !x.Empty() || x.Full() {
				t.Errorf("%d names are kept", len(x.names))
			}
		})
	}
}

func TestCollisionsFull(t *testing.T) {
	// Both databases keep their names, so every key of the second is kept.
	x := mustNew(t, Options{DBMap: map[int]string{0: "", 1: ""}}).Collisions([]int{0, 1}, 10*entryBytes)
	for db := range 2 {
		for i := range 10 {
			x.Note(db, fmt.Append(nil, i))
		}
	}
	if x.Full() {
		t.Error("full with as many names as there is room for")
	}
	x.Note(1, []byte("one more"))
	if !x.Full() || x.Empty() {
		t.Error("not full")
	}
	if !x.Check(0, []byte("3")) || x.Check(0, []byte("one more")) {
		t.Error("wrong answers when full")
	}
}

func TestCollisionsNil(t *testing.T) {
	var x *Collisions
	x.Note(0, nil)
	if !x.Empty() || x.Full() || x.Late() || x.Check(0, nil) || x.Both(0, nil) {
		t.Error("a nil finder finds something")
	}
}

func BenchmarkNote(b *testing.B) {
	c := mustNew(b, Options{DBMap: map[int]string{1: "db1:"}, Rename: []Rename{{"old:", "new:"}}})
	x := c.Collisions(nil, 0)
	key := []byte("session:user:000123456:profile")
	b.ReportAllocs()
	for b.Loop() {
		x.Note(0, key)
	}
}
