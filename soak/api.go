package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/slotferry/slotferry/service"
	"github.com/slotferry/slotferry/service/web"
)

// asking has no connections of its own between two questions: they would count
// among the service's.
var asking = &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// statusError is an answer that was no 200.
type statusError struct {
	path string
	code int
	body string
}

func (e *statusError) Error() string { return fmt.Sprintf("%s: %d %s", e.path, e.code, e.body) }

// ask asks the service, and looks for secrets in what it says.
func (l *life) ask(ctx context.Context, method, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, l.url+path, strings.NewReader(""))
	if err != nil {
		return nil, err
	}
	if method == http.MethodPost {
		req.Header.Set("Authorization", "Bearer "+serviceToken)
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := asking.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if err := noSecret("the answer to "+path, body); err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, &statusError{path, resp.StatusCode, string(body)}
	}
	return body, nil
}

func (l *life) metrics(ctx context.Context) (metrics, error) {
	body, err := l.ask(ctx, http.MethodGet, "/metrics")
	if err != nil {
		return metrics{}, err
	}
	return readMetrics(body)
}

func (l *life) jobs(ctx context.Context) (map[string]service.JobView, error) {
	body, err := l.ask(ctx, http.MethodGet, "/api/v1/jobs")
	if err != nil {
		return nil, err
	}
	var list web.JobList
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, fmt.Errorf("reading the jobs: %w", err)
	}
	out := map[string]service.JobView{}
	for _, j := range list.Jobs {
		out[j.Name] = j
	}
	for _, name := range []string{mirrorJob, followJob} {
		if _, ok := out[name]; !ok {
			return nil, fmt.Errorf("the service does not know the job %s", name)
		}
	}
	return out, nil
}

// history returns all runs that have ended, newest first.
func (l *life) history(ctx context.Context) (all []service.Run, err error) {
	for before := uint64(0); ; {
		body, err := l.ask(ctx, http.MethodGet, fmt.Sprintf("/api/v1/history?limit=100&before=%d", before))
		if err != nil {
			return nil, err
		}
		var list web.RunList
		if err := json.Unmarshal(body, &list); err != nil {
			return nil, fmt.Errorf("reading the history: %w", err)
		}
		all = append(all, list.Runs...)
		if before = list.Before; before == 0 {
			return all, nil
		}
	}
}

// order tells a job to do something. false: it can't do that now.
func (l *life) order(ctx context.Context, job, what string) (bool, error) {
	_, err := l.ask(ctx, http.MethodPost, "/api/v1/jobs/"+job+"/"+what)
	var refused *statusError
	if errors.As(err, &refused) && refused.code == http.StatusConflict {
		return false, nil
	}
	return err == nil, err
}
