package aof

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/slotferry/slotferry/importer/endpoint"
	"github.com/slotferry/slotferry/importer/pulse"
	"github.com/slotferry/slotferry/rdbparse"
	"github.com/slotferry/slotferry/resp"
)

const (
	serverVariable = "SLOTFERRY_REDIS_SERVER"
	lookEvery      = 100 * time.Millisecond // at how far loading is
	tellEvery      = 10 * time.Second       // in the log
	leaveWithin    = 30 * time.Second       // after SHUTDOWN
	socketName     = "s"
	maxSocket      = 96 // bytes of its folder's path: systems take 104 or 108 with the name
)

// program finds the scratch server.
func (s *Source) program() (string, error) {
	named := s.opts.ScratchServer
	if named == "" {
		named = os.Getenv(serverVariable)
	}
	if named != "" {
		path, err := exec.LookPath(named)
		if err != nil {
			return "", fmt.Errorf("the scratch server %s can't be run: %w", named, err)
		}
		return filepath.Abs(path)
	}
	names := []string{"redis-server", "valkey-server"}
	if s.preferred() == rdbparse.Valkey {
		names = []string{"valkey-server", "redis-server"}
	}
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return filepath.Abs(path)
		}
	}
	return "", errors.New("a server would have to load them, but neither redis-server nor valkey-server is on PATH")
}

// version is what a program says of itself.
type version struct {
	text  string // "Redis 7.0.15"
	major int
}

// manifest tells whether it knows more than one file.
func (v version) manifest() bool { return v.major >= 7 }

var versionText = regexp.MustCompile(`^(\w+) server v=((\d+)\.[\w.-]+)`)

func versionOf(ctx context.Context, program string) (version, error) {
	out, err := exec.CommandContext(ctx, program, "--version").Output()
	if err != nil {
		return version{}, fmt.Errorf("%s --version: %w", program, err)
	}
	m := versionText.FindSubmatch(out)
	if m == nil {
		return version{}, fmt.Errorf("%s is no redis-server or valkey-server: --version says %q", program, out[:min(len(out), 80)])
	}
	major, err := strconv.Atoi(string(m[3]))
	return version{text: string(m[1]) + " " + string(m[2]), major: major}, err
}

// server is the scratch server: it loads, saves an RDB and leaves.
type server struct {
	program   string
	dir       string // its own, with what it loads
	databases int
	manifest  bool
	lenient   bool // the last file may end within a command
	pulse     *pulse.Pulse
	log       *zap.Logger

	socket   endpoint.Endpoint
	words    words
	ended    chan struct{} // closed when the process is gone
	exit     error
	replies  *resp.Reader
	conn     net.Conn
	told     time.Time
	reported int64
}

// save runs the server from its start to its end. Nothing of it is left but the
// RDB.
func (v *server) save(ctx context.Context) (err error) {
	place := v.dir
	if len(place) > maxSocket {
		if place, err = os.MkdirTemp("", "slotferry-"); err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(place) }()
	}
	v.socket = endpoint.Endpoint{Network: "unix", Addr: filepath.Join(place, socketName), Password: rand.Text()}
	cmd := exec.Command(v.program, "-")
	cmd.Dir = v.dir
	cmd.Stdin = strings.NewReader(v.config())
	cmd.Stdout, cmd.Stderr = &v.words, &v.words
	if err := start(cmd); err != nil {
		return err
	}
	v.ended = make(chan struct{})
	go func() {
		v.exit = cmd.Wait()
		close(v.ended)
	}()
	defer func() {
		_ = cmd.Process.Kill()
		<-v.ended
	}()
	// What is asked of a server that is gone, or not wanted any more, fails.
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-v.ended:
			cancel(v.died())
		case <-ctx.Done():
		}
	}()
	if err = v.work(ctx); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return err
	}
	return nil
}

// config is the server's configuration. It comes by standard input, so that no
// list of processes shows the password.
func (v *server) config() string {
	lines := []string{
		"port 0", "unixsocket " + quote(v.socket.Addr), "unixsocketperm 700", "requirepass " + v.socket.Password,
		"dir " + quote(v.dir), "dbfilename " + dumpName, `save ""`, "daemonize no", `logfile ""`, "loglevel notice",
		"databases " + strconv.Itoa(max(16, v.databases)),
		"appendonly yes", "appendfilename " + appendName, "appendfsync no", "auto-aof-rewrite-percentage 0",
	}
	if v.manifest {
		lines = append(lines, "appenddirname "+appendDir)
	}
	// Where the commands end is known, so that an end within one is a fault.
	lenient := "no"
	if v.lenient {
		lenient = "yes"
	}
	lines = append(lines, "aof-load-truncated "+lenient)
	return strings.Join(lines, "\n") + "\n"
}

// work asks the running server for all that is wanted of it.
func (v *server) work(ctx context.Context) error {
	if err := v.connect(ctx); err != nil {
		return err
	}
	defer func() { _ = v.conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = v.conn.SetDeadline(time.Unix(1, 0)) })()
	if err := v.loaded(ctx); err != nil {
		return err
	}
	// The server does not end on a command that it refuses while it loads.
	info, err := v.ask("INFO", "stats")
	if err != nil {
		return err
	}
	if n := field(info, "unexpected_error_replies"); n > 0 {
		return fmt.Errorf("%d commands of the files failed there: %s", n, v.words.last("AOF-loading-client"))
	}
	v.log.Info("the scratch server has loaded the files and writes an RDB")
	wait := v.pulse.Begin(pulse.Wait{On: "the scratch server", What: "the RDB that it writes", Remedy: "see that the disk has room and answers"})
	reply, err := v.ask("SAVE")
	v.pulse.End(wait)
	if err != nil {
		return err
	}
	if reply != "OK" {
		return fmt.Errorf("SAVE: %s: %s", reply, v.words.last(""))
	}
	_, _ = v.ask("SHUTDOWN", "NOSAVE") // answered by the end of the connection
	select {
	case <-v.ended:
	case <-time.After(leaveWithin):
	}
	return nil
}

// connect waits until the server listens.
func (v *server) connect(ctx context.Context) error {
	defer v.pulse.End(v.pulse.Begin(pulse.Wait{On: "the scratch server", What: "its start"}))
	for {
		conn, err := v.socket.Dial(ctx)
		if err == nil {
			v.conn, v.replies = conn, resp.NewReader(conn, 0, nil)
			return nil
		}
		if errors.Is(err, endpoint.ErrAuth) {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(lookEvery):
		}
	}
}

// loaded waits until the server has loaded everything.
func (v *server) loaded(ctx context.Context) error {
	for {
		info, err := v.ask("INFO", "persistence")
		if err != nil {
			return err
		}
		if field(info, "loading") == 0 {
			return nil
		}
		bytes, total := field(info, "loading_loaded_bytes"), field(info, "loading_total_bytes")
		v.pulse.Move(int(max(0, bytes-v.reported)))
		v.reported = bytes
		if time.Since(v.told) > tellEvery {
			v.told = time.Now()
			v.log.Info("the scratch server loads the files", zap.Int64("bytes", bytes), zap.Int64("of", total))
		}
		wait := v.pulse.Begin(pulse.Wait{
			On: "the scratch server", What: fmt.Sprintf("the rest of the files; it has loaded %d of %d MiB", bytes>>20, total>>20),
			Remedy: "see that it has memory enough",
		})
		select {
		case <-ctx.Done():
		case <-time.After(lookEvery):
		}
		v.pulse.End(wait)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

// ask sends a command and returns the text of its reply; an error reply has its
// "-" in front.
func (v *server) ask(words ...string) (string, error) {
	if _, err := v.conn.Write(resp.AppendCommand(nil, words...)); err != nil {
		return "", err
	}
	h, err := v.replies.Head()
	switch {
	case err != nil:
		return "", err
	case h.Kind == '$' && h.N >= 0:
		body, _, err := v.replies.Body(h.N)
		return string(body), err
	case h.Kind == '-':
		return "-" + string(h.Line), nil
	}
	return string(h.Line), nil
}

// field returns a number out of INFO, 0 if it is not there.
func field(info, name string) int64 {
	for line := range strings.SplitSeq(info, "\r\n") {
		if text, ok := strings.CutPrefix(line, name+":"); ok {
			n, _ := strconv.ParseInt(text, 10, 64)
			return n
		}
	}
	return 0
}

// died says why the server is gone, in its own words.
func (v *server) died() error {
	if words := v.words.last(""); words != "" {
		return fmt.Errorf("it says: %s", words)
	}
	return fmt.Errorf("it ended by itself: %v", v.exit)
}

// words keeps the end of what a server says.
type words struct {
	mu   sync.Mutex
	text []byte
}

const keptWords = 256 << 10 // bytes

func (w *words) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text = append(w.text, p...)
	if over := len(w.text) - keptWords; over > 0 {
		w.text = append(w.text[:0], w.text[over:]...)
	}
	return len(p), nil
}

// said is a line of a server's log: process and role, time, level, message.
var said = regexp.MustCompile(`^\d+:\w \d+ \w+ \d+ [\d:.]+ ([#*.-]) (.*)$`)

// idle is what some versions complain of at every start.
var idle = regexp.MustCompile(`(?i)overcommit|^Configuration loaded|^Server initialized|^WARNING`)

// last returns the last complaints, those that contain a text. What a command
// held is left out.
func (w *words) last(with string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var found, other []string
	for line := range bytes.Lines(w.text) {
		line = bytes.TrimSpace(line)
		m := said.FindSubmatch(line)
		switch {
		case m == nil && len(line) > 0:
			other = append(other, string(line))
		case m != nil && bytes.Contains(m[2], []byte("crashed by signal")):
			return string(m[2])
		case m != nil && string(m[1]) == "#" && bytes.Contains(m[2], []byte(with)) && !idle.Match(m[2]):
			text, _, _ := strings.Cut(string(m[2]), ", with args beginning with")
			found = append(found, text)
		}
	}
	if len(found) == 0 && with == "" {
		found = other
	}
	const most = 3
	return strings.Join(found[max(0, len(found)-most):], "; ")
}
