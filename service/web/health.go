package web

import (
	"io"
	"net/http"
	"net/http/pprof"
	"sync"
	"time"

	"go.uber.org/zap"
)

func (s *Site) alive(w http.ResponseWriter, _ *http.Request) { say(w, http.StatusOK, "ok") }

// ready tells no more than that: the reason may name folders, and anybody may
// ask.
func (s *Site) ready(w http.ResponseWriter, _ *http.Request) {
	if err := s.readiness.check(); err != nil {
		s.log.Warn("not ready", zap.Error(err))
		say(w, http.StatusServiceUnavailable, "not ready; the log says why")
		return
	}
	say(w, http.StatusOK, "ready")
}

// readiness is looked at once a second at most: it takes a write to the disk.
type readiness struct {
	look func() error

	mu  sync.Mutex
	at  time.Time
	err error
}

func (r *readiness) check() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := time.Now(); r.at.IsZero() || now.Sub(r.at) >= time.Second {
		r.at, r.err = now, r.look()
	}
	return r.err
}

func say(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text+"\n")
}

// profiles serves /debug/pprof. A profile takes as long as it is asked to.
func (s *Site) profiles(mux *http.ServeMux) {
	for path, serve := range map[string]http.HandlerFunc{
		"": pprof.Index, "cmdline": pprof.Cmdline, "profile": pprof.Profile, "symbol": pprof.Symbol, "trace": pprof.Trace,
	} {
		mux.Handle("GET /debug/pprof/"+path, s.guard.look(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_ = http.NewResponseController(w).SetWriteDeadline(time.Time{})
			serve(w, r)
		})))
	}
}
