package main

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"
)

const attempts = 4 // until a fault that is missed counts as a failure

// suite makes all the faults that were asked for, to sources that stand still or
// to those that are written to.
type suite struct {
	options options
	dir     string
	living  bool
	keep    bool // a run failed, and its folder tells why
	tool    tool
	rig     *rig
	rows    []*row
}

// row is one fault with one source, in all its runs.
type row struct {
	fault       *fault
	source      string
	runs, hit   int
	missed      int // attempts
	resumes     int
	exits       map[string]int
	retries     retries
	differences int
	failed      int
	took        time.Duration
}

// all goes on after a failure: the next fault may tell more.
func (s *suite) all(ctx context.Context) (failed error) {
	s.rows = s.wanted()
	if len(s.rows) == 0 {
		return nil
	}
	if s.rig, failed = startRig(ctx, s.dir, s.options, s.living); failed != nil {
		return failed
	}
	defer s.rig.stop()
	for _, r := range s.rows {
		failed = errors.Join(failed, s.runs(ctx, r))
		if ctx.Err() != nil {
			return errors.Join(failed, ctx.Err())
		}
	}
	return failed
}

// wanted is what was asked for of this suite's sources.
func (s *suite) wanted() (rows []*row) {
	for _, f := range faults {
		for _, source := range s.options.sources {
			living := slices.Contains(livingKinds, source)
			if slices.Contains(s.options.names, f.name) && f.on(source, s.options.short) && living == s.living {
				rows = append(rows, &row{fault: f, source: source, exits: map[string]int{}})
			}
		}
	}
	return rows
}

// runs makes one fault with one source as often as it should be made.
func (s *suite) runs(ctx context.Context, r *row) error {
	f, source, begun := r.fault, r.source, time.Now()
	defer func() { r.took = time.Since(begun) }()
	runs := s.options.runs
	if runs == 0 {
		runs = f.times()
	}
	var failed error
	for number := s.options.first; number < s.options.first+runs && ctx.Err() == nil; number++ {
		r.runs++
		err := s.attempt(ctx, r, number)
		if err != nil {
			r.failed++
			err = fmt.Errorf("%s, %s, run %d: %w\n  again: %s", f.name, source, number, err,
				s.options.command([]string{f.name}, []string{source}, number, 1))
			say("FAILED: %v", err)
		}
		failed = errors.Join(failed, err)
	}
	return failed
}

// attempt makes one run, again if the fault is missed.
func (s *suite) attempt(ctx context.Context, r *row, number int) error {
	for try := range attempts {
		t := &trial{rig: s.rig, tool: s.tool, fault: r.fault, source: r.source, r: s.random(r, number, try), short: s.options.short}
		var err error
		if t.dir, err = os.MkdirTemp(s.dir, fmt.Sprintf("%s-%s-%d-", r.fault.name, r.source, number)); err != nil {
			return err
		}
		begun := time.Now()
		err = t.run(ctx)
		r.note(t)
		if errors.Is(err, errMissed) && try+1 < attempts {
			say("%s, %s, run %d: %v; again", r.fault.name, r.source, number, err)
			r.missed++
			if err := os.RemoveAll(t.dir); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return s.failure(ctx, r, t, err)
		}
		r.hit++
		say("%s, %s, run %d: hit at %.0f %%, exits %v, retries %+v, %.1f s", r.fault.name, r.source, number, 100*t.at, t.exits, t.retries, time.Since(begun).Seconds())
		return os.RemoveAll(t.dir)
	}
	return nil
}

// failure keeps what tells why.
func (s *suite) failure(ctx context.Context, r *row, t *trial, err error) error {
	if ctx.Err() != nil {
		return err
	}
	var differs *differenceError
	if errors.As(err, &differs) {
		r.differences += len(differs.wrong)
		text := fmt.Sprintln(len(differs.wrong), "differences")
		for _, line := range differs.wrong {
			text += line + "\n"
		}
		err = errors.Join(err, os.WriteFile(filepath.Join(t.dir, "differences"), []byte(text), 0o600))
	}
	s.keep, s.rig.worn = true, true
	return errors.Join(fmt.Errorf("seed %d, made at %.0f %%, exits %v, kept in %s: %w", s.options.seed, 100*t.at, t.exits, t.dir, err), t.keepLogs())
}

// random gives each attempt choices of its own, the same whatever else is run.
func (s *suite) random(r *row, number, try int) *rand.Rand {
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%s %s %d %d", r.fault.name, r.source, number, try)
	return rand.New(rand.NewPCG(s.options.seed, h.Sum64()))
}

func (r *row) note(t *trial) {
	for _, e := range t.exits {
		r.exits[e]++
	}
	r.resumes += max(0, t.count-1)
	r.retries.add(t.retries)
}
