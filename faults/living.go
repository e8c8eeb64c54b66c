package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/slotferry/slotferry/internal/dataset"
	"github.com/slotferry/slotferry/internal/sandbox"
)

const (
	writesPerSecond = 6000
	leastWrites     = 1000                  // that make a run count
	againAfter      = 50 * time.Millisecond // a source that is gone is tried again
	calmFor         = 1200 * time.Millisecond
	catchUpLimit    = 90 * time.Second
)

// living reports whether the source is written to while the tool follows it.
func (t *trial) living() bool { return slices.Contains(livingKinds, t.source) }

// writer changes a source until it is stopped, whatever becomes of its
// connection.
type writer struct {
	cancel  context.CancelFunc
	running sync.WaitGroup
	sent    atomic.Int64
}

func startWriter(ctx context.Context, source *sandbox.Server, seed uint64, rate int) *writer {
	ctx, cancel := context.WithCancel(ctx)
	w := &writer{cancel: cancel}
	c := redis.NewClient(source.ClientOptions())
	w.running.Go(func() {
		defer func() { _ = c.Close() }()
		for ctx.Err() == nil {
			seed++
			n, err := dataset.Churn(ctx, c, dataset.ChurnOptions{Seed: seed, Rate: rate}, nil)
			w.sent.Add(n)
			if err != nil && ctx.Err() == nil {
				_ = pause(ctx, againAfter)
			}
		}
	})
	return w
}

func (w *writer) stop() {
	w.cancel()
	w.running.Wait()
}

// beginLiving starts a writer, and the tool, which then follows it.
func (t *trial) beginLiving(ctx context.Context) error {
	t.keys = t.rig.living
	t.args = append(t.usualArgs(), "--source-password-file", t.tool.sourcePassword)
	switch t.source {
	case fromSync:
		t.args = append(t.args, "--via", "sync")
	case fromFollow:
		t.args = append(t.args, "--via", "scan", "--follow")
	}
	t.args = append(t.args, t.fault.args...)
	t.sourceAddr = t.rig.source.Addr
	if t.fault.before != nil {
		if err := t.fault.before(ctx, t); err != nil {
			return err
		}
	}
	t.args = append(t.args, "--source", "redis://"+t.sourceAddr)
	t.writer = startWriter(ctx, t.rig.source, t.r.Uint64(), writesPerSecond)
	return t.launchLiving(ctx)
}

// launchLiving starts the tool, held back while it copies if that is what the
// fault is made to.
func (t *trial) launchLiving(ctx context.Context) error {
	if t.fault.copying {
		return t.launch(ctx, t.heldBack()...)
	}
	return t.launch(ctx)
}

// reachLiving waits for the part of the job that the fault is made to, and then a
// moment more.
func (t *trial) reachLiving(ctx context.Context) error {
	phase := "tail"
	if t.fault.copying {
		phase = "copy"
	}
	begun := time.Now()
	for {
		p := t.progress()
		if p.Phase == phase && (phase == "tail" || p.Read > 0) {
			break
		}
		switch {
		case p.Phase == "tail":
			return fmt.Errorf("%w: the copy was over", errMissed)
		case !t.now.running():
			stderr, _ := os.ReadFile(t.now.stderr) // for the message alone
			return fmt.Errorf("the tool ended before it came to its %s:\n%s", phase, tail(stderr))
		case time.Since(begun) > catchUpLimit:
			return fmt.Errorf("the tool was not at its %s after %s", phase, catchUpLimit)
		}
		if err := pause(ctx, pollEvery); err != nil {
			return err
		}
	}
	if err := pause(ctx, t.scaled(t.between(0, time.Second))); err != nil {
		return err
	}
	return t.hit()
}

// progress is what the tool said last of where it stands.
func (t *trial) progress() (p progress) {
	said, err := os.ReadFile(t.now.stdout)
	if err != nil {
		return p
	}
	lines := bytes.Split(said, []byte("\n"))
	for _, line := range slices.Backward(lines[:len(lines)-1]) {
		if json.Unmarshal(line, &p) == nil && p.Event == "progress" {
			return p
		}
	}
	return progress{}
}

type progress struct {
	Event string `json:"event"`
	Phase string `json:"phase"`
	Read  int64  `json:"read"`
	Lag   *struct {
		Bytes int64 `json:"bytes"`
		Keys  int   `json:"keys"`
	} `json:"lag"`
}

// calm lets the tool follow for a while behind the fault, and stops the writer.
// Then the tool is ended at once, or when it has caught up: the run that is
// told to come to an end finds one or the other.
func (t *trial) calm(ctx context.Context) error {
	if t.now.looked {
		if err := t.launch(ctx); err != nil {
			return err
		}
	}
	if err := pause(ctx, t.scaled(t.between(time.Second, 3*time.Second))); err != nil {
		return err
	}
	patient := t.r.IntN(2) == 0
	t.writer.stop()
	if err := pause(ctx, calmFor); err != nil { // what expires soon has then
		return err
	}
	for begun := time.Now(); patient && t.now.running() && !t.caughtUp(); {
		if time.Since(begun) > catchUpLimit {
			return fmt.Errorf("the tool is not through %s after the last write: %+v", catchUpLimit, t.progress())
		}
		if err := pause(ctx, pollEvery); err != nil {
			return err
		}
	}
	if t.now.running() {
		if err := t.now.terminate(); err != nil {
			return err
		}
	}
	e, err := t.ended(ctx)
	if err == nil && e.exit != interrupted {
		err = fmt.Errorf("exit code %d, not %d", e.exit, interrupted)
	}
	if err != nil {
		return err
	}
	return t.rig.settle(ctx)
}

func (t *trial) caughtUp() bool {
	p := t.progress()
	return p.Phase == "tail" && p.Lag != nil && p.Lag.Bytes == 0 && p.Lag.Keys == 0
}

// logged reports whether any run of the tool has written one of these.
func (t *trial) logged(texts ...string) bool {
	for run := range t.count {
		stderr, err := os.ReadFile(filepath.Join(t.dir, strconv.Itoa(run+1)+".stderr"))
		if err == nil && slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(string(stderr), text) }) {
			return true
		}
	}
	return false
}
