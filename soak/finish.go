package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/slotferry/slotferry/internal/dataset"
	"github.com/slotferry/slotferry/service"
)

const (
	// judged is what lasts long enough to be warm after a third of it, and to
	// have calm moments in any case.
	judged   = 5 * time.Minute
	jobLimit = 7 * time.Minute // a live job that was blocked waits for five
	// expired is when keys that live for a second are gone.
	expired = 1500 * time.Millisecond
)

// finish lets the service finish in peace, and holds both sides, and all that it
// told, against each other.
func (s *soak) finish(ctx context.Context) {
	s.say("the faults are over")
	for i, job := range []string{mirrorJob, followJob} {
		w := s.rig.writers[i]
		w.stop()
		s.written[job] = w.count.Load()
	}
	for _, step := range []func(context.Context) error{
		s.rig.heal, s.mirrorLast, s.catchUp, s.rest, s.compare, s.audit,
	} {
		if ctx.Err() != nil {
			return
		}
		s.fail(step(ctx))
	}
	s.fail(s.service.end())
	s.fail(s.service.inspect())
	if s.short {
		return
	}
	for _, t := range trends(s.samples, s.faultsBegun, s.lasts) {
		if s.lasts < judged && (t.withoutThirds || t.name == "memory") {
			continue
		}
		s.fail(t.grown())
	}
}

// mirrorLast mirrors once more, and then once with a comparison, which puts
// right what a failover had lost behind the mirror's back.
func (s *soak) mirrorLast(ctx context.Context) error {
	if err := pause(ctx, expired); err != nil {
		return err
	}
	if err := s.change(ctx, settings{cron: never, hasty: s.short}); err != nil {
		return err
	}
	if err := s.runMirror(ctx); err != nil {
		return err
	}
	before, err := s.compareJob(ctx, mirrorJob)
	if err != nil {
		return err
	}
	s.unrepaired = before
	s.say("after a plain run of the mirror: %s", before)
	if err := s.change(ctx, settings{cron: never, hasty: s.short, checkTarget: true}); err != nil {
		return err
	}
	return s.runMirror(ctx)
}

// runMirror runs the mirror once; the run must be done.
func (s *soak) runMirror(ctx context.Context) error {
	l := s.service.life
	var last service.Run
	var after uint64
	err := until(ctx, jobLimit, "the mirror can't be started", func(ctx context.Context) (bool, error) {
		jobs, err := l.jobs(ctx)
		if err != nil || jobs[mirrorJob].Current != nil {
			return false, err
		}
		if r := jobs[mirrorJob].Last; r != nil {
			after = r.ID
		}
		return l.order(ctx, mirrorJob, "start")
	})
	if err != nil {
		return err
	}
	err = until(ctx, jobLimit, "the last run of the mirror has not ended", func(ctx context.Context) (bool, error) {
		jobs, err := l.jobs(ctx)
		if err != nil || jobs[mirrorJob].Current != nil || jobs[mirrorJob].Last == nil || jobs[mirrorJob].Last.ID <= after {
			return false, err
		}
		last = *jobs[mirrorJob].Last
		return true, nil
	})
	if err == nil {
		s.say("run %d of the mirror: %s, %d read, %d written, %d unchanged, %d deleted, %d differences", last.ID, last.Status, last.Read, last.Written, last.Unchanged, last.Deleted, last.Differences)
		if last.Status != service.Done {
			err = fmt.Errorf("the last run of the mirror ended as %s: %s", last.Status, last.Error)
		}
	}
	return err
}

// catchUp waits until the live job has all that was written.
func (s *soak) catchUp(ctx context.Context) error {
	l := s.service.life
	begun, in := time.Now(), 0
	err := until(ctx, jobLimit, "the live job has not caught up", func(ctx context.Context) (bool, error) {
		jobs, err := l.jobs(ctx)
		if err != nil {
			return false, err
		}
		// The lag is told once a second.
		j := jobs[followJob].Current
		if in++; j == nil || j.Lag == nil || j.Lag.Bytes != 0 {
			in = 0
		}
		const several = 40
		return in >= several, nil
	})
	if err == nil {
		s.say("the live job is behind by nothing, after %.1f s", time.Since(begun).Seconds())
	}
	return err
}

// rest pauses both jobs, which ends the run of the live one.
func (s *soak) rest(ctx context.Context) error {
	l := s.service.life
	for _, job := range []string{mirrorJob, followJob} {
		if ok, err := l.order(ctx, job, "pause"); !ok || err != nil {
			return errors.Join(fmt.Errorf("job %s can't be paused", job), err)
		}
	}
	return until(ctx, jobLimit, "a job is not paused", func(ctx context.Context) (bool, error) {
		jobs, err := l.jobs(ctx)
		return jobs[mirrorJob].State == service.Paused && jobs[followJob].State == service.Paused, err
	})
}

// compare compares every key of both sources with its counterpart.
func (s *soak) compare(ctx context.Context) (wrong error) {
	for _, job := range []string{mirrorJob, followJob} {
		r, err := s.compareJob(ctx, job)
		if err == nil && !r.OK() {
			err = errors.New(r.String())
		}
		if err != nil {
			wrong = errors.Join(wrong, fmt.Errorf("comparing what job %s carried: %w", job, err))
			continue
		}
		s.compared[job] = r
		s.say("job %s: %s", job, r)
	}
	return wrong
}

// compareJob compares a job's source with the cluster. A key that expires
// between the two readings seems to be missing: what is found twice counts.
func (s *soak) compareJob(ctx context.Context, job string) (r dataset.Report, err error) {
	source, names := s.rig.mirrored, mirroredNames
	o := dataset.CompareOptions{}
	if job == followJob {
		source, names = s.rig.followed, renamedNames
		// A replica of the source would differ in them, too.
		o.IgnoreConsumerTimes, o.IgnoreEntriesRead = true, true
		o.Name = func(_ int, key string) (string, bool) {
			rest, ok := strings.CutPrefix(key, followedNames)
			return renamedNames + rest, ok
		}
	}
	o.Ignore = func(name string) bool { return !strings.HasPrefix(name, names) }
	const tries = 3
	for range tries {
		r, err = dataset.Compare(ctx, source.Client(), s.rig.cluster.Client(), o)
		if err != nil || r.OK() {
			break
		}
	}
	if err == nil && r.Compared < s.keys/2 {
		err = fmt.Errorf("only %d keys were compared", r.Compared)
	}
	return r, err
}

// audit holds the metrics against the history.
func (s *soak) audit(ctx context.Context) (wrong error) {
	l := s.service.life
	m, err := l.metrics(ctx)
	if err != nil {
		return err
	}
	if s.runs, err = l.history(ctx); err != nil {
		return err
	}
	all := append(unequal(m, s.runs, l.begun), skippedIDs(s.runs)...)
	all = append(all, s.unexpected()...)
	for _, text := range all {
		wrong = errors.Join(wrong, errors.New(text))
	}
	return wrong
}
