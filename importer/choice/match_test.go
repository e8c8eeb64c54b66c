package choice

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/slotferry/slotferry/internal/sandbox"
	"github.com/slotferry/slotferry/internal/sandbox/sandboxtest"
)

var matchTable = []struct {
	pattern, s string
	want       bool
}{
	{"*", "", true},
	{"**", "", false},
	{"", "", true},
	{"", "a", false},
	{"?", "", false},
	{"a*", "a", true},
	{"a*", "a/b.c", true},
	{"*a", "aab", false},
	{"*a*", "bab", true},
	{"a**b", "ab", true},
	{"a?c", "abc", true},
	{"a?c", "ac", false},
	{"A", "a", false},
	{"[abc]", "b", true},
	{"[a-c]", "b", true},
	{"[c-a]", "b", true},
	{"[^a-c]", "b", false},
	{"[^a-c]", "d", true},
	{"[a-]", "-", false}, // the range from a to ]
	{"[a-]", "]", true},
	{"[]a]", "a", false},
	{"[^]", "x", true},
	{"[^", "x", true},
	{"[", "[", false},
	{"[ab", "b", true},
	{"[ab", "bc", false},
	{`[\]]`, "]", true},
	{`[\`, `\`, true},
	{`\*`, "*", true},
	{`\*`, "a", false},
	{`a\`, `a\`, true},
	{`\`, `\`, true},
	{"user:*:name", "user:1:2:name", true},
	{"a*b*c*d", "axbxcxd", true},
	{"[a-\xff]", "b", false}, // signed: \xff is -1
	{"[\x80-\xff]", "\xc3", true},
	{"*\x00", "a\x00", true},
}

func TestMatch(t *testing.T) {
	for _, tc := range matchTable {
		if got := Match([]byte(tc.pattern), []byte(tc.s)); got != tc.want {
			t.Errorf("Match(%q, %q) = %v, want %v", tc.pattern, tc.s, got, tc.want)
		}
	}
}

// A matcher that tries every split would need more steps here than there are
// atoms.
func TestMatchManyStars(t *testing.T) {
	s := []byte(strings.Repeat("a", 5000))
	if Match([]byte(strings.Repeat("a*", 200)+"b"), s) {
		t.Error("matched without a b")
	}
	if !Match([]byte(strings.Repeat("a*", 200)+"a"), s) {
		t.Error("no match")
	}
}

func TestMatchAsServer(t *testing.T) {
	const letters = "ab*?[]^-\\c\xff/"
	random := func(n int) string {
		b := make([]byte, rand.IntN(n))
		for i := range b {
			b[i] = letters[rand.IntN(len(letters))]
		}
		return string(b)
	}
	keys := map[string]bool{"": true}
	patterns := []string{}
	for _, tc := range matchTable {
		keys[tc.s] = true
		patterns = append(patterns, tc.pattern)
	}
	for range 3000 {
		patterns = append(patterns, random(10))
	}
	for range 400 {
		keys[random(5)] = true
	}

	client := sandboxtest.Server(t, sandbox.Options{}).Client()
	ctx := t.Context()
	var pairs []any
	for k := range keys {
		pairs = append(pairs, k, "")
	}
	if err := client.MSet(ctx, pairs...).Err(); err != nil {
		t.Fatal(err)
	}
	for _, p := range patterns {
		found, err := client.Keys(ctx, p).Result()
		if err != nil {
			t.Fatal(err)
		}
		server := map[string]bool{}
		for _, k := range found {
			server[k] = true
		}
		for k := range keys {
			if got := Match([]byte(p), []byte(k)); got != server[k] {
				t.Errorf("Match(%q, %q) = %v, the server says %v", p, k, got, server[k])
			}
		}
	}
}

// naive is stringmatchlen as it stands in Redis' util.c, without the escape
// from exponential time.
func naive(p, s string) bool {
	at := func(i int) byte { // C strings end with a NUL
		if i < len(p) {
			return p[i]
		}
		return 0
	}
	for len(p) > 0 && len(s) > 0 {
		switch p[0] {
		case '*':
			for at(1) == '*' {
				p = p[1:]
			}
			if len(p) == 1 {
				return true
			}
			for ; len(s) > 0; s = s[1:] {
				if naive(p[1:], s) {
					return true
				}
			}
			return false
		case '?':
			s = s[1:]
		case '[':
			p = p[1:]
			not := at(0) == '^'
			if not {
				p = p[1:]
			}
			match := false
			for {
				if len(p) >= 2 && p[0] == '\\' {
					p = p[1:]
					match = match || p[0] == s[0]
				} else if at(0) == ']' {
					break
				} else if len(p) == 0 {
					p = "x" // taken off below
					break
				} else if len(p) >= 3 && p[1] == '-' {
					from, to := int8(p[0]), int8(p[2])
					if from > to {
						from, to = to, from
					}
					p = p[2:]
					match = match || int8(s[0]) >= from && int8(s[0]) <= to
				} else {
					match = match || p[0] == s[0]
				}
				p = p[1:]
			}
			if match == not {
				return false
			}
			s = s[1:]
		default:
			if p[0] == '\\' && len(p) >= 2 {
				p = p[1:]
			}
			if p[0] != s[0] {
				return false
			}
			s = s[1:]
		}
		p = p[1:]
		if len(s) == 0 {
			p = strings.TrimLeft(p, "*")
			break
		}
	}
	return p == "" && s == ""
}

func FuzzMatch(f *testing.F) {
	for _, tc := range matchTable {
		f.Add(tc.pattern, tc.s)
	}
	f.Fuzz(func(t *testing.T, pattern, s string) {
		if len(pattern) > 12 || len(s) > 12 {
			Match([]byte(pattern), []byte(s)) // must end
			return
		}
		want := pattern == "*" || naive(pattern, s)
		if got := Match([]byte(pattern), []byte(s)); got != want {
			t.Errorf("Match(%q, %q) = %v, want %v", pattern, s, got, want)
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	key := []byte("session:user:000123456:profile")
	for _, p := range []string{"session:*", "*:profile", "*user*profile", "other:*"} {
		b.Run(p, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Match([]byte(p), key)
			}
		})
	}
}
