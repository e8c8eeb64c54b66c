package verify

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/slotferry/slotferry/importer/pulse"
	"github.com/slotferry/slotferry/resp"
)

const (
	readBytes   = 128 << 10
	longestBulk = 1 << 40 // bytes; what is too long to be held is thrown away as it comes
)

// replies reads what a master answers. Unlike resp.Reader it hands over values
// of any length while they come, for those that are compared with a file.
type replies struct{ *bufio.Reader }

func newReplies(r io.Reader) replies { return replies{bufio.NewReaderSize(r, readBytes)} }

// reply is the first line of a reply: its kind, the line of '+' and '-', valid
// until the next read, and the number of ':', '$' and '*', -1 for nil.
type reply struct {
	kind byte
	line []byte
	n    int64
}

var errReply = fmt.Errorf("%w: not what was asked for", resp.ErrProtocol)

// head reads the first line of a reply.
func (r replies) head() (reply, error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		if errors.Is(err, bufio.ErrBufferFull) {
			err = fmt.Errorf("%w: endless line", resp.ErrProtocol)
		}
		return reply{}, err
	}
	if len(line) < 3 || line[len(line)-2] != '\r' {
		return reply{}, fmt.Errorf("%w: %.64q", resp.ErrProtocol, line)
	}
	h := reply{kind: line[0], line: line[1 : len(line)-2]}
	switch h.kind {
	case '+', '-':
		return h, nil
	case ':', '$', '*':
		n, ok := number(h.line)
		if !ok || h.kind != ':' && (n < -1 || n > longestBulk) {
			return reply{}, fmt.Errorf("%w: bad length %.64q", resp.ErrProtocol, line)
		}
		return reply{kind: h.kind, n: n}, nil
	}
	return reply{}, fmt.Errorf("%w: %.64q", resp.ErrProtocol, line)
}

// number reads a decimal number of up to 18 digits.
func number(b []byte) (n int64, ok bool) {
	minus := len(b) > 0 && b[0] == '-'
	if minus {
		b = b[1:]
	}
	if len(b) == 0 || len(b) > 18 {
		return 0, false
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	if minus {
		n = -n
	}
	return n, true
}

// fits tells whether peek can give a string of n bytes.
func fits(n int64) bool { return n+2 <= readBytes }

// peek returns a bulk string of n bytes where it lies in the buffer, until the
// next read. pass must follow.
func (r replies) peek(n int64) ([]byte, error) {
	b, err := r.Peek(int(n) + 2)
	if err != nil {
		return nil, cutOff(err)
	}
	return b[:n], lineEnd(b[n:])
}

// pass leaves out a bulk string of n bytes.
func (r replies) pass(n int64) error {
	return r.parts(n, func([]byte) error { return nil })
}

// parts hands over a bulk string of n bytes as it comes. each must not fail for
// reasons of its own if there is more to read on the connection.
func (r replies) parts(n int64, each func(part []byte) error) error {
	for n > 0 {
		if r.Buffered() == 0 {
			if _, err := r.Peek(1); err != nil {
				return cutOff(err)
			}
		}
		part, _ := r.Peek(int(min(n, int64(r.Buffered()))))
		if err := each(part); err != nil {
			return err
		}
		n -= int64(len(part))
		_, _ = r.Discard(len(part)) // it lies in the buffer
	}
	end, err := r.Peek(2)
	if err != nil {
		return cutOff(err)
	}
	if err := lineEnd(end); err != nil {
		return err
	}
	_, err = r.Discard(2)
	return err
}

// hold reads a bulk string of n bytes into memory of its own. The caller has
// compared n with what it may hold.
func (r replies) hold(n int64) ([]byte, error) {
	b := make([]byte, 0, n)
	err := r.parts(n, func(part []byte) error {
		b = append(b, part...)
		return nil
	})
	return b, err
}

// clock reads what follows the head of an answer to TIME and returns Unix
// milliseconds.
func (r replies) clock(h reply) (int64, error) {
	if h.kind != '*' || h.n != 2 {
		return 0, fmt.Errorf("%w: answer to TIME", errReply)
	}
	var parts [2]int64
	for i := range parts {
		h, err := r.head()
		if err != nil {
			return 0, err
		}
		if h.kind != '$' || h.n < 1 || h.n > 18 {
			return 0, fmt.Errorf("%w: answer to TIME", errReply)
		}
		b, err := r.peek(h.n)
		if err != nil {
			return 0, err
		}
		n, ok := number(b)
		if !ok {
			return 0, fmt.Errorf("%w: answer to TIME", errReply)
		}
		parts[i] = n
		if err := r.pass(h.n); err != nil {
			return 0, err
		}
	}
	return parts[0]*1000 + parts[1]/1000, nil
}

func lineEnd(b []byte) error {
	if b[0] != '\r' || b[1] != '\n' {
		return fmt.Errorf("%w: a bulk string does not end where it says", resp.ErrProtocol)
	}
	return nil
}

func cutOff(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// patient is a connection on which every read and write must get on in time.
type patient struct {
	net.Conn
	timeout time.Duration
	pulse   *pulse.Pulse
}

func (p *patient) Read(b []byte) (int, error) {
	if err := p.SetReadDeadline(time.Now().Add(p.timeout)); err != nil {
		return 0, err
	}
	n, err := p.Conn.Read(b)
	p.pulse.Move(n)
	return n, err
}

func (p *patient) Write(b []byte) (int, error) {
	if err := p.SetWriteDeadline(time.Now().Add(p.timeout)); err != nil {
		return 0, err
	}
	return p.Conn.Write(b)
}
