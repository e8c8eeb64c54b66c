package mirror

import (
	"errors"
	"fmt"
	"os"
)

const arrivalsName = tempPrefix + "arrivals"

// probes is how many windows of keys tell whether a trail is the source's order.
const probes = 2

// setOut takes the trail of the table, if there is one that can be used, or
// begins to record one. What does not fit into the window at once may be another
// order than the source's by now, so that the beginning is recorded in any case.
func (m *Mirror) setOut() error {
	if m.table != nil && !m.distrust {
		var err error
		if m.trail, err = m.folder.openTrail(m.table.head, m.opts.Memory); err != nil {
			return err
		}
	}
	if m.trail != nil {
		m.strayed = &filter{}
		if m.trail.whole() {
			return nil
		}
	}
	m.arrivals = &arrivals{create: func() (*os.File, error) { return m.folder.create(arrivalsName) }}
	return nil
}

// arrive records a key's entry as it is after this run, where that is to be
// done.
func (m *Mirror) arrive(e entry) {
	if m.arrivals != nil {
		m.arrivals.add(e)
	}
}

// probe decides, after some keys, whether the trail leads anywhere, and whether
// to go on recording a new one: where much changes the old one is of use in this
// run only.
func (m *Mirror) probe() error {
	t := m.trail
	known := t.hits + t.misses
	if m.probed || known < probes*windowPieces*t.length() {
		return nil
	}
	m.probed = true
	switch {
	case t.misses > t.hits:
		return m.giveUp(nil)
	case m.journal != nil && m.journal.count > t.most/2*known/t.keys:
		return nil
	}
	return m.stopRecording()
}

func (m *Mirror) stopRecording() error {
	if m.arrivals == nil {
		return nil
	}
	err := errors.Join(m.arrivals.close(), m.folder.remove(arrivalsName))
	m.arrivals = nil
	return err
}

// stray notes a name that the table has and the trail's window has not.
func (m *Mirror) stray(name uint64, same bool) error {
	if !same {
		m.strayed.add(name)
	}
	if err := m.trail.miss(); err != nil {
		return m.giveUp(err)
	}
	return nil
}

// giveUp goes on without the trail, because of its damage or because it is not
// the source's order. Another error is returned.
func (m *Mirror) giveUp(why error) error {
	if why != nil && !errors.Is(why, errDamaged) {
		return why
	}
	t := m.trail
	m.trail = nil
	err := t.visit(true, func(e entry) error {
		at, _, ok, err := m.table.find(e.name)
		if err == nil && !ok {
			err = fmt.Errorf("trail: %w: it has a name that the table has not", errDamaged)
		}
		if err == nil {
			m.seen.set(at)
		}
		return err
	})
	return errors.Join(err, t.close(), m.folder.remove(trailName(m.table.head.ID)))
}

// settle brings what the trail has led to into seen.
func (m *Mirror) settle() error {
	if m.trail == nil {
		return nil
	}
	if !m.probed {
		if err := m.stopRecording(); err != nil {
			return err
		}
	}
	seen := newKeySet(m.table.head.Keys)
	for i := range seen {
		seen[i] = ^uint64(0)
	}
	err := m.trail.visit(false, func(e entry) error {
		at, _, ok, err := m.table.find(e.name)
		if err == nil && !ok {
			err = fmt.Errorf("trail: %w: it has a name that the table has not", errDamaged)
		}
		if err == nil && !m.seen.has(at) {
			seen.clear(at)
		}
		return err
	})
	if err != nil {
		return m.giveUp(err)
	}
	m.seen = seen
	if m.arrivals == nil {
		return nil
	}
	t := m.trail
	m.trail = nil
	return t.close()
}

// layAgain sees to the trail of a table that stays.
func (m *Mirror) layAgain() error {
	switch {
	case m.table == nil, m.trail == nil && m.arrivals == nil:
		return m.leave()
	case m.trail != nil:
		drifted := m.trail.drifted()
		err := m.leave()
		if drifted {
			err = errors.Join(err, m.folder.remove(trailName(m.table.head.ID)))
		}
		return err
	}
	o := newOddities(m.opts.Memory, 0)
	var digest uint64
	for n := range m.table.fences {
		p, err := m.table.page(n)
		if err != nil {
			return err
		}
		for i := range p.count() {
			e := p.entry(i)
			digest += e.digest()
			if !m.seen.has(int64(n)*pageEntries + int64(i)) {
				o.note(odd{entry: e})
			}
		}
	}
	m.lay(m.table.head, digest, o)
	return m.leave()
}

// leave closes what the order of a run is in.
func (m *Mirror) leave() error {
	var err error
	if m.trail != nil {
		err = m.trail.close()
	}
	m.trail = nil
	return errors.Join(err, m.stopRecording())
}

// filter tells of a name that it was not added, or may have been.
type filter [1024]uint64

func (f *filter) add(name uint64)      { f[name>>6%1024] |= 1 << (name % 64) }
func (f *filter) has(name uint64) bool { return f[name>>6%1024]>>(name%64)&1 == 1 }
