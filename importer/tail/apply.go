package tail

import (
	"fmt"
	"time"

	"github.com/slotferry/slotferry/checkpoint"
	"github.com/slotferry/slotferry/importer/effect"
	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/importer/route"
	"github.com/slotferry/slotferry/resp"
)

// key is one key of the command at hand.
type key struct {
	at     int // which word
	name   []byte
	buf    []byte // memory for name
	slot   uint16
	chosen bool
	fate   fate
}

// fate is what the target already has of a command, as far as one key goes.
type fate uint8

const (
	due     fate = iota // nothing
	in                  // its slot is behind the command
	ahead               // the key was read later than the command
	awaited             // the key will be
)

// apply does what a command asks for.
func (a *Applier) apply(c *record.Command, e *effect.Effect) error {
	switch e.Kind {
	case effect.Write, effect.Split, effect.Script:
	case effect.Flush, effect.Swap:
		return a.empty(c, e)
	case effect.Program:
		return a.program(c, e)
	default:
		return nil
	}
	if len(e.Keys) == 0 && e.Kind != effect.Script {
		return nil
	}
	if !a.opts.Choice.DB(c.DB) && e.DB2 < 0 {
		a.count.filtered.Add(1)
		return nil
	}
	chosen, err := a.lookAt(c, e)
	if err != nil {
		return err
	}
	a.noteExpiry(e)
	switch {
	case e.DB2 >= 0:
		return a.across(c, e)
	case e.Kind == effect.Script:
		a.count.scripts.Add(1)
	case chosen == 0:
		a.count.filtered.Add(1)
		return nil
	}
	if e.Kind == effect.Split {
		return a.split(c, e, chosen)
	}
	return a.whole(c, e, chosen)
}

// lookAt finds out about the keys of a command. It returns how many were chosen.
func (a *Applier) lookAt(c *record.Command, e *effect.Effect) (chosen int, err error) {
	for len(a.keys) < len(e.Keys) {
		a.keys = append(a.keys, key{})
	}
	for i, at := range e.Keys {
		k := &a.keys[i]
		k.at, k.name, k.chosen, k.fate = at, c.Words[at], true, due
		if !a.plain {
			k.chosen = a.opts.Choice.DB(c.DB) && a.opts.Choice.Key(c.DB, k.name)
			k.name = a.opts.Choice.Name(k.buf, c.DB, k.name)
			if len(k.name) > 0 && &k.name[0] != &c.Words[at][0] {
				k.buf = k.name
			}
		}
		k.slot = route.Slot(k.name)
		if !a.plain && k.chosen {
			k.chosen = a.opts.Choice.Slot(k.slot)
		}
		if !k.chosen {
			continue
		}
		if chosen == 0 {
			if err := a.database(c.DB); err != nil {
				return 0, err
			}
		}
		chosen++
		k.fate = a.fateOf(k.name, k.slot, c.End.Serial)
	}
	return chosen, nil
}

// fateOf says what the target has of a command for a key.
func (a *Applier) fateOf(name []byte, slot uint16, serial int64) fate {
	if len(a.pending) > 0 && a.pending[string(name)] != nil {
		return awaited
	}
	if len(a.ahead) > 0 && a.ahead[string(name)] >= serial {
		return ahead
	}
	if serial <= a.highest && serial <= a.base[slot] {
		return in
	}
	return due
}

// database asks whether keys of a database may go under their names.
func (a *Applier) database(db int) error {
	err, asked := a.databases[db]
	if !asked {
		err = a.opts.Database(db)
		a.databases[db] = err
	}
	return err
}

// whole applies a command as it is if its keys share a slot, and has them read
// again otherwise.
func (a *Applier) whole(c *record.Command, e *effect.Effect, chosen int) error {
	keys := a.keys[:len(e.Keys)]
	there, again := 0, chosen != len(keys) || e.Reread || e.Kind == effect.Script && a.opts.Reread != nil
	for i := range keys {
		k := &keys[i]
		switch {
		case !k.chosen:
			continue
		case k.fate != due:
			there++
		}
		if len(keys) > 1 && (k.slot != keys[0].slot || k.fate != keys[0].fate) {
			again = true
		}
	}
	doubted := a.opts.Reread != nil && c.End.Serial <= a.distrust && !e.Blind
	if there == chosen && chosen > 0 && !doubted {
		a.count.in.Add(1)
		for i := range keys {
			if keys[i].chosen && keys[i].fate == awaited {
				a.hold()
				break
			}
		}
		return a.checkIn(c, e, keys)
	}
	if again || a.opts.Reread != nil && (a.expiresSoon(e) || doubted) {
		return a.rereadKeys(c, e)
	}
	if len(keys) == 0 { // a script without keys: nobody can say what it did
		a.tracker.Load().Current().Add()
		a.fail(c.DB, nil, 0, "a script that declares no keys", a.tracker.Load().Current())
		return nil
	}
	if e.Relative {
		return a.absolute(c, e, keys)
	}
	if a.opts.Reread != nil && isCoarse(e.Name) {
		if err := a.roughen(c.DB, c.Words[keys[0].at]); err != nil {
			return err
		}
	}
	defer a.asked()
	if err := a.ask(c, e, keys); err != nil {
		return err
	}
	return a.enqueue(c, keys)
}

// rereadKeys has the chosen keys of a command read again.
func (a *Applier) rereadKeys(c *record.Command, e *effect.Effect) error {
	a.tx.torn = true
	keys := a.keys[:len(e.Keys)]
	for i := range keys {
		k := &keys[i]
		switch {
		case !k.chosen || k.fate == ahead || k.fate == in && c.End.Serial > a.distrust:
		case a.opts.Reread == nil:
			seg := a.tracker.Load().Current()
			seg.Add()
			a.fail(c.DB, c.Words[k.at], k.slot, fmt.Sprintf("%s touches keys of several slots, or more than its keys, and there is no live source to read them from", e.Name), seg)
		default:
			if err := a.want(c.DB, c.Words[k.at]); err != nil {
				return err
			}
		}
	}
	return nil
}

// fail accounts for a key that is not as in the source.
func (a *Applier) fail(db int, key []byte, slot uint16, reason string, seg *checkpoint.Segment) {
	a.count.failed.Add(1)
	seg.Fail(checkpoint.Failure{Key: append([]byte(nil), key...), DB: db, Slot: slot, Reason: reason})
}

// across has the keys of a command that names another database read again in
// both.
func (a *Applier) across(c *record.Command, e *effect.Effect) error {
	if a.opts.Reread == nil {
		return a.rereadKeys(c, e)
	}
	a.tx.torn = true
	for _, at := range e.Keys {
		for _, db := range []int{c.DB, e.DB2} {
			if err := a.later(db, c.Words[at], c.End.Serial); err != nil {
				return err
			}
		}
	}
	return nil
}

const (
	soon   = 30 * time.Second // an expiry nearer than that is not relied on while the stream lags
	lagged = time.Second
)

// expiresSoon tells whether a command sets an expiry that could pass before
// later commands come which move it.
func (a *Applier) expiresSoon(e *effect.Effect) bool {
	return e.ExpireAt != 0 && a.lag > lagged && e.ExpireAt <= a.now+max(soon, 2*a.lag).Milliseconds()
}

// split applies a command of which each key stands alone: as it is if all go to
// one slot, else one for each key.
func (a *Applier) split(c *record.Command, e *effect.Effect, chosen int) error {
	keys := a.keys[:len(e.Keys)]
	one := chosen == len(keys)
	for i := range keys {
		one = one && keys[i].slot == keys[0].slot && keys[i].fate == due
	}
	if one {
		return a.enqueue(c, keys)
	}
	a.count.split.Add(1)
	if a.tx.open {
		a.tx.torn = true
	}
	if a.group < 0 {
		a.group, a.asking = len(a.staged), true
	}
	defer a.asked()
	defer a.joinParts(c.End.Serial)
	done := true
	var part [8]word
	for i := range keys {
		k := &keys[i]
		switch {
		case !k.chosen:
			continue
		case k.fate == awaited:
			a.hold()
			continue
		case k.fate != due:
			continue
		}
		done = false
		words := append(append(part[:0], c.Words[0]), c.Words[k.at:k.at+max(e.Step, 1)]...)
		alone := record.Command{DB: c.DB, Words: words, End: c.End}
		a.one[0] = key{at: 1, name: k.name, slot: k.slot, chosen: true}
		if err := a.enqueue(&alone, a.one[:]); err != nil {
			return err
		}
	}
	if done {
		a.count.in.Add(1)
	}
	return nil
}

// joinParts keeps the parts of one command for one slot in one block: the mark
// says no more than that the command is in.
func (a *Applier) joinParts(serial int64) {
	follows := map[uint16]bool{}
	group := a.staged[a.group:]
	for i := len(group) - 1; i >= 0 && group[i].serial == serial; i-- {
		e := group[i]
		e.joined = e.joined || follows[e.slot]
		follows[e.slot] = true
	}
}

// absolute applies a command with a relative expiry as what it meant when it was
// run, as far as that can be told.
func (a *Applier) absolute(c *record.Command, e *effect.Effect, keys []key) error {
	was := a.now - a.lag.Milliseconds()
	a.words = append(a.words[:0], c.Words...)
	for i := range keys {
		a.words[keys[i].at] = keys[i].name
	}
	commands := effect.Absolute(a.words, was, nil)
	var wire []byte
	for _, words := range commands {
		wire = appendWords(wire, words)
	}
	return a.add(c, keys[0].slot, wire, appendWords(nil, c.Words), len(commands), false)
}

// enqueue hands a command to its slot, with the names that its keys get.
func (a *Applier) enqueue(c *record.Command, keys []key) error {
	lives := a.effect.ExpireAt != 0 && a.opts.Reread != nil && len(keys) == 1 && (a.effect.Name == "PEXPIREAT" || a.effect.Name == "EXPIREAT")
	same := true
	for i := range keys {
		if w := c.Words[keys[i].at]; len(w) != len(keys[i].name) || len(w) > 0 && &w[0] != &keys[i].name[0] {
			same = false
		}
	}
	wire := c.Raw
	if wire == nil { // a part of a command
		a.wire = appendWords(a.wire[:0], c.Words)
		wire = a.wire
	}
	if same {
		return a.add(c, keys[0].slot, wire, nil, 1, lives)
	}
	a.words = append(a.words[:0], c.Words...)
	for i := range keys {
		a.words[keys[i].at] = keys[i].name
	}
	a.renamed = appendWords(a.renamed[:0], a.words)
	return a.add(c, keys[0].slot, a.renamed, wire, 1, lives)
}

// add puts what goes over the wire into the queue of a slot.
func (a *Applier) add(c *record.Command, slot uint16, wire, source []byte, words int, lives bool) error {
	seg := a.tracker.Load().Current()
	e, err := a.stage(slot, wire, source, words)
	if err != nil {
		return err
	}
	seg.Add()
	e.segment, e.serial, e.db, e.lives = seg, c.End.Serial, int32(c.DB), lives
	return nil
}

// stage puts bytes for a slot among those that go next.
func (a *Applier) stage(slot uint16, wire, source []byte, words int) (*entry, error) {
	p, err := a.room(len(wire) + len(source))
	if err != nil {
		return nil, err
	}
	from := p.filled
	to := from + copy(p.memory[from:], wire)
	p.filled = to + copy(p.memory[to:], source)
	p.entries = append(p.entries, entry{page: p, slot: slot, words: uint16(words), from: uint32(from), to: uint32(to), until: uint32(p.filled)})
	e := &p.entries[len(p.entries)-1]
	p.added++
	a.behind.Add(int64(len(wire)))
	a.staged = append(a.staged, e)
	return e, nil
}

func appendWords(dst []byte, words []word) []byte {
	dst = resp.AppendArray(dst, len(words))
	for _, w := range words {
		dst = resp.AppendBulk(dst, w)
	}
	return dst
}
