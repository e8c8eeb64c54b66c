package service

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"
)

// AlertOptions says who is told of what; zero fields take the defaults noted.
type AlertOptions struct {
	Webhook string        // a URL that gets each alert by POST, as JSON; none
	Token   string        // sent to it as a bearer token; none
	Command string        // for the shell, with the alert's facts in its environment; none
	On      []string      // OnFailure, OnRecovery, OnLag; all of them
	Timeout time.Duration // of one attempt; 10 s
	Pause   time.Duration // before the second attempt, five times that before the third; 2 s
	Log     *zap.Logger   // none
}

// Alerts tells somebody, one alert after the other.
type Alerts struct {
	opts  AlertOptions
	queue chan Alert
}

// alertAttempts is how often one alert is sent in vain.
const alertAttempts = 3

// NewAlerts returns an Alerter that works while Run does.
func NewAlerts(o AlertOptions) *Alerts {
	if len(o.On) == 0 {
		o.On = []string{OnFailure, OnRecovery, OnLag}
	}
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	if o.Pause == 0 {
		o.Pause = 2 * time.Second
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	const waiting = 256
	return &Alerts{opts: o, queue: make(chan Alert, waiting)}
}

// Tell puts an alert into the queue. It never waits: when too many are there
// already the alert is only logged.
func (a *Alerts) Tell(alert Alert) {
	if a.opts.Webhook == "" && a.opts.Command == "" || !slices.Contains(a.opts.On, alert.Event) {
		return
	}
	select {
	case a.queue <- alert:
	default:
		a.opts.Log.Error("too many alerts wait to be sent; this one is dropped", zap.String("message", alert.Message))
	}
}

// Run sends alerts until ctx ends. What waits then is tried once more, for as
// long as one attempt may take.
func (a *Alerts) Run(ctx context.Context) {
	for {
		select {
		case alert := <-a.queue:
			a.send(ctx, alert)
		case <-ctx.Done():
			a.drain(context.WithoutCancel(ctx))
			return
		}
	}
}

func (a *Alerts) drain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, a.opts.Timeout)
	defer cancel()
	for ctx.Err() == nil {
		select {
		case alert := <-a.queue:
			a.attempt(ctx, "the webhook", alert, a.post)
			a.attempt(ctx, "the command", alert, a.run)
		default:
			return
		}
	}
}

// send sends one alert by all ways.
func (a *Alerts) send(ctx context.Context, alert Alert) {
	for _, way := range []struct {
		name string
		do   func(context.Context, Alert) error
	}{{"the webhook", a.post}, {"the command", a.run}} {
		pause := a.opts.Pause
		for i := range alertAttempts {
			if a.attempt(ctx, way.name, alert, way.do) || i+1 == alertAttempts {
				break
			}
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
			pause *= 5
		}
	}
}

// attempt tries once, and tells whether that is enough.
func (a *Alerts) attempt(ctx context.Context, name string, alert Alert, do func(context.Context, Alert) error) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.opts.Timeout)
	defer cancel()
	err := do(ctx, alert)
	if err != nil {
		a.opts.Log.Warn("an alert did not get through", zap.String("way", name), zap.String("job", alert.Job), zap.Error(err))
	}
	return err == nil
}

// post sends an alert to the webhook.
func (a *Alerts) post(ctx context.Context, alert Alert) error {
	if a.opts.Webhook == "" {
		return nil
	}
	body, err := json.Marshal(alert)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.opts.Webhook, bytes.NewReader(body))
	if err != nil {
		return errors.New("its address is wrong")
	}
	req.Header.Set("Content-Type", "application/json")
	if a.opts.Token != "" {
		req.Header.Set("Authorization", "Bearer "+a.opts.Token)
	}
	resp, err := http.DefaultClient.Do(req)
	var u *url.Error
	if errors.As(err, &u) { // its text has the address, which may hold a secret
		return u.Err
	} else if err != nil {
		return err
	}
	const enough = 1 << 16 // to use the connection again
	_, _ = io.CopyN(io.Discard, resp.Body, enough)
	_ = resp.Body.Close()
	if resp.StatusCode >= http.StatusMultipleChoices {
		return fmt.Errorf("it answered %s", resp.Status)
	}
	return nil
}

// run runs the command.
func (a *Alerts) run(ctx context.Context, alert Alert) error {
	if a.opts.Command == "" {
		return nil
	}
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", a.opts.Command)
	cmd.Env = append(withoutSecrets(os.Environ()), facts(alert)...)
	cmd.WaitDelay = time.Second
	return cmd.Run()
}

// facts are an alert as variables of the environment.
func facts(a Alert) []string {
	out := []string{
		"SLOTFERRY_ALERT_EVENT=" + a.Event,
		"SLOTFERRY_ALERT_TIME=" + a.Time.Format(time.RFC3339),
		"SLOTFERRY_ALERT_JOB=" + a.Job,
		"SLOTFERRY_ALERT_SOURCE=" + a.Source,
		"SLOTFERRY_ALERT_TARGET=" + a.Target,
		"SLOTFERRY_ALERT_MESSAGE=" + a.Message,
		"SLOTFERRY_ALERT_REMEDY=" + a.Remedy,
		"SLOTFERRY_ALERT_STATUS=" + string(a.Status),
		"SLOTFERRY_ALERT_RUN=" + strconv.FormatUint(a.Run, 10),
		"SLOTFERRY_ALERT_FAILURES=" + strconv.Itoa(a.Failures),
	}
	if a.Lag != nil {
		out = append(out, "SLOTFERRY_ALERT_LAG_SECONDS="+strconv.FormatFloat(a.Lag.Seconds, 'f', 3, 64),
			"SLOTFERRY_ALERT_LAG_BYTES="+strconv.FormatInt(a.Lag.Bytes, 10))
	}
	for i := range out { // no variable can hold one
		out[i] = strings.ReplaceAll(out[i], "\x00", "")
	}
	return out
}

// withoutSecrets leaves out what the environment has for slotferry alone.
func withoutSecrets(environment []string) (out []string) {
	for _, entry := range environment {
		name, _, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, "SLOTFERRY_") || !strings.HasSuffix(name, "_PASSWORD") {
			out = append(out, entry)
		}
	}
	return out
}
