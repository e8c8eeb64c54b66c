package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/slotferry/slotferry/internal/dataset"
	"github.com/slotferry/slotferry/service"
)

// soak is one run of this program.
type soak struct {
	options
	dir      string
	begun    time.Time
	rand     *rand.Rand
	rig      *rig
	service  *serving
	settings settings

	mu       sync.Mutex // guards what follows
	faults   []*fault
	failures []error
	samples  []sample
	runs     []service.Run // the history in the end, newest first

	compared    map[string]dataset.Report // by job
	unrepaired  dataset.Report            // of the mirror, before its last run
	written     map[string]int64          // commands, by job
	quietSince  time.Time                 // the mirrored source is not written to
	faultsBegun time.Time
}

// say tells the person who waits what is going on.
func (s *soak) say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, time.Now().Format("15:04:05 ")+"%5.0f s  "+format+"\n", append([]any{time.Since(s.begun).Seconds()}, args...)...)
}

func (s *soak) note(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// fail notes what went wrong; the soak goes on.
func (s *soak) fail(err error) {
	if err == nil {
		return
	}
	s.say("FAILED: %v", err)
	s.note(func() { s.failures = append(s.failures, err) })
}

func (s *soak) failed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return errors.Join(s.failures...)
}

// start starts everything; what was started is there for stop even after an
// error.
func (s *soak) start(ctx context.Context) (err error) {
	s.rand = rand.New(rand.NewPCG(s.seed, 2))
	s.compared, s.written = map[string]dataset.Report{}, map[string]int64{}
	s.service = &serving{program: filepath.Join(s.dir, "slotferry"), dir: s.dir}
	if err := errors.Join(secretFiles(s.dir), build(ctx, s.service.program)); err != nil {
		return err
	}
	if s.rig, err = startRig(ctx, s.dir, s.options); err != nil {
		return err
	}
	s.settings = settings{cron: "* * * * *"}
	if s.short { // a minute would be too long: its runs are started by the API
		s.settings = settings{cron: never, hasty: true}
	}
	if err := s.settings.write(s.dir, s.rig); err != nil {
		return err
	}
	s.service.mu.Lock()
	defer s.service.mu.Unlock()
	return s.service.begin(ctx)
}

// stop ends all that was started.
func (s *soak) stop() error {
	err := s.service.end()
	if s.rig != nil {
		s.rig.stop()
	}
	return err
}

// change gives the service other settings.
func (s *soak) change(ctx context.Context, c settings) error {
	s.settings = c
	if err := c.write(s.dir, s.rig); err != nil {
		return err
	}
	return s.service.reload(ctx)
}

// disturb makes faults until the time is up, and looks at the service meanwhile.
func (s *soak) disturb(ctx context.Context) {
	s.faultsBegun = time.Now()
	s.say("things go wrong from now on")
	end := s.faultsBegun.Add(s.lasts)
	looking, stop := context.WithCancel(ctx)
	var beside sync.WaitGroup
	beside.Go(func() { s.watch(looking) })
	beside.Go(func() {
		if pause(looking, time.Until(end.Add(-s.quiet))) == nil {
			s.rig.writers[0].stop()
			s.note(func() { s.quietSince = time.Now() })
			s.say("the mirrored source is not written to any more")
		}
	})
	if s.short {
		beside.Go(func() { s.startMirror(looking) })
	}
	draw := s.draw()
	for ctx.Err() == nil && (s.most == 0 || len(s.faults) < s.most) {
		at := time.Now().Add(s.random(s.between[0], s.between[1]))
		if n := len(s.faults); n > 0 {
			at = s.faults[n-1].begun.Add(s.random(s.between[0], s.between[1]))
		}
		if at.After(end) || pause(ctx, time.Until(at)) != nil {
			break
		}
		s.make(ctx, draw.next(time.Since(s.faultsBegun) < s.warm))
	}
	_ = pause(ctx, time.Until(end))
	stop()
	beside.Wait()
}

// startMirror starts runs of the mirror, one after the other.
func (s *soak) startMirror(ctx context.Context) {
	const often = 2 * time.Second
	for pause(ctx, often) == nil {
		s.service.mu.RLock()
		_, err := s.service.life.order(ctx, mirrorJob, "start")
		s.service.mu.RUnlock()
		if err != nil && ctx.Err() == nil {
			s.fail(fmt.Errorf("starting the mirror: %w", err))
		}
	}
}
