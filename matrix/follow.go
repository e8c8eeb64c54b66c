package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/slotferry/slotferry/checkpoint"
)

// viaSync is the third way to read a source: as a replica, which goes on with
// what is written.
const viaSync = "sync"

const (
	writesBefore = 200 * time.Millisecond
	writesBehind = 300 * time.Millisecond // what the tool must follow
	pollEvery    = 10 * time.Millisecond
	lateTTL      = 2000 // milliseconds that a relative expiry may be late on its way
)

// follow carries a source that is written to by --via sync: one run copies it
// and goes on with its commands until the writer has stopped, and another with
// --once comes to the end.
func (m *matrix) follow(ctx context.Context, p *pair, s *source, t *target) (err error) {
	if err := t.empty(ctx); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(m.dir, "sync-")
	if err != nil {
		return err
	}
	w := startWriter(ctx, s)
	defer func() {
		w.stop()
		err = errors.Join(err, s.forgetWritten(ctx), os.RemoveAll(dir))
	}()
	if err := pause(ctx, writesBefore); err != nil {
		return err
	}
	more := []string{"--via", "sync", "--checkpoint", filepath.Join(dir, "job"), "--on-unsupported", "skip"}
	if p.cell("vectors", viaScan).ways[fatal] > 0 {
		more = append(more, "--exclude", "vectors:*")
	}
	first, err := m.followUntil(ctx, s, t, dir, more, w)
	if err != nil {
		return err
	}
	last, err := carry(ctx, m.tool, s.server.URL(), t.cluster.Seeds(), append(more, "--once")...)
	if err != nil {
		return err
	}
	if log := t.ended(); log != "" {
		p.problem(viaSync, "a master ended during the import: %s", log)
		return t.restart(ctx, m.dir)
	}
	if first.exit != exitInterrupted || last.exit != 0 {
		p.problem(viaSync, "exit codes %d and %d, not %d and 0: %v %s %s %s", first.exit, last.exit, exitInterrupted,
			append(first.blockers, last.blockers...), first.account.Error, last.account.Error, lastLine([]byte(last.stderr)))
		return nil
	}
	p.followed = first.account.Tail.plus(last.account.Tail)
	maps.Copy(last.refused, first.refused)
	return m.compareFollowed(ctx, p, s, t, last)
}

// exitInterrupted is the tool's exit code when it was told to end.
const exitInterrupted = 75

// followUntil runs the tool until it has followed the source for a while. Then it
// stops the writer, and the tool.
func (m *matrix) followUntil(ctx context.Context, s *source, t *target, dir string, more []string, w *writer) (told, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, toolLimit, fmt.Errorf("an import was not done after %s", toolLimit))
	defer cancel()
	cmd := command(ctx, m.tool, s.server.URL(), t.cluster.Seeds(), more...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		return told{}, err
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // the exit code tells
		close(ended)
	}()
	following := func() bool {
		select {
		case <-ended:
			return true
		case <-ctx.Done():
			return true
		default:
			return inStream(filepath.Join(dir, "job", "checkpoint.json"))
		}
	}
	for !following() {
		_ = pause(ctx, pollEvery)
	}
	_ = pause(ctx, writesBehind)
	w.stop()
	_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended, which its exit code says
	<-ended
	if ctx.Err() != nil {
		return told{}, fmt.Errorf("%w\n%s", context.Cause(ctx), stderr.String())
	}
	said, err := parseEvents(stdout.Bytes())
	said.exit, said.stderr = cmd.ProcessState.ExitCode(), stderr.String()
	if err != nil {
		return said, fmt.Errorf("%w (exit %d)\n%s", err, said.exit, said.stderr)
	}
	return said, nil
}

// inStream reports whether a checkpoint is behind the full copy.
func inStream(path string) bool {
	data, err := os.ReadFile(path)
	if err != nil {
		return false
	}
	c, err := checkpoint.Decode(data)
	return err == nil && c.State.Position.Stream != ""
}

// compareFollowed compares all of the source, which nobody writes to any more,
// with what is there.
func (m *matrix) compareFollowed(ctx context.Context, p *pair, s *source, t *target, said told) error {
	there, err := t.contents(ctx)
	if err != nil {
		return err
	}
	all := maps.Clone(s.keys)
	written, err := s.readWritten(ctx)
	if err != nil {
		return err
	}
	maps.Copy(all, written)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		why, named := said.refused[name]
		got, arrived := there.keys[name]
		fatally := kindOf(name) == "vectors" && p.cell("vectors", viaScan).ways[fatal] > 0
		switch {
		case name == leftOut, fatally && !arrived:
		case arrived && named:
			p.problem(viaSync, "key %q is there, but was named as one that is not: %s", name, why)
		case named != p.refusedBySCAN[name]:
			p.problem(viaSync, "key %q: named %v (%s), by SCAN %v", name, named, why, p.refusedBySCAN[name])
		case named:
		case !arrived:
			p.problem(viaSync, "key %q (RDB type %d) is lost: neither there nor named", name, all[name].typ)
		default:
			p.compare(viaSync, name, all[name], got, followed)
		}
	}
	for name := range there.keys {
		if _, ok := all[name]; !ok || name == leftOut {
			p.problem(viaSync, "key %q is there and should not be", name)
		}
	}
	if len(written) == 0 || p.followed.Commands == 0 {
		p.problem(viaSync, "%d keys were written and %d commands followed: nothing was tried", len(written), p.followed.Commands)
	}
	if s.functions && t.functions {
		for i, got := range there.libraries {
			if !slices.Equal(got, s.libraries) {
				p.problem(viaSync, "master %d has %d function libraries, not the %d of the source, or others", i, len(got), len(s.libraries))
			}
		}
	}
	return nil
}

// command makes an import ready to be started.
func command(ctx context.Context, tool, from string, to []string, more ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, tool, "import", "--source", from, "--target", "redis://"+strings.Join(to, ","),
		"--output", "json", "--retry-for", "20s", "--exclude", leftOut)
	cmd.Args = append(cmd.Args, more...)
	for _, v := range os.Environ() { // the tool's own variables would change what is tried
		if !strings.HasPrefix(v, "SLOTFERRY_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = toolWait
	return cmd
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}
