//go:build !windows

package sandbox_test

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/slotferry/slotferry/internal/sandbox"
)

func itoa(n int) string { return strconv.Itoa(n) }

// wantGone needs no patience: whoever stops a server waits for its process.
func wantGone(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("process %d is still there: %v", pid, err)
	}
}

const childVar, keepVar = "SANDBOX_TEST_CHILD", "SANDBOX_TEST_KEEP"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childVar); dir != "" {
		startAndWait(dir, os.Getenv(keepVar) != "")
		return
	}
	os.Exit(m.Run())
}

// startAndWait is the other process of TestParentKilled: it starts a server from
// a goroutine that ends, prints its pid, and waits to be killed.
func startAndWait(dir string, keep bool) {
	done := make(chan *sandbox.Server)
	go func() {
		runtime.LockOSThread() // never unlocked: this thread ends with the goroutine
		s, err := sandbox.Start(context.Background(), sandbox.Options{Dir: dir, KeepRunning: keep})
		if err != nil {
			os.Exit(1)
		}
		done <- s
	}()
	s := <-done
	runtime.GC()
	time.Sleep(50 * time.Millisecond)
	if s.Client().Ping(context.Background()).Err() != nil {
		os.Exit(1)
	}
	_, _ = os.Stdout.WriteString(itoa(s.PID()) + "\n")
	time.Sleep(time.Hour)
}

func TestParentKilled(t *testing.T) {
	for _, keep := range []bool{false, true} {
		if !keep && runtime.GOOS != "linux" {
			continue
		}
		t.Run("keep="+strconv.FormatBool(keep), func(t *testing.T) {
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), childVar+"="+t.TempDir())
			if keep {
				cmd.Env = append(cmd.Env, keepVar+"=1")
			}
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			line, err := bufio.NewReader(out).ReadString('\n')
			if err != nil {
				t.Fatalf("the child started no server: %v", err)
			}
			pid, err := strconv.Atoi(strings.TrimSpace(line))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = syscall.Kill(pid, syscall.SIGKILL) }()
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			if keep {
				if err := syscall.Kill(pid, 0); err != nil {
					t.Errorf("the server ended with its parent: %v", err)
				}
				return
			}
			for alive(pid) { // the test's own time limit ends this
				time.Sleep(10 * time.Millisecond)
			}
		})
	}
}

// alive reports whether a process that is not our child runs; one that ended and
// that nobody has waited for yet does not.
func alive(pid int) bool {
	stat, err := os.ReadFile("/proc/" + itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z")
}
