package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/slotferry/slotferry/checkpoint"
	"github.com/slotferry/slotferry/importer/route"
	"github.com/slotferry/slotferry/importer/wait"
)

// ExtrasOptions says what the source has.
type ExtrasOptions struct {
	// Names visits the names of all chosen keys of the source as they are in the
	// target, with their slots, and may be called several times. A name is valid
	// during the visit.
	Names func(ctx context.Context, visit func(name []byte, slot uint16) error) error
	// Origins visits the keys of the source that have a name in the target by
	// the choice of keys, whether they exist or not: if there are none, the name
	// is none of this job's business.
	Origins func(name []byte, visit func(db int, key []byte))
	Memory  int64 // bytes for the names of the source; 64 MiB
}

const (
	scanCount     = 1000
	candidateKeys = 10_000  // that are kept to be looked at again
	candidateSize = 8 << 20 // bytes of their names
	typeKeys      = 500     // asked for in one write
)

// extras looks for keys that the target has and the source does not.
type extras struct {
	c          *Comparer
	o          ExtrasOptions
	names      *names
	candidates []*candidate
	bytes      int
	doubts     map[string]bool // names that Settle will look at
}

type candidate struct {
	name    []byte
	origins []origin
	drop    bool
}

type origin struct {
	db  int
	key []byte
}

// Extras looks on every master for names that the source does not have, and
// removes them if that was asked for. Memory is bounded: if the source has too
// many names for it, Names and the masters are gone through several times.
func (c *Comparer) Extras(ctx context.Context, o ExtrasOptions) error {
	if o.Memory == 0 {
		o.Memory = 64 << 20
	}
	x := &extras{c: c, o: o, names: newNames(o.Memory), doubts: map[string]bool{}}
	for _, d := range c.pending.all() {
		x.doubts[string(d.name)] = true
	}
	for pass := 1; ; pass++ {
		if pass > 1 {
			c.log.Info("looking for extra keys in another part of all names, as memory does not hold them at once", zap.Int("pass", pass))
		}
		err := o.Names(ctx, func(name []byte, _ uint16) error {
			x.names.add(name)
			return nil
		})
		if err != nil {
			return err
		}
		if err := x.scan(ctx); err != nil {
			return err
		}
		if !x.names.next() {
			return x.settle(ctx, c.opts.Rounds)
		}
	}
}

// scan goes through the names of all masters, once more if slots have moved
// meanwhile or a master was restarted: a cursor is good for one life of it.
func (x *extras) scan(ctx context.Context) error {
	const attempts = 5
	to := x.c.opts.Target
	lives, _ := to.Lives(ctx)
	for range attempts {
		table, before := to.Table(), lives
		for _, m := range table.Masters() {
			if err := x.scanMaster(ctx, m.Addr); err != nil {
				return err
			}
		}
		lives, _ = to.Lives(ctx) // which reads the topology again
		if sameOwners(table, to.Table()) && maps.Equal(before, lives) {
			return nil
		}
	}
	x.c.log.Warn("masters keep restarting or changing their slots: an extra key may have gone unseen")
	return nil
}

func sameOwners(a, b *route.Table) bool {
	for slot := range uint16(route.Slots) {
		x, xErr := a.Owner(slot)
		y, yErr := b.Owner(slot)
		if x.Addr != y.Addr || (xErr == nil) != (yErr == nil) {
			return false
		}
	}
	return true
}

// scanMaster goes through the names of one master.
func (x *extras) scanMaster(ctx context.Context, addr string) error {
	for cursor := uint64(0); ; {
		var names []string
		v, err := x.c.patiently(ctx, addr, func() (verdict, error) {
			page, next, err := x.c.opts.Target.Node(addr).Scan(ctx, cursor, "", scanCount).Result()
			if err == nil {
				names, cursor = page, next
			} else if !x.c.masters(addr) { // it was replaced: scan goes through the new one
				return verdict{outcome: gone}, nil
			}
			return x.c.reply(err)
		})
		if v.outcome == gone {
			return nil
		}
		if err == nil && v.outcome != same {
			err = errors.New(v.detail)
		}
		if err != nil {
			return fmt.Errorf("reading the names of keys from %s: %w", addr, err)
		}
		for _, name := range names {
			if err := x.seen(ctx, []byte(name)); err != nil {
				return err
			}
		}
		if cursor == 0 {
			return nil
		}
	}
}

// masters tells whether a node has slots.
func (c *Comparer) masters(addr string) bool {
	t := c.opts.Target.Table()
	for i, n := range t.Counts() {
		if n > 0 && t.Masters()[i].Addr == addr {
			return true
		}
	}
	return false
}

// seen judges a name that a master has.
func (x *extras) seen(ctx context.Context, name []byte) error {
	h := x.names.hash(name)
	if !x.names.holds(h) || x.names.has(h) || checkpoint.OwnKey(string(name)) {
		return nil
	}
	d := &candidate{name: name}
	size := len(name)
	x.o.Origins(name, func(db int, key []byte) {
		d.origins = append(d.origins, origin{db, clone(key)})
		size += len(key)
	})
	if len(d.origins) == 0 {
		return nil
	}
	x.names.note(h) // SCAN may give it again
	x.candidates = append(x.candidates, d)
	if x.bytes += size; len(x.candidates) < candidateKeys && x.bytes < candidateSize {
		return nil
	}
	return x.settle(ctx, 0)
}

// settle looks at the candidates again, in rounds if the source lives, and
// reports those that are extra still.
func (x *extras) settle(ctx context.Context, rounds int) error {
	if x.c.opts.Live == nil {
		rounds = 0
	}
	for range rounds {
		if len(x.candidates) == 0 {
			return nil
		}
		if err := wait.For(ctx, x.c.opts.Pause); err != nil {
			return err
		}
		if err := x.check(ctx); err != nil {
			return err
		}
	}
	if rounds == 0 {
		if err := x.check(ctx); err != nil {
			return err
		}
	}
	for _, d := range x.candidates {
		if err := x.final(ctx, d); err != nil {
			return err
		}
	}
	x.candidates, x.bytes = x.candidates[:0], 0
	return nil
}

// check drops candidates that the source has after all, or the target not any
// more.
func (x *extras) check(ctx context.Context) error {
	if x.c.opts.Live != nil {
		if err := x.checkSource(ctx); err != nil {
			return err
		}
	}
	for part := range slices.Chunk(x.candidates, typeKeys) {
		there, err := x.c.exist(ctx, part)
		if err != nil {
			return err
		}
		for i, d := range part {
			d.drop = d.drop || !there[i]
		}
	}
	x.candidates = slices.DeleteFunc(x.candidates, func(d *candidate) bool { return d.drop })
	return nil
}

// checkSource asks the source for everything that candidates may come from.
func (x *extras) checkSource(ctx context.Context) error {
	type question struct {
		origin
		of *candidate
	}
	var all []question
	for _, d := range x.candidates {
		for _, o := range d.origins {
			all = append(all, question{o, d})
		}
	}
	slices.SortStableFunc(all, func(a, b question) int { return cmp.Compare(a.db, b.db) })
	for len(all) > 0 {
		n := 0
		var keys [][]byte
		for n < min(len(all), typeKeys) && all[n].db == all[0].db {
			keys = append(keys, all[n].key)
			n++
		}
		there, err := x.c.opts.Live.Exists(ctx, all[0].db, keys)
		if err != nil {
			return err
		}
		for i := range there {
			all[i].of.drop = all[i].of.drop || there[i]
		}
		all = all[n:]
	}
	return nil
}

// exist asks the target which names it has. TYPE needs no right that comparing
// doesn't, and does not count as a use of the key.
func (c *Comparer) exist(ctx context.Context, of []*candidate) ([]bool, error) {
	there := make([]bool, len(of))
	_, err := c.patiently(ctx, anyNode, func() (verdict, error) {
		pipe := c.client.Pipeline()
		types := make([]*redis.StatusCmd, len(of))
		for i, d := range of {
			types[i] = pipe.Type(ctx, string(d.name))
		}
		_, _ = pipe.Exec(ctx) // each command's own error counts
		for i := range types {
			there[i] = types[i].Val() != "none"
			if v, err := c.reply(types[i].Err()); err != nil {
				return v, err
			}
		}
		return verdict{}, nil
	})
	return there, err
}

// final reports an extra key, after its removal if that was asked for.
func (x *extras) final(ctx context.Context, d *candidate) error {
	diff := Difference{DB: d.origins[0].db, Key: d.name, Name: d.name, Kind: Extra}
	if len(d.origins) == 1 {
		diff.Key = d.origins[0].key
	}
	if x.c.opts.Repair {
		v, err := x.c.remove(ctx, d)
		if err != nil {
			return err
		}
		if diff.Repaired = v.outcome == same; !diff.Repaired {
			diff.Detail = fmt.Sprintf("not removed: %s", v.detail)
		}
	}
	x.c.extra(diff)
	if x.doubts[string(d.name)] {
		x.c.deleted[string(d.name)] = true
	}
	return nil
}

// remove deletes a key of the target and sees that it is gone.
func (c *Comparer) remove(ctx context.Context, d *candidate) (verdict, error) {
	v, err := c.patiently(ctx, anyNode, func() (verdict, error) {
		err := c.client.Unlink(ctx, string(d.name)).Err()
		if redis.HasErrorPrefix(err, "unknown command") {
			err = c.client.Del(ctx, string(d.name)).Err()
		}
		return c.reply(err)
	})
	if err != nil || v.outcome != same {
		return v, err
	}
	there, err := c.exist(ctx, []*candidate{d})
	if err == nil && there[0] {
		v = verdict{outcome: skip, detail: "it is there again"}
	}
	return v, err
}
