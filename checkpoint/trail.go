package checkpoint

import (
	"sync"
	"time"
)

// Trail remembers the states of the last while. A master that dies takes with
// it what it had acknowledged but not yet replicated or put on its disk; going
// back by that while finds and writes it again.
type Trail struct {
	behind time.Duration

	mu     sync.Mutex
	states []past // oldest first; never empty
}

type past struct {
	at    time.Time
	state State
}

// NewTrail starts a trail at a state that counts as old enough.
func NewTrail(behind time.Duration, first State) *Trail {
	t := &Trail{behind: behind}
	t.Reset(first)
	return t
}

// Reset forgets everything but one state that counts as old enough.
func (t *Trail) Reset(s State) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.states = []past{{state: s}}
}

// Add notes the safe state at a time.
func (t *Trail) Add(now time.Time, s State) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.states = append(t.states, past{now, s})
	old := 0
	for old+1 < len(t.states) && now.Sub(t.states[old+1].at) >= t.behind {
		old++
	}
	t.states = append(t.states[:0], t.states[old:]...)
}

// Behind returns the newest state that is old enough.
func (t *Trail) Behind() State {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.states[0].state
}
