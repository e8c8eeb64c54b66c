//go:build unix

package main

import (
	"bytes"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/slotferry/slotferry/checkpoint"
	"github.com/slotferry/slotferry/internal/dataset"
)

// briefLease is a lease that tests can wait for.
const briefLease = 2 * time.Second

// pod is slotferry in a process of its own.
type pod struct {
	*exec.Cmd
	stdout, stderr bytes.Buffer
}

func startPod(t *testing.T, args ...string) *pod {
	t.Helper()
	p := &pod{Cmd: command(t, t.TempDir(), args...)}
	p.Env = append(p.Env, testLease+"="+briefLease.String())
	p.Stdout, p.Stderr = &p.stdout, &p.stderr
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Process.Kill() })
	return p
}

func (p *pod) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := p.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// wait returns what the process leaves.
func (p *pod) wait(t *testing.T) result {
	t.Helper()
	_ = p.Wait()
	return ended(t, p.Cmd, &p.stdout, &p.stderr)
}

// placed are the arguments of an import from a file with its checkpoint in the
// target.
func placed(path string, to stage, more ...string) []string {
	return append([]string{"import", "--source", path, "--target", to.url, "--checkpoint", "target", "--job", "move", "--output", "json"}, more...)
}

// begun waits until a job has saved progress in the target.
func (s stage) begun(t *testing.T, job string) {
	t.Helper()
	client := s.Client()
	waitFor(t, "progress of "+job, func() bool {
		data, err := client.Get(t.Context(), "slotferry:{"+job+"}:checkpoint").Bytes()
		if err != nil {
			return false
		}
		c, err := checkpoint.Decode(data)
		return err == nil && c.State.Counts.Written > 0
	})
}

// TestShards has three processes share the slots, one of which is killed on the
// way and begun again at once: together they do what one does.
func TestShards(t *testing.T) {
	const keys = 30000
	src, dst := source(t, keys), emptyCluster(t)
	path := save(t, src)
	shard := func(i string, more ...string) []string {
		return placed(path, dst, append(more, "--shard", i+"/3")...)
	}
	slow := startPod(t, shard("1", "--rate-keys", "4000")...)
	first := startPod(t, shard("0")...)
	dst.begun(t, "move-shard-1-of-3")
	slow.signal(t, syscall.SIGKILL)
	_ = slow.Wait()
	again := startPod(t, shard("1")...)
	done := []result{first.wait(t)}
	done = append(done, startPod(t, shard("2")...).wait(t), again.wait(t))
	var written int64
	for i, r := range done {
		r.want(t, 0)
		s := r.last(t)
		written += s.Written
		if resumed := i == 2; s.Resumed != resumed || s.Filtered == 0 {
			t.Errorf("run %d: %+v", i, s)
		}
	}
	if written != keys {
		t.Errorf("%d keys were written, want %d", written, keys)
	}
	dst.wantEqual(t, src, dataset.CompareOptions{}) // and no checkpoint is left
	startPod(t, shard("2")...).wait(t).want(t, 4, "target_not_empty", "keys already")
}

// TestHolderStopped stops a process until another one has taken its lease and
// done its work. When it wakes up it must write nothing any more.
func TestHolderStopped(t *testing.T) {
	src, dst := source(t, 6000), emptyCluster(t)
	path := save(t, src)
	sleeper := startPod(t, placed(path, dst, "--rate-keys", "1000")...)
	dst.begun(t, "move")
	sleeper.signal(t, syscall.SIGSTOP)
	next := startPod(t, placed(path, dst)...).wait(t)
	next.want(t, 0, `"resumed":true`)
	dst.wantEqual(t, src, dataset.CompareOptions{})
	emptyCluster(t)
	sleeper.signal(t, syscall.SIGCONT)
	sleeper.wait(t).want(t, 75, checkpoint.ErrLost.Error())
	if n := dst.keys(t); n != 0 {
		t.Errorf("it wrote %d keys after it had lost its lease", n)
	}
}
