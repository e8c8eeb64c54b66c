package mirror

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"

	"go.uber.org/zap"
)

// mostOdd is how many names with another entry than an old trail has for them
// are held in memory. Where there are more, the next run lays a trail.
func mostOdd(memory int64) int64 { return min(1<<17, max(256, memory/512)) }

// odd is what has become of a name.
type odd struct {
	entry
	gone bool // no entry
	laid bool // the new trail has it
}

// oddities are the names whose entries a new table has not from where its trail
// comes from.
type oddities struct {
	names map[uint64]odd
	most  int64
	over  bool  // there are more
	now   int64 // Unix milliseconds
}

func newOddities(memory, now int64) *oddities {
	return &oddities{names: map[uint64]odd{}, most: mostOdd(memory), now: now}
}

func (o *oddities) note(x odd) {
	if o == nil {
		return
	}
	if int64(len(o.names)) >= o.most {
		o.over = true
		return
	}
	o.names[x.name] = x
}

// newTrailWriter begins the trail of a table.
func newTrailWriter(f *os.File, h head) *trailWriter {
	return &trailWriter{pages: newPageWriter(f, trailID(h.ID))}
}

// trailWriter lays a trail.
type trailWriter struct {
	pages  pageWriter
	keys   int64
	digest uint64
	odd    *oddities
}

func (w *trailWriter) add(e entry) error {
	if e.expired(w.odd.now) { // so that the table has not taken it over
		return nil
	}
	w.keys++
	w.digest += e.digest()
	if w.pages.add(e) {
		return w.pages.write(0, nil)
	}
	return nil
}

// take adds an entry, or what has become of it.
func (w *trailWriter) take(e entry) error {
	x, ok := w.odd.names[e.name]
	switch {
	case !ok:
		return w.add(e)
	case x.gone, x.laid:
		return nil
	}
	x.laid = true
	w.odd.names[e.name] = x
	return w.add(x.entry)
}

// follow goes along an old trail, with what is new where it came by.
func (w *trailWriter) follow(t *trail) error {
	slices.SortStableFunc(t.fresh, func(a, b newcomer) int { return cmp.Compare(a.place, b.place) })
	fresh := t.fresh
	return t.each(func(place int64, e entry) error {
		for ; len(fresh) > 0 && fresh[0].place <= place; fresh = fresh[1:] {
			if _, ok := w.odd.names[fresh[0].name]; !ok {
				continue
			}
			if err := w.take(entry{name: fresh[0].name}); err != nil {
				return err
			}
		}
		return w.take(e)
	})
}

// finish adds what did not come by. ok tells that the trail's entries are the
// table's.
func (w *trailWriter) finish(keys int64, digest uint64) (ok bool, err error) {
	for name := range w.odd.names {
		if err := w.take(entry{name: name}); err != nil {
			return false, err
		}
	}
	err = errors.Join(w.pages.write(0, nil), w.pages.out.Flush())
	return w.keys == keys && w.digest == digest, err
}

const newTrailName = tempPrefix + "trail"

// lay makes a trail for a table of so many keys and such a digest, out of what
// this run has come by. It says in the log why there is none; all that is lost is
// time.
func (m *Mirror) lay(h head, digest uint64, o *oddities) {
	if err := m.tryLay(h, digest, o); err != nil {
		m.log.Debug("the next run looks for each key in the whole mirror", zap.Error(err))
		_ = m.folder.remove(newTrailName)
	}
}

var errNoTrail = errors.New("there is no trail")

func (m *Mirror) tryLay(h head, digest uint64, o *oddities) (err error) {
	switch {
	case o == nil, m.trail == nil && m.arrivals == nil, m.trail != nil && (o.over || m.trail.drifted() || m.trail.over):
		return errNoTrail
	}
	f, err := m.folder.create(newTrailName)
	if err != nil {
		return err
	}
	w := newTrailWriter(f, h)
	w.odd = o
	if m.trail != nil {
		err = w.follow(m.trail)
	} else {
		err = m.arrivals.each(w.take)
	}
	var ok bool
	if err == nil {
		ok, err = w.finish(h.Keys, digest)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("%w: %d entries of %d, or others", errNoTrail, w.keys, h.Keys)
	}
	return m.folder.root.Rename(newTrailName, trailName(h.ID))
}
