package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"time"
)

const (
	toolLimit = 2 * time.Minute // for one run
	toolWait  = 10 * time.Second
)

// buildTool builds the program from this module.
func buildTool(ctx context.Context, dir string) (string, error) {
	path := filepath.Join(dir, "slotferry")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", path, "github.com/slotferry/slotferry/cmd/slotferry")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the tool: %w\n%s", err, out)
	}
	return path, nil
}

// told is what one import said.
type told struct {
	exit     int
	account  account
	refused  map[string]string // keys and why
	blockers []blocker
	stderr   string
}

// toItsEnd reports whether the import has tried every key: it is done, or some
// keys failed.
func (t told) toItsEnd() bool { return t.exit == 0 || t.exit == 1 }

// account is the part of the summary that is checked.
type account struct {
	Read, Written, Skipped, Expired, Filtered, Failed int64
	Retries                                           struct {
		Restamped int64
		Rebuilt   *int64 // nil: this build does not rebuild
	}
	Tail  tailCounts
	Error string
}

func (a account) balanced() bool {
	return a.Read == a.Written+a.Skipped+a.Expired+a.Filtered+a.Failed
}

type blocker struct{ Code, Message string }

// carry imports everything from a file or a live server, with more options.
func carry(ctx context.Context, tool, from string, to []string, more ...string) (told, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, toolLimit, fmt.Errorf("an import was not done after %s", toolLimit))
	defer cancel()
	cmd := command(ctx, tool, from, to, more...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exited *exec.ExitError
	if ctx.Err() != nil {
		return told{}, fmt.Errorf("%w\n%s%s", context.Cause(ctx), stderr.String(), lastLine(stdout.Bytes()))
	}
	if err != nil && !errors.As(err, &exited) {
		return told{}, err
	}
	t, err := parseEvents(stdout.Bytes())
	t.exit, t.stderr = cmd.ProcessState.ExitCode(), stderr.String()
	if err != nil {
		return t, fmt.Errorf("%w (exit %d)\n%s", err, t.exit, t.stderr)
	}
	return t, nil
}

// parseEvents reads what --output json writes.
func parseEvents(stdout []byte) (told, error) {
	t := told{refused: map[string]string{}}
	for line := range bytes.Lines(stdout) {
		var e struct {
			Event   string
			Key     string
			Base64  []byte `json:"key_base64"`
			Reason  string
			Code    string
			Message string
		}
		if err := json.Unmarshal(line, &e); err != nil {
			return t, fmt.Errorf("reading the tool's events: %w", err)
		}
		switch e.Event {
		case "failed", "unsupported":
			if e.Base64 != nil {
				e.Key = string(e.Base64)
			}
			t.refused[e.Key] = e.Reason
		case "blocker":
			t.blockers = append(t.blockers, blocker{e.Code, e.Message})
		case "summary":
			return t, json.Unmarshal(line, &t.account)
		}
	}
	return t, errors.New("the tool wrote no summary")
}

func lastLine(b []byte) []byte {
	b = bytes.TrimSpace(b)
	return b[bytes.LastIndexByte(b, '\n')+1:]
}
