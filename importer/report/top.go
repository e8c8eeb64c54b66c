package report

import (
	"bytes"
	"cmp"
	"slices"
)

// top keeps the first n of all that it is shown, in order.
type top[T any] struct {
	n       int
	compare func(a, b T) int // negative if a comes first
	list    []T
}

// add shows x. It is kept if it comes before the last one or there is room.
func (t *top[T]) add(x T) {
	i, _ := slices.BinarySearchFunc(t.list, x, t.compare)
	if i == t.n {
		return
	}
	if len(t.list) == t.n {
		t.list = t.list[:t.n-1]
	}
	t.list = slices.Insert(t.list, i, x)
}

// bigKeys are the ShownKeys largest keys.
type bigKeys struct {
	top   top[*BigKey]
	floor int64 // a key of no more bytes is none of them
}

func newBigKeys() bigKeys {
	return bigKeys{floor: -1, top: top[*BigKey]{n: ShownKeys, compare: func(a, b *BigKey) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), bytes.Compare(a.Key, b.Key), cmp.Compare(a.DB, b.DB))
	}}}
}

// add takes a key that is above the floor. A scan may give the same key twice.
func (b *bigKeys) add(k Key) {
	name := shorten(k.Key)
	same := slices.IndexFunc(b.top.list, func(o *BigKey) bool {
		return o.Slot == int(k.Slot) && o.DB == k.DB && bytes.Equal(o.Key, name)
	})
	if same >= 0 {
		if b.top.list[same].Bytes >= k.Bytes {
			return
		}
		b.top.list = slices.Delete(b.top.list, same, same+1)
	}
	b.top.add(&BigKey{Key: bytes.Clone(name), DB: k.DB, Type: k.Type, Bytes: k.Bytes, Slot: int(k.Slot)})
	if len(b.top.list) == ShownKeys {
		b.floor = b.top.list[ShownKeys-1].Bytes
	}
}

// heaviest returns the entries with most bytes, and those with most keys too,
// most bytes first.
func (t *tally) heaviest(byBytes, byKeys int) []*entry {
	names := func(a, b *entry) int { return bytes.Compare(t.name(a), t.name(b)) }
	most := top[*entry]{n: byBytes, compare: func(a, b *entry) int {
		return cmp.Or(cmp.Compare(b.counted.bytes, a.counted.bytes), cmp.Compare(b.counted.keys, a.counted.keys), names(a, b))
	}}
	many := top[*entry]{n: byKeys, compare: func(a, b *entry) int {
		return cmp.Or(cmp.Compare(b.counted.keys, a.counted.keys), cmp.Compare(b.counted.bytes, a.counted.bytes), names(a, b))
	}}
	for i := range t.n {
		e := t.at(i)
		most.add(e)
		many.add(e)
	}
	list := most.list
	for _, e := range many.list {
		if !slices.Contains(list, e) {
			list = append(list, e)
		}
	}
	slices.SortFunc(list, most.compare)
	return list
}
