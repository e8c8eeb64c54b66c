package importer

import (
	"context"
	"maps"
	"time"

	"go.uber.org/zap"

	"github.com/slotferry/slotferry/checkpoint"
)

// masters is what is known of those that are written to. Lives of masters that
// end may take acknowledged keys with them, and not only those written last:
// slots that were moved there lately were as new to that master.
type masters struct {
	lives    map[string]string // run IDs, by address
	division uint64            // which slots share a master; 0 for not known
	moved    time.Time         // when that was last seen to have changed
	seen     time.Time
}

// changed looks at the masters and reports whether one that was written to may
// have lost something: it lives again, or a replica took its place. all says
// that every one of them could be asked.
func (j *Job) changed(ctx context.Context) (changed, all bool) {
	before := j.masters.Load()
	lives, present := j.opts.Target.Lives(ctx)
	now := &masters{lives: maps.Clone(before.lives), division: before.division, moved: before.moved, seen: time.Now()}
	now.see(j.opts.Target.Table().Division())
	all = len(present) > 0
	for addr, id := range before.lives {
		switch is := lives[addr]; {
		case id == "": // it never said
		case is != "" && is != id:
			changed = true
		case len(present) > 0 && !present[addr]:
			// Who has its slots now tells why: one who was here before, or the
			// newcomer, which is asked below.
			delete(now.lives, addr)
		case is == "":
			all = false
		}
	}
	for addr := range present {
		if _, known := before.lives[addr]; known {
			continue
		}
		switch settled, err := j.opts.Target.Settled(ctx, addr, time.Since(before.seen)); {
		case err != nil || lives[addr] == "":
			all = false
		case !settled:
			changed = true
		default:
			now.lives[addr] = lives[addr]
		}
	}
	if changed { // still so when it is asked again
		now.lives = before.lives
	}
	j.masters.Store(now)
	return changed, all || changed
}

// see notes how the slots are divided.
func (m *masters) see(division uint64) {
	if division == 0 || division == m.division {
		return
	}
	if m.division != 0 {
		m.moved = m.seen
	}
	m.division = division
}

// back returns where the keys begin that a lost master may have had in its
// memory alone, at a time.
func (j *Job) back(m *masters, at time.Time, trail checkpoint.State) checkpoint.State {
	if !m.moved.IsZero() && at.Sub(m.moved) < j.opts.Replay {
		j.log.Warn("slots were moved between masters shortly before, and with them keys of any age: copying all of them once more")
		return checkpoint.State{}
	}
	return trail
}

// remember takes the masters' present lives, and where to begin: where the job
// stands, or further back if a master has changed since the last run.
func (j *Job) remember(ctx context.Context) {
	now := &masters{lives: map[string]string{}, division: j.saved.Division, moved: j.saved.Moved, seen: time.Now()}
	for _, m := range j.target.Masters {
		now.lives[m.Addr] = m.Server.RunID
	}
	now.see(j.opts.Target.Table().Division())
	if j.resumed {
		if lost := j.lostMeanwhile(ctx, now); lost != "" {
			j.log.Warn("a master was replaced or restarted since the last run, and what it acknowledged last may be gone with it: going back a little further",
				zap.String("node", lost))
			j.saved.State = j.back(now, j.saved.Saved, j.saved.Trail)
			j.saved.Trail = j.saved.State
		}
	} else {
		j.saved.Trail = j.saved.State
		now.moved = time.Time{}
	}
	j.masters.Store(now)
	j.trail = checkpoint.NewTrail(j.opts.Replay, j.saved.Trail)
}

// lostMeanwhile returns the address of a master that may have lost something
// since the checkpoint was saved, "" if there is none.
func (j *Job) lostMeanwhile(ctx context.Context, now *masters) string {
	for addr, id := range j.saved.Lives {
		if now.lives[addr] != id {
			return addr
		}
	}
	for addr := range now.lives {
		if _, known := j.saved.Lives[addr]; known {
			continue
		}
		if settled, err := j.opts.Target.Settled(ctx, addr, time.Since(j.saved.Saved)); err != nil || !settled {
			return addr
		}
	}
	return ""
}
