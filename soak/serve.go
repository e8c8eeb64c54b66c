package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"
)

const startLimit = 30 * time.Second

// The jobs of the service.
const (
	mirrorJob = "mirror"
	followJob = "follow"
)

// settings are what of the service's file changes.
type settings struct {
	cron        string
	checkTarget bool
	hasty       bool // runs take no longer than they must
}

// never is a time of a schedule that no soak meets.
const never = "0 0 29 2 *"

// write writes the service's file.
func (c settings) write(dir string, r *rig) error {
	// Slow enough to be in the middle of something when a fault is made.
	pace := "      rate_keys: 4000\n"
	if c.hasty {
		pace = "      verify: true\n      rounds: 2\n      pause: 200ms\n"
	}
	return os.WriteFile(filepath.Join(dir, "slotferry.yaml"), fmt.Appendf(nil, `
folder: %[1]s/state
http: {listen: '127.0.0.1:0', token_file: %[1]s/token}
jobs:
  - name: %[2]s
    schedule: {cron: '%[3]s'}
    import:
      source: redis://%[4]s
      source_password_file: %[1]s/mirrored.password
      target: redis://%[5]s
      target_password_file: %[1]s/target.password
      include: ['%[6]s*']
      on_exists: replace # the other job's keys are there, too
%[12]s    mirror: {max_delete: 50%%, check_target: %[7]t}
    retries: {count: 5, pause: 2s}
  - name: %[8]s
    live: true
    import:
      source: redis://%[9]s
      source_password_file: %[1]s/followed.password
      via: sync
      target: redis://%[5]s
      target_password_file: %[1]s/target.password
      include: ['%[10]s*']
      rename_prefix: {'%[10]s': '%[11]s'}
    retries: {count: 1000, pause: 2s}
`, dir, mirrorJob, c.cron, r.mirrored.Addr, strings.Join(r.cluster.Seeds(), ","), mirroredNames, c.checkTarget,
		followJob, r.followed.Addr, followedNames, renamedNames, pace), 0o600)
}

// serving is the service: one process after the other.
type serving struct {
	program, dir string

	mu   sync.RWMutex // held while it is asked, and alone while it is killed and started
	life *life
	logs []string // of all lives
	over bool     // it was ended
}

// life is one process of the service.
type life struct {
	number int
	begun  time.Time
	cmd    *exec.Cmd
	log    string // file
	url    string
	done   chan struct{} // closed when the process has been waited for
}

// build builds the program from this module.
func build(ctx context.Context, path string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-o", path, "github.com/slotferry/slotferry/cmd/slotferry")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building slotferry: %w\n%s", err, out)
	}
	return nil
}

var listening = regexp.MustCompile(`"msg":"listening","address":"([^"]+)"`)

// begin starts a process, and returns when it listens.
func (s *serving) begin(ctx context.Context) error {
	l := &life{
		number: len(s.logs) + 1, begun: time.Now(), log: filepath.Join(s.dir, fmt.Sprintf("serve-%d.log", len(s.logs)+1)),
		done: make(chan struct{}),
	}
	log, err := os.Create(l.log)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	l.cmd = exec.Command(s.program, "serve", "--config", filepath.Join(s.dir, "slotferry.yaml"), "--output", "json")
	l.cmd.Env = ownEnvironment(os.Environ())
	l.cmd.Stdout, l.cmd.Stderr = log, log
	// Ctrl-C in a terminal is for this program, which ends that one in order.
	l.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := l.cmd.Start(); err != nil {
		return fmt.Errorf("starting slotferry serve: %w", err)
	}
	go func() {
		_ = l.cmd.Wait() // its state tells
		close(l.done)
	}()
	s.life, s.logs = l, append(s.logs, l.log)
	return until(ctx, startLimit, "slotferry serve does not listen", func(context.Context) (bool, error) {
		if l.ended() {
			return false, fmt.Errorf("it has ended: %s\n%s", l.cmd.ProcessState, l.tail())
		}
		text, err := os.ReadFile(l.log)
		if m := listening.FindSubmatch(text); m != nil {
			l.url = "http://" + string(m[1])
			return true, nil
		}
		return false, err
	})
}

// kill ends the process as kill -9 does, and starts another one at once.
func (s *serving) kill(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.life.ended() {
		return fmt.Errorf("it had ended by itself: %s\n%s", s.life.cmd.ProcessState, s.life.tail())
	}
	if err := s.life.cmd.Process.Kill(); err != nil {
		return err
	}
	<-s.life.done
	return s.begin(ctx)
}

// reload has the settings read again.
func (s *serving) reload(ctx context.Context) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	const told = `"msg":"the settings were read again"`
	before, err := os.ReadFile(s.life.log)
	if err != nil {
		return err
	}
	if err := s.life.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		return err
	}
	return until(ctx, startLimit, "SIGHUP has done nothing", func(context.Context) (bool, error) {
		now, err := os.ReadFile(s.life.log)
		return bytes.Count(now, []byte(told)) > bytes.Count(before, []byte(told)), err
	})
}

const endsWithin = 60 * time.Second

// end ends the process as a system does; it must say that all is well.
func (s *serving) end() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.life == nil || s.life.cmd.Process == nil || s.over {
		return nil
	}
	s.over = true
	if s.life.ended() {
		return fmt.Errorf("slotferry serve had ended by itself: %s\n%s", s.life.cmd.ProcessState, s.life.tail())
	}
	_ = s.life.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.life.done:
	case <-time.After(endsWithin):
		_ = s.life.cmd.Process.Kill()
		<-s.life.done
		return fmt.Errorf("slotferry serve did not end within %s of SIGTERM\n%s", endsWithin, s.life.tail())
	}
	if code := s.life.cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("slotferry serve ended with %d after SIGTERM\n%s", code, s.life.tail())
	}
	return nil
}

func (l *life) ended() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

// tail is the end of the log.
func (l *life) tail() string {
	const count, length = 8, 600
	b, _ := os.ReadFile(l.log)
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	var out strings.Builder
	for _, line := range lines[max(0, len(lines)-count):] {
		out.WriteString("    " + line[:min(len(line), length)] + "\n")
	}
	return out.String()
}

// faultyWords are in no log of a program that is well.
var faultyWords = []string{"panic", "goroutine ", "DATA RACE", "fatal error"}

// inspect looks through all logs, and all files of the service for secrets.
func (s *serving) inspect() (wrong error) {
	for _, path := range s.logs {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, word := range faultyWords {
			if at := bytes.Index(text, []byte(word)); at >= 0 {
				wrong = errors.Join(wrong, fmt.Errorf("%s has the word %q: %s", filepath.Base(path), word, text[at:min(len(text), at+300)]))
			}
		}
		wrong = errors.Join(wrong, noSecret(filepath.Base(path), text))
	}
	return errors.Join(wrong, filepath.WalkDir(filepath.Join(s.dir, "state"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		return errors.Join(err, noSecret(path, text))
	}))
}

func noSecret(where string, text []byte) error {
	for _, secret := range secrets {
		if bytes.Contains(text, []byte(secret)) {
			return fmt.Errorf("%s holds a secret", where)
		}
	}
	return nil
}

// ownEnvironment leaves the tool's own variables out: they would change what is
// tried.
func ownEnvironment(all []string) []string {
	var kept []string
	for _, v := range all {
		if !strings.HasPrefix(v, "SLOTFERRY_") {
			kept = append(kept, v)
		}
	}
	return kept
}
