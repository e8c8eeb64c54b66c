package psync

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"
)

const (
	inputBytes = 1 << 20
	maxLine    = 4 << 10 // longest reply of a handshake
	markBytes  = 40      // of what a transfer of unknown length ends with
)

// input reads a replication connection: lines, then a transfer, then all that
// comes.
type input struct {
	src   io.Reader
	alive func() // told of each bare newline
	buf   []byte
	r, w  int // unread bytes are buf[r:w]

	// gather lets what trickles in come together before it is read: a source's
	// child writes its copy in small pieces, and each wakes up all who wait for it.
	gather bool
	little bool // the last read brought little
}

const (
	gatherBytes = inputBytes / 2
	gatherFor   = 5 * time.Millisecond
)

func newInput(src io.Reader, alive func()) *input {
	return &input{src: src, alive: alive, buf: make([]byte, inputBytes)}
}

// fill reads once, behind what is unread.
func (in *input) fill() error {
	if in.r == in.w {
		in.r, in.w = 0, 0
	} else if len(in.buf)-in.w < len(in.buf)/2 {
		in.w = copy(in.buf, in.buf[in.r:in.w])
		in.r = 0
	}
	if in.gather && in.little {
		time.Sleep(gatherFor)
	}
	for range 100 {
		n, err := in.src.Read(in.buf[in.w:])
		in.w += n
		in.little = n < gatherBytes
		if n > 0 {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return io.ErrNoProgress
}

// line reads a reply without its line end. A server that is at work sends bare
// newlines before it, which count for nothing.
func (in *input) line() (string, error) {
	for {
		unread := in.buf[in.r:in.w]
		end := bytes.IndexByte(unread, '\n')
		switch {
		case end >= 0:
			in.r += end + 1
			if line := bytes.TrimSuffix(unread[:end], []byte("\r")); len(line) > 0 {
				return string(line), nil
			}
			in.alive()
		case len(unread) > maxLine:
			return "", fmt.Errorf("%w: endless line %q", errReply, unread[:64])
		default:
			if err := in.fill(); err != nil {
				return "", err
			}
		}
	}
}

// pass writes what is at hand to a sink, after reading if nothing is, and tells
// how much that was.
func (in *input) pass(to io.Writer, most int64) (int64, error) {
	if in.r == in.w {
		if err := in.fill(); err != nil {
			return 0, err
		}
	}
	n := min(most, int64(in.w-in.r))
	k, err := to.Write(in.buf[in.r : in.r+int(n)])
	in.r += k
	return int64(k), err
}

// exactly writes the next n bytes to a sink.
func (in *input) exactly(to io.Writer, n int64) error {
	for n > 0 {
		k, err := in.pass(to, n)
		if n -= k; err != nil {
			return err
		}
	}
	return nil
}

// until writes all that comes before a mark to a sink, passes over the mark, and
// tells how much it wrote. The mark may lie across two reads: so much as may be
// its beginning is kept back.
func (in *input) until(to io.Writer, mark []byte) (total int64, err error) {
	for {
		unread := in.buf[in.r:in.w]
		at := bytes.Index(unread, mark)
		sure := at
		if at < 0 {
			sure = len(unread) - len(mark) + 1
		}
		if sure > 0 {
			k, err := to.Write(unread[:sure])
			in.r += k
			total += int64(k)
			if err != nil {
				return total, err
			}
		}
		if at >= 0 {
			in.r += len(mark)
			return total, nil
		}
		if err := in.fill(); err != nil {
			return total, err
		}
	}
}

// errReply means that the other side does not speak as a source does.
var errReply = errors.New("not a reply of a replication source")
