// Package choice says which keys travel and under which name: filters by name,
// type, database and slot, prefixes for databases, and renamed prefixes. It
// also finds keys that would get the same name. It knows nothing of servers,
// files or values.
package choice

import (
	"bytes"
	"slices"
	"strings"

	"github.com/slotferry/slotferry/importer/route"
)

// Options is what a user may choose. The zero value is every key under its own
// name.
type Options struct {
	Include, Exclude []string // glob patterns (Match) on the key's name in the source; no Include is all
	Types            []string // string, list, set, zset, hash, stream, or a module type's name; empty is all
	DBs              []int    // databases of the source; empty is all
	Slots            string   // "0-5460,9000", of the name in the target; empty is all

	DBMap  map[int]string // database → text put in front of its keys, "" included
	Rename []Rename       // the first rule that fits is used, before DBMap

	Sample float64 // part of the keys, 0 to 1, picked by their names; 0 is all
	Seed   uint64  // another seed picks other keys
}

// Rename is one rule: a leading Old becomes New.
type Rename struct{ Old, New string }

// Choice is a set of Options that hold together. It is safe for concurrent use.
type Choice struct {
	include, exclude [][]byte
	types            []string // sorted
	dbs              []int    // sorted
	slots            *slotSet // nil: all
	dbMap            map[int]string
	rename           []rule
	sample           float64
	seed             uint64
}

type rule struct{ old, new []byte }

// All tells whether every key travels, under whatever name.
func (c *Choice) All() bool {
	return len(c.include)+len(c.exclude)+len(c.types)+len(c.dbs) == 0 && c.slots == nil && c.sample == 0
}

// DB tells whether a database was chosen.
func (c *Choice) DB(db int) bool {
	return len(c.dbs) == 0 || slices.Contains(c.dbs, db)
}

// Key tells whether a key's name in the source passes Include, Exclude and
// Sample. It allocates nothing.
func (c *Choice) Key(db int, key []byte) bool {
	if c.sample != 0 && !c.sampled(db, key) {
		return false
	}
	fits := func(p []byte) bool { return Match(p, key) }
	if len(c.include) > 0 && !slices.ContainsFunc(c.include, fits) {
		return false
	}
	return len(c.exclude) == 0 || !slices.ContainsFunc(c.exclude, fits)
}

// Type tells whether a type was chosen, by the name that TYPE gives. Like SCAN
// TYPE it does not mind case. An unknown type ("") passes only when no types
// were chosen.
func (c *Choice) Type(name string) bool {
	return len(c.types) == 0 || slices.ContainsFunc(c.types, func(t string) bool { return strings.EqualFold(t, name) })
}

// TypesChosen returns the chosen types, sorted; empty means all.
func (c *Choice) TypesChosen() []string { return slices.Clone(c.types) }

// Slot tells whether a slot of the target was chosen.
func (c *Choice) Slot(slot uint16) bool { return c.slots == nil || c.slots.has(slot) }

// SlotsChosen tells whether some slots were left out.
func (c *Choice) SlotsChosen() bool { return c.slots != nil }

// Renames tells whether names may differ between source and target: whether
// there is any DBMap or Rename.
func (c *Choice) Renames() bool { return len(c.dbMap) > 0 || len(c.rename) > 0 }

// Mapped tells whether a database has an entry in DBMap.
func (c *Choice) Mapped(db int) bool {
	_, ok := c.dbMap[db]
	return ok
}

// Name returns the key's name in the target: appended to dst[:0] when it
// differs, else key itself. It allocates only when dst is too small. dst and
// key must not overlap.
func (c *Choice) Name(dst []byte, db int, key []byte) []byte {
	front, r := c.dbMap[db], c.rule(key)
	if front == "" && r < 0 {
		return key
	}
	dst = append(dst[:0], front...)
	if r >= 0 {
		dst = append(dst, c.rename[r].new...)
		key = key[len(c.rename[r].old):]
	}
	return append(dst, key...)
}

// rule returns the index of the rule for a key, -1 for none.
func (c *Choice) rule(key []byte) int {
	for i := range c.rename {
		if bytes.HasPrefix(key, c.rename[i].old) {
			return i
		}
	}
	return -1
}

// slotSet is one bit a slot.
type slotSet [route.Slots / 64]uint64

func (s *slotSet) has(slot uint16) bool {
	return slot < route.Slots && s[slot/64]>>(slot%64)&1 == 1
}

func (s *slotSet) add(slot int) { s[slot/64] |= 1 << (slot % 64) }
