package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const (
	toolLimit = 30 * time.Minute // for one run
	toolWait  = 20 * time.Second // after an interrupt, to save a checkpoint
)

// tool is the program under test and what it needs beside a source.
type tool struct {
	path                           string
	dir                            string // for checkpoints
	sourcePassword, targetPassword string // files
}

// buildTool builds the program from this module.
func buildTool(ctx context.Context, dir string) (tool, error) {
	t := tool{
		path: filepath.Join(dir, "slotferry"), dir: dir,
		sourcePassword: filepath.Join(dir, "source-password"), targetPassword: filepath.Join(dir, "target-password"),
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-o", t.path, "github.com/slotferry/slotferry/cmd/slotferry")
	if out, err := cmd.CombinedOutput(); err != nil {
		return t, fmt.Errorf("building the tool: %w\n%s", err, out)
	}
	if err := os.WriteFile(t.sourcePassword, []byte(sourcePassword+"\n"), 0o600); err != nil {
		return t, err
	}
	return t, os.WriteFile(t.targetPassword, []byte(targetPassword+"\n"), 0o600)
}

// usage is what a run of the tool took.
type usage struct {
	wall, user, system time.Duration
	peak               int64 // resident bytes; 0 if not known
}

// summary is the last line of the tool's standard output.
type summary struct {
	Event    string `json:"event"`
	Read     int64  `json:"read"`
	Written  int64  `json:"written"`
	Skipped  int64  `json:"skipped"`
	Expired  int64  `json:"expired"`
	Filtered int64  `json:"filtered"`
	Failed   int64  `json:"failed"`
	Resumed  bool   `json:"resumed"`
}

// run imports from a source as a user would.
func (t tool) run(ctx context.Context, via string, src *source, to *target) (usage, summary, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, toolLimit, fmt.Errorf("the tool was not done after %s", toolLimit))
	defer cancel()
	checkpoint, err := os.MkdirTemp(t.dir, "checkpoint-")
	if err != nil {
		return usage{}, summary{}, err
	}
	defer func() { _ = os.RemoveAll(checkpoint) }()

	args := []string{
		"import", "--target", "redis://" + strings.Join(to.cluster.Seeds(), ","), "--target-password-file", t.targetPassword,
		"--checkpoint", checkpoint, "--output", "json", "--source",
	}
	if via == viaScan {
		args = append(args, "redis://"+src.server.Addr, "--source-password-file", t.sourcePassword)
	} else {
		args = append(args, src.rdb)
	}
	cmd := exec.CommandContext(ctx, t.path, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = toolWait
	cmd.Env = ownEnvironment(os.Environ())
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr

	used, err := timed(cmd)
	if ctx.Err() != nil {
		return used, summary{}, context.Cause(ctx)
	}
	if err != nil {
		return used, summary{}, fmt.Errorf("the tool: %w\n%s%s", err, lastLines(stderr.String()), lastLines(stdout.String()))
	}
	s, err := parseSummary(stdout.Bytes())
	return used, s, err
}

func timed(cmd *exec.Cmd) (usage, error) {
	begun := time.Now()
	if err := cmd.Start(); err != nil {
		return usage{}, err
	}
	peak := watchPeak(cmd.Process.Pid)
	err := cmd.Wait()
	return usage{
		wall: time.Since(begun), user: cmd.ProcessState.UserTime(), system: cmd.ProcessState.SystemTime(), peak: peak(),
	}, err
}

// ownEnvironment leaves the tool's own variables out: they would change what is
// measured.
func ownEnvironment(all []string) []string {
	var kept []string
	for _, v := range all {
		if !strings.HasPrefix(v, "SLOTFERRY_") {
			kept = append(kept, v)
		}
	}
	return kept
}

func parseSummary(stdout []byte) (summary, error) {
	lines := bytes.Split(bytes.TrimSpace(stdout), []byte("\n"))
	last := lines[len(lines)-1]
	var s summary
	err := json.Unmarshal(last, &s)
	if err == nil && s.Event != "summary" {
		err = fmt.Errorf("its event is %q", s.Event)
	}
	if err != nil {
		return s, fmt.Errorf("the tool's last line %.200q is no summary: %w", last, err)
	}
	return s, nil
}

// check compares the account with itself and with what the cluster holds.
func (s summary) check(keys, held int64) error {
	answered := s.Written + s.Skipped + s.Expired + s.Filtered + s.Failed
	switch {
	case s.Read != answered:
		return fmt.Errorf("the account does not add up: %+v", s)
	case s.Failed != 0 || s.Skipped != 0 || s.Filtered != 0 || s.Resumed:
		return fmt.Errorf("nothing should fail, be left out or be resumed: %+v", s)
	case s.Read < keys: // SCAN may yield a key twice
		return fmt.Errorf("%d keys were read, the source has %d", s.Read, keys)
	case held != keys-s.Expired:
		return fmt.Errorf("the cluster holds %d keys, not %d: %+v", held, keys-s.Expired, s)
	}
	return nil
}

func lastLines(s string) string {
	lines := strings.SplitAfter(s, "\n")
	return strings.Join(lines[max(0, len(lines)-10):], "")
}
