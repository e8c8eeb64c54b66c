package decode

import (
	"bytes"
	"fmt"
	"math"
	"time"
)

// Difference says in a short line for an operator how got differs from want,
// "" if it doesn't. It shows names of fields, members and groups and the IDs of
// entries, but never what they hold, and counts elements from 1. Scores of 0
// and -0 are the same: servers forget the sign when they pack a sorted set.
func Difference(want, got *Value) string {
	if want.Type != got.Type {
		return fmt.Sprintf("type %s, want %s", got.Type, want.Type)
	}
	switch want.Type {
	case "string":
		return stringDifference(want.String, got.String)
	case "list":
		return listDifference(want.List, got.List)
	case "stream":
		return streamDifference(want.Stream, got.Stream)
	}
	var f findings
	switch want.Type {
	case "set":
		f.counts("members", len(want.Set), len(got.Set))
		bothWays(want.Set, got.Set, bytes.Compare, func(w, g *[]byte) {
			switch {
			case g == nil:
				f.add("member %s is missing", name(*w))
			case w == nil:
				f.add("member %s is extra", name(*g))
			}
		})
	case "hash":
		f.counts("fields", len(want.Hash), len(got.Hash))
		bothWays(want.Hash, got.Hash, func(a, b Field) int { return bytes.Compare(a.Name, b.Name) }, f.field)
	case "zset":
		f.counts("members", len(want.Zset), len(got.Zset))
		bothWays(want.Zset, got.Zset, func(a, b Member) int { return bytes.Compare(a.Name, b.Name) }, f.member)
	}
	return f.String()
}

func stringDifference(want, got []byte) string {
	if len(want) != len(got) {
		return fmt.Sprintf("%d bytes, want %d", len(got), len(want))
	}
	if bytes.Equal(want, got) {
		return ""
	}
	at := 0
	for want[at] == got[at] {
		at++
	}
	return fmt.Sprintf("byte %d of %d differs", at+1, len(want))
}

func listDifference(want, got [][]byte) string {
	var f findings
	f.counts("elements", len(want), len(got))
	for i := range min(len(want), len(got)) {
		if !bytes.Equal(want[i], got[i]) {
			f.add("element %d of %d differs", i+1, len(want))
		}
	}
	return f.String()
}

func (f *findings) field(want, got *Field) {
	switch {
	case got == nil:
		f.add("field %s is missing", name(want.Name))
	case want == nil:
		f.add("field %s is extra", name(got.Name))
	case !bytes.Equal(want.Value, got.Value):
		f.add("field %s has another value", name(want.Name))
	case want.ExpireAt != got.ExpireAt:
		f.add("field %s expires %s, want %s", name(want.Name), expiry(got.ExpireAt), expiry(want.ExpireAt))
	}
}

func (f *findings) member(want, got *Member) {
	switch {
	case got == nil:
		f.add("member %s is missing", name(want.Name))
	case want == nil:
		f.add("member %s is extra", name(got.Name))
	case want.Score != got.Score && !(math.IsNaN(want.Score) && math.IsNaN(got.Score)):
		f.add("member %s has another score", name(want.Name))
	}
}

// bothWays visits what stands on either side, both of them sorted by compare,
// with nil for the side that lacks it.
func bothWays[T any](want, got []T, compare func(a, b T) int, visit func(want, got *T)) {
	for len(want) > 0 || len(got) > 0 {
		order := 0
		switch {
		case len(got) == 0:
			order = -1
		case len(want) == 0:
			order = 1
		default:
			order = compare(want[0], got[0])
		}
		switch {
		case order < 0:
			visit(&want[0], nil)
			want = want[1:]
		case order > 0:
			visit(nil, &got[0])
			got = got[1:]
		default:
			visit(&want[0], &got[0])
			want, got = want[1:], got[1:]
		}
	}
}

// findings keeps the first difference, and how many there are.
type findings struct {
	head  string
	first string
	n     int
}

// counts notes that there are more or fewer of what.
func (f *findings) counts(what string, want, got int) {
	if want != got {
		f.head = fmt.Sprintf("%d %s, want %d", got, what, want)
	}
}

func (f *findings) add(format string, args ...any) {
	if f.n == 0 {
		f.first = fmt.Sprintf(format, args...)
	}
	f.n++
}

func (f *findings) String() string {
	s := f.head
	if f.first != "" {
		if s != "" {
			s += ": "
		}
		s += f.first
	}
	if f.n > 1 {
		s += fmt.Sprintf(", and %d more", f.n-1)
	}
	return s
}

// shownName is how many bytes of a name a difference shows.
const shownName = 40

// name is a name that is written only if it is shown.
type name []byte

func (n name) String() string {
	if len(n) > shownName {
		return fmt.Sprintf("%q…", []byte(n[:shownName]))
	}
	return fmt.Sprintf("%q", []byte(n))
}

// expiry is a time in Unix milliseconds, or never.
type expiry int64

func (e expiry) String() string {
	if e == 0 {
		return "never"
	}
	return "at " + moment(e).String()
}

// moment is a time in Unix milliseconds.
type moment int64

func (m moment) String() string {
	return time.UnixMilli(int64(m)).UTC().Format("2006-01-02T15:04:05.000Z")
}
