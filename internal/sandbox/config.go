package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// socketMax is the longest path of a Unix socket that every system takes.
const socketMax = 99

// Version is what a server binary says of itself.
type Version struct {
	Name         string // Redis, Valkey, Redict
	Major, Minor int
	Text         string // 7.0.15
}

// AtLeast reports whether the version is major.minor or newer.
func (v Version) AtLeast(major, minor int) bool {
	return v.Major > major || v.Major == major && v.Minor >= minor
}

func (v Version) String() string { return v.Name + " " + v.Text }

var (
	versionLine = regexp.MustCompile(`(\w+) server v=((\d+)\.(\d+)\S*)`)
	versions    sync.Map // by path
)

// BinaryVersion asks a server binary for its version.
func BinaryVersion(ctx context.Context, binary string) (Version, error) {
	if v, ok := versions.Load(binary); ok {
		return v.(Version), nil
	}
	out, err := exec.CommandContext(ctx, binary, "--version").Output()
	if err != nil {
		return Version{}, fmt.Errorf("asking %s for its version: %w", binary, err)
	}
	m := versionLine.FindStringSubmatch(string(out))
	if m == nil {
		return Version{}, fmt.Errorf("asking %s for its version: %q is not understood", binary, out)
	}
	major, _ := strconv.Atoi(m[3])
	minor, _ := strconv.Atoi(m[4])
	v := Version{Name: m[1], Major: major, Minor: minor, Text: m[2]}
	versions.Store(binary, v)
	return v, nil
}

// findBinary returns an absolute path, since the process starts in a folder of
// its own.
func findBinary(wanted string) (string, error) {
	if wanted == "" {
		wanted = os.Getenv("SLOTFERRY_REDIS_SERVER")
	}
	names := []string{"redis-server", "valkey-server"}
	if wanted != "" {
		names = []string{wanted}
	}
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil || errors.Is(err, exec.ErrDot) {
			return filepath.Abs(path)
		}
	}
	if wanted != "" {
		return "", fmt.Errorf("%s: %w", wanted, ErrNoServer)
	}
	return "", ErrNoServer
}

// findCLI returns the redis-cli next to the server's binary, else one on PATH,
// else nothing.
func findCLI(server string) string {
	for _, name := range []string{"redis-cli", "valkey-cli"} {
		path := filepath.Join(filepath.Dir(server), name)
		if _, err := exec.LookPath(path); err == nil {
			return path
		}
	}
	for _, name := range []string{"redis-cli", "valkey-cli"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

// configure writes the configuration file: a password in the arguments would be
// seen by everyone who may list processes.
func (s *Server) configure(n *node) error {
	var b strings.Builder
	set := func(name string, values ...string) {
		b.WriteString(name)
		for _, v := range values {
			b.WriteString(" " + quote(v))
		}
		b.WriteByte('\n')
	}
	port := strconv.Itoa(s.Port)
	set("bind", host)
	if s.opts.TLS {
		set("port", "0")
		set("tls-port", port)
		set("tls-ca-cert-file", s.CA)
		set("tls-cert-file", s.Cert)
		set("tls-key-file", s.Key)
		set("tls-auth-clients", "optional")
		set("tls-replication", "yes")
	} else {
		set("port", port)
	}
	if s.Socket != "" {
		set("unixsocket", s.Socket)
		set("unixsocketperm", "700")
	}
	set("dir", s.Dir)
	set("save", "")
	set("loglevel", "notice")
	set("repl-diskless-sync-delay", "0")
	set("repl-diskless-load", "disabled")
	if s.Version.AtLeast(7, 0) {
		set("enable-debug-command", "yes")
		set("shutdown-timeout", "0") // a stopped replica must not delay the end
	}
	if s.Password != "" {
		set("requirepass", s.Password)
		set("masterauth", s.Password)
	}
	if s.opts.AppendOnly && (s.opts.RDB == "" || s.loaded) {
		set("appendonly", "yes")
	}
	if n != nil {
		set("cluster-enabled", "yes")
		set("cluster-config-file", "nodes.conf")
		set("cluster-node-timeout", strconv.FormatInt(n.timeout.Milliseconds(), 10))
		if s.opts.TLS {
			set("tls-cluster", "yes")
		}
	}
	return os.WriteFile(s.confFile, []byte(b.String()), 0o600)
}

// appendAfterRDB switches the append-only file on once the RDB file is loaded: a
// server that starts with both ignores the RDB.
func (s *Server) appendAfterRDB(ctx context.Context, n *node) error {
	if s.opts.RDB == "" || !s.opts.AppendOnly {
		return nil
	}
	if err := s.Client().ConfigSet(ctx, "appendonly", "yes").Err(); err != nil {
		return fmt.Errorf("switching the append-only file on: %w", err)
	}
	err := poll(ctx, 10*time.Millisecond, func(ctx context.Context) error {
		info, err := s.Client().Info(ctx, "persistence").Result()
		if err == nil && infoField(info, "aof_rewrite_in_progress")+infoField(info, "aof_rewrite_scheduled") != "00" {
			err = errors.New("the append-only file is being written")
		}
		return err
	})
	if err != nil {
		return err
	}
	s.loaded = true
	return s.configure(n)
}

// quote writes a value as the configuration file takes it, any byte included.
func quote(v string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(v) {
		if c := v[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			fmt.Fprintf(&b, `\x%02x`, c)
		} else {
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

func (s *Server) chooseSocket() error {
	dir := s.Dir
	for _, parent := range []string{os.TempDir(), "/tmp"} {
		if path := filepath.Join(dir, "redis.sock"); len(path) <= socketMax {
			s.Socket = path
			return nil
		}
		if s.socketDir != "" {
			_ = os.RemoveAll(s.socketDir)
		}
		var err error
		if dir, err = os.MkdirTemp(parent, "slotferry-"); err != nil {
			return fmt.Errorf("making a folder for the socket: %w", err)
		}
		s.socketDir = dir
	}
	s.Socket = filepath.Join(dir, "redis.sock")
	return nil
}

func copyFile(to, from string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	_, err = io.Copy(out, in)
	return err
}

// portTaken reports whether the log says that the port belongs to someone else.
func portTaken(log string) bool {
	return strings.Contains(log, "Address already in use") || strings.Contains(log, "Failed listening")
}

// infoField returns one field of an INFO reply.
func infoField(info, name string) string {
	for line := range strings.SplitSeq(info, "\n") {
		if v, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// poll calls f every interval until it says nil; on the end of ctx it returns
// the last reason.
func poll(ctx context.Context, interval time.Duration, f func(context.Context) error) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		err := f(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w (%w)", err, context.Cause(ctx))
		case <-tick.C:
		}
	}
}
