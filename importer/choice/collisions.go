package choice

import (
	"hash/maphash"
	"maps"
	"slices"
	"strings"
)

const (
	defaultLimit = 64 << 20 // bytes
	// entryBytes is what one name costs in the map, its growth included.
	entryBytes = 48
)

// Collisions finds keys of the source that would get the same name in the
// target, with memory for few of them.
//
// Keys fall into classes: one for each database and rule of Rename, and one
// for each database's keys that no rule fits. All new names of a class begin
// with the same prefix and differ behind it, so that keys collide only across
// classes, and only if one class's prefix begins with the other's. With
// --db-map 1=db1: for instance, database 0's prefix is empty and database 1's
// is "db1:"; only keys of database 0 that begin with "db1:" can be in the way.
//
// Two passes over the same keys find every collision: Note for all keys keeps a
// hash of such names, and only if any were found (Empty is false) does Check for
// all keys compare. For sources that can be read only once, Both does it in one
// pass and keeps the names of both sides. Only keys that travel should be
// given; a key may be given more than once.
//
// Names are held as hashes of 64 bits. Two different names with one hash are
// taken for a collision: for 10 million names kept and 100 million compared the
// odds of that are 1 in 18000. A source that changes between the passes can hide
// a collision.
//
// It is not safe for concurrent use. The methods of a nil *Collisions find
// nothing.
type Collisions struct {
	choice  *Choice
	seed    maphash.Seed
	names   map[uint64]int32 // hash of a new name → class, or several
	limit   int              // most names
	full    bool
	late    bool
	classes []class
	first   map[int]int // database → index of its first class; the rules' classes follow it
	name    []byte
}

// several stands for more than one class with the same name.
const several = -1

// class is the keys of one database that one rule, or none, fits.
type class struct {
	prefix string
	// longer are what follows prefix in the prefixes of other classes: names
	// that go on so are kept by Note.
	longer []string
	// all says that Note keeps every name, because a class that this one should
	// have been known to had keys before this one.
	all bool
	// shorter tells whether another class's prefix begins this one's.
	shorter bool
	seen    bool // had a key
	skipped bool // had a key whose name was not kept
}

// Collisions returns a finder, or nil when names stay as they are and keys of
// one database cannot collide. dbs are the databases that have keys, as far as
// that is known: with all of them named fewer names are kept, and Both needs
// them for databases that DBMap does not name. limit bounds the memory in
// bytes; 0 is 64 MiB.
func (c *Choice) Collisions(dbs []int, limit int64) *Collisions {
	if !c.Renames() {
		return nil
	}
	return c.Merge(dbs, limit)
}

// Merge is Collisions for keys of several databases whose names stay as they
// are, too: what would meet if they were put into one.
func (c *Choice) Merge(dbs []int, limit int64) *Collisions {
	if limit <= 0 {
		limit = defaultLimit
	}
	x := &Collisions{
		choice: c,
		seed:   maphash.MakeSeed(),
		names:  make(map[uint64]int32),
		limit:  int(limit / entryBytes),
		first:  make(map[int]int),
	}
	if len(dbs) == 0 {
		dbs = slices.Collect(maps.Keys(c.dbMap))
	}
	for _, db := range sorted(dbs) {
		if c.DB(db) {
			x.declare(db)
		}
	}
	return x
}

// Note is the first pass: it keeps the key's new name if a key of another class
// could get it.
func (x *Collisions) Note(db int, key []byte) {
	if x == nil {
		return
	}
	i, rest := x.classOf(db, key)
	k := &x.classes[i]
	if !k.seen {
		k.seen = true
		// Of classes with equal prefixes all but the first keep their names.
		k.all = k.all || x.equalSeen(i)
	}
	if k.all || k.goesOn(rest) {
		x.keep(x.hash(k.prefix, rest), int32(i))
	}
}

// Empty tells after the first pass that no collision is possible and no second
// pass needed.
func (x *Collisions) Empty() bool { return x == nil || len(x.names) == 0 && !x.full }

// Full tells that the memory was not enough: collisions may go unseen.
func (x *Collisions) Full() bool { return x != nil && x.full }

// Check is the second pass: it tells whether a key of another class gets this
// key's new name. Of two keys that collide it tells so for one at least.
func (x *Collisions) Check(db int, key []byte) bool {
	if x.Empty() {
		return false
	}
	i, rest := x.classOf(db, key)
	other, ok := x.names[x.hash(x.classes[i].prefix, rest)]
	return ok && other != int32(i)
}

// Both is the only pass: it tells whether a key given earlier gets this key's
// new name, and keeps the name if a key given later could get it.
func (x *Collisions) Both(db int, key []byte) bool {
	if x == nil {
		return false
	}
	i, rest := x.classOf(db, key)
	k := &x.classes[i]
	k.seen = true
	if !k.shorter && !k.goesOn(rest) && !x.equal(i) {
		k.skipped = true
		return false
	}
	h := x.hash(k.prefix, rest)
	other, ok := x.names[h]
	x.keep(h, int32(i))
	return ok && other != int32(i)
}

// Late tells after Both that a database appeared that was not known in advance,
// after names that it could have collided with had gone by: collisions may go
// unseen.
func (x *Collisions) Late() bool { return x != nil && x.late }

// keep stores a name unless memory is used up.
func (x *Collisions) keep(h uint64, class int32) {
	switch old, ok := x.names[h]; {
	case ok && old != class:
		x.names[h] = several
	case ok:
	case len(x.names) >= x.limit:
		x.full = true
	default:
		x.names[h] = class
	}
}

// hash of a new name.
func (x *Collisions) hash(prefix string, rest []byte) uint64 {
	x.name = append(append(x.name[:0], prefix...), rest...)
	return maphash.Bytes(x.seed, x.name)
}

// classOf returns the key's class and what follows the class's prefix in its
// new name.
func (x *Collisions) classOf(db int, key []byte) (int, []byte) {
	first, ok := x.first[db]
	if !ok {
		first = x.declare(db)
	}
	r := x.choice.rule(key)
	if r < 0 {
		return first, key
	}
	return first + 1 + r, key[len(x.choice.rename[r].old):]
}

// declare makes the classes of a database, and returns the index of the first.
func (x *Collisions) declare(db int) int {
	first := len(x.classes)
	x.first[db] = first
	front := x.choice.dbMap[db]
	x.add(class{prefix: front})
	for _, r := range x.choice.rename {
		x.add(class{prefix: front + string(r.new)})
	}
	return first
}

// add relates a new class to all others.
func (x *Collisions) add(n class) {
	for i := range x.classes {
		o := &x.classes[i]
		switch ext, longer := strings.CutPrefix(n.prefix, o.prefix); {
		case longer && ext == "":
			x.late = x.late || o.skipped
		case longer:
			n.shorter = true
			n.all = n.all || o.seen
			x.late = x.late || o.skipped
			if !slices.Contains(o.longer, ext) {
				o.longer = append(o.longer, ext)
			}
		case strings.HasPrefix(o.prefix, n.prefix):
			o.shorter = true
			x.late = x.late || o.skipped
			if ext := o.prefix[len(n.prefix):]; !slices.Contains(n.longer, ext) {
				n.longer = append(n.longer, ext)
			}
		}
	}
	x.classes = append(x.classes, n)
}

// equal tells whether another class has the same prefix; equalSeen, whether one
// that had keys has.
func (x *Collisions) equal(i int) bool { return x.related(i, false) }

func (x *Collisions) equalSeen(i int) bool { return x.related(i, true) }

func (x *Collisions) related(i int, seen bool) bool {
	for j := range x.classes {
		if j != i && x.classes[j].prefix == x.classes[i].prefix && (!seen || x.classes[j].seen) {
			return true
		}
	}
	return false
}

// goesOn tells whether a new name goes on like the prefix of a longer class.
func (k *class) goesOn(rest []byte) bool {
	for _, ext := range k.longer {
		if len(rest) >= len(ext) && string(rest[:len(ext)]) == ext {
			return true
		}
	}
	return false
}
