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
	"github.com/slotferry/slotferry/importer/source/psync"
	"github.com/slotferry/slotferry/importer/tail"
)

// Live says how a job carries what was written behind the full copy of its
// source: the commands of a replication stream, or of an append-only file.
type Live struct {
	// Tail says how commands are applied. The job adds what it knows itself.
	Tail tail.Options
	// Offset tells how far the source's stream reaches now, in bytes; nil for a
	// file, which ends.
	Offset func(ctx context.Context) (int64, error)
	// Received tells how far of that has come here already; nil: not known.
	Received func() int64
	// Once ends the job when what was written before the end of the copy is in.
	Once    bool
	Cutover *Cutover // nil: none
}

var (
	// errSwitched ends the reading when the cutover is done, errCaughtUp when what
	// was wanted is in.
	errSwitched = errors.New("switched")
	errCaughtUp = errors.New("caught up")
)

// copiesMost is how many full copies in a row may end without reaching their
// commands.
const copiesMost = 5

// newApplier makes the applier of a live job.
func (j *Job) newApplier() {
	o := j.opts.Live.Tail
	o.Cluster, o.Choice, o.Job, o.Log, o.RetryFor = j.opts.Target, j.opts.Choice, j.opts.Job, j.log, j.opts.RetryFor
	o.Lag = func() time.Duration { return time.Duration(j.lag.lag(time.Now()).Seconds * float64(time.Second)) }
	o.Database = j.claimDatabase
	o.Alone = j.opts.OnExists == Fail && j.opts.Choice.All() && !j.opts.Shared
	j.commands.Store(tail.New(o))
}

// applier is the one of the present pass.
func (j *Job) applier() *tail.Applier { return j.commands.Load() }

// live streams a source with commands once, from where the job stands, and does
// beside it what the job is for.
func (j *Job) live(ctx context.Context) error {
	from := j.tracker.Load().Safe().Position
	j.tailing.Store(false)
	if from.Stream == "" {
		j.enter("copy")
		j.lag.reset()
		if err := j.beginCopy(ctx); err != nil {
			return err
		}
	}
	j.newApplier()
	reading, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	answered, abort := j.runApplier(ctx, stop)
	defer abort()
	var beside sync.WaitGroup
	if j.opts.Live.Offset != nil {
		beside.Go(func() { j.watchLag(reading) })
		beside.Go(func() { stop(j.conduct(reading)) })
	}
	beside.Go(func() { j.watchMasters(reading, stop) })
	s := &liveSink{sink: newSink(reading, j, j.opts.Target), work: ctx}
	err := s.stream(from)
	switched := errors.Is(err, errSwitched)
	if switched || errors.Is(err, errCaughtUp) {
		err = nil
	}
	switch {
	case err != nil:
	case j.tailing.Load():
		err = s.endTail(ctx, switched)
	case from.Stream != "" && from.End: // a run before ended while it removed the marks
		err = j.applier().Clear(ctx)
	}
	stop(nil)
	j.applier().Finish()
	if failed := answered(); err == nil || failed != nil {
		err = failed
	}
	beside.Wait()
	s.settle()
	j.lost = j.applier().Failures()
	return j.doubts(err)
}

// endTail brings everything in, saves that it is, and removes the marks. When
// clients were switched everything is in, and nothing may be written any more.
func (s *liveSink) endTail(ctx context.Context, switched bool) error {
	j := s.job
	if !switched {
		if err := j.applier().Drain(ctx); err != nil {
			return err
		}
	}
	s.settle()
	if err := j.savePlace(ctx, j.tracker.Load().Safe().Position); err != nil {
		return err
	}
	return j.applier().Clear(ctx)
}

// stream reads the source from a position on.
func (s *liveSink) stream(from record.Position) error {
	if from.Stream != "" && !from.End {
		if err := s.job.applier().Begin(s.work, from, false); err != nil {
			return err
		}
		if err := s.distrustUntilNow(); err != nil {
			return err
		}
		s.enterTail(from)
	}
	return s.job.opts.Source.Stream(s.ctx, from, s)
}

// distrustUntilNow has keys read again that were written to while no run
// followed: their expiries may have passed on the target before commands came
// that moved them.
func (s *liveSink) distrustUntilNow() error {
	j := s.job
	until := j.saved.Distrust
	if j.opts.Live.Offset != nil && j.opts.Live.Tail.Reread != nil {
		now, err := j.opts.Live.Offset(s.ctx)
		if err != nil {
			return fmt.Errorf("%w: the source does not say how far its stream reaches: %w", record.ErrPatience, err)
		}
		until = max(until, now)
	}
	j.applier().Distrust(until)
	return nil
}

// runApplier runs the job's applier beside the reading, which ends if that does.
// It outlives ctx: what is in flight when that ends is still answered. answered
// waits for its end.
func (j *Job) runApplier(ctx context.Context, stop context.CancelCauseFunc) (answered func() error, abort func()) {
	work, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	release := context.AfterFunc(ctx, func() {
		time.AfterFunc(j.opts.DrainFor, func() { cancel(context.Cause(ctx)) })
	})
	applier, ended := j.applier(), make(chan error, 1)
	go func() {
		err := applier.Run(work)
		if err != nil {
			stop(err)
		}
		ended <- err
	}()
	return func() error { return <-ended }, func() { release(); cancel(nil) }
}

// beginCopy notes in the checkpoint, before the first key is sent, that another
// full copy begins: what the one before it has written may have gone from the
// source since.
func (j *Job) beginCopy(ctx context.Context) error {
	if j.opts.Live.Offset == nil {
		return nil
	}
	if j.copies++; j.copies > copiesMost {
		return fmt.Errorf("%w: %d full copies ended before the commands behind them could be read; see why in the lines above", record.ErrPatience, copiesMost)
	}
	j.saving.Lock()
	defer j.saving.Unlock()
	j.saved.Copies++
	j.saved.Distrust = 0
	return j.save(ctx, j.tracker.Load().Safe())
}

// conduct waits for what ends the reading, and returns it.
func (j *Job) conduct(ctx context.Context) error {
	if err := await(ctx, j.tailing.Load); err != nil {
		return err
	}
	live := j.opts.Live
	switch {
	case live.Cutover != nil:
		if err := j.cutOver(ctx, live.Cutover, j.streamEnds(live.Cutover)); err != nil {
			return err
		}
		return errSwitched
	case live.Once:
		until, err := live.Offset(ctx)
		if err != nil {
			return fmt.Errorf("%w: the source does not say how far its stream reaches: %w", record.ErrPatience, err)
		}
		if err := await(ctx, func() bool { return j.applier().Safe().Serial >= until }); err != nil {
			return err
		}
		return errCaughtUp
	}
	<-ctx.Done()
	return context.Cause(ctx)
}

// doubts turns what makes the stream to be read again from an earlier place into
// errDoubt, with the trail set to that place.
func (j *Job) doubts(err error) error {
	var behind *tail.BehindError
	switch {
	case errors.As(err, &behind):
		if p := j.trail.Behind().Position; p.Stream != "" && p.Serial <= behind.Serial {
			j.log.Warn("a master was replaced or restarted and lacks commands that it had acknowledged: carrying them once more", zap.String("node", behind.Addr))
			return errDoubt
		}
	case errors.Is(err, tail.ErrResync), errors.Is(err, psync.ErrHistoryLost):
	default:
		return err
	}
	if j.opts.Live.Offset == nil { // commands of a file can't be applied twice
		return fmt.Errorf("%w; empty the target and begin again with --restart, or use --aof-via scratch, which can go on", err)
	}
	j.log.Warn("making a full copy again, without emptying the target; keys that the source no longer has are removed after it", zap.Error(err))
	j.trail.Reset(checkpoint.State{})
	return errDoubt
}
