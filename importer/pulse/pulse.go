// Package pulse tells from outside whether a part of a job moves, and whom it
// waits for. The parts report; who watches decides what is too long.
package pulse

import (
	"io"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Wait is what a part of the job is waiting for.
type Wait struct {
	On     string    `json:"on"`   // who owes it: a node's address, the source's name
	What   string    `json:"what"` // is owed: "an answer"
	Since  time.Time `json:"since,omitzero"`
	Remedy string    `json:"-"` // what the operator can do about it
}

// Pulse is that of one part. The zero value is ready; all methods may be called
// from any goroutine.
type Pulse struct {
	moved   atomic.Int64
	ailing  atomic.Bool // trouble is set
	mu      sync.Mutex
	waits   map[*Wait]struct{}
	trouble Wait
}

// Moved grows with everything that Move was told.
func (p *Pulse) Moved() int64 { return p.moved.Load() }

// Move notes that something came or went, unless there is trouble: what moves
// in vain attempts is no progress.
func (p *Pulse) Move(n int) {
	if !p.ailing.Load() {
		p.moved.Add(int64(n))
	}
}

// Begin notes a wait from now on, until End.
func (p *Pulse) Begin(w Wait) *Wait {
	w.Since = time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waits == nil {
		p.waits = map[*Wait]struct{}{}
	}
	p.waits[&w] = struct{}{}
	return &w
}

// End forgets a wait.
func (p *Pulse) End(w *Wait) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.waits, w)
}

// Trouble notes that an attempt has failed. It is a wait through all attempts
// until Well, from the first of them on.
func (p *Pulse) Trouble(w Wait) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w.Since = p.trouble.Since; w.Since.IsZero() {
		w.Since = time.Now()
	}
	p.trouble = w
	p.ailing.Store(true)
}

// Well ends the trouble.
func (p *Pulse) Well() {
	if !p.ailing.Load() {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.trouble = Wait{}
	p.ailing.Store(false)
}

// Waits returns whom the part waits for, with the longest wait for each.
func (p *Pulse) Waits() []Wait {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []Wait
	if p.ailing.Load() {
		all = append(all, p.trouble)
	}
	for w := range p.waits {
		all = append(all, *w)
	}
	return Longest(all)
}

// Longest keeps the longest wait for each, ordered by whom they are for.
func Longest(all []Wait) []Wait {
	longest := map[string]Wait{}
	for _, w := range all {
		if other, ok := longest[w.On]; !ok || w.Since.Before(other.Since) {
			longest[w.On] = w
		}
	}
	var out []Wait
	for _, on := range slices.Sorted(maps.Keys(longest)) {
		out = append(out, longest[on])
	}
	return out
}

// Reader passes on what a reader gives, and tells of it.
type Reader struct {
	R     io.Reader
	Pulse *Pulse
	Wait  Wait // while it reads
}

func (r *Reader) Read(b []byte) (int, error) {
	w := r.Pulse.Begin(r.Wait)
	n, err := r.R.Read(b)
	r.Pulse.End(w)
	r.Pulse.Move(n)
	return n, err
}
