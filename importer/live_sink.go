package importer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/slotferry/slotferry/checkpoint"
	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/importer/route"
	"github.com/slotferry/slotferry/importer/wait"
)

// soon is how near an expiry is when a key is left to be read again behind the
// full copy: by the time its commands come it could have expired on the target,
// though they make it live longer.
const soon = 10 * time.Minute

// laterMost bounds the names of keys that are left for later, in bytes.
const laterMost = 32 << 20

// liveSink is the sink of a source that goes on with commands.
type liveSink struct {
	*sink
	work   context.Context // of the pass: it outlives the reading's
	marked record.Position // of the stream of commands
	later  []lateKey       // to be read again behind the full copy
	bytes  int             // of their names
	begun  time.Time       // when the first key came
}

type lateKey struct {
	db  int
	key string
}

// Record implements record.Sink.
func (s *liveSink) Record(r *record.Record) error {
	if s.begun.IsZero() {
		s.begun = time.Now()
	}
	if s.putsOff(r) {
		s.later = append(s.later, lateKey{r.DB, string(r.Key)})
		s.bytes += len(r.Key)
		return nil
	}
	s.job.applier().Expires(r)
	return s.sink.Record(r)
}

// putsOff reports whether a key is left to be read again.
func (s *liveSink) putsOff(r *record.Record) bool {
	if s.job.opts.Live.Tail.Reread == nil || s.bytes > laterMost {
		return false
	}
	expires := r.Fate == record.Copy && r.ExpireAt != 0 && r.ExpireAt < s.now+soon.Milliseconds()
	if !expires && r.Fate != record.Refused {
		return false
	}
	c := s.job.opts.Choice
	return c.Slot(route.Slot(c.Name(nil, r.DB, r.Key)))
}

// Copied implements record.CommandSink.
func (s *liveSink) Copied(pos record.Position) error {
	s.end.Flush()
	s.tracker.Show()
	if err := s.job.opts.Target.Drain(s.ctx); err != nil {
		return err
	}
	if !s.begun.IsZero() {
		s.job.copyTook.Store(int64(time.Since(s.begun)))
	}
	if err := s.job.applier().Begin(s.work, pos, true); err != nil {
		return err
	}
	if err := s.job.distrust(s.ctx); err != nil {
		return err
	}
	for _, l := range s.later {
		if err := s.job.applier().Later(l.db, []byte(l.key)); err != nil {
			return err
		}
	}
	s.later, s.bytes = nil, 0
	if err := s.job.applier().Drain(s.work); err != nil {
		return err
	}
	s.enterTail(pos)
	return s.job.savePlace(s.ctx, pos)
}

// savePlace saves that a place is reached, where what follows relies on it: a
// full copy that was begun again over what commands have changed, or commands
// that were read again without their marks, would count twice.
func (j *Job) savePlace(ctx context.Context, pos record.Position) error {
	patience := max(j.opts.SavePatient, j.opts.RetryFor)
	for begun := time.Now(); ; {
		saved, err := j.saveState(ctx)
		switch {
		case err == nil && saved.Position == pos:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, checkpoint.ErrLost), time.Since(begun) > patience:
			return fmt.Errorf("%w: the place in the source's stream can't be saved: %w", record.ErrPatience, err)
		}
		if err := wait.For(ctx, replicasRest); err != nil {
			return err
		}
	}
}

// enterTail begins the part behind the copy.
func (s *liveSink) enterTail(pos record.Position) {
	j := s.job
	j.lag.isIn(pos.Serial)
	s.marked = pos
	s.tracker.Mark(pos)
	j.copies = 0
	j.tailing.Store(true)
	j.enter("tail")
}

// settleBytes is how much of a stream goes by between looks at what is in.
const settleBytes = 64 << 10

// Command implements record.CommandSink.
func (s *liveSink) Command(c *record.Command) error {
	if err := s.job.whileFrozen(s.ctx); err != nil {
		return err
	}
	s.job.idle.Store(false)
	s.job.offset.Store(c.End.Serial)
	if c.End.Serial > s.marked.Serial+settleBytes {
		s.settle()
	}
	return s.job.applier().Command(c)
}

// Idle implements record.CommandSink.
func (s *liveSink) Idle() error {
	if err := s.job.whileFrozen(s.ctx); err != nil {
		return err
	}
	err := s.job.applier().Idle()
	if j := s.job; err == nil && j.refining.Load() == refineAsked {
		if err = j.applier().Refine(); err == nil {
			j.refining.Store(refineDone)
		}
	}
	s.settle()
	s.job.idle.Store(s.job.applier().Behind() == 0)
	return err
}

// settle lets the tracker know what is in.
func (s *liveSink) settle() {
	if pos := s.job.applier().Safe(); pos != s.marked && pos.Stream != "" && !s.marked.End {
		s.marked = pos
		s.tracker.Mark(pos)
		s.job.lag.isIn(pos.Serial)
	}
}

// Mark implements record.Sink.
func (s *liveSink) Mark(pos record.Position) error {
	if s.job.tailing.Load() { // the end of a file
		if err := s.job.applier().Drain(s.ctx); err != nil {
			return err
		}
		s.job.lag.isIn(pos.Serial)
		s.marked = pos
	}
	return s.sink.Mark(pos)
}

// distrust makes sure that nothing remains of what the target held when the full
// copy began: keys of another copy of this job, or of somebody else. First keys
// that the source does not have are looked at again; then all commands up to now
// are told not to rely on what they find, since a key that the copy does not
// have may have been made by them, before it was looked for.
func (j *Job) distrust(ctx context.Context) error {
	live := j.opts.Live
	if live.Offset == nil || live.Tail.Reread == nil || j.saved.Copies < 2 && j.opts.OnExists == Fail {
		return nil
	}
	switch {
	case j.saved.Copies < 2:
	case j.opts.OnExists != Fail || j.opts.Exists == nil:
		j.log.Warn("keys that were deleted from the source between two full copies stay on the target: they can't be told from its own; slotferry verify --extra names them")
	default:
		if err := j.removeVanished(ctx); err != nil {
			return err
		}
	}
	now, err := live.Offset(ctx)
	if err != nil {
		return fmt.Errorf("%w: the source does not say how far its stream reaches: %w", record.ErrPatience, err)
	}
	j.applier().Distrust(now)
	j.saving.Lock()
	j.saved.Distrust = now
	j.saving.Unlock()
	return nil
}

// vanishedAsked is how many names are asked for at a time.
const vanishedAsked = 1000

// removeVanished lets the applier look again at all keys of the target that the
// source does not have.
func (j *Job) removeVanished(ctx context.Context) error {
	found := 0
	dbs := j.origins()
	err := j.absent(ctx, func(names [][]byte) error {
		found += len(names)
		for _, name := range names {
			first := true
			var err error
			j.opts.Choice.Origins(name, dbs, func(db int, key []byte) {
				if first {
					err, first = j.applier().Later(db, key), false
				}
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil && found > 0 {
		j.log.Info("keys that the source no longer has are removed from the target", zap.Int("keys", found))
	}
	return err
}

// absent visits the names of the target's keys that the source does not have,
// some at a time.
func (j *Job) absent(ctx context.Context, visit func(names [][]byte) error) error {
	var names [][]byte
	ask := func() error {
		there, err := j.exists(ctx, names)
		if err != nil {
			return err
		}
		gone := names[:0]
		for i, name := range names {
			if !there[i] {
				gone = append(gone, name)
			}
		}
		names = nil
		if len(gone) == 0 {
			return nil
		}
		return visit(gone)
	}
	err := j.opts.Target.Names(ctx, func(name []byte) error {
		if checkpoint.OwnKey(string(name)) {
			return nil
		}
		if names = append(names, name); len(names) < vanishedAsked {
			return nil
		}
		return ask()
	})
	if err == nil && len(names) > 0 {
		err = ask()
	}
	return err
}
