//go:build unix

package main

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/slotferry/slotferry/checkpoint"
	"github.com/slotferry/slotferry/internal/dataset"
)

// slow makes an import of a few thousand keys last for seconds.
var slow = []string{"--rate-keys", "4000", "--output", "json"}

// interrupted starts an import, waits until it has saved progress, and sends it
// signals.
func interrupted(t *testing.T, dir string, args []string, wait time.Duration, signals ...syscall.Signal) result {
	t.Helper()
	cmd := command(t, dir, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "a checkpoint", func() bool {
		found, _ := filepath.Glob(filepath.Join(dir, ".slotferry", "*", "checkpoint.json"))
		return len(found) == 1
	})
	time.Sleep(wait)
	for _, s := range signals {
		if err := cmd.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
	}
	_ = cmd.Wait()
	return ended(t, cmd, &stdout, &stderr)
}

func TestSignals(t *testing.T) {
	src, dst := source(t, 12000), emptyCluster(t)
	for name, from := range map[string]string{"rdb": save(t, src), "live": "redis://" + src.Addr} {
		for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
			t.Run(name+" "+sig.String(), func(t *testing.T) {
				dir := t.TempDir()
				dst = emptyCluster(t)
				args := append([]string{"import", "--source", from, "--target", dst.url, "--scan-count", "200"}, slow...)
				r := interrupted(t, dir, args, 700*time.Millisecond, sig)
				r.want(t, 75)
				if !strings.Contains(r.stderr, "interrupted by a signal") || !strings.Contains(r.stderr, "Run the same command again") {
					t.Errorf("it does not say what happened and what to do:\n%s", r.stderr)
				}
				if s := r.last(t); s.Status != "interrupted" || s.Written == 0 || s.Written == 12000 || !s.balanced() {
					t.Errorf("summary %+v", s)
				}
				r = slotferry(t, dir, "import", "--source", from, "--target", dst.url, "--output", "json")
				r.want(t, 0)
				if s := r.last(t); !s.Resumed || s.Runs != 2 || s.Read != 12000 || !s.balanced() {
					t.Errorf("summary %+v", s)
				}
				dst.wantEqual(t, src, dataset.CompareOptions{})
			})
		}
	}
}

func TestKilledAgainAndAgain(t *testing.T) {
	src := source(t, 12000)
	for name, from := range map[string]string{"rdb": save(t, src), "live": "redis://" + src.Addr} {
		t.Run(name, func(t *testing.T) {
			dir, dst := t.TempDir(), emptyCluster(t)
			args := []string{"import", "--source", from, "--target", dst.url, "--scan-count", "200", "--rate-keys", "3000"}
			for range 5 {
				r := interrupted(t, dir, args, time.Duration(100+rand.IntN(500))*time.Millisecond, syscall.SIGKILL)
				if r.code == 0 {
					t.Fatal("a run ended before it was killed")
				}
			}
			r := slotferry(t, dir, "import", "--source", from, "--target", dst.url, "--output", "json")
			r.want(t, 0)
			// A kill may come before its run had saved that it began.
			if s := r.last(t); !s.Resumed || s.Runs < 2 || s.Runs > 6 || s.Read != 12000 || s.Written != 12000 {
				t.Errorf("summary %+v", s)
			}
			dst.wantEqual(t, src, dataset.CompareOptions{})
		})
	}
}

func TestSecondSignalEndsAtOnce(t *testing.T) {
	src, dst, dir := source(t, 3000), emptyCluster(t), t.TempDir()
	stopped := dst.Nodes[0] // so that draining takes its time
	base := []string{"import", "--source", save(t, src), "--target", dst.url}
	args := append(base, "--rate-keys", "1000")
	cmd := command(t, dir, args...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "keys", func() bool { return dst.keys(t) > 0 })
	if err := stopped.Pause(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stopped.Resume() }()
	for range 2 {
		time.Sleep(300 * time.Millisecond)
		_ = cmd.Process.Signal(syscall.SIGINT)
	}
	_ = cmd.Wait()
	if ws := cmd.ProcessState.Sys().(syscall.WaitStatus); !ws.Signaled() {
		t.Errorf("the second signal did not end it: %v", cmd.ProcessState)
	}
	_ = stopped.Resume()
	slotferry(t, dir, base...).want(t, 0)
	dst.wantEqual(t, src, dataset.CompareOptions{})
}

func TestTwoRunsAtOnce(t *testing.T) {
	src, dst, dir := source(t, 5000), emptyCluster(t), t.TempDir()
	from := save(t, src)
	args := append([]string{"import", "--source", from, "--target", dst.url}, slow...)
	first := command(t, dir, args...)
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "keys", func() bool { return dst.keys(t) > 0 })
	slotferry(t, dir, "import", "--source", from, "--target", dst.url).want(t, 4, "checkpoint_locked", "another run is using this checkpoint")
	if err := first.Wait(); err != nil {
		t.Errorf("the first run was disturbed: %v", err)
	}
	dst.wantEqual(t, src, dataset.CompareOptions{})
}

// TestOtherJob resumes a checkpoint with something changed.
func TestOtherJob(t *testing.T) {
	src, dst, dir := source(t, 12000), emptyCluster(t), t.TempDir()
	from := save(t, src)
	base := []string{"import", "--source", from, "--target", dst.url, "--job", "mine"}
	interrupted(t, dir, append(base, slow...), 600*time.Millisecond, syscall.SIGTERM).want(t, 75)
	before := dst.keys(t)

	other := source(t, 100)
	changed := func(flag, value string) []string {
		args := append([]string(nil), base...)
		for i, a := range args {
			if a == flag {
				args[i+1] = value
				return args
			}
		}
		return append(args, flag, value)
	}
	elsewhere := sandboxCluster(t)
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"source": {changed("--source", save(t, other)), "checkpoint_other_source"},
		"target": {changed("--target", elsewhere), "checkpoint_other_target"},
		"filter": {changed("--exclude", "tmp:*"), "checkpoint_other_choice"},
		"policy": {changed("--on-exists", "replace"), "checkpoint_other_policy"},
	} {
		t.Run(name, func(t *testing.T) {
			slotferry(t, dir, tc.args...).want(t, 4, tc.want, `job "mine"`, "--restart")
		})
	}
	t.Run("damaged", func(t *testing.T) {
		path := filepath.Join(dir, ".slotferry", "mine", "checkpoint.json")
		good, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		bad := bytes.Replace(good, []byte(`"read":`), []byte(`"read":1`), 1)
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		slotferry(t, dir, base...).want(t, 4, "checkpoint_damaged", "checkpoint.json", "--restart")
		if err := os.WriteFile(path, good, 0o600); err != nil {
			t.Fatal(err)
		}
	})
	if n := dst.keys(t); n != before {
		t.Errorf("%d keys before, %d after refused runs", before, n)
	}
	slotferry(t, dir, base...).want(t, 0, "2 runs of this job together")
	dst.wantEqual(t, src, dataset.CompareOptions{})
	if _, err := checkpoint.OpenFile(filepath.Join(dir, ".slotferry", "mine")); err != nil {
		t.Errorf("the lock is still held: %v", err)
	}
}

func TestEmptiedTargetIsNoticed(t *testing.T) {
	src, dst, dir := source(t, 12000), emptyCluster(t), t.TempDir()
	args := []string{"import", "--source", save(t, src), "--target", dst.url}
	interrupted(t, dir, append(args, slow...), 600*time.Millisecond, syscall.SIGTERM).want(t, 75)
	dst = emptyCluster(t)
	slotferry(t, dir, args...).want(t, 4, "target_lost_keys", "--restart")
	slotferry(t, dir, append(args, "--restart")...).want(t, 0)
	dst.wantEqual(t, src, dataset.CompareOptions{})
	wantNoSecrets(t, dir)
}
