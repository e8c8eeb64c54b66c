package notify

import (
	"slices"
	"time"
)

// keyCost is about what a key in the set takes beside its name, in bytes.
const keyCost = 120

// touched is a set of keys, in order of the first touch within each database.
type touched struct {
	limit int64 // bytes
	bytes int64
	n     int
	dbs   map[int]*queue
}

type queue struct {
	order []touch // from head on
	head  int
	set   map[string]struct{}
}

type touch struct {
	key string
	at  time.Time
}

// add puts a key in if it is not. fits is false if there is no room for it.
func (t *touched) add(db int, key []byte, at time.Time) (added, fits bool) {
	q := t.dbs[db]
	if q != nil {
		if _, ok := q.set[string(key)]; ok {
			return false, true
		}
	}
	cost := int64(len(key)) + keyCost
	if t.bytes+cost > t.limit {
		return false, false
	}
	if q == nil {
		if t.dbs == nil {
			t.dbs = map[int]*queue{}
		}
		q = &queue{set: map[string]struct{}{}}
		t.dbs[db] = q
	}
	name := string(key)
	q.set[name] = struct{}{}
	q.order = append(q.order, touch{name, at})
	t.bytes += cost
	t.n++
	return true, true
}

// take takes up to limit keys out of the database that has the oldest one, which
// was touched at the time returned.
func (t *touched) take(limit int) (db int, keys [][]byte, oldest time.Time) {
	q := t.first(&db)
	if q == nil || limit <= 0 {
		return 0, nil, time.Time{}
	}
	oldest = q.order[q.head].at
	n := min(limit, len(q.order)-q.head)
	keys = make([][]byte, 0, n)
	for i := q.head; i < q.head+n; i++ {
		name := q.order[i].key
		keys = append(keys, []byte(name))
		delete(q.set, name)
		q.order[i] = touch{}
		t.bytes -= int64(len(name)) + keyCost
	}
	q.head += n
	t.n -= n
	switch {
	case q.head == len(q.order):
		delete(t.dbs, db) // a map that was large stays so
	case q.head > len(q.order)/2:
		q.order = slices.Delete(q.order, 0, q.head)
		q.head = 0
	}
	return db, keys, oldest
}

// first returns the database that has the oldest key.
func (t *touched) first(db *int) (first *queue) {
	for n, q := range t.dbs {
		if first == nil || q.order[q.head].at.Before(first.order[first.head].at) {
			*db, first = n, q
		}
	}
	return first
}

// oldest is when the oldest key was touched, zero for none.
func (t *touched) oldest() time.Time {
	var db int
	if q := t.first(&db); q != nil {
		return q.order[q.head].at
	}
	return time.Time{}
}

func (t *touched) clear() { t.dbs, t.n, t.bytes = nil, 0, 0 }
