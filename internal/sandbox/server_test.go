package sandbox_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/slotferry/slotferry/internal/sandbox"
	"github.com/slotferry/slotferry/internal/sandbox/sandboxtest"
)

const odd = "p\"w \\ x\u00e9\n"

func set(t *testing.T, s *sandbox.Server, key, value string) {
	t.Helper()
	if err := s.Client().Set(t.Context(), key, value, 0).Err(); err != nil {
		t.Fatal(err)
	}
}

func wantValue(t *testing.T, s *sandbox.Server, key, want string) {
	t.Helper()
	if got, err := s.Client().Get(t.Context(), key).Result(); err != nil || got != want {
		t.Fatalf("GET %s = %q, %v, want %q", key, got, err, want)
	}
}

func TestStartAndStop(t *testing.T) {
	dir := t.TempDir()
	s := sandboxtest.Server(t, sandbox.Options{Dir: dir, Password: odd, UnixSocket: true, Args: []string{"--maxmemory", "100mb"}})
	set(t, s, "a", "1")
	if args := commandLine(t, s.PID()); strings.Contains(args, "x\u00e9") {
		t.Errorf("the password is in the arguments: %q", args)
	}
	if got := s.Client().ConfigGet(t.Context(), "maxmemory").Val()["maxmemory"]; got != "104857600" {
		t.Errorf("maxmemory = %s", got)
	}
	o := s.ClientOptions()
	o.Network, o.Addr = "unix", s.Socket
	c := redis.NewClient(o)
	defer func() { _ = c.Close() }()
	if got := c.Get(t.Context(), "a").Val(); got != "1" {
		t.Errorf("by the socket: GET a = %q", got)
	}
	parsed, err := redis.ParseURL(s.URL())
	if err != nil || parsed.Addr != s.Addr || parsed.Password != odd {
		t.Errorf("URL() = %q is read as %+v, %v", s.URL(), parsed, err)
	}
	pid := s.PID()
	s.Stop()
	s.Stop()
	wantGone(t, pid)
	wantEmpty(t, dir)
}

// commandLine returns what ps would show; empty where there is no /proc.
func commandLine(t *testing.T, pid int) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("/proc", itoa(pid), "cmdline"))
	if err != nil && runtime.GOOS == "linux" {
		t.Fatal(err)
	}
	return string(bytes.ReplaceAll(b, []byte{0}, []byte{' '}))
}

func TestKillLosesWhatIsNotOnDisk(t *testing.T) {
	s := sandboxtest.Server(t, sandbox.Options{})
	set(t, s, "saved", "1")
	if _, err := s.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
	set(t, s, "lost", "1")
	pid := s.PID()
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	wantGone(t, pid)
	if s.Running() || s.Kill() == nil || s.Pause() == nil {
		t.Error("a killed server passes for running")
	}
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantValue(t, s, "saved", "1")
	if n := s.Client().Exists(t.Context(), "lost").Val(); n != 0 {
		t.Error("a key that was only in memory is back")
	}
}

func TestRestartKeepsData(t *testing.T) {
	for name, o := range map[string]sandbox.Options{
		"by saving": {Password: odd}, "append-only": {AppendOnly: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := sandboxtest.Server(t, o)
			set(t, s, "a", "1")
			pid, addr := s.PID(), s.Addr
			if err := s.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
			if s.PID() == pid || s.Addr != addr {
				t.Errorf("pid %d → %d, address %s → %s", pid, s.PID(), addr, s.Addr)
			}
			wantValue(t, s, "a", "1")
		})
	}
}

func TestAppendOnlySurvivesKill(t *testing.T) {
	s := sandboxtest.Server(t, sandbox.Options{AppendOnly: true, Args: []string{"--appendfsync", "always"}})
	set(t, s, "a", "1")
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantValue(t, s, "a", "1")
}

func TestStartFromRDB(t *testing.T) {
	s := sandboxtest.Server(t, sandbox.Options{})
	set(t, s, "a", "1")
	file, err := s.Save(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, appendOnly := range []bool{false, true} {
		scratch := sandboxtest.Server(t, sandbox.Options{RDB: file, AppendOnly: appendOnly})
		wantValue(t, scratch, "a", "1")
		set(t, scratch, "b", "2")
		if err := scratch.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		wantValue(t, scratch, "a", "1")
		wantValue(t, scratch, "b", "2")
	}
	if n := s.Client().Exists(t.Context(), "b").Val(); n != 0 {
		t.Error("the copy wrote to the original")
	}
}

func TestPause(t *testing.T) {
	s := sandboxtest.Server(t, sandbox.Options{})
	if err := s.Pause(); errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- s.Client().Ping(context.WithoutCancel(t.Context())).Err() }()
	if err := s.Resume(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatalf("PING that waited: %v", err)
	}
	pid := s.PID()
	if err := s.Pause(); err != nil {
		t.Fatal(err)
	}
	s.Stop() // a paused one too
	wantGone(t, pid)
}

func TestTLS(t *testing.T) {
	s := sandboxtest.Server(t, sandbox.Options{TLS: true, Password: odd})
	set(t, s, "a", "1")
	o := s.ClientOptions()
	o.TLSConfig, o.MaxRetries = nil, -1
	plain := redis.NewClient(o)
	defer func() { _ = plain.Close() }()
	if plain.Ping(t.Context()).Err() == nil {
		t.Error("the port answers without TLS")
	}
	if !strings.HasPrefix(s.URL(), "rediss://") {
		t.Errorf("URL() = %q", s.URL())
	}
	for _, file := range []string{s.CA, s.Cert, s.Key} {
		if _, err := os.Stat(file); err != nil {
			t.Error(err)
		}
	}
}

func TestStartFails(t *testing.T) {
	for name, tc := range map[string]struct {
		o    sandbox.Options
		want string
	}{
		"a setting that does not exist": {sandbox.Options{Args: []string{"--no-such-setting", "1"}}, "no-such-setting"},
		"an RDB file that is damaged":   {sandbox.Options{RDB: damaged(t)}, "RDB"},
		"an RDB file that is missing":   {sandbox.Options{RDB: "no-such-file.rdb"}, "no-such-file.rdb"},
		"no such server":                {sandbox.Options{Binary: "no-such-server"}, sandbox.ErrNoServer.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			tc.o.Dir = t.TempDir()
			s, err := sandbox.Start(t.Context(), tc.o)
			if err == nil {
				s.Stop()
				t.Fatal("it started")
			}
			if !strings.Contains(err.Error(), tc.want) {
				t.Errorf("the error does not say %q: %v", tc.want, err)
			}
			wantEmpty(t, tc.o.Dir)
		})
	}
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		dir := t.TempDir()
		if _, err := sandbox.Start(ctx, sandbox.Options{Dir: dir}); !errors.Is(err, context.Canceled) {
			t.Errorf("err = %v", err)
		}
		wantEmpty(t, dir)
	})
}

func damaged(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "damaged.rdb")
	if err := os.WriteFile(file, []byte("REDIS0006 and then something else"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func wantEmpty(t *testing.T, dir string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range left {
		t.Errorf("left behind: %s", e.Name())
	}
}
