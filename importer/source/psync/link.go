package psync

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/slotferry/slotferry/importer/endpoint"
	"github.com/slotferry/slotferry/importer/preflight"
	"github.com/slotferry/slotferry/importer/pulse"
	"github.com/slotferry/slotferry/resp"
)

// link is one replication connection.
type link struct {
	conn    net.Conn
	in      *input
	timeout time.Duration
	writing sync.Mutex
	out     []byte
}

// answer is what a source says to PSYNC.
type answer struct {
	full   bool   // an RDB follows, taken at offset of history id
	id     string // for a stream that goes on: "" if the history keeps its name
	offset int64
}

// newestVersion is announced to a source that doesn't say what it is.
const newestVersion = "9.1.0"

// dial connects and asks for the stream: of history id from the byte behind an
// offset on, or of all ("?") from a full copy on.
// alive is told of every sign that the source works on it.
func (s *Source) dial(ctx context.Context, id string, offset int64, alive func()) (*link, answer, error) {
	conn, err := s.opts.Endpoint.Dial(ctx)
	if errors.Is(err, endpoint.ErrAuth) {
		return nil, answer{}, fmt.Errorf("%w: %w", ErrDenied, err)
	}
	if err != nil {
		return nil, answer{}, err
	}
	l := &link{conn: conn, timeout: s.opts.Timeout}
	l.in = newInput(&pulse.Reader{R: l, Pulse: &s.pulse, Wait: s.owes("more of the replication stream")}, alive)
	// The end of the context wakes whoever reads.
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	a, err := l.introduce(s, id, offset)
	if err == nil && !stop() {
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = conn.Close()
		return nil, answer{}, err
	}
	local := conn.LocalAddr().String()
	s.local.Store(&local)
	return l, a, nil
}

// introduce says what we can, and asks for the stream.
func (l *link) introduce(s *Source, id string, offset int64) (answer, error) {
	if s.opts.Announce > 0 {
		if _, err := l.ask("REPLCONF", "listening-port", strconv.Itoa(s.opts.Announce)); err != nil {
			return answer{}, err
		}
	}
	reply, err := l.ask("REPLCONF", "capa", "eof", "capa", "psync2")
	if err != nil {
		return answer{}, err
	}
	if err := refused("REPLCONF", reply); err != nil {
		return answer{}, err
	}
	if v := announced(s.server.Version); v != "" {
		if _, err := l.ask("REPLCONF", "version", v); err != nil { // who doesn't know it says so, which is well
			return answer{}, err
		}
	}
	from := "-1"
	if id != "?" {
		from = strconv.FormatInt(offset+1, 10)
	}
	if reply, err = l.ask("PSYNC", id, from); err != nil {
		return answer{}, err
	}
	return parseAnswer(reply)
}

// announced is the version that a source is told, "" for one that doesn't care.
// A Valkey writes an older RDB for a replica that doesn't say it is new, which
// does not hold everything that it has. The source's own version is one whose
// RDB is known here as far as any is.
func announced(v preflight.Version) string {
	switch {
	case v.Product == "valkey":
		return fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Patch)
	case v.Major == 0:
		return newestVersion
	}
	return ""
}

// parseAnswer reads the reply to PSYNC.
func parseAnswer(reply string) (answer, error) {
	words := strings.Fields(reply)
	switch {
	case len(words) == 3 && words[0] == "+FULLRESYNC":
		offset, err := strconv.ParseInt(words[2], 10, 64)
		if err != nil || offset < 0 || !isID(words[1]) {
			return answer{}, fmt.Errorf("%w: PSYNC: %q", errReply, reply)
		}
		return answer{full: true, id: words[1], offset: offset}, nil
	case len(words) == 1 && words[0] == "+CONTINUE":
		return answer{}, nil
	case len(words) == 2 && words[0] == "+CONTINUE" && isID(words[1]):
		return answer{id: words[1]}, nil
	}
	if err := refused("PSYNC", reply); err != nil {
		return answer{}, err
	}
	return answer{}, fmt.Errorf("%w: PSYNC: %q", errReply, reply)
}

// isID tells whether a word can be a replication ID: 40 characters by
// CONFIG_RUN_ID_SIZE; others that follow the protocol may have others.
func isID(word string) bool { return len(word) > 1 && len(word) <= 128 }

// refused makes an error of an error reply: ErrDenied if asking again is of no
// use.
func refused(command, reply string) error {
	text, isError := strings.CutPrefix(reply, "-")
	if !isError {
		return nil
	}
	err := fmt.Errorf("%s: %s", command, text)
	lower := strings.ToLower(text)
	for _, final := range []string{"noperm", "noauth", "err unknown command", "err operation not permitted"} {
		if strings.HasPrefix(lower, final) {
			return fmt.Errorf("%w: %w", ErrDenied, err)
		}
	}
	return err
}

// ask sends a command and reads its reply, one line.
func (l *link) ask(words ...string) (string, error) {
	if err := l.send(words...); err != nil {
		return "", err
	}
	return l.in.line()
}

// ackTimeout is how long a source may take to read what is sent to it.
const ackTimeout = 10 * time.Second

func (l *link) send(words ...string) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	l.out = resp.AppendCommand(l.out[:0], words...)
	if err := l.conn.SetWriteDeadline(time.Now().Add(ackTimeout)); err != nil {
		return err
	}
	_, err := l.conn.Write(l.out)
	return err
}

// Read must bring something in time.
func (l *link) Read(p []byte) (int, error) {
	if err := l.conn.SetReadDeadline(time.Now().Add(l.timeout)); err != nil {
		return 0, err
	}
	return l.conn.Read(p)
}
