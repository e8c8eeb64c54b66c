package report

import (
	"bytes"
	"cmp"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/slotferry/slotferry/importer/route"
)

var now = time.UnixMilli(1_800_000_000_000)

// odd makes keys of all kinds: empty, binary, with braces of every sort, with
// and without separators, of some databases; each of them counts once.
func odd(rng *rand.Rand, n int) []Key {
	parts := []string{"", ":", "{", "}", "user:", "{tag}", "{a:b}", "\xff\x00", "é", "x", ":y:", strings.Repeat("long", 90)}
	kinds := []encoding{{"string", "string"}, {"hash", "listpack"}, {"hash", "hashtable"}, {"zset", ""}, {"mymodule1", ""}}
	var keys []Key
	for len(keys) < n {
		var name []byte
		for range rng.IntN(6) {
			name = append(name, parts[rng.IntN(len(parts))]...)
		}
		if rng.IntN(2) == 0 {
			name = strconv.AppendInt(name, rng.Int64N(1<<rng.IntN(20)), 10)
		}
		e := kinds[rng.IntN(len(kinds))]
		k := Key{DB: rng.IntN(3), Name: name, Slot: route.Slot(name), Type: e.typ, Encoding: e.name, Bytes: rng.Int64N(1 << rng.IntN(30))}
		k.Key = fmt.Appendf(nil, "%d=%s", len(keys), name)
		if rng.IntN(2) == 0 {
			k.ExpireAt = now.UnixMilli() + rng.Int64N(60*24*3600*1000)
		}
		keys = append(keys, k)
	}
	return keys
}

// tally of names, most bytes first.
func heaviest(c exactly) []string {
	var names []string
	for name := range c {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(c[b].bytes, c[a].bytes), cmp.Compare(c[b].keys, c[a].keys), cmp.Compare(a, b))
	})
	return names
}

// A plan says what the simplest possible count says, of whatever keys.
func TestCounter(t *testing.T) {
	for seed := range uint64(6) {
		rng := rand.New(rand.NewPCG(seed, 1))
		keys := odd(rng, []int{0, 1, 50, 3000, 6000, 9000}[seed])
		table := route.Even(1 + rng.IntN(5))
		plan := &Plan{}
		c := NewCounter(CounterOptions{Table: table, Separator: ":", Now: now})
		reused := Key{}
		for _, k := range keys {
			// The names are only lent.
			reused.Key = append(reused.Key[:0], k.Key...)
			reused.Name = append(reused.Name[:0], k.Name...)
			k.Key, k.Name = reused.Key, reused.Name
			c.Key(k)
		}
		c.Fill(plan)

		slots, types, dbs := map[int]share{}, map[string]int64{}, map[string]int64{}
		encodings, tags, prefixes := exactly{}, exactly{}, exactly{}
		tagSlots := map[string]int{}
		var total share
		masters := make([]share, len(table.Masters()))
		for _, k := range keys {
			total.add(k.Bytes)
			masters[table.Index(k.Slot)].add(k.Bytes)
			s := slots[int(k.Slot)]
			s.add(k.Bytes)
			slots[int(k.Slot)] = s
			types[k.Type]++
			dbs[strconv.Itoa(k.DB)]++
			encodings.add(k.Type+"/"+k.Encoding, k.Bytes)
			if tag := string(route.Tag(k.Name)); tag != string(k.Name) {
				tags.add(tag, k.Bytes)
				tagSlots[tag] = int(k.Slot)
			}
			prefixes.add(string(prefix(k.Name, []byte(":"), plan.PrefixDepth)), k.Bytes)
		}
		if got := (share{plan.Keys, plan.Bytes}); got != total {
			t.Errorf("all: %v, want %v", got, total)
		}
		last := -1
		for _, s := range plan.Slots {
			if got := (share{s.Keys, s.Bytes}); got != slots[s.Slot] || s.Slot <= last {
				t.Errorf("slot %d after %d: %v, want %v", s.Slot, last, got, slots[s.Slot])
			}
			last = s.Slot
		}
		if len(plan.Slots) != len(slots) {
			t.Errorf("%d slots, want %d", len(plan.Slots), len(slots))
		}
		for i, m := range plan.Masters {
			if got := (share{m.Keys, m.Bytes}); got != masters[i] || m.Addr != table.Masters()[i].Addr || m.Slots != table.Counts()[i] {
				t.Errorf("master %v, want %v", m, masters[i])
			}
		}
		if !reflect.DeepEqual(plan.Types, types) || !reflect.DeepEqual(plan.Databases, dbs) {
			t.Errorf("types %v, databases %v, want %v, %v", plan.Types, plan.Databases, types, dbs)
		}
		if got := plan.TTL.None + plan.TTL.Hour + plan.TTL.Day + plan.TTL.Week + plan.TTL.Mon + plan.TTL.More; got != total.keys {
			t.Errorf("%d keys by time left, want %d", got, total.keys)
		}
		var got []string
		for _, e := range plan.Encodings {
			got = append(got, fmt.Sprint(e.Type, "/", e.Encoding))
			if w := encodings[got[len(got)-1]]; (share{e.Keys, e.Bytes}) != w {
				t.Errorf("encoding %v, want %v", e, w)
			}
		}
		if want := heaviest(encodings); !slices.Equal(got, want) {
			t.Errorf("encodings %q, want %q", got, want)
		}
		got = nil
		for _, p := range plan.Prefixes {
			got = append(got, string(p.Prefix))
			if w := prefixes[string(p.Prefix)]; (share{p.Keys, p.Bytes}) != w {
				t.Errorf("prefix %q: %v, want %v", p.Prefix, p, w)
			}
		}
		if want := heaviest(prefixes); !slices.Equal(got, want[:min(len(want), ShownPrefixes)]) {
			t.Errorf("prefixes %q, want %q", got, want)
		}
		got = nil
		for _, x := range plan.HashTags {
			got = append(got, string(x.Tag))
			if w := tags[string(x.Tag)]; (share{x.Keys, x.Bytes}) != w || x.Slot != tagSlots[string(x.Tag)] {
				t.Errorf("tag %q: %v, want %v", x.Tag, x, w)
			}
		}
		for _, want := range heaviest(tags)[:min(len(tags), ShownTags)] {
			if !slices.Contains(got, want) {
				t.Errorf("tag %q is missing", want)
			}
		}
		if !plan.HashTagsExact || !plan.PrefixesExact {
			t.Error("not exact")
		}

		slices.SortFunc(keys, func(a, b Key) int {
			return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), bytes.Compare(shorten(a.Key), shorten(b.Key)))
		})
		for i, k := range keys[:min(len(keys), ShownKeys)] {
			m, _ := table.Owner(k.Slot)
			want := BigKey{Key: shorten(k.Key), DB: k.DB, Type: k.Type, Bytes: k.Bytes, Slot: int(k.Slot), Master: m.Addr}
			if i >= len(plan.BigKeys) || !reflect.DeepEqual(plan.BigKeys[i], want) {
				t.Errorf("big key %d of %d should be %v", i, len(plan.BigKeys), want)
				break
			}
		}
	}
}

// Whatever doesn't fit, the plan says so, and how far it may be off.
func TestCounterOutOfMemory(t *testing.T) {
	c := NewCounter(CounterOptions{Memory: 1, Separator: ":", Now: now})
	want := map[bool]exactly{true: {}, false: {}}
	key := func(prefix, tag string, bytes int64) {
		name := fmt.Appendf(nil, "%s:{%s}", prefix, tag)
		want[true].add(prefix+":", bytes)
		want[false].add(tag, bytes)
		c.Key(Key{Key: name, Name: name, Slot: route.Slot(name), Bytes: bytes})
	}
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range 60_000 {
		key(fmt.Sprint("p", i), fmt.Sprint("t", i), 10)
		switch rng.IntN(20) {
		case 0:
			key("many", "many", 1)
		case 1:
			key("large", "large", 1000)
		}
	}
	checkTally(t, c.prefixes, want[true])
	checkTally(t, c.tags, want[false])
	plan := &Plan{}
	c.Fill(plan)
	if plan.PrefixesExact || plan.PrefixesError == 0 || plan.PrefixesErrorKeys == 0 || plan.HashTagsExact || plan.HashTagsError == 0 || plan.HashTagsErrorKeys == 0 {
		t.Error("the plan takes itself for exact")
	}
	if string(plan.Prefixes[0].Prefix) != "large:" || string(plan.HashTags[0].Tag) != "large" {
		t.Errorf("the largest are %q and %q", plan.Prefixes[0].Prefix, plan.HashTags[0].Tag)
	}
	if !slices.ContainsFunc(plan.HashTags, func(x Tag) bool { return string(x.Tag) == "many" }) {
		t.Error("the tag with most keys is missing")
	}
}

// The tag with most keys is listed even if a hundred have more bytes.
func TestTagsByKeys(t *testing.T) {
	c := NewCounter(CounterOptions{})
	for i := range 200 {
		c.Key(Key{Name: fmt.Appendf(nil, "{large%d}", i), Bytes: 1000})
	}
	for i := range 20 {
		c.Key(Key{Name: fmt.Appendf(nil, "{many}%d", i), Bytes: 1})
	}
	plan := &Plan{}
	c.Fill(plan)
	if n := len(plan.HashTags); n < ShownTags+1 || n > ShownTags+TagsByKeys {
		t.Errorf("%d tags", n)
	}
	if last := plan.HashTags[len(plan.HashTags)-1]; string(last.Tag) != "many" || last.Keys != 20 {
		t.Errorf("the last tag is %q", last.Tag)
	}
}

func TestAllSlots(t *testing.T) {
	c := NewCounter(CounterOptions{Table: route.Even(3)})
	found := make([]bool, route.Slots)
	left := len(found)
	for i := 0; left > 0; i++ {
		name := strconv.AppendInt(nil, int64(i), 10)
		if slot := route.Slot(name); !found[slot] {
			found[slot] = true
			left--
			c.Key(Key{Name: name, Slot: slot, Bytes: int64(slot)})
		}
	}
	plan := &Plan{}
	c.Fill(plan)
	for i, s := range plan.Slots {
		if s != (Slot{Slot: i, Keys: 1, Bytes: int64(i)}) {
			t.Fatalf("slot %d is %v", i, s)
		}
	}
	if len(plan.Slots) != route.Slots || plan.Keys != route.Slots || plan.Bytes != route.Slots*(route.Slots-1)/2 {
		t.Errorf("%d slots, %d keys, %d bytes", len(plan.Slots), plan.Keys, plan.Bytes)
	}
}

func TestMasters(t *testing.T) {
	a, b, idle := route.Master{ID: "a", Addr: "a:1"}, route.Master{ID: "b", Addr: "b:1"}, route.Master{ID: "c", Addr: "c:1"}
	table := route.NewTable()
	table.Assign(idle, route.Range{Start: 0, End: 0})
	table.Assign(a, route.Range{Start: 0, End: 99})
	table.Assign(b, route.Range{Start: 100, End: 199})
	key := func(slot uint16, bytes int64) Key { return Key{Slot: slot, Bytes: bytes} }
	ofA, ofB := [][2]int{{0, 99}}, [][2]int{{100, 199}}
	for _, tc := range []struct {
		name  string
		table *route.Table
		keys  []Key
		want  []Master
		skew  Skew
	}{
		{"no keys", table, nil, []Master{{ID: "c", Addr: "c:1"}, {ID: "a", Addr: "a:1", Slots: 100, Ranges: ofA}, {ID: "b", Addr: "b:1", Slots: 100, Ranges: ofB}}, Skew{}},
		{
			"uneven", table, []Key{key(0, 10), key(99, 10), key(99, 10), key(100, 90)},
			[]Master{{ID: "c", Addr: "c:1"}, {ID: "a", Addr: "a:1", Slots: 100, Ranges: ofA, Keys: 3, Bytes: 30}, {ID: "b", Addr: "b:1", Slots: 100, Ranges: ofB, Keys: 1, Bytes: 90}},
			Skew{Keys: 1.5, Bytes: 1.5},
		},
		{
			"a hole", table, []Key{key(0, 1), key(100, 1), key(200, 50)},
			[]Master{
				{ID: "c", Addr: "c:1"}, {ID: "a", Addr: "a:1", Slots: 100, Ranges: ofA, Keys: 1, Bytes: 1}, {ID: "b", Addr: "b:1", Slots: 100, Ranges: ofB, Keys: 1, Bytes: 1},
				{Slots: route.Slots - 200, Keys: 1, Bytes: 50},
			},
			Skew{Keys: 1, Bytes: 1},
		},
		{"nobody", nil, []Key{key(5, 1)}, []Master{{Slots: route.Slots, Keys: 1, Bytes: 1}}, Skew{}},
		{"nothing", nil, nil, []Master{}, Skew{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := NewCounter(CounterOptions{Table: tc.table})
			for _, k := range tc.keys {
				c.Key(k)
			}
			plan := &Plan{}
			c.Fill(plan)
			if !reflect.DeepEqual(plan.Masters, tc.want) {
				t.Errorf("masters are %v, want %v", plan.Masters, tc.want)
			}
			if plan.Skew != tc.skew {
				t.Errorf("skew is %v, want %v", plan.Skew, tc.skew)
			}
		})
	}
}

func TestTTL(t *testing.T) {
	const day = 24 * time.Hour
	c := NewCounter(CounterOptions{Now: now})
	at := func(left time.Duration) int64 { return now.Add(left).UnixMilli() }
	for _, expireAt := range []int64{
		0,
		at(-time.Second), at(1), at(time.Hour),
		at(time.Hour + time.Millisecond), at(day),
		at(day + time.Millisecond), at(7 * day), at(6 * day), at(2 * day),
		at(7*day + time.Millisecond), at(8 * day), at(30 * day), at(29 * day), at(28 * day),
		at(30*day + time.Millisecond), 1<<63 - 1, at(31 * day), at(32 * day), at(33 * day), at(34 * day),
	} {
		c.Key(Key{ExpireAt: expireAt})
	}
	plan := &Plan{}
	c.Fill(plan)
	if want := (TTL{None: 1, Hour: 3, Day: 2, Week: 4, Mon: 5, More: 6}); plan.TTL != want {
		t.Errorf("%+v, want %+v", plan.TTL, want)
	}
}

func TestBigKeys(t *testing.T) {
	c := NewCounter(CounterOptions{})
	long := strings.Repeat("é", 5000)
	add := func(name string, db int, bytes int64) {
		c.Key(Key{Key: []byte(name), Name: []byte("other"), DB: db, Slot: 7, Bytes: bytes})
	}
	for i := range 1000 {
		add(fmt.Sprint("small", i), 0, int64(i%10))
	}
	add(long, 0, 50)
	add("twice", 0, 100) // a scan can meet a key again, and it may have grown
	add("twice", 0, 120)
	add("twice", 0, 90)
	add("twice", 1, 110)
	plan := &Plan{}
	c.Fill(plan)
	if len(plan.BigKeys) != ShownKeys {
		t.Fatalf("%d keys", len(plan.BigKeys))
	}
	for i, want := range []struct {
		name  string
		db    int
		bytes int64
	}{{"twice", 0, 120}, {"twice", 1, 110}, {strings.Repeat("é", nameBytes/2) + "…", 0, 50}, {"small109", 0, 9}} {
		if got := plan.BigKeys[i]; string(got.Key) != want.name || got.DB != want.db || got.Bytes != want.bytes {
			t.Errorf("%d is %.60q of db %d with %d bytes, want %.60q", i, got.Key, got.DB, got.Bytes, want.name)
		}
	}
}

// Long tags that begin alike stay apart, and are shown shortened.
func TestLongTags(t *testing.T) {
	c := NewCounter(CounterOptions{})
	for i := range 6 {
		name := fmt.Appendf(nil, "{%s%d}", strings.Repeat("x", 100_000), i%2)
		c.Key(Key{Name: name, Slot: route.Slot(name), Bytes: 1})
	}
	plan := &Plan{}
	c.Fill(plan)
	if len(plan.HashTags) != 2 || plan.HashTags[0].Keys != 3 || plan.HashTags[0].Slot == plan.HashTags[1].Slot {
		t.Fatalf("%d tags", len(plan.HashTags))
	}
	if tag := plan.HashTags[0].Tag; len(tag) != nameBytes+len("…") || !utf8.Valid(tag) {
		t.Errorf("shown with %d bytes", len(tag))
	}
}
