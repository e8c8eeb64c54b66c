package service

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// told starts Alerts, tells it all, and returns when all of it is seen to.
func told(t *testing.T, o AlertOptions, alerts ...Alert) {
	t.Helper()
	a := NewAlerts(o)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { a.Run(ctx) })
	for _, alert := range alerts {
		a.Tell(alert)
	}
	for len(a.queue) > 0 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	wg.Wait()
}

func TestWebhook(t *testing.T) {
	const token = "hook-secret-51aa"
	var calls atomic.Int64
	var got []Alert
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if calls.Add(1) < 3 { // the first two attempts come to nothing
			http.Error(w, "not now", http.StatusServiceUnavailable)
			return
		}
		var a Alert
		body, _ := io.ReadAll(r.Body)
		if err := json.Unmarshal(body, &a); err != nil || r.Method != http.MethodPost || r.Header.Get("Authorization") != "Bearer "+token {
			t.Errorf("%s %s: %v", r.Method, body, err)
		}
		got = append(got, a)
	}))
	defer server.Close()
	told(t, AlertOptions{Webhook: server.URL + "/hook", Token: token, On: []string{OnFailure, OnLag}, Pause: time.Millisecond},
		Alert{Event: OnFailure, Job: "a", Status: Failed, Message: "x"}, Alert{Event: OnRecovery, Job: "b"}, Alert{Event: OnLag, Job: "c", Lag: &Lag{Bytes: 5, Seconds: 1.5}})
	if len(got) != 2 || got[0].Job != "a" || got[0].Status != Failed || got[1].Lag == nil || got[1].Lag.Seconds != 1.5 {
		t.Errorf("the webhook got %+v", got)
	}
}

// TestDeadWebhook tells nobody, logs it without the address, and waits for
// nobody meanwhile.
func TestDeadWebhook(t *testing.T) {
	hangs := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hangs }))
	defer server.Close()
	defer close(hangs)
	core, logs := observer.New(zapcore.InfoLevel)
	out := filepath.Join(t.TempDir(), "told")
	told(t, AlertOptions{
		Webhook: server.URL + "/path-secret-77", Command: "echo $SLOTFERRY_ALERT_JOB >> " + out,
		Timeout: 100 * time.Millisecond, Pause: time.Millisecond, Log: zap.New(core),
	}, Alert{Event: OnFailure, Job: "a"})
	if content, _ := os.ReadFile(out); !strings.HasPrefix(string(content), "a\n") {
		t.Errorf("the command was not run beside a webhook that hangs: %q", content)
	}
	if logs.Len() == 0 {
		t.Error("that nobody was told is not logged")
	}
	for _, e := range logs.All() {
		if text := e.Message; strings.Contains(text, "secret-77") || strings.Contains(e.ContextMap()["error"].(string), "secret-77") {
			t.Errorf("the address is logged: %v", e)
		}
	}

	a := NewAlerts(AlertOptions{Command: "true"}) // nobody reads the queue
	for range 10 * cap(a.queue) {
		a.Tell(Alert{Event: OnFailure})
	}
}

func TestAlertCommand(t *testing.T) {
	t.Setenv("SLOTFERRY_SOURCE_PASSWORD", "env-secret-3c")
	out := filepath.Join(t.TempDir(), "env")
	told(t, AlertOptions{Command: "env > " + out, Pause: time.Millisecond}, Alert{
		Event: OnFailure, Job: "nightly", Status: Blocked, Message: "it's\nblocked; $(touch x)", Failures: 2, Run: 7,
		Source: "redis://a", Target: "redis://b", Remedy: "empty it\x00",
	})
	content, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"SLOTFERRY_ALERT_EVENT=failure\n", "SLOTFERRY_ALERT_JOB=nightly\n", "SLOTFERRY_ALERT_STATUS=blocked\n", "SLOTFERRY_ALERT_FAILURES=2\n",
		"SLOTFERRY_ALERT_RUN=7\n", "SLOTFERRY_ALERT_MESSAGE=it's\nblocked; $(touch x)\n", "SLOTFERRY_ALERT_REMEDY=empty it\n", "SLOTFERRY_ALERT_SOURCE=redis://a\n",
	} {
		if !strings.Contains(string(content), want) {
			t.Errorf("%q is not in the environment", want)
		}
	}
	if strings.Contains(string(content), "env-secret-3c") {
		t.Error("a password is handed to the command")
	}
}
