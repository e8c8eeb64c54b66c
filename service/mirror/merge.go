package mirror

// merger makes a table of an old one and what has changed since.
type merger struct {
	old  *table // nil: there was none
	out  *builder
	now  int64 // Unix milliseconds
	doom fates
	odd  *oddities // for the new trail; nil: there is none
	seen keySet    // of the old table: on the new trail without a word; nil: all are
}

// fates says what becomes of what can't be relied on.
type fates struct {
	forget bool                // values of the old table that no change speaks of are unknown
	doubt  bool                // changes may not have been made
	undone bool                // removals neither
	failed map[uint64]struct{} // names that were not written
}

// run merges. changes visits them in the order of their names.
func (m *merger) run(changes func(visit func(name uint64, c change) error) error) error {
	next := m.entries()
	at, ok, err := next()
	if err != nil {
		return err
	}
	err = changes(func(name uint64, c change) error {
		for ok && at.name < name {
			if err := m.keep(at); err != nil {
				return err
			}
			if at, ok, err = next(); err != nil {
				return err
			}
		}
		known := ok && at.name == name
		if known {
			if at, ok, err = next(); err != nil {
				return err
			}
		}
		return m.change(entry{name, c.value, c.mark}, c, known)
	})
	for err == nil && ok {
		if err = m.keep(at); err == nil {
			at, ok, err = next()
		}
	}
	return err
}

// named is an entry of the old table with its name, valid until the next one.
type named struct {
	entry
	text []byte
	at   int64 // its place in the table
}

// keep takes over what has not changed.
func (m *merger) keep(n named) error {
	if n.expired(m.now) {
		return nil
	}
	if m.doom.forget {
		n.mark |= unknown
	}
	if m.seen != nil && !m.seen.has(n.at) {
		m.odd.note(odd{entry: n.entry})
	}
	return m.out.add(n.entry, n.text)
}

// change takes in what was done. known tells that the old table had the name.
func (m *merger) change(e entry, c change, known bool) error {
	_, failed := m.doom.failed[e.name]
	switch {
	case c.kind == gone && !m.doom.undone, failed && !known:
		m.odd.note(odd{entry: e, gone: true})
		return nil
	case c.kind == gone, failed, m.doom.doubt:
		e.mark |= unknown
	case e.expired(m.now):
		return nil
	}
	if m.old != nil {
		m.odd.note(odd{entry: e})
	}
	return m.out.add(e, c.name)
}

// entries goes through the old table one by one.
func (m *merger) entries() (next func() (named, bool, error)) {
	if m.old == nil {
		return func() (named, bool, error) { return named{}, false, nil }
	}
	var p page
	var block, rest []byte
	n, i, at := 0, 0, int64(0)
	return func() (e named, ok bool, err error) {
		if p == nil || i == p.count() {
			if n == len(m.old.fences) {
				return e, false, nil
			}
			if p, err = m.old.page(n); err != nil {
				return e, false, err
			}
			if block, err = m.old.blockOf(p, block); err != nil {
				return e, false, err
			}
			rest, i = block, 0
			n++
		}
		e.entry, e.at = p.entry(i), at
		e.text, rest, err = nextName(rest)
		i++
		at++
		return e, err == nil, err
	}
}
