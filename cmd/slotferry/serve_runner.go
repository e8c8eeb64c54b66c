package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/slotferry/slotferry/configs"
	"github.com/slotferry/slotferry/importer"
	"github.com/slotferry/slotferry/importer/choice"
	"github.com/slotferry/slotferry/importer/preflight"
	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/importer/target"
	"github.com/slotferry/slotferry/importer/verify"
	"github.com/slotferry/slotferry/service"
	"github.com/slotferry/slotferry/service/mirror"
)

// importRunner does the runs of one job of a service: each is an import of its
// own.
type importRunner struct{ job configs.ServiceJob }

// Run implements service.Runner.
func (r importRunner) Run(ctx context.Context, o service.RunOptions) (service.Result, error) {
	out := &output{log: o.Log, stdout: io.Discard, stderr: &detour{w: os.Stderr}}
	run, err := r.begin(out)
	if err != nil {
		return service.Result{}, err
	}
	defer run.close()
	w := watchRun(run.job, o.Report)
	summary, err := run.job.Run(ctx)
	stages := w.stop()
	if err == nil && run.source.done != nil {
		run.source.done()
	}
	res := service.Result{
		Counts: summary.Counts, Unchanged: summary.Unchanged, Deleted: summary.Deleted, Resumed: summary.Resumed,
		Retries: summary.Retries, Masters: summary.Masters, Stages: stages,
	}
	if proof := r.comparison(run.mirror != nil && run.mirror.Strays()); err == nil && proof != nil {
		begun := time.Now()
		var v importer.Verification
		out.differs = run.forget
		v, err = compareSides(ctx, proof, out)
		res.Differences, stages["verify"] = v.Differences, time.Since(begun).Seconds()
	}
	res.Remedy = remedy(err)
	return res, runError(summary, err)
}

// comparison is how both sides are compared after the run, nil for not at all.
// With strays the target may hold keys that the mirror does not remember.
func (r importRunner) comparison(strays bool) *configs.Verify {
	c, m := r.job.Import, r.job.Mirror
	v := &configs.Verify{Common: c.Common, Resume: configs.Resume{Checkpoint: "none", Job: c.Job}, Rounds: c.Verify}
	switch {
	case m != nil && (m.CheckTarget || strays):
		v.Repair = m.Repair
		// In a target of several jobs this one's extra keys may be another one's own.
		v.Extra = !r.job.SharedTarget
		if v.Rounds.Count == 0 {
			v.Rounds = configs.Rounds{Count: 3, Pause: 5 * time.Second} // as of --rounds and --pause
		}
	case c.Verify.Count == 0:
		return nil
	}
	return v
}

// serviceRun is a run with all that it works with.
type serviceRun struct {
	job     *importer.Job
	source  followed
	cluster *target.Cluster
	mirror  *mirror.Mirror // nil: all is written
	log     *zap.Logger
}

// begin makes a run's job.
func (r importRunner) begin(out *output) (run *serviceRun, err error) {
	c := r.job.Import
	keys, err := choice.New(c.Choice)
	if err != nil {
		return nil, &usageError{err}
	}
	run = &serviceRun{log: out.log}
	if m := r.job.Mirror; m != nil {
		if run.mirror, err = mirror.Open(mirror.Options{Dir: m.Dir, MaxDelete: m.MaxDelete, Log: out.log}); err != nil {
			return nil, err
		}
	}
	to := withPolicy(targetOptions(&c.Common, out.log), c.Policy)
	to.Job = c.Job
	run.cluster = target.New(to)
	run.source = newFollowed(c, keys, use{room: run.cluster.Room, log: out.log}, out)
	o := importOptions(c, keys, run.cluster, run.source, out)
	o.CountSlots, o.Shared = true, r.job.SharedTarget
	if run.mirror != nil {
		o.Mirror = run.mirror
	}
	run.job = importer.New(o)
	return run, nil
}

// forget lets the mirror not rely on what was found different, and know of what
// was repaired: a key may be new since the mirror read the source.
func (r *serviceRun) forget(d verify.Difference) {
	if r.mirror == nil {
		return
	}
	tell := r.mirror.Wrote
	if d.Kind == verify.Extra {
		tell = r.mirror.Forget
	}
	if err := tell(d.Name); err != nil {
		r.log.Warn("what the mirror remembers of a key that was repaired could not be removed", zap.Error(err))
	}
}

func (r *serviceRun) close() {
	r.source.close()
	r.cluster.Close()
	if r.mirror == nil {
		return
	}
	if err := r.mirror.Close(); err != nil {
		r.log.Warn("what the mirror remembers was not closed well", zap.Error(err))
	}
}

// importOptions are what all imports take from their settings.
func importOptions(c *configs.Import, keys *choice.Choice, cluster *target.Cluster, source followed, out *output) importer.Options {
	return importer.Options{
		Job: c.Job, Source: source.reading, Live: source.live, Followed: source.notified, Exists: source.exists(),
		Target: cluster, Choice: keys, OnExists: importer.OnExists(c.OnExists), SkipUnsupported: c.OnUnsupported == "skip",
		OpenStore: openStore(c.Resume, cluster), Restart: c.Restart, SavePatient: savePatience(c.Resume, c.RetryFor),
		RetryFor: max(c.RetryFor, time.Nanosecond), WaitReplicas: c.WaitReplicas,
		RateKeys: c.RateKeys, RateBytes: c.RateBytes,
		Log: out.log, Notify: out.warnings, Foresee: out.foreseen, Standstill: out.standstill,
	}
}

// runError is what ended a run, with its status and without secrets.
func runError(s importer.Summary, err error) error {
	if err == nil {
		return nil
	}
	status := service.Failed
	var blocked *preflight.Error
	var refused *mirror.RefusedError
	switch {
	case errors.Is(err, importer.ErrInterrupted), errors.Is(err, record.ErrPatience):
		status = service.Interrupted
	case errors.As(err, &refused):
		status = service.Refused
	case errors.As(err, &blocked):
		status = service.Blocked
	case errors.Is(err, importer.ErrDifferences):
		status = service.Differences
	}
	text := err.Error()
	const named = 5
	for i, f := range s.Failures {
		if i == named {
			text += fmt.Sprintf("; and %d more", len(s.Failures)-named)
			break
		}
		text += "; " + failureText(f)
	}
	return &service.StatusError{Status: status, Err: &maskedError{errors.New(text)}}
}

// remedy says what to do about the error of a run.
func remedy(err error) string {
	var blocked *preflight.Error
	var refused *mirror.RefusedError
	switch {
	case err == nil, errors.Is(err, importer.ErrInterrupted), errors.As(err, &refused): // which says it itself
		return ""
	case errors.As(err, &blocked):
		var parts []string
		for _, f := range blocked.Blockers {
			if f.Remedy != "" {
				parts = append(parts, f.Remedy)
			}
		}
		return strings.Join(parts, "; ")
	case errors.Is(err, importer.ErrFailedKeys):
		return "all other keys are in their masters; remove the cause, then run the job again"
	case errors.Is(err, importer.ErrDifferences):
		return "slotferry verify names what differs, and puts it right with --repair"
	}
	return "remove the cause; the next run goes on where this one stopped"
}

// runWatch follows a run for its service.
type runWatch struct {
	stages map[string]float64
	end    func()
}

// watchRun reports a job's progress every second, until stop.
func watchRun(job *importer.Job, report func(service.Progress)) *runWatch {
	w := &runWatch{stages: map[string]float64{}}
	m := newMeter()
	const often, ticks = 100 * time.Millisecond, 10
	last, n := time.Now(), 0
	look := func(tell bool) {
		p := job.Progress()
		now := time.Now()
		w.stages[p.Phase] += now.Sub(last).Seconds()
		last = now
		if !tell {
			return
		}
		if p.Phase != "preflight" {
			m.add(p)
		}
		told := progressOf(p, m, maps.Clone(w.stages))
		told.Slots = job.Slots()
		report(told)
	}
	look(true)
	stop := tickUntil(often, func() {
		n++
		look(n%ticks == 0)
	})
	w.end = func() {
		stop()
		look(true)
	}
	return w
}

// stop returns the seconds that each stage took.
func (w *runWatch) stop() map[string]float64 {
	w.end()
	return w.stages
}

func progressOf(p importer.Progress, m *meter, stages map[string]float64) service.Progress {
	keys, bytes, _ := m.speed()
	out := service.Progress{
		Phase: p.Phase, Counts: p.Counts, Unchanged: p.Unchanged, Deleted: p.Deleted,
		Total: p.Total, Offset: p.Offset, Size: p.Size,
		KeysPerSecond: keys, BytesPerSecond: max(0, bytes), Masters: p.Masters, Stages: stages,
	}
	if left, ok := m.left(p); ok {
		seconds := left.Seconds()
		out.SecondsLeft = &seconds
	}
	if p.Lag != nil {
		out.Lag = &service.Lag{Bytes: p.Lag.Bytes, Seconds: p.Lag.Seconds}
	}
	if s := p.Standstill; s != nil {
		out.Message = s.String()
	}
	return out
}

// serviceJobs makes the jobs of a service.
func serviceJobs(c *configs.Service) []service.Job {
	var out []service.Job
	for _, j := range c.Jobs {
		out = append(out, service.Job{
			Name: j.Name, Kind: j.Kind, Schedule: j.Schedule, CatchUp: j.CatchUp, Retries: j.Retries,
			Source: j.Import.Source.Text, Target: j.Import.Target.Text, Settings: j.Settings, Runner: importRunner{j},
		})
	}
	return out
}
