package importer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/slotferry/slotferry/checkpoint"
	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/importer/target"
)

// errDoubt ends a pass early: a master was replaced or restarted.
var errDoubt = errors.New("a master was replaced or restarted")

// ErrLost means that the target has lost keys that it acknowledged.
var ErrLost = errors.New("keys are missing in the target")

// passes streams the source until nothing is in doubt. Replication is
// asynchronous and disks are synced now and then, so that a master that was
// replaced by its replica, or restarted, may have lost what it acknowledged
// last. Then the pass goes back by Replay and writes that again, which is
// harmless where it was not lost.
func (j *Job) passes(ctx context.Context) error {
	for {
		err := j.pass(ctx)
		j.tracker.Load().Show()
		if ctx.Err() != nil || err != nil && !errors.Is(err, errDoubt) {
			return err
		}
		if drained := j.opts.Target.Drain(ctx); drained != nil {
			return drained
		}
		if err == nil && j.opts.Live != nil && j.tailing.Load() {
			return nil // its marks have told
		}
		if err == nil {
			sure, waitErr := j.sure(ctx)
			if waitErr != nil {
				return waitErr
			}
			if sure && j.opts.Followed == nil {
				return j.complete(ctx)
			}
			if sure {
				if err := j.follow(ctx); !errors.Is(err, errDoubt) {
					return err
				}
			}
		}
		if err := j.goBack(ctx); err != nil {
			return err
		}
	}
}

// pass streams the source once, from where the tracker stands, and watches the
// masters meanwhile.
func (j *Job) pass(ctx context.Context) error {
	if j.opts.Live != nil {
		return j.live(ctx)
	}
	ctx, stop := context.WithCancelCause(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		j.watchMasters(ctx, stop)
	}()
	err := j.opts.Source.Stream(ctx, j.tracker.Load().Safe().Position, newSink(ctx, j, j.opts.Target))
	stop(nil)
	<-watched
	return err
}

func (j *Job) watchMasters(ctx context.Context, stop context.CancelCauseFunc) {
	tick := time.NewTicker(j.opts.WatchEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if j.tailing.Load() {
			return // what a master lacks its marks tell
		}
		if changed, _ := j.changed(ctx); changed {
			j.log.Warn("a master was replaced or restarted, and what it acknowledged last may be gone with it: copying that once more, which harms nothing")
			stop(errDoubt)
			return
		}
	}
}

// sure waits until every master could be asked, and reports whether all are the
// ones that were written to.
func (j *Job) sure(ctx context.Context) (bool, error) {
	var waiting func()
	for begun := time.Now(); ; {
		changed, all := j.changed(ctx)
		if changed || all {
			return !changed, nil
		}
		if waited := time.Since(begun); waited > j.opts.RetryFor {
			return false, fmt.Errorf("%w: everything was answered, but a master is silent for %s, so that it is not sure whether what it holds is safe", record.ErrPatience, waited.Round(time.Second))
		}
		if waiting == nil {
			waiting = j.owes(target.Owes("a master", "word that it was not restarted"))
			defer waiting()
		}
		select {
		case <-ctx.Done():
			return false, context.Cause(ctx)
		case <-time.After(j.opts.WatchEvery):
		}
	}
}

// complete reports with an error if the target holds fewer keys than it has
// acknowledged, where that can be told: in what was empty, of a source that gives
// each key once.
func (j *Job) complete(ctx context.Context) error {
	if j.opts.OnExists != Fail || j.source.Server != nil {
		return nil
	}
	written := j.tracker.Load().Totals().Permanent
	held, err := j.opts.Target.Keys(ctx)
	if err != nil {
		j.log.Warn("the target's keys could not be counted at the end", zap.Error(err))
		return nil
	}
	if held >= written {
		return nil
	}
	return fmt.Errorf("%w: it acknowledged %d without expiry and holds %d in all: did somebody delete some, or did masters lose them? verify --repair tells which, and writes them again", ErrLost, written, held)
}

// goBack makes the next pass begin where the job stood Replay ago.
func (j *Job) goBack(ctx context.Context) error {
	lives, _ := j.opts.Target.Lives(ctx)
	// No checkpoint may have the position from before with the lives from now.
	j.saving.Lock()
	defer j.saving.Unlock()
	seen := j.masters.Load()
	state := j.back(seen, time.Now(), j.trail.Behind())
	j.log.Info("going back", zap.Int64("to_key", state.Counts.Read))
	j.tracker.Store(checkpoint.NewTracker(state))
	j.trail.Reset(state)
	j.replicas.reset(state)
	j.offset.Store(state.Position.Offset)
	if len(lives) > 0 {
		j.masters.Store(&masters{lives: lives, division: seen.division, moved: seen.moved, seen: time.Now()})
	}
	if j.source.Once {
		return fmt.Errorf("%w: a master was replaced or restarted, and this source can't be read twice in one run", record.ErrPatience)
	}
	return nil
}
