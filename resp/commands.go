package resp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// ErrTooLarge means that a command needs more memory than the reader may take.
var ErrTooLarge = errors.New("a command is larger than may be held")

const (
	commandBuffer = 256 << 10 // what a CommandReader holds when no command is larger
	spareBuffer   = 4 << 20   // what it may hold for some time behind a larger one
	spareCommands = 64        // how long that is
	spareWords    = 64 << 10  // words that it stays prepared for
	maxWords      = 1 << 20   // most words of a command by default, as in Redis itself
	maxNumber     = 19        // digits of a length, and its kind
)

// CommandReader reads commands: of a replication stream, or of an append-only
// file. It takes arrays of bulk strings only, since neither holds anything else.
// After an error of the source, its end included, Next may be called again, and
// goes on where it stopped. It is not safe for concurrent use.
type CommandReader struct {
	// Annotation, if not nil, is given each line between two commands that begins
	// with '#', such as the time stamps of an append-only file, without its end.
	// The line is valid until it returns.
	Annotation func(line []byte)

	src      io.Reader
	maxBytes int64
	maxWords int64
	small    []byte // the buffer for commands of usual length
	buf      []byte // small, or a larger one while a large command is read
	r, w     int    // unread bytes are buf[r:w]
	offset   int64  // of buf[r] in the source
	words    [][]byte
	fitting  int // commands in a row that the small buffer would have held

	// What is known of the command at buf[r:]; places are counted from there.
	count int64 // its words; 0 before its head is read
	pos   int   // the first byte that was not looked at
	need  int   // bytes that are surely part of it
	spans []span
	whole bool
}

// span is the place of a word; a buffer that grows moves the words.
type span struct{ from, to int }

// NewCommandReader returns a reader that refuses commands of more than maxBytes.
func NewCommandReader(src io.Reader, maxBytes int64) *CommandReader {
	small := make([]byte, commandBuffer)
	return &CommandReader{src: src, maxBytes: maxBytes, maxWords: maxWords, small: small, buf: small}
}

// SetMaxWords changes how many words a command may have: 1,048,576 by default.
func (r *CommandReader) SetMaxWords(n int64) { r.maxWords = n }

// Offset returns how many bytes were consumed: all before the end of the last
// command, and what lies between it and the next as far as it was skipped.
// After an error it is where the command begins that could not be read.
func (r *CommandReader) Offset() int64 { return r.offset }

// Ready tells whether Next will return without asking the source.
func (r *CommandReader) Ready() bool {
	for r.r < r.w && r.blank() {
	}
	if r.r < r.w && r.buf[r.r] == '#' {
		return false // its receiver expects it in Next
	}
	whole, err := r.parse()
	return whole || err != nil
}

// Next returns the next command: its words, and all of its bytes. Both lie in
// the read buffer and are valid until the next call. io.EOF means that the
// source ended behind a command, io.ErrUnexpectedEOF within one; an error that
// wraps ErrProtocol or ErrTooLarge says at which byte.
func (r *CommandReader) Next() (words [][]byte, raw []byte, err error) {
	r.shrink()
	for {
		if err := r.between(); err != nil {
			return nil, nil, err
		}
		whole, err := r.parse()
		if err != nil {
			return nil, nil, err
		}
		if whole {
			break
		}
		if err := r.fill(); err != nil {
			if r.r < r.w {
				err = unexpected(err)
			}
			return nil, nil, err
		}
	}
	raw = r.buf[r.r : r.r+r.pos : r.r+r.pos]
	r.words = r.words[:0]
	for _, s := range r.spans {
		r.words = append(r.words, raw[s.from:s.to:s.to])
	}
	r.fitting++
	if r.pos > len(r.small) {
		r.fitting = 0
	}
	r.consume(r.pos)
	r.spans, r.count, r.pos, r.need, r.whole = r.spans[:0], 0, 0, 0, false
	return r.words, raw, nil
}

// between skips what may lie between two commands as far as it is at hand.
func (r *CommandReader) between() error {
	for r.count == 0 && r.r < r.w {
		if r.blank() {
			continue
		}
		if r.buf[r.r] != '#' {
			return nil
		}
		line := r.buf[r.r:r.w]
		end := bytes.IndexByte(line[:min(len(line), maxLine)], '\n')
		if end < 0 && len(line) >= maxLine {
			return r.damaged(0, "an endless annotation")
		}
		if end < 0 {
			return nil
		}
		size := end + 1
		if line[end-1] == '\r' {
			end--
		}
		r.consume(size) // first, so that the receiver sees the offset behind it
		if r.Annotation != nil {
			r.Annotation(line[:end])
		}
	}
	return nil
}

// blank consumes one bare newline: a master that is busy sends them to keep the
// connection alive.
func (r *CommandReader) blank() bool {
	b := r.buf[r.r:r.w]
	switch {
	case r.count > 0:
	case b[0] == '\n':
		r.consume(1)
		return true
	case len(b) > 1 && b[0] == '\r' && b[1] == '\n':
		r.consume(2)
		return true
	}
	return false
}

func (r *CommandReader) consume(n int) {
	r.r += n
	r.offset += int64(n)
}

// parse goes on with the command at buf[r:] and tells whether all of it is
// there. It never looks at a byte twice, however small the pieces are in which
// a large command arrives.
func (r *CommandReader) parse() (whole bool, err error) {
	b := r.buf[r.r:r.w]
	if r.whole || len(b) == 0 {
		return r.whole, nil
	}
	if r.count == 0 {
		if b[0] == '#' || len(b) == 1 && b[0] == '\r' {
			return false, nil
		}
		n, size, ok := number(b, '*')
		if !ok || size > 0 && n == 0 {
			return false, r.damaged(0, "no command begins there")
		}
		if n > r.maxWords {
			return false, r.tooLarge(n, "words")
		}
		if size == 0 {
			return false, nil
		}
		r.count, r.pos, r.need = n, size, size
	}
	for int64(len(r.spans)) < r.count {
		n, size, ok := number(b[r.pos:], '$')
		if !ok {
			return false, r.damaged(r.pos, "no word begins there")
		}
		if size == 0 {
			return false, nil
		}
		from := r.pos + size
		if n > r.maxBytes-int64(from)-2 {
			return false, r.tooLarge(int64(from)+n+2, "bytes")
		}
		to := from + int(n)
		if r.need = to + 2; len(b) < r.need {
			return false, nil
		}
		if b[to] != '\r' || b[to+1] != '\n' {
			return false, r.damaged(to, "a word does not end where it says")
		}
		r.spans = append(r.spans, span{from, to})
		r.pos = r.need
	}
	r.whole = true
	return true, nil
}

// number reads a kind, a number without leading zeros, as servers ask for, and a
// line end. Its size is 0 when it is not all there.
func number(b []byte, kind byte) (n int64, size int, ok bool) {
	if len(b) > 0 && b[0] != kind {
		return 0, 0, false
	}
	for i := 1; i < len(b); i++ {
		c := b[i]
		if c >= '0' && c <= '9' && i < maxNumber {
			if i == 2 && n == 0 {
				return 0, 0, false
			}
			n = n*10 + int64(c-'0')
			continue
		}
		if c != '\r' || i == 1 {
			return 0, 0, false
		}
		if i+1 == len(b) {
			return 0, 0, true
		}
		return n, i + 2, b[i+1] == '\n'
	}
	return 0, 0, true
}

// fill reads once, after making room for what the command is known to need.
func (r *CommandReader) fill() error {
	if r.r == r.w {
		r.r, r.w = 0, 0
	}
	need := max(r.need, r.w-r.r+1)
	switch {
	case need > len(r.buf):
		if int64(need) > r.maxBytes {
			return r.tooLarge(int64(need), "bytes")
		}
		// Twice as much for a command of very many words, whose end nobody knows.
		grown := make([]byte, max(need, int(min(int64(2*len(r.buf)), r.maxBytes)))+commandBuffer/4)
		r.w = copy(grown, r.buf[r.r:r.w])
		r.r, r.buf = 0, grown
	case r.r+need > len(r.buf), r.r > 0 && len(r.buf)-r.w < len(r.buf)/4:
		r.w = copy(r.buf, r.buf[r.r:r.w])
		r.r = 0
	}
	room := r.buf[r.w:]
	if len(r.buf) > len(r.small) {
		// What lies behind a large command is to fit the small buffer again.
		room = room[:min(len(room), max(r.r+need-r.w, commandBuffer/4))]
	}
	for range 100 {
		n, err := r.src.Read(room)
		r.w += n
		if n > 0 {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return io.ErrNoProgress
}

// shrink gives back what a large command took: not at once if it is little, as
// large commands often come one after the other.
func (r *CommandReader) shrink() {
	if cap(r.words) > spareWords && r.count == 0 {
		r.words, r.spans = nil, nil
	}
	if len(r.buf) <= spareBuffer && r.fitting < spareCommands {
		return
	}
	if len(r.buf) > len(r.small) && r.w-r.r <= len(r.small) && r.need <= len(r.small) {
		r.w = copy(r.small, r.buf[r.r:r.w])
		r.r, r.buf = 0, r.small
	}
}

// damaged says what is wrong with the byte at a place of the command.
func (r *CommandReader) damaged(place int, what string) error {
	b := r.buf[min(r.r+place, r.w):r.w]
	return &commandError{fmt.Sprintf("not a valid command at byte %d: %s: %q", r.offset+int64(place), what, clip(b)), ErrProtocol}
}

func (r *CommandReader) tooLarge(n int64, of string) error {
	return &commandError{fmt.Sprintf("the command at byte %d has %d %s or more, which is more than may be held", r.offset, n, of), ErrTooLarge}
}

// commandError has a text of its own: that of ErrProtocol speaks of replies.
type commandError struct {
	text string
	kind error
}

func (e *commandError) Error() string { return e.text }
func (e *commandError) Unwrap() error { return e.kind }
