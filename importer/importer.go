// Package importer carries every key of a source into a Redis Cluster. Run
// reads from top to bottom: preflight, begin, copy, finish. It knows sources,
// targets and stores by the few methods it needs; the packages below it are the
// concrete ones, and cmd/slotferry is their first user.
package importer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/slotferry/slotferry/checkpoint"
	"github.com/slotferry/slotferry/importer/choice"
	"github.com/slotferry/slotferry/importer/preflight"
	"github.com/slotferry/slotferry/importer/pulse"
	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/importer/report"
	"github.com/slotferry/slotferry/importer/route"
	"github.com/slotferry/slotferry/importer/tail"
	"github.com/slotferry/slotferry/importer/target"
	"github.com/slotferry/slotferry/importer/verify"
)

// ErrInterrupted means that the context ended the run: a checkpoint was saved,
// and the same command goes on.
var ErrInterrupted = errors.New("interrupted")

// ErrFailedKeys means that the run went to its end, but some keys failed.
var ErrFailedKeys = errors.New("some keys could not be written")

// Source yields records in order, from any position it has marked.
type Source interface {
	// Inspect says what the source is and what stands in the way of reading it.
	Inspect(ctx context.Context) (preflight.Source, preflight.Findings)
	// Survey may read all of the source once, and adds what is in there.
	Survey(ctx context.Context, facts *preflight.Source) preflight.Findings
	Stream(ctx context.Context, from record.Position, sink record.Sink) error
}

// Store keeps a checkpoint.
type Store interface {
	// Load returns checkpoint.ErrNone when there is nothing yet.
	Load(ctx context.Context) (checkpoint.Checkpoint, error)
	Save(ctx context.Context, c checkpoint.Checkpoint) error
	Close(ctx context.Context) error
}

// OnExists is what becomes of keys that the target has already.
type OnExists string

// The policies for keys that exist.
const (
	Fail    OnExists = "fail"    // the target must be empty
	Replace OnExists = "replace" // the source wins
	Skip    OnExists = "skip"    // the target wins
)

// Options is one job; zero fields take the defaults noted.
type Options struct {
	Job      string // its name
	Source   Source
	Target   *target.Cluster
	Choice   *choice.Choice
	OnExists OnExists // Fail; the target's own Skip must agree
	// SkipUnsupported leaves out what the target can't take; the target's own must agree.
	SkipUnsupported bool

	// OpenStore opens the checkpoint, once the target was found well. nil: the
	// job can't be resumed.
	OpenStore func(context.Context) (Store, error)
	Restart   bool // forget the checkpoint

	// Mirror lets only what has changed be written, and what is gone be removed;
	// nil: all is written, nothing removed.
	Mirror Mirror
	// Exists tells which keys a living source has at present, before keys of the
	// target are removed as gone; nil: the source is a file.
	Exists func(ctx context.Context, db int, keys [][]byte) ([]bool, error)

	RateKeys  float64 // keys a second; 0 for no limit
	RateBytes int64   // bytes of values and keys a second; 0 for no limit

	SaveEvery   time.Duration // between checkpoints; 500 ms
	SavePatient time.Duration // how long saving may fail; 10 s
	DrainFor    time.Duration // after an interruption, for what is in flight; 10 s

	Replay     time.Duration // how far to go back when a master was replaced or restarted; 1 min
	WatchEvery time.Duration // between looks whether one was; 2 s
	RetryFor   time.Duration // how long a master may be silent at the end, and replicas be behind; 5 min

	// WaitReplicas is how many replicas of each master must have what a checkpoint
	// says was written; none.
	WaitReplicas int

	Shared     bool // others write to the target, too
	CountSlots bool // tell what goes to each slot (Job.Slots)

	Live     *Live     // of a source that goes on with commands; nil: it does not
	Followed *Followed // of a source that is scanned, and tells which keys are touched; nil: it does not

	StandstillAfter time.Duration    // without progress, before it is told; 30 s
	Standstill      func(Standstill) // told beside the log, never twice at a time; none

	Log    *zap.Logger              // none
	Notify func(preflight.Findings) // warnings, before the first write; none
	// Foresee is told what will be done, as far as it is known before the first
	// write; none.
	Foresee func(*report.Plan)
}

// Job is one run of an import.
type Job struct {
	opts  Options
	log   *zap.Logger
	begun time.Time

	planning  bool // nothing is written, and what stands in the way is counted
	verifying bool // nothing is written, and the target is not empty

	source     preflight.Source
	target     preflight.Target
	store      Store
	saved      checkpoint.Checkpoint // what the store holds, or would
	resumed    bool
	unfinished bool // an earlier run of the job was not finished, resumed or not
	masters    atomic.Pointer[masters]
	trail      *checkpoint.Trail
	saving     sync.Mutex // held while a checkpoint is made and saved, and while the job goes back

	plainDB atomic.Int64 // the one database whose keys keep their names, -1 before the first
	tracker atomic.Pointer[checkpoint.Tracker]
	offset  atomic.Int64 // of the last mark, in a file
	phase   atomic.Pointer[string]

	replicas  replicas
	last      *checkpoint.State // of the last checkpoint, at the end
	pulse     pulse.Pulse       // of what the job itself waits for
	comparing atomic.Pointer[verify.Comparer]
	limited   atomic.Bool   // --rate-keys or --rate-bytes makes it wait
	rest      time.Duration // between rounds of a verification
	standing  atomic.Pointer[Standstill]

	commands  atomic.Pointer[tail.Applier] // of a live job, in its present pass
	tailing   atomic.Bool                  // the commands behind the full copy are read
	slots     []atomic.Int64               // records sent, with CountSlots
	refining  atomic.Int32                 // 0, refineAsked or refineDone
	idle      atomic.Bool                  // nothing is there to be done
	copies    int                          // full copies in a row that did not get there
	passed    int                          // scans of a source that was followed behind each
	copyTook  atomic.Int64                 // nanoseconds of the last full copy, from its first key on
	lost      []checkpoint.Failure         // keys that commands did not reach, by name
	lag       lagging
	cutover   atomic.Pointer[CutoverFacts]
	frozen    atomic.Bool  // clients may be switched: nothing is written any more
	mirrored  bool         // the Mirror knows what the target holds
	unchanged atomic.Int64 // with a Mirror: of the skipped keys
	deleted   atomic.Int64 // removed from the target, as the source no longer has them
}

// New returns a job that has not begun.
func New(o Options) *Job {
	if o.OnExists == "" {
		o.OnExists = Fail
	}
	if o.SaveEvery == 0 {
		o.SaveEvery = 500 * time.Millisecond
	}
	if o.SavePatient == 0 {
		o.SavePatient = 10 * time.Second
	}
	if o.DrainFor == 0 {
		o.DrainFor = 10 * time.Second
	}
	if o.Replay == 0 {
		o.Replay = time.Minute
	}
	if o.WatchEvery == 0 {
		o.WatchEvery = 2 * time.Second
	}
	if o.RetryFor == 0 {
		o.RetryFor = 5 * time.Minute
	}
	if o.StandstillAfter == 0 {
		o.StandstillAfter = 30 * time.Second
	}
	if o.Standstill == nil {
		o.Standstill = func(Standstill) {}
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Notify == nil {
		o.Notify = func(preflight.Findings) {}
	}
	if o.Foresee == nil {
		o.Foresee = func(*report.Plan) {}
	}
	j := &Job{opts: o, log: o.Log}
	if o.CountSlots {
		j.slots = make([]atomic.Int64, route.Slots)
	}
	j.plainDB.Store(-1)
	j.enter("preflight")
	return j
}

// Run does the whole job. When ctx ends it stops reading, lets what is in
// flight be answered, saves a checkpoint and returns ErrInterrupted. The summary
// is whole whatever the error: a *preflight.Error (nothing was written),
// ErrFailedKeys, a *target.PatienceError or record.ErrPatience (run again to
// go on), or what else ended it.
func (j *Job) Run(ctx context.Context) (Summary, error) {
	j.begun = time.Now()
	defer j.watch()()
	defer j.close(ctx)
	err := j.preflight(ctx)
	if err == nil {
		err = j.begin(ctx)
	}
	if err != nil {
		return j.summary(err), err
	}
	if err := j.sweep(ctx); err != nil {
		err = j.finish(ctx, err)
		return j.summary(err), err
	}
	if p := j.sketch(); p != nil {
		j.opts.Foresee(p)
	}
	err = j.copy(ctx)
	if err == nil && j.opts.Mirror != nil {
		err = j.finishMirror(ctx)
	}
	err = j.finish(ctx, err)
	return j.summary(err), err
}

// begin saves the checkpoint that makes an interruption harmless, before the
// first key is sent.
func (j *Job) begin(ctx context.Context) error {
	j.saved.Runs++
	j.saved.Done = false
	j.saved.Job = j.opts.Job
	j.saved.Source = checkpoint.Identity{Text: j.source.Text, IDs: j.source.IDs}
	j.saved.Target = checkpoint.Identity{Text: j.target.Text, IDs: j.target.IDs}
	j.saved.Choice, j.saved.Policy = j.opts.Choice.Identity(), string(j.opts.OnExists)
	if !j.resumed {
		j.saved.Started = j.begun
		j.saved.Total = j.source.Total()
	}
	if j.resumed && !j.surveyed() && j.opts.Choice.Renames() {
		j.log.Info("beginning anew: names that went by in an earlier run are not known, so that two keys of one new name would go unseen")
		j.saved.State, j.saved.Trail, j.saved.PlainDB = checkpoint.State{}, checkpoint.State{}, nil
	}
	if j.resumed && j.opts.Followed != nil {
		j.log.Info("reading all keys once more: what was touched since the last run nobody tells")
		j.saved.State, j.saved.Trail = checkpoint.State{}, checkpoint.State{}
	}
	if db := j.saved.PlainDB; db != nil {
		j.plainDB.Store(int64(*db))
	}
	j.remember(ctx)
	if err := j.save(ctx, j.saved.State); err != nil {
		if context.Cause(ctx) != nil {
			return ErrInterrupted
		}
		if errors.Is(err, checkpoint.ErrLost) {
			return fmt.Errorf("%w: %w", record.ErrPatience, err)
		}
		f := preflight.Findings{}
		f.Block("checkpoint_unusable", "name a folder that can be written and has room: --checkpoint DIR", "%v", err)
		return &preflight.Error{Blockers: f}
	}
	j.tracker.Store(checkpoint.NewTracker(j.saved.State))
	j.replicas.reset(j.saved.State)
	j.offset.Store(j.saved.State.Position.Offset)
	return nil
}

// sweep removes what an earlier run may have left half made in the target.
func (j *Job) sweep(ctx context.Context) error {
	if !j.unfinished {
		return nil
	}
	if err := j.opts.Target.Sweep(ctx); err != nil {
		if context.Cause(ctx) != nil {
			return ErrInterrupted
		}
		return err
	}
	return nil
}

// surveyed tells whether this run or the one that began the job has looked at
// the whole source beforehand.
func (j *Job) surveyed() bool { return j.source.Keys != nil || j.saved.Total > 0 }

// copy streams the source into the target's lanes until all is answered.
func (j *Job) copy(ctx context.Context) error {
	j.enter("copy")
	read := j.passes
	if j.opts.Followed != nil {
		read = j.followPasses
	}
	return j.carry(ctx, j.opts.Target, read)
}

// lanes work on what they are sent until Finish was called and all of it is
// answered.
type lanes interface {
	Run(ctx context.Context) error
	Finish()
}

// carry runs a reading and the lanes that it sends to, and saves checkpoints
// meanwhile.
func (j *Job) carry(ctx context.Context, to lanes, read func(context.Context) error) error {
	// Work outlives ctx: what is in flight when it ends is still answered.
	work, abort := context.WithCancelCause(context.WithoutCancel(ctx))
	defer abort(nil)
	g, work := errgroup.WithContext(work)
	reading, stop := context.WithCancelCause(work)
	defer stop(nil)
	defer context.AfterFunc(ctx, func() {
		stop(ErrInterrupted)
		j.enter("drain")
		time.AfterFunc(j.opts.DrainFor, func() { abort(ErrInterrupted) })
	})()

	answered := make(chan struct{})
	var readErr error
	g.Go(func() error {
		defer close(answered)
		return to.Run(work)
	})
	g.Go(func() error {
		defer to.Finish()
		readErr = read(reading)
		return nil
	})
	g.Go(func() error { return j.keepSaving(work, answered) })
	if err := g.Wait(); err != nil {
		return context.Cause(work) // what ended it first: that draining took too long, for one
	}
	return readErr
}

// keepSaving saves a checkpoint every SaveEvery until all is answered. Saving
// may fail for SavePatient; beyond that a crash would cost too much.
func (j *Job) keepSaving(ctx context.Context, answered <-chan struct{}) error {
	tick := time.NewTicker(j.opts.SaveEvery)
	defer tick.Stop()
	good := time.Now()
	for {
		select {
		case <-answered:
			return nil
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		err := j.saveProgress(ctx)
		switch {
		case err == nil:
			good = time.Now()
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, record.ErrPatience):
			return err
		case errors.Is(err, checkpoint.ErrLost), time.Since(good) > j.opts.SavePatient:
			return fmt.Errorf("%w: the checkpoint can't be saved: %w", record.ErrPatience, err)
		default:
			j.log.Warn("the checkpoint can't be saved; trying again", zap.Error(err))
		}
	}
}

// saveProgress saves where the job stands, and leaves a trail of it.
func (j *Job) saveProgress(ctx context.Context) error {
	_, err := j.saveState(ctx)
	return err
}

// saveState is saveProgress, and returns what was saved.
func (j *Job) saveState(ctx context.Context) (checkpoint.State, error) {
	j.saving.Lock()
	defer j.saving.Unlock()
	state := j.tracker.Load().Safe()
	if j.opts.WaitReplicas > 0 {
		var err error
		if state, err = j.replicated(ctx, state); err != nil {
			return state, err
		}
	}
	j.trail.Add(time.Now(), state)
	return state, j.save(ctx, state)
}

// save writes a checkpoint with the given state.
func (j *Job) save(ctx context.Context, s checkpoint.State) error {
	c := j.saved
	m := j.masters.Load()
	c.State, c.Trail, c.Lives, c.Division, c.Moved = s, j.trail.Behind(), m.lives, m.division, m.moved
	c.Saved = time.Now()
	if db := int(j.plainDB.Load()); db >= 0 {
		c.PlainDB = &db
	}
	c.Seconds += time.Since(j.begun).Seconds()
	if j.store == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, j.opts.SavePatient)
	defer cancel()
	defer j.pulse.End(j.pulse.Begin(pulse.Wait{On: "the place of the checkpoint", What: "an answer", Remedy: "see that the place of --checkpoint can be written"}))
	return j.store.Save(ctx, c)
}

// finish saves the last checkpoint and says how it ended.
func (j *Job) finish(ctx context.Context, err error) error {
	j.enter("finish")
	t := j.tracker.Load()
	if err == nil {
		switch counts := t.Totals(); {
		case !counts.Balanced():
			err = fmt.Errorf("the account does not add up: %d keys read, %d accounted for; this is a fault of slotferry", counts.Read, counts.Answered())
		case counts.Failed > 0:
			err = fmt.Errorf("%w: %d of %d", ErrFailedKeys, counts.Failed, counts.Read)
		case len(j.lost) > 0:
			err = fmt.Errorf("%w: %d that the source wrote to behind its full copy", ErrFailedKeys, len(j.lost))
		}
	}
	last, err := j.lastState(ctx, err)
	j.saved.Done = err == nil || errors.Is(err, ErrFailedKeys) || errors.Is(err, ErrLost)
	j.last = &last
	if saveErr := j.save(context.WithoutCancel(ctx), last); saveErr != nil {
		err = errors.Join(err, fmt.Errorf("%w: the last checkpoint can't be saved: %w", record.ErrPatience, saveErr))
	}
	return err
}

func (j *Job) close(ctx context.Context) {
	if j.store == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), j.opts.SavePatient)
	defer cancel()
	if err := j.store.Close(ctx); err != nil {
		j.log.Warn("the checkpoint's lock is not given back", zap.Error(err))
	}
}

func (j *Job) enter(phase string) { j.phase.Store(&phase) }
