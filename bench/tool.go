package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
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

// ends is how the tool reaches both sides.
type ends struct {
	source     string // a file, or host:port of a live one
	live       bool
	seeds      []string // of the cluster
	addressMap []string // announced=dialled
}

// direct reaches both sides without a proxy.
func direct(via string, src *source, to *target) ends {
	e := ends{source: src.rdb, live: via != viaRDB, seeds: to.cluster.Seeds()}
	if e.live {
		e.source = src.server.Addr
	}
	return e
}

// arguments name both sides as a user would.
func (t tool) arguments(e ends) []string {
	args := []string{"--target", "redis://" + strings.Join(e.seeds, ","), "--target-password-file", t.targetPassword}
	for _, m := range e.addressMap {
		args = append(args, "--address-map", m)
	}
	if e.live {
		return append(args, "--source", "redis://"+e.source, "--source-password-file", t.sourcePassword)
	}
	return append(args, "--source", e.source)
}

// carry imports.
func (t tool) carry(ctx context.Context, e ends, more ...string) (usage, summary, error) {
	checkpoint, err := os.MkdirTemp(t.dir, "checkpoint-")
	if err != nil {
		return usage{}, summary{}, err
	}
	defer func() { _ = os.RemoveAll(checkpoint) }()
	args := append([]string{"import", "--checkpoint", checkpoint, "--output", "json"}, t.arguments(e)...)
	used, stdout, err := t.run(ctx, append(args, more...))
	if err != nil {
		return used, summary{}, err
	}
	s, err := lastLine[summary](stdout)
	return used, s, err
}

// carryAt imports with one of the limits, and tells how fast it was when.
func (t tool) carryAt(ctx context.Context, e ends, limit string, value int64) (summary, []progress, error) {
	args := []string{"import", "--checkpoint", "none", "--output", "json", limit, strconv.FormatInt(value, 10)}
	_, stdout, err := t.run(ctx, append(args, t.arguments(e)...))
	if err != nil {
		return summary{}, nil, err
	}
	s, err := lastLine[summary](stdout)
	return s, speeds(stdout), err
}

// verify compares both sides; memory may be "" for the default.
func (t tool) verify(ctx context.Context, e ends, memory string, more ...string) (usage, verification, error) {
	args := append([]string{"verify", "--checkpoint", "none", "--format", "json"}, t.arguments(e)...)
	if memory != "" {
		args = append(args, "--memory", memory)
	}
	used, stdout, err := t.run(ctx, append(args, more...))
	if err != nil {
		return used, verification{}, err
	}
	v, err := lastLine[verification](stdout)
	return used, v, err
}

// plan counts what an RDB file would put on masters that it imagines.
func (t tool) plan(ctx context.Context, rdb string, masters int) (usage, plan, error) {
	var p plan
	used, stdout, err := t.run(ctx, []string{"plan", "--source", rdb, "--masters", strconv.Itoa(masters), "--format", "json"})
	if err != nil {
		return used, p, err
	}
	if err := json.Unmarshal(stdout, &p); err != nil {
		return used, p, fmt.Errorf("reading the plan: %w", err)
	}
	return used, p, nil
}

// run runs the tool to its end and returns its standard output.
func (t tool) run(ctx context.Context, args []string) (usage, []byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, toolLimit, fmt.Errorf("the tool was not done after %s", toolLimit))
	defer cancel()
	cmd := t.command(ctx, args)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	used, err := timed(cmd)
	if ctx.Err() != nil {
		return used, nil, context.Cause(ctx)
	}
	if err != nil {
		return used, nil, fmt.Errorf("slotferry %s: %w\n%s%s", args[0], err, lastLines(stderr.String()), lastLines(stdout.String()))
	}
	return used, stdout.Bytes(), nil
}

// command prepares the tool.
func (t tool) command(ctx context.Context, args []string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, t.path, args...)
	cmd.Env = ownEnvironment(os.Environ())
	return cmd
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

func lastLines(s string) string {
	lines := strings.SplitAfter(s, "\n")
	return strings.Join(lines[max(0, len(lines)-10):], "")
}
