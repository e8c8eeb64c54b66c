//go:build unix

package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/slotferry/slotferry/internal/dataset"
	"github.com/slotferry/slotferry/internal/sandbox"
	"github.com/slotferry/slotferry/internal/sandbox/sandboxtest"
)

// churned is a source that is written to until the returned function is called,
// with a backlog of so many bytes.
func churned(t *testing.T, keys, rate int, backlog string) (*sandbox.Server, func()) {
	t.Helper()
	src := sandboxtest.Server(t, sandbox.Options{Password: sourcePassword, Args: []string{"--repl-backlog-size", backlog, "--repl-diskless-sync-delay", "0"}})
	if _, err := dataset.Fill(t.Context(), src.Client(), dataset.Options{Keys: keys, Seed: 3, Functions: true}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var writing sync.WaitGroup
	writing.Go(func() {
		if _, err := dataset.Churn(ctx, src.Client(), dataset.ChurnOptions{Seed: rand.Uint64(), Rate: rate}, nil); err != nil {
			t.Errorf("the writer: %v", err)
		}
	})
	stop := sync.OnceFunc(func() {
		cancel()
		writing.Wait()
		time.Sleep(time.Second) // what expires soon has then
	})
	t.Cleanup(stop)
	return src, stop
}

// TestSyncKilled kills a live copy while its source is written to, and lets the
// last run catch up when the writers have stopped.
func TestSyncKilled(t *testing.T) {
	kills, rate := 2, 10_000
	if text := os.Getenv("SLOTFERRY_KILLS"); text != "" { // a longer trial
		kills, _ = strconv.Atoi(text)
		rate = 20_000
	}
	for _, tc := range []struct {
		name, backlog string
		upheaval      bool
		flags         []string
	}{
		{"backlog holds", "256mb", false, nil},
		{"backlog is lost", "64kb", false, nil},
		{"databases are emptied and swapped", "256mb", true, []string{"--on-flush", "apply", "--db-map", "1=one:"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dst, dir := emptyCluster(t), t.TempDir()
			src, stop := churned(t, 3000, rate, tc.backlog)
			compare := dataset.CompareOptions{IgnoreConsumerTimes: true}
			if tc.upheaval {
				calm := upheave(t, src)
				churning := stop
				stop = func() { calm(); churning() }
				compare.Name = func(db int, key string) (string, bool) {
					if db == 1 {
						return "one:" + key, true
					}
					return key, true
				}
			}
			args := append([]string{"import", "--source", "redis://" + src.Addr, "--target", dst.url, "--via", "sync", "--output", "json"}, tc.flags...)
			for range kills {
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
				time.Sleep(time.Duration(300+rand.IntN(2000)) * time.Millisecond)
				_ = cmd.Process.Signal(syscall.SIGKILL)
				_ = cmd.Wait()
				if code := cmd.ProcessState.ExitCode(); code >= 0 {
					t.Fatalf("a run ended with %d before it was killed:\n%s%s", code, stdout.String(), stderr.String())
				}
			}
			stop()
			r := slotferry(t, dir, append(args, "--once")...)
			r.want(t, 0)
			if s := r.last(t); !s.Resumed || s.Status != "done" || !s.balanced() {
				t.Errorf("summary %+v", s)
			}
			dst.wantEqual(t, src, compare)
			if t.Failed() {
				t.Logf("the last run:\n%s%s", r.stdout, r.stderr)
			}
		})
	}
}

// upheave empties and swaps databases of a server, and loads functions, until
// the returned function is called.
func upheave(t *testing.T, src *sandbox.Server) func() {
	t.Helper()
	o := src.ClientOptions()
	o.DB = 1
	other := redis.NewClient(o)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		defer func() { _ = other.Close() }()
		for n := 0; ctx.Err() == nil; n++ {
			var err error
			switch n % 40 {
			case 9:
				err = other.FlushDB(context.Background()).Err()
			case 19:
				err = other.Do(context.Background(), "SWAPDB", 0, 1).Err()
			case 29:
				err = other.FunctionLoadReplace(context.Background(), fmt.Sprintf("#!lua name=lib\nredis.register_function('f', function() return %d end)", n)).Err()
			case 39:
				err = other.FlushAll(context.Background()).Err()
			default:
				err = other.HIncrBy(context.Background(), fmt.Sprintf("hash:%d", n%7), "count", 1).Err()
			}
			if err != nil {
				t.Errorf("the upheaval: %v", err)
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	})
	return func() { cancel(); running.Wait() }
}

// TestSyncInterrupted ends a live copy by a signal and goes on from there.
func TestSyncInterrupted(t *testing.T) {
	dst, dir := emptyCluster(t), t.TempDir()
	src, stop := churned(t, 3000, 5000, "256mb")
	args := []string{"import", "--source", "redis://" + src.Addr, "--target", dst.url, "--via", "sync", "--output", "json"}
	r := interrupted(t, dir, args, 2*time.Second, syscall.SIGINT)
	r.want(t, 75)
	if !strings.Contains(r.stdout, `"phase":"tail"`) || !strings.Contains(r.stdout, `"lag":{"bytes":`) {
		t.Errorf("it does not tell its lag:\n%s", r.stdout)
	}
	stop()
	slotferry(t, dir, "verify", "--source", "redis://"+src.Addr, "--target", dst.url, "--repair").want(t, 4, "followed", "--once or --cutover")
	r = slotferry(t, dir, append(args, "--once", "--verify")...)
	r.want(t, 0)
	if strings.Contains(r.stderr, "full copy again") {
		t.Errorf("it did not go on from its checkpoint:\n%s", r.stderr)
	}
	dst.wantEqual(t, src, dataset.CompareOptions{IgnoreConsumerTimes: true})
}

// TestCutover goes from the first copy to the switch while the source is written
// to.
func TestCutover(t *testing.T) {
	for _, via := range [][]string{{"--via", "sync"}, {"--via", "scan", "--follow"}} {
		t.Run(strings.Join(via, " "), func(t *testing.T) {
			dst, dir := emptyCluster(t), t.TempDir()
			src, stop := churned(t, 3000, 5000, "64mb")
			args := append([]string{"import", "--source", "redis://" + src.Addr, "--target", dst.url, "--output", "json", "--cutover",
				"--pause-timeout", "20s", "--on-cutover", "env > facts"}, via...)
			r := slotferry(t, dir, args...)
			r.want(t, 0)
			for _, step := range []string{"lag", "pause", "caught_up", "compared", "safe", "switched"} {
				if !strings.Contains(r.stdout, `{"event":"cutover","step":"`+step+`"`) {
					t.Errorf("it does not tell of %s:\n%s", step, r.stdout)
				}
			}
			facts, err := os.ReadFile(filepath.Join(dir, "facts"))
			if err != nil || !strings.Contains(string(facts), "SLOTFERRY_CUTOVER_TARGET="+dst.url) || strings.Contains(string(facts), sourcePassword) {
				t.Errorf("the command was told %s, %v", facts, err)
			}
			// The writers are still paused: what is there is what was switched to, but
			// for what has expired.
			time.Sleep(time.Second)
			dst.wantEqual(t, src, dataset.CompareOptions{IgnoreConsumerTimes: true})
			_ = src.Client().Do(t.Context(), "CLIENT", "UNPAUSE")
			stop()
		})
	}
}

// TestCutoverAfterAll is interrupted, loses the source's history, runs out of the
// pause, and is done at last.
func TestCutoverAfterAll(t *testing.T) {
	dst, dir := emptyCluster(t), t.TempDir()
	src, stop := churned(t, 3000, 5000, "64mb")
	args := []string{"import", "--source", "redis://" + src.Addr, "--target", dst.url, "--via", "sync", "--output", "json"}
	interrupted(t, dir, args, time.Second, syscall.SIGINT).want(t, 75)
	if err := src.Client().ConfigSet(t.Context(), "repl-backlog-size", "64kb").Err(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(500 * time.Millisecond)
	r := interrupted(t, dir, args, 1500*time.Millisecond, syscall.SIGINT)
	r.want(t, 75)
	if !strings.Contains(r.stderr, "making a full copy again") {
		t.Errorf("it does not tell that the history was lost:\n%s", r.stderr)
	}
	if err := src.Client().ConfigSet(t.Context(), "repl-backlog-size", "64mb").Err(); err != nil {
		t.Fatal(err)
	}
	args = append(args, "--cutover")
	slotferry(t, dir, append(args, "--pause-timeout", "1s", "--on-cutover", "sleep 3")...).want(t, 1, "nothing was switched")
	time.Sleep(2 * time.Second) // sessions that lived then are told to live longer
	slotferry(t, dir, append(args, "--pause-timeout", "20s")...).want(t, 0, "safe to switch")
	time.Sleep(time.Second)
	dst.wantEqual(t, src, dataset.CompareOptions{IgnoreConsumerTimes: true})
	_ = src.Client().Do(t.Context(), "CLIENT", "UNPAUSE")
	stop()
}

// TestCutoverGivenUp ends a cutover while the writers are paused: they must not
// wait for the end of the pause.
func TestCutoverGivenUp(t *testing.T) {
	src := source(t, 500)
	writes := func(t *testing.T) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second) // of a pause of ten minutes
		defer cancel()
		if err := src.Client().Set(ctx, "after", "the end", 0).Err(); err != nil {
			t.Errorf("the source is paused still: %v", err)
		}
	}
	args := func(dst stage, command string) []string {
		return []string{"import", "--source", "redis://" + src.Addr, "--target", dst.url, "--via", "sync", "--output", "json",
			"--cutover", "--pause-timeout", "10m", "--on-cutover", command}
	}
	t.Run("by its command", func(t *testing.T) {
		dst := emptyCluster(t)
		slotferry(t, t.TempDir(), args(dst, "exit 7")...).want(t, 1, "nothing was switched", "exit status 7", `"step":"unpause"`)
		writes(t)
	})
	t.Run("by a difference", func(t *testing.T) {
		dst, dir := emptyCluster(t), t.TempDir()
		interrupted(t, dir, append(args(dst, "true")[:9], "--job", "x"), time.Second, syscall.SIGINT).want(t, 75)
		for _, n := range dst.Nodes { // behind the tool's back
			if err := n.Client().FlushAll(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
		}
		slotferry(t, dir, append(args(dst, "touch switched"), "--job", "x")...).want(t, 3, "nothing was switched", `"step":"unpause"`)
		if _, err := os.Stat(filepath.Join(dir, "switched")); err == nil {
			t.Error("its command was run")
		}
		writes(t)
	})
	t.Run("by a signal", func(t *testing.T) {
		dst, dir := emptyCluster(t), t.TempDir()
		cmd := command(t, dir, args(dst, "touch begun; sleep 60")...)
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		waitFor(t, "the command", func() bool {
			_, err := os.Stat(filepath.Join(dir, "begun"))
			return err == nil
		})
		_ = cmd.Process.Signal(syscall.SIGINT)
		_ = cmd.Wait()
		ended(t, cmd, &stdout, &stderr).want(t, 75, `"step":"unpause"`)
		writes(t)
	})
}
