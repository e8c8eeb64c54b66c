package aof

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/slotferry/slotferry/importer/choice"
	"github.com/slotferry/slotferry/importer/effect"
	"github.com/slotferry/slotferry/importer/route"
)

// obstacle is a command that can't be applied to a cluster exactly.
type obstacle struct {
	place int64
	text  string
}

const shownObstacles = 3

// review is one look at everything in the files.
type review struct {
	source *Source
	choice *choice.Choice
	now    int64 // Unix milliseconds
	reader *reader
	effect effect.Effect
	name   []byte

	db      int
	multi   bool  // between MULTI and EXEC
	multiAt int64 // place of that MULTI
	last    int64 // place behind the last command

	commands int64
	late     bool  // a time stamp after Until
	stamped  int64 // the first time stamp, in seconds; 0 for none
	unknown  bool  // commands came before the first time stamp

	sum reviewed
}

// reviewed is what a review found.
type reviewed struct {
	baseEnd   int64 // place where the RDB in front ends; 0 for none
	start     int64 // place where the commands begin that matter
	startDB   int
	end       int64 // place where they end
	commands  int64
	truncated error // the last file ends within a command or a MULTI
	unread    bool  // a command was too long to look behind it
	checksum  bool  // the RDB in front has one

	obstacles []obstacle // the first ones
	more      int64      // further ones
	dbs       map[int]bool
	maxDB     int
	functions bool
	hazards   *hazards
	names     *choice.Collisions
}

// errUntil is a blocker about Options.Until.
var errUntil = errors.New("what the keys were then is not known")

// review looks at all up to a place.
func (s *Source) review(ctx context.Context, end int64) (*reviewed, error) {
	v := &review{
		source: s, choice: s.opts.Choice, now: time.Now().UnixMilli(),
		reader: &reader{files: &s.files, pulse: &s.pulse, max: s.opts.MaxCommand, end: end},
	}
	v.restart(0, 0)
	v.reader.stamp = v.stamp
	if s.base != nil {
		if err := v.base(ctx); err != nil {
			return nil, err
		}
	}
	v.reader.place, v.last = v.sum.baseEnd, v.sum.baseEnd
	cut, err := v.all(ctx)
	if err != nil {
		return nil, err
	}
	if err := v.checkUntil(end < s.files.size()); err != nil {
		return nil, err
	}
	if cut < v.last { // the commands of an open MULTI have been looked at, but don't count
		sum, err := s.review(ctx, cut)
		if err == nil {
			sum.truncated = v.sum.truncated
		}
		return sum, err
	}
	v.sum.end, v.sum.commands = cut, v.commands
	v.checkHazards(ctx)
	return &v.sum, nil
}

// restart forgets what came before a place: all keys are gone there.
func (v *review) restart(place int64, db int) {
	s := &v.sum
	s.start, s.startDB = place, db
	s.obstacles, s.more, s.dbs = nil, 0, map[int]bool{}
	s.hazards, s.names = newHazards(), v.choice.Collisions(nil, 0)
	v.commands = 0
}

// all looks at the commands, and returns the place where they end.
func (v *review) all(ctx context.Context) (end int64, err error) {
	for {
		before := v.reader.part
		words, _, fresh, err := v.reader.next(ctx)
		if v.late {
			return v.whole(), nil
		}
		if err != nil {
			return v.ended(err)
		}
		if fresh {
			if v.multi {
				return 0, v.openMulti(before)
			}
			v.db = 0
		}
		v.command(words)
		v.last = v.reader.place
	}
}

// ended judges why there is no further command.
func (v *review) ended(err error) (end int64, _ error) {
	var truncated *truncatedError
	switch {
	case errors.Is(err, io.EOF):
		if v.multi {
			v.sum.truncated = v.openMulti(v.reader.part)
		}
		return v.whole(), nil
	case errors.As(err, &truncated) && v.reader.part == v.source.files.last():
		v.sum.truncated = truncated
		return v.whole(), nil
	case errors.Is(err, errLong):
		if !v.source.opts.Until.IsZero() {
			return 0, fmt.Errorf("%w: %w", errUntil, err)
		}
		v.add(v.reader.place, err.Error())
		v.sum.unread = true
		return v.reader.end, nil
	}
	return 0, err
}

// whole is the place behind the last command that a MULTI does not hold.
func (v *review) whole() int64 {
	if v.multi {
		return v.multiAt
	}
	return v.last
}

func (v *review) openMulti(p *part) error {
	return fmt.Errorf("%s at %d: the file ends within the transaction that begins there", p.path, v.multiAt-p.start)
}

// command looks at one command; it begins at last.
func (v *review) command(words [][]byte) {
	v.commands++
	if v.stamped == 0 {
		v.unknown = true
	}
	e := &v.effect
	err := effect.Of(words, v.now, e)
	chosen := v.choice.DB(v.db)
	switch {
	case err != nil:
		v.refuse(err.Error())
	case e.Kind == effect.Select:
		v.db = e.DB
		v.sum.maxDB = max(v.sum.maxDB, e.DB)
	case e.Kind == effect.Begin:
		v.multi, v.multiAt = true, v.last
	case e.Kind == effect.Commit:
		v.multi = false
	case e.Kind == effect.Flush:
		v.flush()
	case e.Kind == effect.Swap:
		v.sum.maxDB = max(v.sum.maxDB, e.DB, e.DB2)
		v.refuse("it swaps databases")
	case e.Kind == effect.Program:
		v.sum.functions = v.sum.functions || e.Name == "FUNCTION"
	case e.Kind == effect.Nothing:
	case e.DB2 >= 0:
		v.sum.maxDB = max(v.sum.maxDB, e.DB2)
		if chosen || v.choice.DB(e.DB2) {
			v.refuse("it takes a key to another database")
		}
	case !chosen:
	case e.Kind == effect.Script:
		v.refuse("what a script does is known only by running it")
	case e.Kind == effect.Unknown:
		v.refuse("which keys it writes is not known")
	default:
		v.write(words)
	}
}

// flush looks at a command that deletes everything: what came before is then of
// no interest, unless that took more than keys.
func (v *review) flush() {
	all := v.effect.DB == effect.AllDBs
	if !all && !v.choice.DB(v.db) {
		return
	}
	for db := range v.sum.dbs {
		all = all || db == v.db && len(v.sum.dbs) == 1
	}
	switch {
	case len(v.sum.dbs) > 0 && !all:
		v.refuse("it empties one of several databases")
	case v.multi:
		v.refuse("it empties a database within a transaction")
	case v.sum.functions:
		v.refuse("it deletes keys, but not the functions that were loaded before it")
	default:
		v.restart(v.reader.place, v.db)
	}
}

// write looks at a command on keys.
func (v *review) write(words [][]byte) {
	e, c := &v.effect, v.choice
	v.touch(v.db)
	chosen, slot, spread := 0, uint16(0), false
	for _, i := range e.Keys {
		if !c.Key(v.db, words[i]) {
			continue
		}
		if len(e.Keys) > 1 || c.SlotsChosen() {
			v.name = c.Name(v.name[:0], v.db, words[i])
			s := route.Slot(v.name)
			if !c.Slot(s) {
				continue
			}
			spread = spread || chosen > 0 && s != slot
			slot = s
		}
		chosen++
		v.sum.names.Note(v.db, words[i])
	}
	switch {
	case chosen == 0:
		return
	case e.Kind == effect.Split:
	case chosen < len(e.Keys):
		v.refuse("some of its keys are chosen and others not")
		return
	case spread:
		v.refuse("its keys lie in different slots")
		return
	case e.Reread:
		v.refuse("what it does depends on more than its keys")
		return
	}
	single := e.Kind == effect.Split || len(e.Keys) == 1
	for _, i := range e.Keys {
		well := true
		if single {
			well = v.sum.hazards.write(v.db, words[i], e, v.now, v.last)
		} else {
			well = !v.sum.hazards.has(v.db, words[i])
		}
		if !well {
			v.refuse("one of its keys expires earlier than the target may have the command")
			return
		}
	}
	if !single && e.ExpireAt != 0 && e.ExpireAt <= v.now+hazardWithin.Milliseconds() || restoresFields(words, e) {
		for _, i := range e.Keys {
			v.sum.hazards.expires(v.db, words[i])
		}
	}
}

// restoresFields tells whether a command brings a hash whose fields may expire.
func restoresFields(words [][]byte, e *effect.Effect) bool {
	return e.Name == "RESTORE" && len(words[3]) > 0 && hasFieldTTL(words[3][0])
}

// touch notes a database that has keys.
func (v *review) touch(db int) {
	if v.sum.dbs[db] {
		return
	}
	v.sum.dbs[db] = true
	v.sum.maxDB = max(v.sum.maxDB, db)
}

// refuse notes that the command at hand stands in the way of a replay.
func (v *review) refuse(why string) {
	part, local := v.source.files.at(v.last)
	v.add(v.last, fmt.Sprintf("%s at %d: %s: %s", part.path, local, v.effect.Name, why))
}

func (v *review) add(place int64, text string) {
	if len(v.sum.obstacles) == shownObstacles {
		v.sum.more++
		return
	}
	v.sum.obstacles = append(v.sum.obstacles, obstacle{place, text})
}

// checkHazards adds the commands after which keys would be wrong.
func (v *review) checkHazards(ctx context.Context) {
	if v.sum.hazards.full {
		v.add(v.sum.end, fmt.Sprintf("more than %d keys expire within %s, too many to look at them all", maxHazards, hazardWithin))
		return
	}
	for _, place := range v.sum.hazards.wrong() {
		if len(v.sum.obstacles) == shownObstacles {
			v.sum.more++
			continue
		}
		r := *v.reader
		r.place, r.input, r.stamp = place, nil, nil
		if words, _, _, err := r.next(ctx); err == nil && effect.Of(words, v.now, &v.effect) == nil {
			v.last = place
			v.refuse("its key had an expiry that is past or near, so that the target would have deleted it before")
		}
	}
}
