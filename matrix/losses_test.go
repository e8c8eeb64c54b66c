package main

import (
	"slices"
	"testing"

	"github.com/slotferry/slotferry/rdbparse/decode"
)

// TestLosses sees that what commands can't say is excused, and nothing else.
func TestLosses(t *testing.T) {
	id := func(ms uint64) decode.ID { return decode.ID{Ms: ms} }
	stream := func(revision int, seen int64, pending ...uint64) *decode.Value {
		g := decode.Group{Name: []byte("g"), Consumers: []decode.Consumer{{Name: []byte("c"), SeenAt: seen}}}
		for _, ms := range pending {
			g.Pending = append(g.Pending, decode.Pending{ID: id(ms), Consumer: []byte("c")})
		}
		return &decode.Value{Type: "stream", Stream: &decode.Stream{Revision: revision, Entries: []decode.Entry{{ID: id(1)}}, Length: 1, Groups: []decode.Group{g}}}
	}
	for _, tc := range []struct {
		name      string
		want, got *decode.Value
		lost      []string
		differs   bool
	}{
		{"nothing", stream(3, 5, 1), stream(3, 5, 1), nil, false},
		{"consumer times", stream(3, 5, 1), stream(3, 6, 1), []string{"when consumers were last seen and active"}, false},
		{"a deleted entry is pending", stream(3, 5, 1, 2), stream(3, 5, 1), []string{"pending entries that were deleted from the stream"}, false},
		{"a pending entry is missing", stream(3, 5, 1), stream(3, 5), nil, true},
		{"counters", stream(2, 5, 1), stream(1, 5, 1), []string{"how many entries were ever added and read, and the highest ID deleted"}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			lost := losses(tc.want.Stream, tc.got.Stream)
			if d := decode.Difference(tc.want, tc.got); !slices.Equal(lost, tc.lost) || (d != "") != tc.differs {
				t.Errorf("lost %q, difference %q", lost, d)
			}
		})
	}
}

// TestForgetIdle sees that only consumers are excused that have nothing.
func TestForgetIdle(t *testing.T) {
	of := func(names string, pending string) *decode.Stream {
		g := decode.Group{Name: []byte("g")}
		for _, n := range names {
			g.Consumers = append(g.Consumers, decode.Consumer{Name: []byte(string(n))})
		}
		for i, n := range pending {
			g.Pending = append(g.Pending, decode.Pending{ID: decode.ID{Ms: uint64(i)}, Consumer: []byte(string(n))})
		}
		return &decode.Stream{Groups: []decode.Group{g}}
	}
	for _, tc := range []struct{ want, pending, got, left string }{
		{"ab", "", "ab", "ab"}, {"ab", "", "a", "a"}, {"ab", "b", "a", "ab"}, {"ab", "ab", "", "ab"}, {"a", "", "", ""},
	} {
		want := of(tc.want, tc.pending)
		forgetIdle(want, of(tc.got, ""))
		left := ""
		for _, c := range want.Groups[0].Consumers {
			left += string(c.Name)
		}
		if left != tc.left {
			t.Errorf("of %q with entries of %q, %q there: %q is left, want %q", tc.want, tc.pending, tc.got, left, tc.left)
		}
	}
}
