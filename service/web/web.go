// Package web shows a service over HTTP: a dashboard, a JSON API with a stream
// of events, metrics for Prometheus and probes. It decides who may look and who
// may change something; what an order does is the service's business.
package web

import (
	"context"
	"errors"
	"html/template"
	"net/http"
	"sync"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"

	"github.com/slotferry/slotferry/service"
)

// Options is a site; zero fields take the defaults noted.
type Options struct {
	Service *service.Service
	// Token is what a client sends as "Authorization: Bearer TOKEN" to change
	// anything, and beyond loopback to look at anything. Without one only
	// programs and pages of this machine may change something.
	Token string
	// Loopback says that only this machine can reach the address. Serve finds
	// that out by itself.
	Loopback bool
	Version  string
	Pprof    bool        // /debug/pprof, on loopback only
	Log      *zap.Logger // none
}

// ErrNoToken means that everybody who reaches the address could do everything.
var ErrNoToken = errors.New("an address beyond loopback needs a token")

// Site answers requests. Its methods may be called from any goroutine.
type Site struct {
	opts    Options
	log     *zap.Logger
	guard   *guard
	assets  *assets
	tally   *tally
	page    *template.Template
	handler http.Handler
	streams chan struct{} // a place for each stream of events

	readiness readiness

	ended    chan struct{} // closed when streams are to end
	endsOnce sync.Once
}

// New returns a site. Metrics count what happens while Run runs.
func New(o Options) (*Site, error) {
	if o.Service == nil {
		return nil, errors.New("a site needs a service")
	}
	if o.Token == "" && !o.Loopback {
		return nil, ErrNoToken
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	a, err := loadAssets()
	if err != nil {
		return nil, err
	}
	p, err := parsePage(a)
	if err != nil {
		return nil, err
	}
	s := &Site{
		opts: o, log: o.Log, guard: newGuard(o.Token, o.Loopback), assets: a, tally: newTally(o.Service), page: p,
		streams: make(chan struct{}, maxStreams), readiness: readiness{look: o.Service.Ready}, ended: make(chan struct{}),
	}
	mux := http.NewServeMux()
	if err := s.route(mux); err != nil {
		return nil, err
	}
	s.handler = s.guard.protect(mux)
	return s, nil
}

// Run counts for the metrics until ctx ends. Then streams of events end, too.
func (s *Site) Run(ctx context.Context) error {
	defer s.end()
	s.tally.run(ctx)
	return nil
}

func (s *Site) end() { s.endsOnce.Do(func() { close(s.ended) }) }

func (s *Site) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// route names everything that can be asked for. Who may ask stands beside it.
func (s *Site) route(mux *http.ServeMux) error {
	metrics, err := s.registry()
	if err != nil {
		return err
	}
	// They show nothing of the jobs, and the page has to come from somewhere
	// before it can ask for the token.
	mux.HandleFunc("GET /{$}", s.dashboard)
	mux.HandleFunc("GET /static/{name}", s.assets.serve)
	mux.HandleFunc("GET /healthz", s.alive)
	mux.HandleFunc("GET /readyz", s.ready)

	mux.Handle("GET /metrics", s.guard.look(promhttp.HandlerFor(metrics, promhttp.HandlerOpts{})))
	if s.opts.Pprof && s.opts.Loopback {
		s.profiles(mux)
	}
	return s.api(mux)
}
