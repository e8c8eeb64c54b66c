package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"sync"
	"time"
)

// exitInterrupted is what an import ends with that can go on.
const exitInterrupted = 75

// follower is the tool while it follows a source.
type follower struct {
	events eventLog
	stop   context.CancelFunc
	ended  chan error
	used   usage
}

// follow starts an import that goes on until it is interrupted.
func (t tool) follow(ctx context.Context, args []string) *follower {
	f := &follower{ended: make(chan error, 1)}
	ctx, f.stop = context.WithTimeoutCause(ctx, toolLimit, fmt.Errorf("the tool was not done after %s", toolLimit))
	cmd := t.command(ctx, args)
	var stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &f.events, &stderr
	go func() {
		var err error
		f.used, err = timed(cmd)
		var exit *exec.ExitError
		if errors.As(err, &exit) && exit.ExitCode() == exitInterrupted {
			err = nil
		}
		if err != nil {
			err = fmt.Errorf("slotferry %s: %w\n%s", args[0], err, lastLines(stderr.String()))
		}
		f.ended <- err
	}()
	return f
}

// end interrupts it, and waits for its end.
func (f *follower) end() error {
	f.stop()
	err := <-f.ended
	f.ended <- err // for who asks again
	return err
}

// await waits until something is so while the tool follows.
func (f *follower) await(ctx context.Context, so func() (bool, error)) error {
	for {
		if ok, err := so(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case err := <-f.ended:
			f.ended <- err
			return errors.Join(errors.New("the import ended before it was interrupted"), err)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// lag is how far the target was behind the source, as the tool told it.
type lag struct {
	at      time.Time
	bytes   int64
	seconds float64
}

// eventLog takes the tool's standard output, and keeps what it tells of the lag.
type eventLog struct {
	mu   sync.Mutex
	rest []byte // of a line that has not ended
	lags []lag
}

// Write implements io.Writer.
func (l *eventLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rest = append(l.rest, p...)
	for {
		line, rest, ok := bytes.Cut(l.rest, []byte("\n"))
		if !ok {
			return len(p), nil
		}
		l.rest = rest
		var e struct {
			Event string `json:"event"`
			Lag   *struct {
				Bytes   int64   `json:"bytes"`
				Seconds float64 `json:"seconds"`
			} `json:"lag"`
		}
		if json.Unmarshal(line, &e) == nil && e.Event == "progress" && e.Lag != nil {
			l.lags = append(l.lags, lag{time.Now(), e.Lag.Bytes, e.Lag.Seconds})
		}
	}
}

// between returns what was told in a time.
func (l *eventLog) between(begun, ended time.Time) (all []lag) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, one := range l.lags {
		if one.at.After(begun) && one.at.Before(ended) {
			all = append(all, one)
		}
	}
	return all
}

// growth is how fast the lag grew at the end, in bytes a second: from its lowest
// in the second third of a time to that in the last third. A lag that comes and
// goes gets back to nothing in both. The first third is left out, since every
// lag begins at nothing. known is false of too few points.
func growth(lags []lag) (bytesPerSecond float64, known bool) {
	third := len(lags) / 3
	if third < 2 {
		return 0, false
	}
	lags = lags[len(lags)-2*third:]
	before, after := slices.MinFunc(lags[:third], lessBehind), slices.MinFunc(lags[third:], lessBehind)
	return float64(after.bytes-before.bytes) / lags[third].at.Sub(lags[0].at).Seconds(), true
}

func lessBehind(a, b lag) int { return cmp.Compare(a.bytes, b.bytes) }
