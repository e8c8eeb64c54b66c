package importer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/slotferry/slotferry/checkpoint"
	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/importer/target"
	"github.com/slotferry/slotferry/importer/wait"
)

// replicas let a checkpoint hold only what enough replicas have. A state is
// taken first, then how far each master's replication stream reaches: what the
// state has was answered before, so it is in a replica that has acknowledged
// the stream up to there. It is used under Job.saving.
type replicas struct {
	held    checkpoint.State // that enough replicas have
	asked   *checkpoint.State
	offsets target.Offsets // behind which all of asked lies
	since   time.Time      // when that was asked
	told    bool
}

const (
	replicasQuiet = 3 * time.Second        // a replica acknowledges once a second
	replicasRest  = 100 * time.Millisecond // between looks, at the end
)

// replicated returns the newest state that enough replicas have, and asks for
// the one given if it asks for none. Its error means that they had all of
// RetryFor.
func (j *Job) replicated(ctx context.Context, now checkpoint.State) (checkpoint.State, error) {
	r := &j.replicas
	if r.asked == nil {
		offsets, err := j.opts.Target.Offsets(ctx)
		if err != nil {
			return r.held, j.lagging(time.Now(), err.Error())
		}
		r.asked, r.offsets = &now, offsets
		r.begin()
	}
	behind, err := j.opts.Target.Behind(ctx, j.opts.WaitReplicas, r.offsets)
	switch {
	case err != nil:
		return r.held, j.lagging(time.Now(), err.Error())
	case len(behind) > 0:
		return r.held, j.lagging(time.Now(), strings.Join(behind, "; "))
	}
	if r.told {
		j.log.Info("enough replicas have what was written; the checkpoint goes on", zap.Duration("after", time.Since(r.since).Round(time.Millisecond)))
	}
	r.held = *r.asked
	r.forget()
	return r.held, nil
}

func (r *replicas) begin() {
	if r.since.IsZero() {
		r.since = time.Now()
	}
}

// forget makes the next question one of a later state.
func (r *replicas) forget() { r.asked, r.offsets, r.since, r.told = nil, nil, time.Time{}, false }

// reset begins at a state that counts as held.
func (r *replicas) reset(s checkpoint.State) {
	r.forget()
	r.held = s
}

// lagging says, once it lasts, why the checkpoint does not move.
func (j *Job) lagging(now time.Time, why string) error {
	r := &j.replicas
	r.begin()
	waited := now.Sub(r.since)
	if waited > j.opts.RetryFor {
		return fmt.Errorf("%w: the checkpoint waits for %d replicas of each master (--wait-replicas) for %s: %s", record.ErrPatience, j.opts.WaitReplicas, waited.Round(time.Second), why)
	}
	if waited > replicasQuiet && !r.told {
		r.told = true
		j.log.Warn("the checkpoint waits for replicas (--wait-replicas): see that they are up and keep up with their masters",
			zap.Int("wanted", j.opts.WaitReplicas), zap.String("reason", why), zap.Duration("for_at_most", j.opts.RetryFor))
	}
	return nil
}

// lastState is the state for the last checkpoint: all that was answered, as soon
// as enough replicas have it. A job that is done waits for them; one that was
// interrupted does not for long, and one that is out of patience not at all.
func (j *Job) lastState(ctx context.Context, ended error) (checkpoint.State, error) {
	last := j.tracker.Load().Safe()
	if j.opts.WaitReplicas == 0 {
		return last, ended
	}
	j.saving.Lock()
	defer j.saving.Unlock()
	if errors.Is(ended, record.ErrPatience) {
		return j.replicas.held, ended
	}
	done := ended == nil || errors.Is(ended, ErrFailedKeys) || errors.Is(ended, ErrLost)
	if !done {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), j.opts.DrainFor)
		defer cancel()
	}
	j.replicas.forget()
	defer j.owes(target.Owes("the replicas", "what the masters have answered"))()
	for {
		state, err := j.replicated(ctx, last)
		switch {
		case err != nil && done:
			return state, err
		case err != nil || j.replicas.asked == nil && j.replicas.since.IsZero():
			return state, ended
		}
		if cause := wait.For(ctx, replicasRest); cause != nil {
			if done {
				ended = ErrInterrupted
			}
			return state, ended
		}
	}
}
