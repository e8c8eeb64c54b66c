package main

import (
	"bytes"
	"slices"

	"github.com/slotferry/slotferry/rdbparse/decode"
)

// losses names what a stream lost when it was made again by commands, which
// can't say everything, and takes that out of both values: whatever differs
// after that is a mistake.
func losses(want, got *decode.Stream) (lost []string) {
	note := func(what string) {
		if !slices.Contains(lost, what) {
			lost = append(lost, what)
		}
	}
	for i := range want.Groups {
		w := &want.Groups[i]
		j := slices.IndexFunc(got.Groups, func(g decode.Group) bool { return bytes.Equal(g.Name, w.Name) })
		if j < 0 {
			continue
		}
		g := &got.Groups[j]
		for k := range min(len(w.Consumers), len(g.Consumers)) {
			a, b := &w.Consumers[k], &g.Consumers[k]
			if a.SeenAt != b.SeenAt || a.ActiveAt != b.ActiveAt {
				note("when consumers were last seen and active")
				b.SeenAt, b.ActiveAt = a.SeenAt, a.ActiveAt
			}
		}
		w.Pending = slices.DeleteFunc(w.Pending, func(p decode.Pending) bool {
			deleted := !slices.ContainsFunc(want.Entries, func(e decode.Entry) bool { return e.ID == p.ID })
			gone := !slices.ContainsFunc(g.Pending, func(q decode.Pending) bool { return q.ID == p.ID })
			if deleted && gone {
				note("pending entries that were deleted from the stream")
			}
			return deleted && gone
		})
	}
	if want.Revision >= 2 && got.Revision < 2 {
		note("how many entries were ever added and read, and the highest ID deleted")
	}
	if a, b := want.Idempotence, got.Idempotence; a != nil && b != nil {
		if a.Added != b.Added || a.Duplicates != b.Duplicates {
			note("how many identifiers of producers were added and refused")
			b.Added, b.Duplicates = a.Added, a.Duplicates
		}
	} else if a != nil && len(a.Producers) > 0 {
		note("the identifiers of idempotent producers")
	}
	return lost
}

// forgetIdle takes consumers out of a stream that were never given an entry and
// that the other one does not have: servers don't replicate XREADGROUP that finds
// nothing, though some of them make the consumer.
func forgetIdle(want, got *decode.Stream) {
	for i := range want.Groups {
		w := &want.Groups[i]
		j := slices.IndexFunc(got.Groups, func(g decode.Group) bool { return bytes.Equal(g.Name, w.Name) })
		if j < 0 {
			continue
		}
		w.Consumers = slices.DeleteFunc(w.Consumers, func(c decode.Consumer) bool {
			busy := slices.ContainsFunc(w.Pending, func(p decode.Pending) bool { return bytes.Equal(p.Consumer, c.Name) })
			there := slices.ContainsFunc(got.Groups[j].Consumers, func(o decode.Consumer) bool { return bytes.Equal(o.Name, c.Name) })
			return !busy && !there
		})
	}
}
