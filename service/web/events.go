package web

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"go.uber.org/zap"
)

// The stream's pace. Browsers hold few connections to a site, so one that is
// gone must be noticed.
const (
	maxStreams    = 64
	snapshotEvery = time.Second
	heartbeat     = 15 * time.Second
)

// stream sends all jobs, as in /api/v1/jobs, at once and then after each change,
// once a second at most. Each event is complete: who reconnects has missed
// nothing that counts, so the ID of the last event that it got does not matter.
func (s *Site) stream(w http.ResponseWriter, r *http.Request) {
	select {
	case s.streams <- struct{}{}:
		defer func() { <-s.streams }()
	default:
		w.Header().Set("Retry-After", "10")
		refuse(w, http.StatusServiceUnavailable, "too_many_streams", fmt.Sprintf("%d streams are open already", maxStreams))
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // of a proxy in between
	// What the server allows a request to take is over sooner than a stream.
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	changes := s.opts.Service.Subscribe(r.Context())
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	rest := time.NewTimer(0)
	defer rest.Stop()
	rested, changed := false, true
	for id := 1; ; {
		var err error
		if rested && changed {
			if err = s.snapshot(w, id); err == nil {
				id, rested, changed = id+1, false, false
				rest.Reset(snapshotEvery)
			}
		}
		if err != nil {
			s.log.Debug("a stream of events ends", zap.Error(err))
			return
		}
		select {
		case _, open := <-changes:
			if !open {
				return
			}
			changed = true
		case <-rest.C:
			rested = true
		case <-beat.C:
			if err := send(w, ": still there\n\n"); err != nil {
				return
			}
		case <-s.ended:
			return
		case <-r.Context().Done():
			return
		}
	}
}

func (s *Site) snapshot(w http.ResponseWriter, id int) error {
	body, err := json.Marshal(s.jobs())
	if err != nil {
		return err
	}
	return send(w, fmt.Sprintf("id: %d\nevent: jobs\ndata: %s\n\n", id, body))
}

func send(w http.ResponseWriter, text string) error {
	c := http.NewResponseController(w)
	_ = c.SetWriteDeadline(time.Now().Add(answerFor))
	if _, err := io.WriteString(w, text); err != nil {
		return err
	}
	return c.Flush()
}
