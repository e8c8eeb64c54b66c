package report

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

// names makes n names by a format with the number in it, once or twice.
func names(n int, format string) []string {
	var list []string
	for i := range n {
		if strings.Count(format, "%") == 2 {
			list = append(list, fmt.Sprintf(format, i, i))
		} else {
			list = append(list, fmt.Sprintf(format, i))
		}
	}
	return list
}

func TestSeparator(t *testing.T) {
	join := func(lists ...[]string) (all []string) {
		for _, l := range lists {
			all = append(all, l...)
		}
		return all
	}
	for _, tc := range []struct {
		name, given string
		names       []string
		want        string
		depth       int
		first       string // the prefix with most keys
		prefixes    int
	}{
		{"no keys", "", nil, "", 0, "", 0},
		{"no separator", "", names(100, "key%d"), "", 0, "", 1},
		{"the usual one", "", join(names(60, "user:%d:name"), names(40, "cart:%d")), ":", 1, "user:", 2},
		{"one key", "", []string{"a:b"}, ":", 1, "a:", 1},
		{"a path", "", join(names(70, "/users/%d"), names(30, "plain%d")), "/", 1, "/", 2},
		{"equal: the first of the list", "", names(10, "a#b_c-d|e.f/%d"), "/", 1, "a#b_c-d|e.f/", 1},
		{"more names hold it", "", join(names(60, "a.%d"), names(50, "b:%d")), ".", 1, "a.", 2},
		{"too few", "", join(names(19, "a:%d"), names(81, "b%d")), "", 0, "", 1},
		{"just enough", "", join(names(20, "a:%d"), names(80, "b%d")), ":", 1, "", 2},
		{"in a hash tag", "", names(10, "{user_%d}"), "_", 1, "{user_", 1},
		{"given, of two bytes", "::", names(10, "a:%d::b"), "::", 1, "a:0::", 10},
		{"given, in no name", "%%", names(10, "a:%d"), "%%", 1, "", 1},
		{"one application, many kinds", "", join(names(50, "app:user:%d"), names(50, "app:cart:%d")), ":", 2, "app:cart:", 2},
		{"two names in front", "", join(names(150, "app:prod:user:%d"), names(50, "app:prod:cart:%d")), ":", 3, "app:prod:user:", 2},
		{"three at most", "", join(names(50, "a:b:c:d:%d"), names(50, "a:b:c:e:%d")), ":", 3, "a:b:c:", 1},
		{"numbers behind", "", names(100, "app:%d:%d"), ":", 1, "app:", 1},
		{"nothing behind", "", names(100, "app:%d"), ":", 1, "app:", 1},
		{"not one for nearly all", "", join(names(79, "app:user:%d"), names(21, "b:%d")), ":", 1, "app:", 2},
		{"one for nearly all", "", join(names(80, "app:user:%d"), names(20, "b:%d")), ":", 2, "app:user:", 2},
		{"given, deeper", "-", join(names(50, "app-user-%d"), names(50, "app-cart-%d")), "-", 2, "app-cart-", 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := NewCounter(CounterOptions{Separator: tc.given})
			for _, name := range tc.names {
				c.Key(Key{Name: []byte(name), Bytes: 1})
			}
			plan := &Plan{}
			c.Fill(plan)
			if plan.Separator != tc.want || plan.PrefixDepth != tc.depth {
				t.Errorf("separator %q, depth %d, want %q, %d", plan.Separator, plan.PrefixDepth, tc.want, tc.depth)
			}
			if len(plan.Prefixes) != tc.prefixes || tc.prefixes > 0 && string(plan.Prefixes[0].Prefix) != tc.first {
				t.Errorf("prefixes are %v", plan.Prefixes)
			}
			var keys int64
			for _, p := range plan.Prefixes {
				keys += p.Keys
			}
			if keys != int64(len(tc.names)) {
				t.Errorf("%d keys have a prefix, of %d", keys, len(tc.names))
			}
		})
	}
}

// The sample is bounded, and what it decides holds for all keys.
func TestSample(t *testing.T) {
	for _, tc := range []struct {
		name   string
		length int
		memory int64
		keys   int // in the sample
	}{
		{"by keys", 10, 0, sampleKeys},
		{"by bytes", 700, 0, sampleBytes/700 + 1},
		{"long names are cut", 100_000, 0, sampleBytes / nameBytes},
		{"little memory", nameBytes, minMemory, minMemory / 8 / nameBytes},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := NewCounter(CounterOptions{Memory: tc.memory})
			name := bytes.Repeat([]byte{'x'}, tc.length)
			name[3] = '.'
			n := 0
			for c.sample != nil && n < sampleKeys+1 {
				n++
				c.Key(Key{Name: name})
			}
			if n != tc.keys {
				t.Errorf("%d keys, want %d", n, tc.keys)
			}
			for range 5 {
				c.Key(Key{Name: []byte("late:name.x")})
			}
			plan := &Plan{}
			c.Fill(plan)
			if plan.Separator != "." || len(plan.Prefixes) != 2 || plan.Prefixes[0].Keys != int64(n) || string(plan.Prefixes[1].Prefix) != "late:name." {
				t.Errorf("separator %q, prefixes %v", plan.Separator, plan.Prefixes)
			}
		})
	}
}

func FuzzPrefix(f *testing.F) {
	f.Add([]byte("user:1:name"), []byte(":"), 2)
	f.Add([]byte(strings.Repeat("é", 600)+":x"), []byte("::"), 1)
	f.Add(append(bytes.Repeat([]byte{0x80}, 300), ':'), []byte(":"), 3)
	f.Fuzz(func(t *testing.T, name, separator []byte, depth int) {
		if len(separator) == 0 {
			return
		}
		depth = 1 + int(uint(depth)%maxDepth)
		p := prefix(name, separator, depth)
		if !bytes.HasPrefix(name, p) || len(p) > prefixBytes {
			t.Fatalf("prefix of %d bytes", len(p))
		}
		if len(p) <= prefixBytes-utf8.UTFMax && len(p) > 0 && !bytes.HasSuffix(p, separator) {
			t.Fatalf("%q does not end with %q", p, separator)
		}
	})
}
