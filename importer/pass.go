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
		if err == nil {
			sure, waitErr := j.sure(ctx)
			if sure || waitErr != nil {
				return waitErr
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
		if changed, _ := j.changed(ctx); changed {
			stop(errDoubt)
			return
		}
	}
}

// changed reports whether a master that was written to lives no more, or lives
// again. all says that every one of them could be asked.
func (j *Job) changed(ctx context.Context) (changed, all bool) {
	lives, masters := j.opts.Target.Lives(ctx)
	all = true
	for addr, id := range *j.lives.Load() {
		switch now := lives[addr]; {
		case id == "": // it never said
		case !masters[addr] && len(masters) > 0, now != "" && now != id:
			return true, true
		case now == "":
			all = false
		}
	}
	return false, all
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

// goBack makes the next pass begin where the job stood Replay ago.
func (j *Job) goBack(ctx context.Context) error {
	lives, _ := j.opts.Target.Lives(ctx)
	// No checkpoint may have the position from before with the lives from now.
	j.saving.Lock()
	defer j.saving.Unlock()
	state := j.trail.Behind()
	j.log.Warn("a master was replaced or restarted, and what it acknowledged last may be gone with it: copying that once more, which harms nothing",
		zap.Int64("from_key", state.Counts.Read), zap.Duration("back_by_at_most", j.opts.Replay))
	j.tracker.Store(checkpoint.NewTracker(state))
	j.trail.Reset(state)
	j.replicas.reset(state)
	j.offset.Store(state.Position.Offset)
	if len(lives) > 0 {
		j.lives.Store(&lives)
	}
	if j.source.Once {
		return fmt.Errorf("%w: a master was replaced or restarted, and this source can't be read twice in one run", record.ErrPatience)
	}
	return nil
}

// remember takes the masters' present lives, and where to begin: where the job
// stands, or further back if a master has changed since the last run.
func (j *Job) remember() {
	lives := map[string]string{}
	for _, m := range j.target.Masters {
		lives[m.Addr] = m.Server.RunID
	}
	for addr, id := range j.saved.Lives {
		if j.resumed && lives[addr] != id {
			j.log.Warn("a master was replaced or restarted since the last run, and what it acknowledged last may be gone with it: going back a little further",
				zap.String("node", addr))
			j.saved.State = j.saved.Trail
			break
		}
	}
	j.lives.Store(&lives)
	if !j.resumed {
		j.saved.Trail = j.saved.State
	}
	j.trail = checkpoint.NewTrail(j.opts.Replay, j.saved.Trail)
}
