package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/slotferry/slotferry/internal/dataset"
	"github.com/slotferry/slotferry/internal/sandbox"
	"github.com/slotferry/slotferry/internal/sandbox/sandboxtest"
)

// asCommand makes this test binary behave as slotferry itself, so that tests
// run the real command line in a process of its own.
const asCommand = "SLOTFERRY_TEST_AS_COMMAND"

// testLease shortens the lease of checkpoints in the target for such a process.
const testLease = "SLOTFERRY_TEST_LEASE"

// Passwords that must never be seen in anything that is printed or kept.
const (
	sourcePassword = "s0urce-secret-9f31"
	targetPassword = "t4rget-secret-77c2"
)

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		if term, err := time.ParseDuration(os.Getenv(testLease)); err == nil {
			lease = term
		}
		os.Exit(run())
	}
	code := m.Run()
	if shared.cluster != nil {
		shared.cluster.Stop()
	}
	os.Exit(code)
}

// result is what a finished command leaves.
type result struct {
	stdout, stderr string
	code           int
}

// summary is the last line of --output json.
type summary struct {
	Event    string
	Status   string
	Read     int64
	Written  int64
	Skipped  int64
	Expired  int64
	Filtered int64
	Failed   int64
	Resumed  bool
	Runs     int
	Exit     int
	Masters  []struct{ Addr string }
}

func (s summary) balanced() bool {
	return s.Read == s.Written+s.Skipped+s.Expired+s.Filtered+s.Failed
}

// command prepares slotferry with the passwords in its environment.
func command(t *testing.T, dir string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), asCommand+"=1",
		"SLOTFERRY_SOURCE_PASSWORD="+sourcePassword, "SLOTFERRY_TARGET_PASSWORD="+targetPassword)
	return cmd
}

// slotferry runs the command in a folder and waits for it.
func slotferry(t *testing.T, dir string, args ...string) result {
	t.Helper()
	return finish(t, command(t, dir, args...), nil)
}

func finish(t *testing.T, cmd *exec.Cmd, stdin io.Reader) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.Stdin = &stdout, &stderr, stdin
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return ended(t, cmd, &stdout, &stderr)
}

// ended makes sure of what holds for every command that has ended, however it
// did: no password is told, and an import's account adds up.
func ended(t *testing.T, cmd *exec.Cmd, stdout, stderr *bytes.Buffer) result {
	t.Helper()
	r := result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
	for _, secret := range []string{sourcePassword, targetPassword} {
		if strings.Contains(r.stdout+r.stderr, secret) {
			t.Errorf("a password is shown:\n%s%s", r.stdout, r.stderr)
		}
	}
	if strings.Contains(r.stderr, "goroutine ") {
		t.Errorf("a panic or a race:\n%s", r.stderr)
	}
	if accounts, sound := r.account(); sound != nil {
		t.Errorf("%d accounts: %v\n%s", accounts, sound, r.stdout)
	} else if slices.Contains(cmd.Args, "import") && !slices.Contains(cmd.Args, "--dry-run") && r.code == 0 && accounts == 0 && !slices.Contains(cmd.Args, "--help") {
		t.Errorf("an import without an account:\n%s", r.stdout)
	}
	return r
}

// row is one number of the account as people read it.
var row = regexp.MustCompile(`(?m)^ +(read|= written|\+ skipped|\+ expired|\+ filtered|\+ failed) +([0-9,]+)`)

// account checks that each summary of an import adds up: read = written +
// skipped + expired + filtered + failed, in JSON or in text.
func (r result) account() (accounts int, err error) {
	for line := range strings.Lines(r.stdout) {
		var s summary
		if json.Unmarshal([]byte(line), &s) != nil || s.Event != "summary" || !strings.Contains(line, `"written":`) {
			continue
		}
		accounts++
		if !s.balanced() {
			return accounts, fmt.Errorf("it does not add up: %s", line)
		}
	}
	for rows := row.FindAllStringSubmatch(r.stdout, -1); len(rows) > 0; rows = rows[6:] {
		accounts++
		if len(rows) < 6 {
			return accounts, fmt.Errorf("%d of 6 rows", len(rows))
		}
		var n [6]int64
		for i, found := range rows[:6] {
			n[i], _ = strconv.ParseInt(strings.ReplaceAll(found[2], ",", ""), 10, 64)
		}
		if n[0] != n[1]+n[2]+n[3]+n[4]+n[5] {
			return accounts, fmt.Errorf("it does not add up: %v", n)
		}
	}
	return accounts, nil
}

// last decodes the summary of --output json.
func (r result) last(t *testing.T) summary {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(r.stdout), "\n")
	var s summary
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &s); err != nil {
		t.Fatalf("the last line is not a summary: %v\n%s\n%s", err, r.stdout, r.stderr)
	}
	if s.Event != "summary" || s.Exit != r.code {
		t.Errorf("last event %q with exit %d, want a summary with %d", s.Event, s.Exit, r.code)
	}
	return s
}

// want checks the exit code and that all texts stand in what was printed.
func (r result) want(t *testing.T, code int, texts ...string) {
	t.Helper()
	if r.code != code {
		t.Errorf("exit code %d, want %d\n%s%s", r.code, code, r.stdout, r.stderr)
	}
	for _, text := range texts {
		if !strings.Contains(r.stdout+r.stderr, text) {
			t.Errorf("%q is not in the output:\n%s%s", text, r.stdout, r.stderr)
		}
	}
}

// stage is a cluster that the tests of this package share, one after the other.
type stage struct {
	*sandbox.Cluster
	url string
}

var shared struct {
	once    sync.Once
	cluster *sandbox.Cluster
	err     error
}

// emptyCluster returns the shared cluster with nothing in it.
func emptyCluster(t *testing.T) stage {
	t.Helper()
	shared.once.Do(func() {
		shared.cluster, shared.err = sandbox.StartCluster(context.Background(), sandbox.ClusterOptions{
			Options: sandbox.Options{Password: targetPassword}, Masters: 3,
		})
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	for _, n := range shared.cluster.Nodes {
		c := n.Client()
		if err := errors.Join(c.FlushAll(t.Context()).Err(), c.FunctionFlush(t.Context()).Err(), c.ScriptFlush(t.Context()).Err()); err != nil {
			t.Fatal(err)
		}
	}
	return stage{shared.cluster, "redis://" + strings.Join(shared.cluster.Seeds(), ",")}
}

// source starts a server with keys of every type.
func source(t *testing.T, keys int) *sandbox.Server {
	t.Helper()
	s := sandboxtest.Server(t, sandbox.Options{Password: sourcePassword})
	if _, err := dataset.Fill(t.Context(), s.Client(), dataset.Mixed(keys)); err != nil {
		t.Fatal(err)
	}
	return s
}

func save(t *testing.T, s *sandbox.Server) string {
	t.Helper()
	path, err := s.Save(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// wantEqual compares both sides key by key, both ways.
func (s stage) wantEqual(t *testing.T, src *sandbox.Server, o dataset.CompareOptions) {
	t.Helper()
	r, err := dataset.Compare(t.Context(), src.Client(), s.Client(), o)
	if err != nil {
		t.Fatal(err)
	}
	if !r.OK() {
		t.Errorf("the copy differs:\n%s", r)
	}
}

func (s stage) keys(t *testing.T) (total int64) {
	t.Helper()
	for _, n := range s.Nodes {
		keys, err := n.Client().DBSize(t.Context()).Result()
		if err != nil {
			t.Fatal(err)
		}
		total += keys
	}
	return total
}

// waitFor polls until a condition holds.
func waitFor(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for begin := time.Now(); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Since(begin) > 30*time.Second {
			t.Fatal("waited in vain for " + what)
		}
	}
}

func set(t *testing.T, c redis.Cmdable, key, value string) {
	t.Helper()
	if err := c.Set(t.Context(), key, value, 0).Err(); err != nil {
		t.Fatal(err)
	}
}

// wantNoSecrets looks through every file below a folder.
func wantNoSecrets(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if bytes.Contains(data, []byte(sourcePassword)) || bytes.Contains(data, []byte(targetPassword)) {
			t.Errorf("%s holds a password", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
