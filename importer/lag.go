package importer

import (
	"context"
	"sync"
	"time"

	"github.com/slotferry/slotferry/importer/tail"
)

// Lag is how far the target is behind what was written to the source.
type Lag struct {
	Bytes   int64   `json:"bytes"`          // of the source's stream that are not in yet
	Seconds float64 `json:"seconds"`        // since the oldest of them was written, as seen from here
	Keys    int     `json:"keys,omitempty"` // that were touched and wait to be read again, where the source tells no more
}

// lagging measures the lag: it notes how far the source's stream reaches every
// now and then, and when.
type lagging struct {
	mu      sync.Mutex
	samples []reached // that are not in yet, oldest first
	newest  int64
	in      int64 // serial below which everything is in
}

type reached struct {
	at     time.Time
	serial int64
}

// lagSamples bounds how many are kept: what is older counts as old as the
// oldest.
const lagSamples = 4096

// reaches notes how far the source's stream reaches at a time.
func (l *lagging) reaches(at time.Time, serial int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if serial > l.newest {
		l.newest = serial
		if serial > l.in && len(l.samples) < lagSamples {
			l.samples = append(l.samples, reached{at, serial})
		}
	}
}

// isIn notes that everything up to a serial is in.
func (l *lagging) isIn(serial int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.in = max(l.in, serial)
	old := 0
	for old < len(l.samples) && l.samples[old].serial <= l.in {
		old++
	}
	l.samples = append(l.samples[:0], l.samples[old:]...)
}

// reset begins at another full copy.
func (l *lagging) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.samples, l.newest, l.in = nil, 0, 0
}

func (l *lagging) lag(now time.Time) Lag {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := Lag{Bytes: max(0, l.newest-l.in)}
	if len(l.samples) > 0 {
		out.Seconds = now.Sub(l.samples[0].at).Seconds()
	}
	return out
}

// lagEvery is how often the source is asked how far its stream reaches.
const lagEvery = 250 * time.Millisecond

// watchLag asks the source until ctx ends. An answer that does not come leaves
// the lag growing with time only.
func (j *Job) watchLag(ctx context.Context) {
	tick := time.NewTicker(lagEvery)
	defer tick.Stop()
	for {
		if offset, err := j.opts.Live.Offset(ctx); err == nil {
			j.lag.reaches(time.Now(), offset)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// behind is the lag of a job that follows its source, nil before its full copy
// is done.
func (j *Job) behind() *Lag {
	if f := j.opts.Followed; f != nil && *j.phase.Load() == "tail" {
		return &Lag{Seconds: f.Listener.Lag().Seconds(), Keys: f.Listener.Pending()}
	}
	if j.opts.Live == nil || j.opts.Live.Offset == nil || !j.tailing.Load() {
		return nil
	}
	now := time.Now()
	if received := j.opts.Live.Received; received != nil {
		j.lag.reaches(now, received()) // further than when the source was asked last
	}
	l := j.lag.lag(now)
	return &l
}

// tailCounts is the account of the commands, nil when there are none.
func (j *Job) tailCounts() *tail.Counts {
	if j.opts.Live == nil || !j.tailing.Load() {
		return nil
	}
	c := j.applier().Counts()
	return &c
}
