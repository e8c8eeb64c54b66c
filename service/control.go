package service

import "time"

// start begins a run now.
func (j *job) start() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case j.ctx == nil || j.ctx.Err() != nil:
		return j.not(", and the service is not running")
	case j.mark.Paused:
		return j.not("; resume it")
	case j.current != nil:
		return j.not("")
	}
	j.retry.tries = 0
	j.mark.Done = false
	j.begin(ByHand, time.Time{})
	j.stir()
	return nil
}

// pause interrupts a run and holds the schedule.
func (j *job) pause() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch j.state {
	case Paused, Pausing, Stopping:
		return j.not("")
	}
	j.mark.Paused = true
	j.retry = retry{}
	j.put(nil)
	if j.current == nil {
		j.rest()
		return nil
	}
	j.enter(Pausing)
	j.current.interrupt()
	return nil
}

// resume ends a pause.
func (j *job) resume() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.state != Paused {
		return j.not("")
	}
	if j.ctx == nil || j.ctx.Err() != nil {
		return j.not(", and the service is not running")
	}
	j.mark.Paused = false
	j.mark.Due = j.svc.now() // what came meanwhile was held
	if j.mark.Resumable || j.spec.Kind != Cron && !j.mark.Done {
		j.begin(ByHand, time.Time{})
	} else {
		j.put(nil)
		j.rest()
	}
	j.stir()
	return nil
}

// stop interrupts a run, or gives up trying it again.
func (j *job) stop() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case j.state == Running:
		j.current.stopped = true
		j.enter(Stopping)
		j.current.interrupt()
		return nil
	case j.state == Waiting && !j.retry.at.IsZero():
		j.retry = retry{}
		j.mark.Stopped = true
		j.put(nil)
		j.rest()
		j.stir()
		return nil
	}
	return j.not("")
}
