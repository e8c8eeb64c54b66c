package mirror

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"go.uber.org/zap"

	"github.com/slotferry/slotferry/importer"
)

// removeKeys and removeBytes bound what is asked for, or removed, at a time.
const (
	removeKeys  = 1000
	removeBytes = 4 << 20
)

// Finish implements importer.Mirror. A *RefusedError means that nothing was
// removed, but what was written is remembered, and so is what should go.
func (m *Mirror) Finish(ctx context.Context, e importer.MirrorEnd) (deleted int64, err error) {
	if err = m.settle(); err == nil {
		deleted, err = m.removeUnseen(ctx, e)
	}
	var refused *RefusedError
	if err == nil || errors.As(err, &refused) {
		err = errors.Join(err, m.remember(e))
	}
	if errors.Is(err, errDamaged) { // nothing of it may be used again
		err = errors.Join(fmt.Errorf("the mirror in %s: %w; run again to write everything once more", m.opts.Dir, err), m.leave(), m.setAside(err.Error()))
	}
	if m.long > 0 {
		m.log.Warn("keys with very long names are written in every run and never removed", zap.Int64("keys", m.long), zap.Int("from_bytes", maxName+1))
	}
	return deleted, err
}

// removeUnseen removes what the source no longer has.
func (m *Mirror) removeUnseen(ctx context.Context, e importer.MirrorEnd) (deleted int64, err error) {
	if m.table == nil {
		return 0, nil
	}
	have := m.table.head.Keys
	most := m.opts.MaxDelete.of(have)
	if would, err := m.gone(ctx, e, most); err != nil {
		return 0, err
	} else if would > most {
		return 0, &RefusedError{Would: would, Have: have, Max: most}
	}
	err = m.unseen(ctx, func(batch []named) error {
		batch, err := stillGone(ctx, e, batch)
		if err != nil || len(batch) == 0 {
			return err
		}
		names := make([][]byte, len(batch))
		for i, n := range batch {
			names[i] = n.text
			if err := m.note(change{kind: gone, value: n.value, mark: n.mark, name: n.text}); err != nil {
				return err
			}
		}
		if err := m.journal.flush(); err != nil {
			return err
		}
		if err := e.Remove(ctx, names); err != nil {
			return err
		}
		deleted += int64(len(batch))
		return nil
	})
	return deleted, err
}

// gone counts what is to be removed. Only where that is too much is a living
// source asked, whether it really has none of it.
func (m *Mirror) gone(ctx context.Context, e importer.MirrorEnd, most int64) (int64, error) {
	var n int64
	err := m.table.each(m.anyUnseen, func(at int64, x entry, _ []byte) error {
		if !m.seen.has(at) && !x.expired(now()) {
			n++
		}
		return nil
	})
	if err != nil || n <= most || e.Exists == nil {
		return n, err
	}
	n = 0
	err = m.unseen(ctx, func(batch []named) error {
		batch, err := stillGone(ctx, e, batch)
		n += int64(len(batch))
		return err
	})
	return n, err
}

// stillGone leaves out what the source has: SCAN gives what is there all the
// time, but not all that comes and goes meanwhile.
func stillGone(ctx context.Context, e importer.MirrorEnd, batch []named) ([]named, error) {
	if e.Exists == nil {
		return batch, nil
	}
	names := make([][]byte, len(batch))
	for i, n := range batch {
		names[i] = n.text
	}
	there, err := e.Exists(ctx, names)
	if err != nil {
		return nil, err
	}
	if len(there) != len(batch) {
		return nil, fmt.Errorf("asked whether %d keys exist, told of %d", len(batch), len(there))
	}
	left := batch[:0]
	for i, n := range batch {
		if !there[i] {
			left = append(left, n)
		}
	}
	return left, nil
}

func (m *Mirror) anyUnseen(n, count int) bool {
	for at := int64(n) * pageEntries; count > 0; at, count = at+1, count-1 {
		if !m.seen.has(at) {
			return true
		}
	}
	return false
}

// unseen visits what was not seen and has not expired, in batches.
func (m *Mirror) unseen(ctx context.Context, visit func(batch []named) error) error {
	var batch []named
	var bytes int
	done := func() error {
		if len(batch) == 0 {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		err := visit(batch)
		batch, bytes = batch[:0], 0
		return err
	}
	err := m.table.each(m.anyUnseen, func(at int64, x entry, name []byte) error {
		if m.seen.has(at) || x.expired(now()) {
			return nil
		}
		batch = append(batch, named{entry: x, text: append([]byte(nil), name...)})
		if bytes += len(name); len(batch) < removeKeys && bytes < removeBytes {
			return nil
		}
		return done()
	})
	if err != nil {
		return err
	}
	return done()
}

// remember makes what the run has done the table of the next.
func (m *Mirror) remember(e importer.MirrorEnd) error {
	if m.journal == nil { // nothing was done
		return m.layAgain()
	}
	if err := m.journal.flush(); err != nil {
		return err
	}
	doom := fates{forget: m.distrust && m.table != nil, doubt: e.Doubt, failed: map[uint64]struct{}{}}
	for _, name := range e.Failed {
		doom.failed[hashName(name)] = struct{}{}
	}
	j := m.journal
	m.journal = nil
	return m.rewrite(j.file, doom)
}

// rewrite makes a new table of the present one and a journal, and then removes
// the journal, whose Base tells that it has had its time.
func (m *Mirror) rewrite(journal *os.File, doom fates) error {
	merge := &merger{now: now(), doom: doom}
	merge.odd = newOddities(m.opts.Memory, merge.now)
	if m.arrivals != nil {
		merge.seen = m.seen
	}
	m.seen, m.sent = nil, nil
	if m.table != nil {
		if m.trail == nil && m.arrivals == nil {
			var err error
			if m.trail, err = m.folder.openTrail(m.table.head, m.opts.Memory); err != nil {
				return err
			}
		}
		m.table.cache = make([]page, min(len(m.table.cache), 1)) // pages come in order now
		m.table.cached = make([]int, len(m.table.cache))
	}
	s := &sorter{temp: m.temp, part: partBytes, most: mostParts}
	err := gather(s, journal)
	if err = errors.Join(err, journal.Close()); err != nil && !(doom.undone && errors.Is(err, errDamaged)) { // the end of a killed run's may be missing
		return errors.Join(err, s.close())
	}
	h, err := m.build(s, merge)
	if err = errors.Join(err, s.close(), m.leave()); err != nil {
		return err
	}
	if err := m.folder.commit(h); err != nil {
		return err
	}
	if err := m.drop(); err != nil {
		return err
	}
	if err := errors.Join(m.folder.remove(journalName), m.folder.tidy(h.ID)); err != nil {
		return err
	}
	m.table, err = m.folder.openTable(h, m.opts.Memory/2)
	return err
}

// gather takes all of a journal's changes into a sorter.
func gather(s *sorter, journal io.ReadSeeker) error {
	size, err := journal.Seek(0, io.SeekEnd)
	if err == nil {
		err = s.divide(size)
	}
	if err == nil {
		_, err = journal.Seek(0, io.SeekStart)
	}
	if err != nil {
		return err
	}
	_, err = readJournal(journal, func(c change) error {
		if c.kind == all {
			return nil
		}
		return s.add(c)
	})
	return err
}

// temp makes a file for a part of the changes; folder.tidy removes it.
func (m *Mirror) temp(i int) (*os.File, error) {
	return m.folder.create(fmt.Sprintf("%s%d", tempPrefix, i))
}

// build writes the new table's files.
func (m *Mirror) build(s *sorter, merge *merger) (h head, err error) {
	h = head{ID: newID(), Binding: bindingOf(m.run)}
	pages, err := m.folder.create(pagesName(h.ID))
	if err != nil {
		return h, err
	}
	defer func() { err = errors.Join(err, pages.Close()) }()
	names, err := m.folder.create(namesName(h.ID))
	if err != nil {
		return h, err
	}
	defer func() { err = errors.Join(err, names.Close()) }()
	b := newBuilder(pages, names, h)
	merge.old, merge.out = m.table, b
	if err := merge.run(s.each); err != nil {
		return h, err
	}
	if h, err = b.finish(); err == nil && !merge.doom.forget {
		m.lay(h, b.digest, merge.odd)
	}
	return h, err
}

// Wrote says that a verification has written a name, or may have: it holds any
// value, and is to be removed when the source no longer has it, even if it was
// not mirrored before. It is for after Finish.
func (m *Mirror) Wrote(name []byte) error {
	if len(name) > maxName {
		return nil // as Seen
	}
	var known entry
	if m.table != nil {
		var err error
		if _, known, _, err = m.table.find(hashName(name)); err != nil {
			return err
		}
	}
	return m.note(change{kind: put, mark: known.mark | unknown, name: name})
}

// Forget says that a name may hold another value than was mirrored there, or
// none: a verification found it to be extra. It is for after Finish.
func (m *Mirror) Forget(name []byte) error {
	if m.table == nil {
		return nil
	}
	_, e, ok, err := m.table.find(hashName(name))
	if err != nil || !ok {
		return err
	}
	return m.note(change{kind: put, mark: e.mark | unknown, name: name})
}
