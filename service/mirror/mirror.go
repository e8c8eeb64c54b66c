// Package mirror remembers what was written to a target last, so that another
// run writes only what has changed at the source since, and removes what is
// gone. For each name in the target it keeps a hash of the value and the expiry,
// in a table on disk that is never changed but replaced as a whole. What a run
// does is in a journal before it is done, so that after a crash nothing counts as
// written that may not have been, and nothing is forgotten that was.
//
// It goes by names in the target, not by keys of the source: a key that moves to
// another database under the same name must not be removed there.
//
// It opens no connection: the importer asks and removes. It refuses to remove
// more than Options.MaxDelete at once, and to rely on anything that is damaged,
// incomplete, or about another source, target or choice of keys.
package mirror

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/slotferry/slotferry/importer"
	"github.com/slotferry/slotferry/importer/record"
)

// Options says where and how; zero fields take the defaults noted.
type Options struct {
	Dir       string // the mirror's own
	MaxDelete Limit  // 10 percent
	Memory    int64  // bytes for what is looked up; 64 MiB
	Log       *zap.Logger
}

// Mirror is one job's, for one run of it. It implements importer.Mirror.
type Mirror struct {
	opts   Options
	log    *zap.Logger
	folder *folder
	run    importer.MirrorRun

	table    *table    // nil: nothing is remembered
	trail    *trail    // of the table; nil: there is none
	arrivals *arrivals // recorded; nil: they are not
	probed   bool      // known whether to record
	strayed  *filter   // names that were written, though the trail still has them
	seen     keySet    // of the table's keys: the source has them; with a trail, those that it has not led to
	sent     keySet    // of the table's keys: written in this run
	journal  *journal
	distrust bool // nothing that is remembered counts as unchanged
	strays   bool
	hasher   hasher
	slack    int64 // milliseconds by which one expiry may differ from itself
	long     int64 // names too long to be remembered
}

var _ importer.Mirror = (*Mirror)(nil)

// Open locks the folder, which is made if need be. ErrLocked means that another
// run has it.
func Open(o Options) (*Mirror, error) {
	if o.Memory == 0 {
		o.Memory = 64 << 20
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	f, err := openFolder(o.Dir)
	if err != nil {
		return nil, err
	}
	return &Mirror{opts: o, log: o.Log, folder: f}, nil
}

// Begin implements importer.Mirror.
func (m *Mirror) Begin(_ context.Context, r importer.MirrorRun) (known bool, err error) {
	m.run, m.slack = r, r.Tolerance.Milliseconds()
	if err := m.load(); err != nil {
		return false, fmt.Errorf("the mirror in %s: %w", m.opts.Dir, err)
	}
	switch {
	case m.table == nil:
		m.strays = r.Keys > 0
		return false, m.setOut()
	case r.Anew:
		m.distrust = true
	case r.Keys < m.table.head.Permanent:
		m.distrust = true
		m.log.Warn("the target holds fewer keys than were mirrored there: writing everything again",
			zap.Int64("holds", r.Keys), zap.Int64("mirrored", m.table.head.Permanent))
	}
	m.seen, m.sent = newKeySet(m.table.head.Keys), newKeySet(m.table.head.Keys)
	if err := m.setOut(); err != nil {
		return false, fmt.Errorf("the mirror in %s: %w", m.opts.Dir, err)
	}
	return true, nil
}

// Strays tells, after Begin, that the target may hold keys of the source's names
// that the mirror does not know of, so that it would not remove them: a
// verification with a look for extra keys finds them.
func (m *Mirror) Strays() bool { return m.strays }

// load opens the table, after what an unfinished run did was taken into it. What
// can't be relied on is set aside.
func (m *Mirror) load() error {
	h, err := m.folder.readHead()
	if errors.Is(err, fs.ErrNotExist) {
		h, err = head{}, nil
	} else if err == nil {
		if what := h.Binding.differs(bindingOf(m.run)); what != "" {
			return m.setAside("it is about another " + what)
		}
		m.table, err = m.folder.openTable(h, m.opts.Memory/2)
	}
	if errors.Is(err, errDamaged) {
		return m.setAside(err.Error())
	}
	if err == nil {
		err = m.folder.tidy(h.ID)
	}
	if err == nil {
		err = m.recover(h)
	}
	return err
}

// setAside makes the run a full one.
func (m *Mirror) setAside(why string) error {
	m.log.Warn("what was remembered of the target is set aside, so that everything is written once more, and what is gone from the source meanwhile stays in the target (verify --extra --repair removes it)",
		zap.String("why", why), zap.String("folder", m.opts.Dir+"/"+asideName))
	return errors.Join(m.drop(), m.folder.aside())
}

// drop closes the table.
func (m *Mirror) drop() error {
	if m.table == nil {
		return nil
	}
	t := m.table
	m.table = nil
	return t.close()
}

// recover takes the journal of a run that was not finished into the table: what
// it wrote or removed may be there or not.
func (m *Mirror) recover(h head) error {
	f, err := m.folder.root.Open(journalName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	doom := fates{doubt: true, undone: true}
	o, err := readJournal(f, func(c change) error {
		doom.forget = doom.forget || c.kind == all
		return nil
	})
	headless := o.Boot == "" && o.Binding.Source == ""
	switch {
	case err != nil && !errors.Is(err, errDamaged):
		return errors.Join(err, f.Close())
	case headless && h.ID == 0, !headless && o.Base != h.ID && h.ID != 0: // or it has become this table already
		return errors.Join(f.Close(), m.folder.remove(journalName))
	}
	if what := o.Binding.differs(bindingOf(m.run)); !headless && what != "" {
		return errors.Join(f.Close(), m.setAside("it is about another "+what))
	}
	if err != nil || o.Boot == "" || o.Boot != bootID() {
		doom.forget, m.strays = true, true
	}
	m.log.Info("an earlier run was not finished: what it wrote is written once more", zap.Bool("everything", doom.forget || h.ID == 0))
	return m.rewrite(f, doom)
}

// Seen implements importer.Mirror.
func (m *Mirror) Seen(r *record.Record, name []byte) (unchanged bool, err error) {
	if len(name) > maxName {
		m.long++
		return false, nil
	}
	value, told, err := m.hasher.hash(r, name)
	if err != nil {
		return false, fmt.Errorf("key %q: reading its value for the mirror: %w", name[:min(len(name), 128)], err)
	}
	now := entry{hashName(name), value, uint64(r.ExpireAt) &^ unknown}
	if !told {
		now.mark |= unknown
	}
	if unchanged, err = m.has(now); err != nil {
		return false, fmt.Errorf("the mirror in %s: %w", m.opts.Dir, err)
	}
	if unchanged {
		return true, nil
	}
	return false, m.note(change{kind: put, value: now.value, mark: now.mark, name: name})
}

// has tells whether the target has what the source has, and notes that the
// source has it. Of what is about to be written it notes that too.
func (m *Mirror) has(now entry) (bool, error) {
	onTrail := false
	if m.trail != nil && m.arrivals != nil {
		if err := m.probe(); err != nil {
			return false, err
		}
	}
	if m.trail != nil {
		e, ok, err := m.trail.next(now.name)
		if err != nil {
			err = m.giveUp(err)
		}
		if err != nil {
			return false, err
		}
		if ok && m.same(e, now) && !m.strayed.has(now.name) {
			m.arrive(e)
			return true, nil
		}
		onTrail = ok
	}
	if m.table == nil {
		m.arrive(now)
		return false, nil
	}
	at, e, ok, err := m.table.find(now.name)
	if err != nil {
		return false, err
	}
	if !ok {
		if m.trail != nil {
			m.trail.meet(now.name)
		}
		m.arrive(now)
		return false, nil
	}
	first, same := !m.seen.has(at), m.same(e, now) && !m.sent.has(at)
	m.seen.set(at)
	if !same {
		m.sent.set(at)
		e = now
	}
	if m.trail != nil && !onTrail {
		if err := m.stray(now.name, same); err != nil {
			return false, err
		}
	}
	if first {
		m.arrive(e)
	}
	return same, nil
}

// same tells that nothing has changed between two entries of a name.
func (m *Mirror) same(a, b entry) bool {
	return (a.mark|b.mark)&unknown == 0 && a.value == b.value && m.near(a.expiry(), b.expiry()) && !m.distrust
}

// near tells that two expiries are the same as far as the source tells them.
func (m *Mirror) near(a, b int64) bool {
	if a == 0 || b == 0 {
		return a == b
	}
	return max(a-b, b-a) <= m.slack
}

// note puts a change into the journal.
func (m *Mirror) note(c change) error {
	if err := m.begin(); err != nil {
		return fmt.Errorf("the mirror's journal: %w", err)
	}
	if t := m.table; t != nil && m.journal.held == 0 && m.journal.count > max(leastExact, t.head.Keys/8) {
		if err := m.forgetAll(); err != nil {
			return fmt.Errorf("the mirror's journal: %w", err)
		}
	}
	if err := m.journal.add(c); err != nil {
		return fmt.Errorf("the mirror's journal: %w", err)
	}
	return nil
}

// leastExact is how many changes are written to the journal one by one at least.
// Where there are many, it is quicker to write all once more after a crash.
const leastExact = 10_000

// begin makes the journal durable, before anything is done.
func (m *Mirror) begin() error {
	if m.journal != nil {
		return nil
	}
	o := origin{Boot: bootID(), Binding: bindingOf(m.run)}
	if m.table != nil {
		o.Base = m.table.head.ID
	}
	f, err := m.folder.create(journalName)
	if err != nil {
		return err
	}
	j, err := newJournal(f, o)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	m.journal = j
	if m.table == nil {
		m.journal.held = buffered
	} else if m.distrust {
		if err := m.forgetAll(); err != nil {
			return err
		}
		if err := f.Sync(); err != nil {
			return err
		}
	}
	return m.folder.sync()
}

// forgetAll makes a crash from here on cost everything that is remembered, but
// for the names.
func (m *Mirror) forgetAll() error {
	if err := m.journal.add(change{kind: all}); err != nil {
		return err
	}
	err := m.journal.flush()
	m.journal.held = buffered
	return err
}

// Close ends the run; one that was not finished is made good by the next.
func (m *Mirror) Close() error {
	var err error
	if m.journal != nil {
		err = errors.Join(m.journal.flush(), m.journal.file.Close())
	}
	return errors.Join(err, m.leave(), m.drop(), m.folder.close())
}

// newID returns another number than 0.
func newID() uint64 { return rand.Uint64() | 1 }

func now() int64 { return time.Now().UnixMilli() }

// bootID tells one start of the machine from another, where Linux says it; else
// it is "".
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
