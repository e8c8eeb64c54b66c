package tail

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/slotferry/slotferry/checkpoint"
	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/importer/route"
	"github.com/slotferry/slotferry/resp"
)

// The fields of a mark. That without a name holds "SERIAL BLOCKS ERA": the last
// command that is in, how many transactions have written to the mark, and what
// serials count in. Each other one is a key that was read from the source again,
// "=DB:KEY", with the serial of that moment; or with unread, while it still has
// to be: whoever goes on begins with those.
const unread = "?"

func appendField(dst []byte, db int, key []byte) []byte {
	dst = append(dst, '=')
	dst = strconv.AppendInt(dst, int64(db), 10)
	return append(append(dst, ':'), key...)
}

func parseField(field string) (db int, key []byte, ok bool) {
	number, name, ok := strings.Cut(strings.TrimPrefix(field, "="), ":")
	db, err := strconv.Atoi(number)
	return db, []byte(name), ok && err == nil && field[0] == '='
}

// appendNote appends the command that writes a field of a slot's mark.
func (a *Applier) appendNote(dst, name []byte, db int, key []byte, value string) []byte {
	dst = append(dst, "*4\r\n$4\r\nHSET\r\n"...)
	dst = resp.AppendBulk(dst, name)
	dst = resp.AppendBulk(dst, appendField(nil, db, key))
	return resp.AppendBulk(dst, []byte(value))
}

// Begin reads the marks, or with fresh removes them, because the full copy was
// just written; and it says from where the commands come. It goes before
// everything else but Run. ctx holds for all that the same goroutine asks for
// later.
func (a *Applier) Begin(ctx context.Context, from record.Position, fresh bool) error {
	a.ctx, a.era, a.end, a.from = ctx, from.Era, from, from.Serial
	a.expiring.all = !fresh // another run knew which keys may expire
	a.tracker.Store(checkpoint.NewTracker(checkpoint.State{Position: from}))
	if strings.ContainsAny(a.era, " \r\n") || len(a.era) > 128 {
		return fmt.Errorf("%w: the era %q can't be part of a mark", ErrResync, a.era)
	}
	if err := a.everywhere(a.buryAll); err != nil {
		return err
	}
	var marks map[uint16]map[string]string
	var err error
	if fresh {
		err = a.opts.Cluster.RemoveMarks(ctx, a.opts.Job)
	} else {
		marks, err = a.opts.Cluster.Marks(ctx, a.opts.Job)
	}
	if err != nil {
		return err
	}
	var found []noted
	a.mu.Lock()
	for slot, fields := range marks {
		found = append(found, a.take(slot, fields)...)
	}
	a.adopt(a.opts.Cluster.Table())
	a.mu.Unlock()
	slices.SortFunc(found, func(x, y noted) int { return int(x.serial - y.serial) })
	for _, n := range found {
		var err error
		switch n.serial {
		case 0:
			err = a.want(n.db, n.key)
		case roughly:
			err = a.roughen(n.db, n.key)
		default:
			a.setAhead(n.db, n.key, n.serial)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// noted is a key of which a mark tells.
type noted struct {
	db     int
	key    []byte
	serial int64 // 0: to be read
}

// roughly is the serial of a noted key that has to be read once.
const roughly = -1

// take takes what a mark says of its slot. The caller holds mu.
func (a *Applier) take(slot uint16, fields map[string]string) (found []noted) {
	s := &a.slots[slot]
	m, ok := parseMark(fields[""])
	if !ok || m.era != a.era {
		s.wipe = true
		return nil
	}
	s.known, s.serial, s.blocks, s.before = true, m.serial, m.blocks, m.blocks
	a.base[slot] = m.serial
	a.highest = max(a.highest, m.serial)
	for field, value := range fields {
		if field == "" {
			continue
		}
		db, key, ok := parseField(field)
		serial, err := strconv.ParseInt(value, 10, 64)
		switch {
		case !ok:
		case value == unread:
			found = append(found, noted{db: db, key: key})
		case value == coarse:
			found = append(found, noted{db: db, key: key, serial: roughly})
		case err == nil && serial > 0:
			found = append(found, noted{db, key, serial})
		}
	}
	return found
}

// setAhead notes that a key is as it was in the source at a serial.
func (a *Applier) setAhead(db int, key []byte, serial int64) {
	name := string(a.opts.Choice.Name(nil, db, key))
	a.ahead[name] = serial
	a.aheadOf = append(a.aheadOf, read{name, serial})
	delete(a.rough, name)
	slot := route.Slot([]byte(name))
	field := string(appendField(nil, db, key))
	a.mu.Lock()
	a.stale[slot] = append(a.stale[slot], stale{field, serial})
	a.mu.Unlock()
}

// Clear removes all marks.
func (a *Applier) Clear(ctx context.Context) error {
	return a.opts.Cluster.RemoveMarks(ctx, a.opts.Job)
}
