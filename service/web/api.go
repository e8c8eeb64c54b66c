package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"go.uber.org/zap"

	"github.com/slotferry/slotferry/service"
)

// JobList is the body of /api/v1/jobs. Slots are left out: they are in the
// answer about one job.
type JobList struct {
	Jobs []service.JobView `json:"jobs"`
}

// RunList is the body of /api/v1/history.
type RunList struct {
	Runs []service.Run `json:"runs"` // newest first
	// Before is what to ask for next; none if there are no older runs.
	Before uint64 `json:"before,omitempty"`
}

// How many runs an answer has.
const (
	someRuns = 50
	mostRuns = 500
)

// orders are what a job can be told.
var orders = map[string]func(*service.Service, context.Context, string) error{
	"start":  (*service.Service).Start,
	"pause":  (*service.Service).Pause,
	"resume": (*service.Service).Resume,
	"stop":   (*service.Service).Stop,
}

// endpoint is a path of the API, and who may ask.
type endpoint struct {
	method, path string
	guard        func(http.Handler) http.Handler
	serve        http.HandlerFunc
}

func (s *Site) endpoints() ([]endpoint, error) {
	description, err := openAPI()
	if err != nil {
		return nil, err
	}
	look, act := s.guard.look, s.guard.act
	out := []endpoint{
		{"GET", "/api/v1/jobs", look, s.listJobs},
		{"GET", "/api/v1/jobs/{name}", look, s.showJob},
		{"GET", "/api/v1/history", look, s.listRuns},
		{"GET", "/api/v1/events", look, s.stream},
		{"GET", "/api/v1/openapi.json", look, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(description)
		}},
	}
	for name, do := range orders {
		out = append(out, endpoint{"POST", "/api/v1/jobs/{name}/" + name, act, s.order(name, do)})
	}
	return out, nil
}

// api adds the endpoints, and answers in JSON where there is none.
func (s *Site) api(mux *http.ServeMux) error {
	all, err := s.endpoints()
	if err != nil {
		return err
	}
	for _, e := range all {
		mux.Handle(e.method+" "+e.path, e.guard(e.serve))
		mux.HandleFunc(e.path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Allow", e.method)
			refuse(w, http.StatusMethodNotAllowed, "wrong_method", "this takes "+e.method+" only")
		})
	}
	mux.HandleFunc("/api/", func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, http.StatusNotFound, "no_such_path", "there is no such path; /api/v1/openapi.json describes those there are")
	})
	return nil
}

func (s *Site) listJobs(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, s.jobs()) }

func (s *Site) jobs() JobList {
	list := JobList{Jobs: s.opts.Service.Jobs()}
	for i, j := range list.Jobs {
		if j.Current != nil && j.Current.Slots != nil {
			short := *j.Current
			short.Slots = nil
			list.Jobs[i].Current = &short
		}
	}
	return list
}

func (s *Site) showJob(w http.ResponseWriter, r *http.Request) {
	job, ok := s.opts.Service.Job(r.PathValue("name"))
	if !ok {
		noJob(w, r.PathValue("name"))
		return
	}
	answer(w, http.StatusOK, job)
}

func noJob(w http.ResponseWriter, name string) {
	refuse(w, http.StatusNotFound, "no_such_job", fmt.Sprintf("there is no job %q", name))
}

// order answers with the job after the order was taken. A run that is told to
// stop may take a while to save where it is.
func (s *Site) order(what string, do func(*service.Service, context.Context, string) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if no := emptyBody(r); no != nil {
			no.write(w)
			return
		}
		name := r.PathValue("name")
		err := do(s.opts.Service, r.Context(), name)
		job, ok := s.opts.Service.Job(name)
		switch {
		case errors.Is(err, service.ErrNoJob), err == nil && !ok:
			noJob(w, name)
		case errors.Is(err, service.ErrState):
			refuse(w, http.StatusConflict, "wrong_state", err.Error())
		case err != nil:
			s.fail(w, "a job can't be told to "+what, err)
		default:
			s.log.Info("an order was given", zap.String("job", name), zap.String("order", what), zap.Stringer("client", client(r)))
			answer(w, http.StatusOK, job)
		}
	}
}

// emptyBody wants nothing, or an object without settings: what is not known
// must not seem to count.
func emptyBody(r *http.Request) *refusal {
	body, err := io.ReadAll(r.Body)
	if tooLong := (*http.MaxBytesError)(nil); errors.As(err, &tooLong) {
		return &refusal{http.StatusRequestEntityTooLarge, "too_large", "the body is too large; none is needed"}
	}
	var settings map[string]json.RawMessage
	if err != nil || len(body) > 0 && (json.Unmarshal(body, &settings) != nil || len(settings) > 0) {
		return &refusal{http.StatusBadRequest, "wrong_body", "the body is to be empty, or {}"}
	}
	return nil
}

func (s *Site) listRuns(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	limit, before := someRuns, uint64(0)
	var err error
	if text := q.Get("limit"); text != "" {
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > mostRuns {
			refuse(w, http.StatusBadRequest, "wrong_limit", fmt.Sprintf("limit is a number from 1 to %d", mostRuns))
			return
		}
	}
	if text := q.Get("before"); text != "" {
		if before, err = strconv.ParseUint(text, 10, 64); err != nil {
			refuse(w, http.StatusBadRequest, "wrong_before", "before is the number of a run")
			return
		}
	}
	list, err := s.runs(q.Get("job"), limit, before)
	if err != nil {
		s.fail(w, "the history can't be read", err)
		return
	}
	answer(w, http.StatusOK, list)
}

// runs returns a page of the history.
func (s *Site) runs(job string, limit int, before uint64) (RunList, error) {
	runs, err := s.opts.Service.History(job, limit+1, before)
	if err != nil {
		return RunList{}, err
	}
	list := RunList{Runs: runs}
	if len(runs) > limit {
		list.Runs = runs[:limit]
		list.Before = runs[limit-1].ID
	}
	if list.Runs == nil {
		list.Runs = []service.Run{}
	}
	return list, nil
}

func (s *Site) fail(w http.ResponseWriter, what string, err error) {
	s.log.Error(what, zap.Error(err))
	refuse(w, http.StatusInternalServerError, "internal", what+"; the log says why")
}
