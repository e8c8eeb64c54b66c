package tail

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/slotferry/slotferry/checkpoint"
	"github.com/slotferry/slotferry/importer/pulse"
	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/importer/route"
	"github.com/slotferry/slotferry/importer/target"
	"github.com/slotferry/slotferry/resp"
)

const (
	rereadAtOnce = 256
	rereadEvery  = 20 * time.Millisecond
	rereadTries  = 10 // while connections to the target are lost
)

// wanted is a key that has to be read again from the source.
type wanted struct {
	db     int
	key    []byte
	name   string // in the target
	slot   uint16
	serial int64 // of the moment at which it was read
	gone   bool
}

// Later has a key read again from the source, whatever its commands were up to
// now.
func (a *Applier) Later(db int, key []byte) error {
	if a.ctx == nil {
		return errors.New("a key to be read again before Begin")
	}
	if a.opts.Reread == nil {
		return fmt.Errorf("%w: a key has to be read again, and there is no live source", ErrResync)
	}
	if err := a.later(db, key, a.end.Serial); err != nil {
		return err
	}
	a.marked++
	if len(a.order) >= rereadAtOnce && !a.tx.open {
		return a.reread()
	}
	return nil
}

// Distrust says that what the target holds may be older than the copy, so that
// of commands up to a serial only those are applied that overwrite whatever
// there is; the keys of others are read again.
func (a *Applier) Distrust(serial int64) { a.distrust = serial }

// later is want for a key that may have been left out.
func (a *Applier) later(db int, key []byte, serial int64) error {
	c := a.opts.Choice
	if !c.DB(db) || !c.Key(db, key) {
		return nil
	}
	name := c.Name(nil, db, key)
	slot := route.Slot(name)
	if !c.Slot(slot) {
		return nil
	}
	if f := a.fateOf(name, slot, serial); serial > 0 && f == ahead {
		return nil
	}
	if err := a.database(db); err != nil {
		return err
	}
	return a.want(db, key)
}

// want notes that a key is to be read again, here and in the mark of its slot:
// were it only known here, a run that goes on after a crash would take commands
// for done that were left out because of it. Until it is read, its commands are
// left out.
func (a *Applier) want(db int, key []byte) error {
	a.hold()
	name := string(a.opts.Choice.Name(nil, db, key))
	if a.pending[name] != nil {
		return nil
	}
	w := &wanted{db: db, key: append([]byte(nil), key...), name: name, slot: route.Slot([]byte(name))}
	if len(a.order) == 0 {
		a.since = time.Now()
	}
	a.pending[name] = w
	a.order = append(a.order, w)
	a.behind.Add(1) // so that it shows that there is something to do
	a.unstale(w)
	_, err := a.note(w, unread)
	return err
}

// unstale keeps the field of a key in its mark, which is to say something else now.
func (a *Applier) unstale(w *wanted) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.unstaleLocked(w.slot, w.db, w.key)
}

// unstaleLocked is unstale for a caller that holds mu.
func (a *Applier) unstaleLocked(slot uint16, db int, key []byte) {
	field := string(appendField(nil, db, key))
	old := a.stale[slot]
	for i := range old {
		if old[i].field == field {
			a.stale[slot] = append(append([]stale(nil), old[:i]...), old[i+1:]...)
			return
		}
	}
}

// note writes what is known of a key into the mark of its slot.
func (a *Applier) note(w *wanted, value string) (*entry, error) {
	mark := target.AppendMark(nil, w.slot, a.jobHash)
	return a.stage(w.slot, a.appendNote(nil, mark, w.db, w.key, value), nil, 1)
}

// hold keeps the position from becoming safe until all pending keys are read.
func (a *Applier) hold() {
	seg := a.tracker.Load().Current()
	if n := len(a.holding); n > 0 && a.holding[n-1] == seg {
		return
	}
	seg.Add()
	a.holding = append(a.holding, seg)
}

// forget drops what is known of keys that were read before a serial.
func (a *Applier) forget(serial int64) {
	for len(a.aheadOf) > 0 && a.aheadOf[0].serial < serial {
		r := a.aheadOf[0]
		a.aheadOf = a.aheadOf[1:]
		if a.ahead[r.name] == r.serial {
			delete(a.ahead, r.name)
		}
	}
}

// reread reads all pending keys again.
func (a *Applier) reread() error {
	if a.opts.Reread == nil {
		return fmt.Errorf("%w: keys have to be read again, and there is no live source", ErrResync)
	}
	for len(a.order) > 0 {
		batch := a.order[:min(len(a.order), rereadAtOnce)]
		if err := a.rereadBatch(batch); err != nil {
			return err
		}
		a.order = a.order[len(batch):]
		a.behind.Add(-int64(len(batch)))
		a.count.reread.Add(int64(len(batch)))
	}
	for _, seg := range a.holding {
		seg.Done(checkpoint.Written, 1, 0, 0)
	}
	clear(a.holding)
	a.order, a.holding = nil, a.holding[:0]
	return nil
}

// rereadBatch brings some keys to what they are in the source: nothing of their
// slots may be on its way meanwhile. A connection that was lost may hold an
// older value that takes effect late, so that it is done again then.
func (a *Applier) rereadBatch(batch []*wanted) error {
	if err := a.settled(batch); err != nil {
		return err
	}
	for try := 1; ; try++ {
		lost := a.opts.Cluster.Retries().Lost
		if err := a.copyAgain(batch); err != nil {
			return err
		}
		if a.opts.Cluster.Retries().Lost == lost {
			break
		}
		if try > rereadTries {
			return fmt.Errorf("%w: connections to the target are lost again and again while keys are read again", record.ErrPatience)
		}
		if err := a.outlive(); err != nil {
			return err
		}
	}
	for _, w := range batch {
		if w.gone {
			e, err := a.stage(w.slot, resp.AppendCommand(nil, "DEL", w.name), nil, 1)
			if err != nil {
				return err
			}
			e.joined = true
		}
		if _, err := a.note(w, strconv.FormatInt(w.serial, 10)); err != nil {
			return err
		}
	}
	if err := a.settled(batch); err != nil {
		return err
	}
	for _, w := range batch {
		delete(a.pending, w.name)
		a.setAhead(w.db, w.key, w.serial)
	}
	return nil
}

// settled waits until nothing is on its way for the slots of some keys.
func (a *Applier) settled(batch []*wanted) error {
	a.publish()
	return a.quiet(a.ctx, func() bool {
		for _, w := range batch {
			if a.slots[w.slot].head != nil {
				return false
			}
		}
		return true
	})
}

// copyAgain reads keys and writes them, whatever is there.
func (a *Applier) copyAgain(batch []*wanted) error {
	byDB := map[int][]*wanted{}
	for _, w := range batch {
		byDB[w.db] = append(byDB[w.db], w)
	}
	now := time.Now().UnixMilli()
	for db, list := range byDB {
		keys := make([][]byte, len(list))
		for i, w := range list {
			keys[i] = w.key
		}
		told := 0
		waits := a.pulse.Begin(pulse.Wait{On: "the source", What: "the value of keys that commands of several slots touched", Remedy: "see that the source answers"})
		err := a.opts.Reread(a.ctx, db, keys, func(i int, serial int64, r *record.Record) error {
			if i < 0 || i >= len(list) {
				return fmt.Errorf("key %d of %d was read again", i, len(list))
			}
			told++
			w := list[i]
			if w.serial = serial; serial < a.end.Serial {
				return fmt.Errorf("%w: the source told a place in its stream (%d) that lies before what it has sent (%d)", ErrResync, serial, a.end.Serial)
			}
			if w.gone = r.Fate == record.Gone || r.Fate == record.Copy && r.ExpireAt != 0 && r.ExpireAt <= now; w.gone {
				return nil
			}
			if r.ExpireAt != 0 {
				a.expiring.add([]byte(w.name))
			}
			seg := a.tracker.Load().Current()
			seg.Add()
			return a.opts.Cluster.Send(a.ctx, r, []byte(w.name), w.slot, seg)
		})
		a.pulse.End(waits)
		if err == nil && told != len(list) {
			err = fmt.Errorf("%d of %d keys were read again", told, len(list))
		}
		if err != nil {
			return fmt.Errorf("reading keys again: %w", err)
		}
	}
	return a.opts.Cluster.Drain(a.ctx)
}

// outlive waits until what connections of the cluster's own may still hold has
// taken effect.
func (a *Applier) outlive() error {
	return a.everywhere(func(ctx context.Context, client *redis.Client) error {
		for range pingRounds {
			if err := client.Ping(ctx).Err(); err != nil {
				return err
			}
		}
		return nil
	})
}

// tend looks after commands that the target would not have, and returns why the
// Applier is over, if it is.
func (a *Applier) tend() error {
	a.mu.Lock()
	list, err := a.refused, a.err
	a.refused = nil
	a.troubled.Store(err != nil)
	a.mu.Unlock()
	for _, r := range list {
		words := split(r.raw)
		if a.effects.Of(words, a.now, &a.effect) != nil {
			words, a.effect.Keys = nil, nil
		}
		if !r.expected || a.opts.Reread == nil {
			a.log.Warn("the target did not take a command as the source did", zap.String("node", r.addr), zap.String("command", a.effect.Name), zap.String("reason", r.reason), zap.Bool("read_again", a.opts.Reread != nil))
		}
		if a.opts.Reread == nil || len(a.effect.Keys) == 0 {
			var key []byte
			if len(a.effect.Keys) > 0 {
				key = words[a.effect.Keys[0]]
			}
			a.fail(r.db, key, route.Slot(a.opts.Choice.Name(nil, r.db, key)), fmt.Sprintf("%s: %s", a.effect.Name, r.reason), r.segment)
			continue
		}
		a.holding = append(a.holding, r.segment)
		for _, at := range a.effect.Keys {
			if err := a.later(r.db, words[at], 0); err != nil {
				return err
			}
		}
	}
	return err
}

// refuse puts instead of a command, which the target will never take, that its
// keys have to be read again. The caller holds mu.
func (a *Applier) refuse(e *entry, reason string) {
	e.refusal = &refusal{reason: reason}
	if a.opts.Reread == nil {
		return
	}
	words := split(e.source())
	var what = a.effectOf(words)
	mark := target.AppendMark(nil, e.slot, a.jobHash)
	for _, at := range what {
		e.refusal.wire = a.appendNote(e.refusal.wire, mark, int(e.db), words[at], unread)
		e.refusal.words++
		a.unstaleLocked(e.slot, int(e.db), words[at]) // or the same block would remove the field
	}
}
