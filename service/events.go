package service

import (
	"context"
	"sync"
)

// backlog is how many events a slow reader may be behind before it misses some.
const backlog = 64

// hub hands events to whoever listens, and never waits for them. The zero value
// is ready.
type hub struct {
	mu   sync.Mutex
	last uint64
	to   map[chan Event]struct{}
}

func (h *hub) publish(e Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last++
	e.ID = h.last
	for c := range h.to {
		select {
		case c <- e:
		default:
		}
	}
}

// subscribe returns a channel that is closed when ctx ends.
func (h *hub) subscribe(ctx context.Context) <-chan Event {
	c := make(chan Event, backlog)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.to == nil {
		h.to = map[chan Event]struct{}{}
	}
	h.to[c] = struct{}{}
	context.AfterFunc(ctx, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.to, c)
		close(c)
	})
	return c
}
