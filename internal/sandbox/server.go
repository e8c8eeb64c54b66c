// Package sandbox starts and stops real redis-server processes on free loopback
// ports, each in its own temporary folder, alone or as a Redis Cluster. Tests,
// the benchmark and the demo stand on it. It owns the processes and folders it
// made and touches no other; it listens on 127.0.0.1 only.
package sandbox

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

const (
	host        = "127.0.0.1"
	startWait   = 30 * time.Second // until the first answer; loading may take longer
	stopWait    = 2 * time.Second  // from SIGTERM to SIGKILL
	portRetries = 20
	logTail     = 15 // lines of the log in an error
)

// ErrNoServer means that no server binary was found.
var ErrNoServer = errors.New("no redis-server found: install redis-server or set SLOTFERRY_REDIS_SERVER to one")

// Options says how a server is started; the zero value is a plain empty server.
type Options struct {
	Binary      string   // default: $SLOTFERRY_REDIS_SERVER, redis-server or valkey-server on PATH
	Password    string   // requirepass and masterauth; kept out of the arguments
	Dir         string   // parent of the server's folder; default os.TempDir
	Args        []string // further settings: "--maxmemory", "100mb"
	RDB         string   // start from a copy of this file
	TLS         bool     // the port speaks TLS, and nothing else
	UnixSocket  bool     // listen on Server.Socket as well
	AppendOnly  bool     // append-only file on
	KeepRunning bool     // the server outlives this process
}

// Server is one running (or killed) server.
type Server struct {
	Host     string
	Port     int
	Addr     string // host:port
	Dir      string // its working folder: dump.rdb, appendonlydir, nodes.conf
	Socket   string // path, if asked for
	Password string
	LogFile  string
	Binary   string
	Version  Version

	CA, Cert, Key string // PEM files, with TLS: the authority, and a pair for clients

	opts      Options
	confFile  string
	socketDir string // a folder of its own, when Dir's path is too long for a socket
	loaded    bool   // the RDB file has become an append-only file
	tls       *tls.Config

	lifecycle sync.Mutex // held by Stop, Kill and Restart
	pid       atomic.Int64
	ended     atomic.Pointer[chan struct{}] // closed when the process has been waited for
	client    func() *redis.Client
	opened    atomic.Bool
}

// node is what StartCluster adds to Options.
type node struct {
	timeout time.Duration // cluster-node-timeout
	certs   *certificates // shared by all nodes
}

// Start starts a server and waits until it answers PING, however long its file
// takes to load while ctx lasts. ctx bounds the start only.
func Start(ctx context.Context, o Options) (*Server, error) { return start(ctx, o, nil) }

func start(ctx context.Context, o Options, n *node) (*Server, error) {
	binary, err := findBinary(o.Binary)
	if err != nil {
		return nil, err
	}
	version, err := BinaryVersion(ctx, binary)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(o.Dir, "slotferry-redis-")
	if err != nil {
		return nil, fmt.Errorf("making the server's folder: %w", err)
	}
	s := &Server{
		Host: host, Dir: dir, Password: o.Password, Binary: binary, Version: version, opts: o,
		LogFile: filepath.Join(dir, "server.log"), confFile: filepath.Join(dir, "redis.conf"),
	}
	s.client = sync.OnceValue(func() *redis.Client {
		s.opened.Store(true)
		return redis.NewClient(s.ClientOptions())
	})
	if err := s.prepare(n); err != nil {
		s.removeFolders()
		return nil, err
	}
	for range portRetries {
		if err = s.takePort(); err != nil {
			break
		}
		if err = s.configure(n); err == nil {
			err = s.launch(ctx)
		}
		if err == nil {
			err = s.appendAfterRDB(ctx, n)
		}
		if err == nil {
			return s, nil
		}
		s.end(true)
		releasePort(s.Port)
		if ctx.Err() != nil || !portTaken(s.Log()) {
			break
		}
		_ = os.Truncate(s.LogFile, 0)
	}
	s.removeFolders()
	return nil, err
}

// prepare fills the folder with what does not depend on the port.
func (s *Server) prepare(n *node) error {
	if s.opts.RDB != "" {
		if err := copyFile(filepath.Join(s.Dir, "dump.rdb"), s.opts.RDB); err != nil {
			return fmt.Errorf("copying the RDB file: %w", err)
		}
	}
	if s.opts.UnixSocket {
		if err := s.chooseSocket(); err != nil {
			return err
		}
	}
	if !s.opts.TLS {
		return nil
	}
	certs := (*certificates)(nil)
	if n != nil {
		certs = n.certs
	}
	if certs == nil {
		var err error
		if certs, err = makeCertificates(s.Dir); err != nil {
			return fmt.Errorf("making certificates: %w", err)
		}
	}
	s.CA, s.Cert, s.Key, s.tls = certs.ca, certs.cert, certs.key, certs.config
	return nil
}

func (s *Server) takePort() error {
	port, err := reservePort()
	if err != nil {
		return err
	}
	s.Port, s.Addr = port, net.JoinHostPort(host, strconv.Itoa(port))
	return nil
}

// launch starts the process and waits for its first PONG.
func (s *Server) launch(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	out, err := os.OpenFile(s.LogFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = out.Close() }()
	cmd := exec.Command(s.Binary, append([]string{s.confFile}, s.opts.Args...)...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.Dir, out, out
	if err := startProcess(cmd, s.opts.KeepRunning); err != nil {
		return fmt.Errorf("starting %s: %w", s.Binary, err)
	}
	s.pid.Store(int64(cmd.Process.Pid))
	ended := make(chan struct{})
	s.ended.Store(&ended)
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	if err := s.waitReady(ctx); err != nil {
		return fmt.Errorf("starting %s on port %d: %w%s", s.Binary, s.Port, err, s.logSuffix())
	}
	return nil
}

// waitReady asks until this very process answers: another one may have taken
// the port, which the path of the configuration tells.
func (s *Server) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	deadline := time.Now().Add(startWait)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		loading, err := s.ask(ctx)
		if err == nil {
			return nil
		}
		if !loading && time.Now().After(deadline) {
			return fmt.Errorf("no answer for %s: %w", startWait, err)
		}
		select {
		case <-*s.ended.Load():
			return errors.New("the server ended")
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

func (s *Server) ask(ctx context.Context) (loading bool, err error) {
	// A client complains to standard error when nobody listens yet.
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", s.Addr)
	if err != nil {
		return false, err
	}
	_ = conn.Close()
	o := s.ClientOptions()
	o.PoolSize, o.MaxRetries = 1, -1
	c := redis.NewClient(o)
	defer func() { _ = c.Close() }()
	info, err := c.Info(ctx, "server").Result()
	if err != nil {
		return false, err
	}
	if file := infoField(info, "config_file"); filepath.Base(filepath.Dir(file)) != filepath.Base(s.Dir) {
		return false, fmt.Errorf("port %d belongs to another server", s.Port)
	}
	err = c.Ping(ctx).Err()
	return err != nil && strings.HasPrefix(err.Error(), "LOADING"), err
}

// ClientOptions returns fresh options for a client of this server.
func (s *Server) ClientOptions() *redis.Options {
	return &redis.Options{
		Addr: s.Addr, Password: s.Password, TLSConfig: s.TLSConfig(),
		Protocol: 2, DisableIdentity: true, ContextTimeoutEnabled: true,
		ReadTimeout: 30 * time.Second, WriteTimeout: 30 * time.Second,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
}

// Client returns the server's client, the same one every time; Stop closes it.
func (s *Server) Client() *redis.Client { return s.client() }

// TLSConfig trusts the server's authority and carries a client certificate; nil
// without TLS.
func (s *Server) TLSConfig() *tls.Config {
	if s.tls == nil {
		return nil
	}
	return s.tls.Clone()
}

// URL returns redis://[:password@]host:port, or rediss:// with TLS.
func (s *Server) URL() string { return buildURL(s.opts, s.Addr) }

func buildURL(o Options, hosts string) string {
	u := url.URL{Scheme: "redis", Host: hosts}
	if o.TLS {
		u.Scheme = "rediss"
	}
	if o.Password != "" {
		u.User = url.UserPassword("", o.Password)
	}
	return u.String()
}

// PID returns the number of the server's process, also after it has ended.
func (s *Server) PID() int { return int(s.pid.Load()) }

// Running reports whether the process is there.
func (s *Server) Running() bool {
	ended := s.ended.Load()
	if ended == nil {
		return false
	}
	select {
	case <-*ended:
		return false
	default:
		return true
	}
}

// Log returns the server's log.
func (s *Server) Log() string {
	b, err := os.ReadFile(s.LogFile)
	if err != nil {
		return ""
	}
	return string(b)
}

// LogTail returns the last n lines of the log.
func (s *Server) LogTail(n int) string {
	lines := strings.Split(strings.TrimSpace(s.Log()), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

func (s *Server) logSuffix() string {
	if tail := s.LogTail(logTail); tail != "" {
		return "; the end of its log:\n" + tail
	}
	return ""
}
