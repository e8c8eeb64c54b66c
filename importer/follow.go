package importer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/slotferry/slotferry/checkpoint"
	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/importer/route"
	"github.com/slotferry/slotferry/importer/source/notify"
)

// Followed says how a job goes on, behind a scan of its source, with the keys
// that the source notifies of.
type Followed struct {
	Listener *notify.Listener
	// Read gives keys of one database as they are now.
	Read func(ctx context.Context, db int, keys [][]byte, each func(i int, r *record.Record) error) error
	// Once ends the job when all that was written before the end of the scan is in.
	Once    bool
	Cutover *Cutover // nil: none
}

// errNotified ends the listening when the job ends.
var errNotified = errors.New("the job ends")

// followPasses is passes with the source's notifications heard from before the
// first page on.
func (j *Job) followPasses(ctx context.Context) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	done, err := j.listen(ctx, stop)
	if err != nil {
		return err
	}
	defer done()
	err = j.passes(ctx)
	if errors.Is(err, errSwitched) || errors.Is(err, errCaughtUp) {
		return nil
	}
	return err
}

// listen gathers touched keys from before the first page of the scan on, until
// the returned function is called. The reading ends if that is no longer
// possible.
func (j *Job) listen(ctx context.Context, stop context.CancelCauseFunc) (done func(), err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	var running sync.WaitGroup
	running.Go(func() {
		if err := j.opts.Followed.Listener.Run(ctx); err != nil && !errors.Is(err, errNotified) {
			stop(err)
		}
	})
	done = func() { cancel(errNotified); running.Wait() }
	if err := j.opts.Followed.Listener.Ready(ctx); err != nil {
		done()
		return nil, err
	}
	return done, nil
}

// follower carries keys that were touched. It belongs to the reading goroutine.
type follower struct {
	*sink
	onWay   map[string]bool // names sent since the last drain
	removed map[string]bool // names to be removed with the next one
}

// mostRemoved is how many names wait to be removed, and mostOnWay how many were
// sent, before all is drained.
const (
	mostRemoved = 1000
	mostOnWay   = 100_000
)

// follow carries what is touched until the job is to end.
func (j *Job) follow(ctx context.Context) error {
	if j.resumed || j.passed > 0 {
		if err := j.removeGone(ctx); err != nil {
			return err
		}
	}
	j.passed++
	j.enter("tail")
	reading, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	f := &follower{sink: newSink(reading, j, j.opts.Target), onWay: map[string]bool{}, removed: map[string]bool{}}
	// Keys that are carried again are no part of the account of the copy.
	f.tracker, f.stream = checkpoint.NewTracker(checkpoint.State{}), nil
	var beside sync.WaitGroup
	beside.Go(func() { stop(j.conductFollowed(reading)) })
	beside.Go(func() { j.watchMasters(reading, stop) })
	err := j.opts.Followed.Listener.Follow(reading, notify.FollowOptions{
		Read: j.opts.Followed.Read, Send: f.send,
		Anew: func(ctx context.Context, why error) error {
			j.log.Warn("keys may have been touched unseen: reading all of them once more", zap.Error(why))
			if err := f.drain(); err != nil { // what was gone may be back by then
				return err
			}
			return j.again(ctx)
		},
		Idle: func() error {
			if err := j.whileFrozen(reading); err != nil {
				return err
			}
			defer j.idle.Store(true)
			return f.drain()
		},
	})
	stop(nil)
	beside.Wait()
	if errors.Is(err, errCaughtUp) {
		f.ctx = ctx
		if failed := f.drain(); failed != nil {
			err = failed
		}
	}
	j.lost = append(j.lost, f.tracker.Failures()...)
	if errors.Is(err, errDoubt) { // what it lacks may be of any age
		j.trail.Reset(checkpoint.State{})
	}
	return err
}

// send carries a key as it is now.
func (f *follower) send(r *record.Record) error {
	j := f.job
	if err := j.whileFrozen(f.ctx); err != nil {
		return err
	}
	j.idle.Store(false)
	name := string(j.opts.Choice.Name(nil, r.DB, r.Key))
	if f.onWay[name] || len(f.onWay) >= mostOnWay || len(f.removed) >= mostRemoved {
		// Two values of one key on their way could arrive the wrong way round.
		if err := f.drain(); err != nil {
			return err
		}
	}
	if r.Fate == record.Gone || r.ExpireAt != 0 && r.ExpireAt <= time.Now().UnixMilli() {
		if j.opts.Choice.Slot(route.Slot([]byte(name))) {
			f.removed[name] = true
		}
		return nil
	}
	delete(f.removed, name)
	f.onWay[name] = true
	f.now = time.Now().UnixMilli()
	return f.Record(r)
}

// drain waits until all that was sent is answered, and removes what is gone.
func (f *follower) drain() error {
	f.end.Flush()
	if err := f.job.opts.Target.Drain(f.ctx); err != nil {
		return err
	}
	clear(f.onWay)
	if len(f.removed) == 0 {
		return nil
	}
	names := make([][]byte, 0, len(f.removed))
	for name := range f.removed {
		names = append(names, []byte(name))
	}
	if err := f.job.remove(f.ctx, names); err != nil {
		return err
	}
	f.job.deleted.Add(int64(len(names)))
	clear(f.removed)
	return nil
}

// again scans the whole source once more, and removes from the target what is
// gone.
func (j *Job) again(ctx context.Context) error {
	j.saving.Lock()
	j.tracker.Store(checkpoint.NewTracker(checkpoint.State{}))
	j.trail.Reset(checkpoint.State{})
	j.saving.Unlock()
	err := j.opts.Source.Stream(ctx, record.Position{}, newSink(ctx, j, j.opts.Target))
	j.tracker.Load().Show()
	if err != nil {
		return err
	}
	if err := j.opts.Target.Drain(ctx); err != nil {
		return err
	}
	return j.removeGone(ctx)
}

// removeGone removes keys from the target that the source does not have, if the
// target has nothing but what this job wrote.
func (j *Job) removeGone(ctx context.Context) error {
	if j.opts.OnExists != Fail || j.opts.Exists == nil {
		j.log.Warn("keys that were deleted from the source meanwhile stay on the target: they can't be told from its own; slotferry verify --extra names them")
		return nil
	}
	return j.absent(ctx, func(names [][]byte) error {
		j.deleted.Add(int64(len(names)))
		return j.remove(ctx, names)
	})
}

// conductFollowed waits for what ends the following, and returns it.
func (j *Job) conductFollowed(ctx context.Context) error {
	f := j.opts.Followed
	switch {
	case f.Cutover != nil:
		if err := j.cutOver(ctx, f.Cutover, j.followedEnds()); err != nil {
			return err
		}
		return errSwitched
	case f.Once:
		if err := await(ctx, j.settledBy(ctx)); err != nil {
			return err
		}
		return errCaughtUp
	}
	<-ctx.Done()
	return context.Cause(ctx)
}

// settledBy reports whether everything that was written before it is asked is
// in.
func (j *Job) settledBy(ctx context.Context) func() bool {
	return func() bool {
		settled, err := j.opts.Followed.Listener.Settled(ctx)
		return err == nil && settled && j.idle.Load()
	}
}

// followedEnds tells a cutover how far a job is that follows notifications.
func (j *Job) followedEnds() ends {
	l := j.opts.Followed.Listener
	const fewKeys = 1000
	return ends{
		want: fmt.Sprintf("fewer than %d touched keys are waiting", fewKeys),
		near: func() bool { return l.Pending() < fewKeys },
		pace: func(context.Context) (int64, error) { return l.Counts().Events, nil },
		mark: func(ctx context.Context) (int64, func() bool, error) { return 0, j.settledBy(ctx), nil },
	}
}
