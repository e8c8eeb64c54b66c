// Package resp reads and writes the Redis serialization protocol, version 2
// (https://redis.io/docs/latest/develop/reference/protocol-spec/), for the hot
// path: replies are looked at where they lie in the read buffer, and commands
// are appended to the caller's. It knows nothing of what commands mean.
package resp

import (
	"errors"
	"fmt"
	"io"
)

// ErrProtocol means that the other side does not speak RESP, or speaks it
// wrongly; the connection is of no use any more.
var ErrProtocol = errors.New("not a valid RESP reply")

const (
	maxLine = 64 << 10  // longest line accepted; Redis' own errors are far shorter
	maxBulk = 512 << 20 // longest bulk string by default (proto-max-bulk-len)
	maxHead = 32 << 20  // most elements of one array
)

// Reader reads replies from a connection. It is not safe for concurrent use.
type Reader struct {
	src     io.Reader
	buf     []byte
	r, w    int // unread bytes are buf[r:w]
	onFill  func()
	maxBulk int64
}

// NewReader returns a Reader with a buffer of the given size in bytes, at least
// 128 KiB. onFill, if not nil, is called each time bytes have arrived.
func NewReader(src io.Reader, bytes int, onFill func()) *Reader {
	return &Reader{src: src, buf: make([]byte, max(bytes, 2*maxLine)), onFill: onFill, maxBulk: maxBulk}
}

// SetMaxBulk changes the longest bulk string that is accepted, in bytes.
func (r *Reader) SetMaxBulk(n int64) { r.maxBulk = n }

// Buffered returns the number of bytes that can be read without waiting.
func (r *Reader) Buffered() int { return r.w - r.r }

// SkipOK consumes as many "+OK" replies as lie in the buffer, at most limit,
// and returns their number. It never waits.
func (r *Reader) SkipOK(limit int) int {
	n, b := 0, r.buf[r.r:r.w]
	for n < limit && len(b) >= 5 && b[0] == '+' && b[1] == 'O' && b[2] == 'K' && b[3] == '\r' && b[4] == '\n' {
		b = b[5:]
		n++
	}
	r.r += 5 * n
	return n
}

// Head is the first line of a reply.
type Head struct {
	Kind byte   // '+', '-', ':', '$' or '*'
	Line []byte // of '+' and '-', without kind and line end; valid until the next read
	N    int64  // value of ':', length in bytes of '$', elements of '*'; -1 is nil
}

// Head reads the first line of a reply. The body of a bulk string ('$') and the
// elements of an array ('*') are then the caller's to read.
func (r *Reader) Head() (Head, error) {
	line, err := r.line()
	if err != nil {
		return Head{}, err
	}
	if len(line) == 0 {
		return Head{}, fmt.Errorf("%w: empty line", ErrProtocol)
	}
	h := Head{Kind: line[0]}
	switch h.Kind {
	case '+', '-':
		h.Line = line[1:]
		return h, nil
	case ':', '$', '*':
		n, ok := parseInt(line[1:])
		limit := int64(1<<63 - 1)
		switch h.Kind {
		case '$':
			limit = r.maxBulk
		case '*':
			limit = maxHead
		}
		if !ok || n > limit || (h.Kind != ':' && n < -1) {
			return Head{}, fmt.Errorf("%w: bad length %q", ErrProtocol, clip(line))
		}
		h.N = n
		return h, nil
	}
	return Head{}, fmt.Errorf("%w: it begins with %q", ErrProtocol, clip(line))
}

// Body returns the body of a bulk string of n bytes and consumes its line end.
// A caller that may not hold n bytes uses Discard instead.
// It lies in the read buffer, valid until the next read, when n is at most
// half the buffer; otherwise in memory of its own (owned).
func (r *Reader) Body(n int64) (body []byte, owned bool, err error) {
	if n < 0 {
		return nil, false, nil
	}
	if int(n)+2 <= len(r.buf)/2 {
		if err := r.need(int(n) + 2); err != nil {
			return nil, false, err
		}
		body = r.buf[r.r : r.r+int(n)]
		if err := r.lineEnd(r.buf[r.r+int(n):]); err != nil {
			return nil, false, err
		}
		r.r += int(n) + 2
		return body, false, nil
	}
	if body, err = r.collect(n); err != nil {
		return nil, false, err
	}
	if err := r.need(2); err != nil {
		return nil, false, err
	}
	if err := r.lineEnd(r.buf[r.r:]); err != nil {
		return nil, false, err
	}
	r.r += 2
	return body, true, nil
}

// collect reads n bytes into memory of their own. The caller has compared n
// with what it may hold: it is taken at once, so that it is taken only once.
func (r *Reader) collect(n int64) ([]byte, error) {
	body := make([]byte, 0, n)
	for int64(len(body)) < n {
		if r.r < r.w {
			k := min(cap(body)-len(body), r.w-r.r)
			body = append(body, r.buf[r.r:r.r+k]...)
			r.r += k
			continue
		}
		k, err := r.read(body[len(body):cap(body)])
		if err != nil {
			return nil, unexpected(err)
		}
		body = body[:len(body)+k]
	}
	return body, nil
}

// Discard reads and forgets the body of a bulk string of n bytes.
func (r *Reader) Discard(n int64) error {
	if n < 0 {
		return nil
	}
	for n += 2; n > 0; {
		if r.r == r.w {
			if err := r.fill(); err != nil {
				return unexpected(err)
			}
		}
		k := min(n, int64(r.w-r.r))
		r.r += int(k)
		n -= k
	}
	return nil
}

// Skip reads and forgets what follows a Head: a body, or all elements.
func (r *Reader) Skip(h Head) error {
	switch h.Kind {
	case '$':
		return r.Discard(h.N)
	case '*':
		for range max(h.N, 0) {
			e, err := r.Head()
			if err != nil {
				return err
			}
			if e.Kind == '*' && e.N > 0 {
				return fmt.Errorf("%w: nested array", ErrProtocol)
			}
			if err := r.Skip(e); err != nil {
				return err
			}
		}
	}
	return nil
}

// line returns the next line without its end.
func (r *Reader) line() ([]byte, error) {
	for seen := r.r; ; {
		for i := seen; i < r.w; i++ {
			if r.buf[i] != '\n' {
				continue
			}
			if i == r.r || r.buf[i-1] != '\r' {
				return nil, fmt.Errorf("%w: %q", ErrProtocol, clip(r.buf[r.r:i]))
			}
			line := r.buf[r.r : i-1]
			r.r = i + 1
			return line, nil
		}
		if r.w-r.r > maxLine {
			return nil, fmt.Errorf("%w: endless line %q", ErrProtocol, clip(r.buf[r.r:r.w]))
		}
		have := r.w - r.r
		if err := r.fill(); err != nil {
			if have > 0 {
				err = unexpected(err)
			}
			return nil, err
		}
		seen = r.r + have
	}
}

// need waits until n bytes lie in the buffer.
func (r *Reader) need(n int) error {
	for r.w-r.r < n {
		if err := r.fill(); err != nil {
			return unexpected(err)
		}
	}
	return nil
}

// fill reads once, after moving what is unread to the front if there is little
// room behind it.
func (r *Reader) fill() error {
	if r.r == r.w {
		r.r, r.w = 0, 0
	} else if r.r > 0 && len(r.buf)-r.w < len(r.buf)/2 {
		r.w = copy(r.buf, r.buf[r.r:r.w])
		r.r = 0
	}
	n, err := r.read(r.buf[r.w:])
	r.w += n
	return err
}

// read returns at least one byte or an error.
func (r *Reader) read(p []byte) (int, error) {
	for range 100 {
		n, err := r.src.Read(p)
		if n > 0 {
			if r.onFill != nil {
				r.onFill()
			}
			return n, nil
		}
		if err != nil {
			return 0, err
		}
	}
	return 0, io.ErrNoProgress
}

func (r *Reader) lineEnd(b []byte) error {
	if b[0] != '\r' || b[1] != '\n' {
		return fmt.Errorf("%w: a bulk string does not end where it says", ErrProtocol)
	}
	return nil
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// parseInt reads a number of 64 bits.
func parseInt(b []byte) (int64, bool) {
	neg := len(b) > 0 && b[0] == '-'
	if neg {
		b = b[1:]
	}
	if len(b) == 0 || len(b) > 19 {
		return 0, false
	}
	var n uint64 // 19 digits fit
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + uint64(c-'0')
	}
	if neg {
		return -int64(n), n <= 1<<63
	}
	return int64(n), n < 1<<63
}

func clip(b []byte) []byte { return b[:min(len(b), 64)] }
