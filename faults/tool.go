package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	toolLimit   = 5 * time.Minute // for one run of the tool
	interrupted = 75              // the exit code that asks for another run
)

// Passwords are looked for in all that the tool writes.
const (
	sourcePassword = "Tulip-Quay-4711"
	targetPassword = "Heron-Mole-0815"
)

// tool is the program under test.
type tool struct {
	path                           string
	sourcePassword, targetPassword string   // files
	within                         []string // a command that runs it; nil: none
}

// buildTool builds the program from this module.
func buildTool(ctx context.Context, dir string) (tool, error) {
	t := tool{
		path:           filepath.Join(dir, "slotferry"),
		sourcePassword: filepath.Join(dir, "source-password"), targetPassword: filepath.Join(dir, "target-password"),
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-o", t.path, "github.com/slotferry/slotferry/cmd/slotferry")
	if out, err := cmd.CombinedOutput(); err != nil {
		return t, fmt.Errorf("building the tool: %w\n%s", err, out)
	}
	err := os.WriteFile(t.sourcePassword, []byte(sourcePassword+"\n"), 0o600)
	return t, errors.Join(err, os.WriteFile(t.targetPassword, []byte(targetPassword+"\n"), 0o600))
}

// process is one run of the tool.
type process struct {
	cmd            *exec.Cmd
	stdout, stderr string // files
	killed         bool
	done           chan struct{} // closed when the process has been waited for
	looked         bool          // at how it ended
}

// launch starts the tool; number is that of the run, for its files.
func (t tool) launch(ctx context.Context, dir string, number int, args []string) (*process, error) {
	p := &process{
		stdout: filepath.Join(dir, fmt.Sprintf("%d.stdout", number)),
		stderr: filepath.Join(dir, fmt.Sprintf("%d.stderr", number)),
		done:   make(chan struct{}),
	}
	stdout, err := os.Create(p.stdout)
	if err != nil {
		return nil, err
	}
	defer func() { _ = stdout.Close() }()
	stderr, err := os.Create(p.stderr)
	if err != nil {
		return nil, err
	}
	defer func() { _ = stderr.Close() }()
	words := append(slices.Clip(t.within), append([]string{t.path}, args...)...)
	p.cmd = exec.CommandContext(ctx, words[0], words[1:]...)
	p.cmd.Env = ownEnvironment(os.Environ())
	p.cmd.Stdout, p.cmd.Stderr = stdout, stderr
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the tool: %w", err)
	}
	go func() {
		_ = p.cmd.Wait() // the exit code tells
		close(p.done)
	}()
	return p, nil
}

// kill ends the process as kill -9 does. false: it had ended.
func (p *process) kill() bool {
	p.killed = p.cmd.Process.Kill() == nil
	<-p.done
	p.killed = p.killed && !p.cmd.ProcessState.Exited()
	return p.killed
}

func (p *process) terminate() error { return p.cmd.Process.Signal(syscall.SIGTERM) }

func (p *process) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// end waits for the process and checks what any run has to keep to.
func (p *process) end(ctx context.Context) (ending, error) {
	select {
	case <-p.done:
	case <-ctx.Done():
		return ending{}, context.Cause(ctx)
	case <-time.After(toolLimit):
		_ = p.cmd.Process.Kill()
		<-p.done
		return ending{}, fmt.Errorf("the tool was not done after %s", toolLimit)
	}
	p.looked = true
	stdout, err := os.ReadFile(p.stdout)
	if err != nil {
		return ending{}, err
	}
	stderr, err := os.ReadFile(p.stderr)
	if err != nil {
		return ending{}, err
	}
	for _, secret := range []string{sourcePassword, targetPassword} {
		if bytes.Contains(stdout, []byte(secret)) || bytes.Contains(stderr, []byte(secret)) {
			return ending{}, errors.New("the tool wrote a password")
		}
	}
	e := ending{exit: p.cmd.ProcessState.ExitCode(), killed: p.killed, warnings: bytes.Count(stderr, []byte(`"level":"warn"`))}
	if e.killed {
		return e, nil
	}
	if e.summary, err = lastLine(stdout); err != nil {
		return e, fmt.Errorf("exit code %d: %w\n%s", e.exit, err, tail(stderr))
	}
	if err := e.check(); err != nil {
		return e, fmt.Errorf("%w\n%s%s", err, tail(stderr), tail(stdout))
	}
	return e, nil
}

// ending is how a run of the tool ended.
type ending struct {
	exit     int
	killed   bool // then there is no summary
	summary  summary
	warnings int // in the log
}

// summary is the last line of an import's standard output.
type summary struct {
	Event    string  `json:"event"`
	Status   string  `json:"status"`
	Exit     int     `json:"exit"`
	Read     int64   `json:"read"`
	Written  int64   `json:"written"`
	Skipped  int64   `json:"skipped"`
	Expired  int64   `json:"expired"`
	Filtered int64   `json:"filtered"`
	Failed   int64   `json:"failed"`
	Retries  retries `json:"retries"`
	Tail     struct {
		Failed     int64 `json:"failed"`
		Lost       int64 `json:"lost"`
		Redirected int64 `json:"redirected"`
	} `json:"tail"`
}

// all is what was met by keys and commands.
func (s summary) all() retries {
	r := s.Retries
	r.add(retries{Moved: s.Tail.Redirected, Lost: s.Tail.Lost})
	return r
}

// retries are what the tool met and mended.
type retries struct {
	Moved  int64 `json:"moved"`
	Ask    int64 `json:"ask"`
	Paused int64 `json:"paused"`
	Lost   int64 `json:"lost"`
}

func (r *retries) add(o retries) {
	r.Moved += o.Moved
	r.Ask += o.Ask
	r.Paused += o.Paused
	r.Lost += o.Lost
}

// check wants the account to add up, and a run that is done or asks for another.
func (e ending) check() error {
	s := e.summary
	switch {
	case s.Read != s.Written+s.Skipped+s.Expired+s.Filtered+s.Failed:
		return fmt.Errorf("the account does not add up: %+v", s)
	case s.Tail.Failed != 0 || s.Failed != 0 || s.Skipped != 0 || s.Filtered != 0:
		return fmt.Errorf("no key should fail or be left out: %+v", s)
	case e.exit != s.Exit:
		return fmt.Errorf("exit code %d, but the summary says %d", e.exit, s.Exit)
	case e.exit == 0 && s.Status == "done", e.exit == interrupted && s.Status == "interrupted":
		return nil
	}
	return fmt.Errorf("exit code %d, status %q", e.exit, s.Status)
}

func lastLine(stdout []byte) (summary, error) {
	lines := bytes.Split(bytes.TrimSpace(stdout), []byte("\n"))
	var s summary
	err := json.Unmarshal(lines[len(lines)-1], &s)
	if err == nil && s.Event != "summary" {
		err = fmt.Errorf("its event is %q", s.Event)
	}
	if err != nil {
		return s, fmt.Errorf("the tool's last line is no summary: %w", err)
	}
	return s, nil
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

// tail is the end of what the tool wrote, in lines that are not too long.
func tail(b []byte) string {
	const count, length = 8, 600
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	var out strings.Builder
	for _, line := range lines[max(0, len(lines)-count):] {
		out.WriteString("    " + line[:min(len(line), length)] + "\n")
	}
	return out.String()
}
