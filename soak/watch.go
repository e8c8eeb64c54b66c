package main

import (
	"context"
	"fmt"
	"time"

	"github.com/slotferry/slotferry/service"
)

// sample is what the service was like at one moment.
type sample struct {
	at                time.Time
	life              int     // process
	memory            float64 // bytes
	goroutines, files float64
	calm              bool // the mirror rests, the other job follows, no fault was made for a while
}

// calmAfter is how long after a fault connections have been made again.
const calmAfter = 3 * time.Second

// watch looks at the service until ctx ends.
func (s *soak) watch(ctx context.Context) {
	var last metrics
	life := 0
	for pause(ctx, s.look) == nil {
		m, now, err := s.once(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			s.fail(fmt.Errorf("looking at the service: %w", err))
			if s.service.gone() {
				return
			}
			continue
		}
		if now.life == life {
			for _, wrong := range m.fallen(last) {
				s.fail(fmt.Errorf("metrics: %s", wrong))
			}
		}
		last, life = m, now.life
		s.note(func() { s.samples = append(s.samples, now) })
	}
}

// once looks at the service one time. It is not killed meanwhile.
func (s *soak) once(ctx context.Context) (metrics, sample, error) {
	s.service.mu.RLock()
	defer s.service.mu.RUnlock()
	l := s.service.life
	if l.ended() {
		return metrics{}, sample{}, fmt.Errorf("slotferry serve has ended by itself: %s\n%s", l.cmd.ProcessState, l.tail())
	}
	m, err := l.metrics(ctx)
	if err != nil {
		return metrics{}, sample{}, err
	}
	jobs, err := l.jobs(ctx)
	if err != nil {
		return metrics{}, sample{}, err
	}
	now := sample{
		at: time.Now(), life: l.number, memory: m.values["process_resident_memory_bytes"],
		goroutines: m.values["go_goroutines"], files: m.values["process_open_fds"],
		calm: jobs[mirrorJob].Current == nil && following(jobs[followJob]) && s.calm(),
	}
	if now.memory == 0 || now.goroutines == 0 || now.files == 0 {
		return m, now, fmt.Errorf("the metrics do not tell memory, goroutines and open files: %+v", now)
	}
	return m, now, nil
}

// following tells whether a live job is behind its copy and has nothing to
// catch up with.
func following(j service.JobView) bool {
	const near = 1 << 20 // bytes
	return j.Current != nil && j.Current.Lag != nil && j.Current.Lag.Bytes < near
}

// calm tells whether the last fault is over for a while.
func (s *soak) calm() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.faults) == 0 {
		return true
	}
	last := s.faults[len(s.faults)-1]
	return !last.ended.IsZero() && time.Since(last.ended) > calmAfter
}

// gone tells whether the service has ended by itself.
func (s *serving) gone() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.life.ended()
}
