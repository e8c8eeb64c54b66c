package aof

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/slotferry/slotferry/importer/choice"
	"github.com/slotferry/slotferry/importer/preflight"
)

const childVariable = "AOF_TEST_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childVariable); dir != "" {
		child(dir)
		return
	}
	os.Exit(m.Run())
}

// child is the other process of TestScratchOrphan: its server never answers.
func child(dir string) {
	c, err := choice.New(choice.Options{})
	if err != nil {
		os.Exit(1)
	}
	s := New(Options{Path: filepath.Join(dir, "a.aof"), Choice: c, Via: Scratch, WorkDir: dir, ScratchServer: filepath.Join(dir, "server")})
	var facts preflight.Source
	_, found := s.Inspect(context.Background())
	fmt.Fprintln(os.Stderr, found, s.Survey(context.Background(), &facts))
}

// TestScratchOrphan kills this process's like: its server ends with it.
func TestScratchOrphan(t *testing.T) {
	dir := t.TempDir()
	script := "#!/bin/sh\n[ \"$1\" = --version ] && echo 'Redis server v=7.0.0' && exit\necho $$ > " + dir + "/pid.new && mv " + dir + "/pid.new " + dir + "/pid\nexec sleep 3600\n"
	if err := os.WriteFile(filepath.Join(dir, "server"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "a.aof"), spread(1), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"="+dir)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	var pid int
	for pid == 0 {
		select {
		case err := <-ended:
			t.Fatalf("the child ended: %v", err)
		case <-time.After(10 * time.Millisecond):
		}
		if text, err := os.ReadFile(filepath.Join(dir, "pid")); err == nil {
			if pid, err = strconv.Atoi(strings.TrimSpace(string(text))); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-ended
	for running(pid) { // the test's own time limit ends this
		time.Sleep(10 * time.Millisecond)
	}
}

// running tells whether a process that is not our child runs; one that ended and
// that nobody has waited for yet does not.
func running(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z")
}
