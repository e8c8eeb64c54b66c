package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/slotferry/slotferry/checkpoint"
	"github.com/slotferry/slotferry/importer/target"
	"github.com/slotferry/slotferry/internal/dataset"
	"github.com/slotferry/slotferry/internal/sandbox"
	"github.com/slotferry/slotferry/internal/sandbox/sandboxtest"
)

// logged is a server that keeps an append-only file, after all kinds of commands,
// and the folder of that file.
func logged(t *testing.T, oneSlot bool) (*sandbox.Server, string) {
	t.Helper()
	src := sandboxtest.Server(t, sandbox.Options{Password: sourcePassword, AppendOnly: true, Args: []string{"--appendfsync", "always"}})
	if _, err := dataset.Fill(t.Context(), src.Client(), dataset.Options{Keys: 2000, Seed: 3}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := dataset.Churn(ctx, src.Client(), dataset.ChurnOptions{Seed: 5, OneSlot: oneSlot, Forever: true}, nil); err != nil {
		t.Fatal(err)
	}
	// What it loads is what the file says: it leaves out how many entries groups
	// have read, and when their consumers were seen.
	if err := src.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	return src, filepath.Join(src.Dir, "appendonlydir")
}

// TestReplayKilled kills runs that apply the commands of a file, each somewhat
// further on.
func TestReplayKilled(t *testing.T) {
	src, folder := logged(t, true)
	dst, dir := emptyCluster(t), t.TempDir()
	args := []string{"import", "--source", folder, "--target", dst.url, "--output", "json", "--aof-via", "replay"}
	killed := 0
	for wait := 100 * time.Millisecond; ; wait += 100 * time.Millisecond {
		cmd := command(t, dir, args...)
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		timer := time.AfterFunc(wait, func() { _ = cmd.Process.Kill() })
		err := cmd.Wait()
		timer.Stop()
		if err == nil || strings.Contains(out.String(), "an earlier run of this job was finished") { // it was killed after that
			break
		}
		if killed++; cmd.ProcessState.ExitCode() >= 0 {
			t.Fatalf("it ended by itself: %v\n%s", err, &out)
		}
	}
	if killed == 0 {
		t.Error("no run was killed")
	}
	dst.wantEqual(t, src, dataset.CompareOptions{IgnoreConsumerTimes: true})
}

// TestReplayKilledAtTheEnd goes on from where a run was killed that had saved
// that everything is in, and had not removed all of its marks yet.
func TestReplayKilledAtTheEnd(t *testing.T) {
	src, folder := logged(t, true)
	dst, dir := emptyCluster(t), t.TempDir()
	args := []string{"import", "--source", folder, "--target", dst.url, "--aof-via", "replay", "--job", "mine"}
	slotferry(t, dir, args...).want(t, 0)
	store, err := checkpoint.OpenFile(filepath.Join(dir, ".slotferry", "mine"))
	if err != nil {
		t.Fatal(err)
	}
	state, err := store.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	state.Done = false
	if err := errors.Join(store.Save(t.Context(), state), store.Close(t.Context())); err != nil {
		t.Fatal(err)
	}
	if !state.State.Position.End {
		t.Fatalf("it ended at %+v", state.State.Position)
	}
	for _, slot := range []uint16{0, 7000, 16383} {
		if err := dst.Client().HSet(t.Context(), string(target.AppendMark(nil, slot, target.JobHash("mine"))), "", "1").Err(); err != nil {
			t.Fatal(err)
		}
	}
	slotferry(t, dir, args...).want(t, 0)
	dst.wantEqual(t, src, dataset.CompareOptions{IgnoreConsumerTimes: true})
}

// TestAppendOnlyFile carries one both ways, and plans and compares it.
func TestAppendOnlyFile(t *testing.T) {
	for _, tc := range []struct {
		name    string
		oneSlot bool
		flags   []string
		tail    bool
	}{
		{"replay", true, []string{"--aof-via", "replay"}, true},
		{"by itself", false, nil, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			src, folder := logged(t, tc.oneSlot)
			dst, dir := emptyCluster(t), t.TempDir()
			args := append([]string{"import", "--source", folder, "--target", dst.url, "--output", "json"}, tc.flags...)
			r := slotferry(t, dir, args...)
			r.want(t, 0)
			if strings.Contains(r.stdout, `"tail":`) != tc.tail {
				t.Errorf("it went another way than %s:\n%s%s", tc.name, r.stdout, r.stderr)
			}
			dst.wantEqual(t, src, dataset.CompareOptions{IgnoreConsumerTimes: true})
			if left, _ := filepath.Glob(filepath.Join(dir, ".slotferry", "*", "spool", "*")); len(left) > 0 {
				t.Errorf("it leaves %q", left)
			}
			if !tc.oneSlot {
				slotferry(t, dir, "verify", "--source", folder, "--target", dst.url, "--extra").want(t, 0)
				slotferry(t, dir, "plan", "--source", folder, "--target", dst.url, "--on-exists", "replace", "--format", "json").want(t, 0)
				slotferry(t, dir, append(args, "--aof-via", "replay", "--on-exists", "replace")...).want(t, 4, "aof_replay_impossible")
				empty := filepath.Join(dir, "empty")
				if err := os.Mkdir(empty, 0o700); err != nil {
					t.Fatal(err)
				}
				slotferry(t, dir, append(args, "--scratch-server", filepath.Join(empty, "redis-server"), "--on-exists", "replace")...).want(t, 4, "aof_needs_server")
			}
		})
	}
}
