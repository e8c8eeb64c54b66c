package decode

import (
	"bytes"
	"slices"
)

// streamDifference leaves out what one of the two can't say, and what follows
// from the rest.
func streamDifference(want, got *Stream) string {
	var f findings
	revision := min(want.Revision, got.Revision)
	f.counts("entries", len(want.Entries), len(got.Entries))
	bothWays(want.Entries, got.Entries, func(a, b Entry) int { return a.ID.Compare(b.ID) }, f.entry)
	if f.n == 0 && want.Length != got.Length {
		f.add("a length of %d, want %d", got.Length, want.Length)
	}
	if want.LastID != got.LastID {
		f.add("last ID %v, want %v", got.LastID, want.LastID)
	}
	if revision >= 2 {
		// Of a stream without entries, servers keep different first ones.
		if want.FirstID != got.FirstID && len(want.Entries) > 0 {
			f.add("first ID %v, want %v", got.FirstID, want.FirstID)
		}
		if want.MaxDeletedID != got.MaxDeletedID {
			f.add("highest deleted ID %v, want %v", got.MaxDeletedID, want.MaxDeletedID)
		}
		if want.EntriesAdded != got.EntriesAdded {
			f.add("%d entries ever added, want %d", got.EntriesAdded, want.EntriesAdded)
		}
	}
	bothWays(want.Groups, got.Groups, func(a, b Group) int { return bytes.Compare(a.Name, b.Name) }, func(w, g *Group) {
		switch {
		case g == nil:
			f.add("group %s is missing", name(w.Name))
		case w == nil:
			f.add("group %s is extra", name(g.Name))
		default:
			f.group(w, g, revision)
		}
	})
	if revision >= 4 {
		f.idempotence(want.Idempotence, got.Idempotence)
	}
	if f.head == "" && f.n == 0 {
		return ""
	}
	return "stream: " + f.String()
}

func (f *findings) entry(want, got *Entry) {
	switch {
	case got == nil:
		f.add("entry %v is missing", want.ID)
	case want == nil:
		f.add("entry %v is extra", got.ID)
	case !slices.EqualFunc(want.Fields, got.Fields, bytes.Equal):
		f.add("entry %v has other fields", want.ID)
	}
}

func (f *findings) group(want, got *Group, revision int) {
	group := name(want.Name)
	if want.LastID != got.LastID {
		f.add("group %s has last ID %v, want %v", group, got.LastID, want.LastID)
	}
	if revision >= 2 && want.EntriesRead != got.EntriesRead {
		f.add("group %s has read %d entries, want %d", group, got.EntriesRead, want.EntriesRead)
	}
	if len(want.Pending) != len(got.Pending) {
		f.add("group %s has %d pending entries, want %d", group, len(got.Pending), len(want.Pending))
	} else {
		bothWays(want.Pending, got.Pending, func(a, b Pending) int { return a.ID.Compare(b.ID) }, func(w, g *Pending) {
			f.pending(group, w, g)
		})
	}
	bothWays(want.Consumers, got.Consumers, func(a, b Consumer) int { return bytes.Compare(a.Name, b.Name) }, func(w, g *Consumer) {
		switch {
		case g == nil:
			f.add("group %s lacks consumer %s", group, name(w.Name))
		case w == nil:
			f.add("group %s has consumer %s besides", group, name(g.Name))
		case w.SeenAt != g.SeenAt:
			f.add("consumer %s of group %s was seen at %v, want %v", name(w.Name), group, moment(g.SeenAt), moment(w.SeenAt))
		case revision >= 3 && w.ActiveAt != g.ActiveAt:
			f.add("consumer %s of group %s was active %v, want %v", name(w.Name), group, activity(g.ActiveAt), activity(w.ActiveAt))
		}
	})
	if revision >= 5 && !slices.Equal(want.GivenBack, got.GivenBack) {
		f.add("group %s has other entries given back", group)
	}
}

func (f *findings) pending(group name, want, got *Pending) {
	switch {
	case got == nil:
		f.add("group %s lacks pending entry %v", group, want.ID)
	case want == nil:
		f.add("group %s has pending entry %v besides", group, got.ID)
	case !bytes.Equal(want.Consumer, got.Consumer) || (want.Consumer == nil) != (got.Consumer == nil):
		f.add("pending entry %v of group %s is another consumer's", want.ID, group)
	case want.DeliveredAt != got.DeliveredAt:
		f.add("pending entry %v of group %s was delivered at %v, want %v", want.ID, group, moment(got.DeliveredAt), moment(want.DeliveredAt))
	case want.Deliveries != got.Deliveries:
		f.add("pending entry %v of group %s was delivered %d times, want %d", want.ID, group, got.Deliveries, want.Deliveries)
	}
}

func (f *findings) idempotence(want, got *Idempotence) {
	if want.Seconds != got.Seconds || want.Most != got.Most {
		f.add("remembers %d idempotence identifiers for %d s, want %d for %d s", got.Most, got.Seconds, want.Most, want.Seconds)
	}
	bothWays(want.Producers, got.Producers, func(a, b Producer) int { return bytes.Compare(a.Name, b.Name) }, func(w, g *Producer) {
		switch {
		case g == nil:
			f.add("producer %s is missing", name(w.Name))
		case w == nil:
			f.add("producer %s is extra", name(g.Name))
		case !slices.EqualFunc(w.IDs, g.IDs, func(a, b Produced) bool { return bytes.Equal(a.Name, b.Name) && a.ID == b.ID }):
			f.add("producer %s has other idempotence identifiers", name(w.Name))
		}
	})
	if want.Added != got.Added || want.Duplicates != got.Duplicates {
		f.add("%d idempotence identifiers added and %d refused, want %d and %d", got.Added, got.Duplicates, want.Added, want.Duplicates)
	}
}

// activity is a time in Unix milliseconds, or never.
type activity int64

func (a activity) String() string {
	if a < 0 {
		return "never"
	}
	return "at " + moment(a).String()
}
