package rdbparse

import (
	"fmt"
	"io"
)

// none stands for a place in the window that isn't there (any more).
const none = -1

// window is the part of the input that is in memory: buf[pos:end] is still to
// be read. What lies before pos goes when room is needed, except that what is
// behind anchor stays together as long as it isn't more than inlineMax. The
// buffer never grows, whatever the file says.
type window struct {
	r    io.Reader
	rerr error // what r said at its end
	buf  []byte
	pos  int
	end  int
	base int64 // place of buf[0] in the file

	anchor    int   // first byte of the value that is being walked, or none
	inlineMax int64 // most bytes that are kept for it
	block     int

	own     *collector // values longer than inlineMax of a stream; nil for files
	ownFrom int        // first byte that own doesn't have yet, or none

	// The CRC64 is that of everything before crcPos. It trails behind, to be
	// taken over long runs. mark is where the last whole entry ended; its
	// offset and CRC are kept when it leaves the window.
	noCRC      bool
	crc        uint64
	crcPos     int
	mark       int
	markOffset int64
	markCRC    uint64
}

// windowOver is for data that are in memory already.
func windowOver(p []byte) *window {
	return &window{buf: p, end: len(p), anchor: none, ownFrom: none, noCRC: true, mark: none, rerr: io.EOF}
}

func (w *window) offset() int64 { return w.base + int64(w.pos) }

// setMark says that an entry ends where the window stands.
func (w *window) setMark() { w.mark = w.pos }

// marked is the place of the mark and the CRC of all before it.
func (w *window) marked() (int64, uint64) {
	if w.mark != none {
		w.sumTo(w.mark)
		return w.base + int64(w.mark), w.crc
	}
	return w.markOffset, w.markCRC
}

func (w *window) sumTo(to int) {
	if w.crcPos < to {
		if !w.noCRC {
			w.crc = CRC64(w.crc, w.buf[w.crcPos:to])
		}
		w.crcPos = to
	}
}

// fill reads more bytes, at least one.
func (w *window) fill() error {
	if w.rerr != nil {
		return w.readError()
	}
	keep := w.pos
	if w.anchor != none {
		if int64(w.pos-w.anchor) > w.inlineMax {
			w.letGo()
		} else {
			keep = w.anchor
		}
	}
	if len(w.buf)-w.end < w.block/2 {
		w.slide(keep)
	}
	for range 100 {
		n, err := w.r.Read(w.buf[w.end:])
		if n < 0 || n > len(w.buf)-w.end {
			err, n = io.ErrNoProgress, 0
		}
		w.end += n
		w.rerr = err
		if n > 0 {
			return nil
		}
		if err != nil {
			return w.readError()
		}
	}
	w.rerr = io.ErrNoProgress
	return w.rerr
}

func (w *window) readError() error {
	if w.rerr == io.EOF || w.rerr == io.ErrUnexpectedEOF {
		return fmt.Errorf("%w, at %d", ErrTruncated, w.base+int64(w.end))
	}
	return w.rerr
}

// slide moves what begins at keep to the front of the buffer.
func (w *window) slide(keep int) {
	if w.ownFrom != none {
		w.collect(keep)
		w.ownFrom -= keep
	}
	if w.mark != none && w.mark < keep {
		w.markOffset, w.markCRC = w.marked()
		w.mark = none
	}
	w.sumTo(keep)
	copy(w.buf, w.buf[keep:w.end])
	w.base += int64(keep)
	w.pos -= keep
	w.end -= keep
	w.crcPos -= keep
	if w.mark != none {
		w.mark -= keep
	}
	if w.anchor != none {
		w.anchor -= keep
	}
}

// letGo gives up keeping the value together: it is too long for the window.
func (w *window) letGo() {
	if w.own != nil {
		w.ownFrom = w.anchor
	}
	w.anchor = none
}

// collect hands what lies between ownFrom and to over to the collector.
func (w *window) collect(to int) {
	if w.ownFrom < to {
		w.own.add(w.buf[w.ownFrom:to])
		w.ownFrom = to
	}
}

// skip passes over n bytes, of which few need be in the window.
func (w *window) skip(n uint64) error {
	for n > uint64(w.end-w.pos) {
		n -= uint64(w.end - w.pos)
		w.pos = w.end
		if err := w.fill(); err != nil {
			return err
		}
	}
	w.pos += int(n)
	return nil
}

// need makes sure that the next n bytes are in the window; n is small.
func (w *window) need(n int) error {
	for w.end-w.pos < n {
		if err := w.fill(); err != nil {
			return err
		}
	}
	return nil
}

// appendTo appends the next n bytes to dst, which grows only with bytes that
// were really read.
func (w *window) appendTo(dst []byte, n uint64) ([]byte, error) {
	for {
		part := min(n, uint64(w.end-w.pos))
		dst = append(dst, w.buf[w.pos:w.pos+int(part)]...)
		w.pos += int(part)
		if n -= part; n == 0 {
			return dst, nil
		}
		if err := w.fill(); err != nil {
			return dst, err
		}
	}
}

// collector puts a value of a stream together that is too long for the window.
type collector struct {
	max     int64
	buf     []byte
	dropped bool
}

// expect takes memory for a value whose length is known, n bytes.
func (c *collector) expect(n int64) {
	switch {
	case n > c.max:
		c.dropped = true
	case c.buf == nil:
		c.buf = make([]byte, 0, n)
	}
}

func (c *collector) add(p []byte) {
	total := int64(len(c.buf)) + int64(len(p))
	if total > c.max {
		c.dropped, c.buf = true, nil
	}
	if c.dropped {
		return
	}
	if total > int64(cap(c.buf)) {
		grown := make([]byte, len(c.buf), min(max(total, 2*int64(cap(c.buf))), c.max))
		copy(grown, c.buf)
		c.buf = grown
	}
	c.buf = append(c.buf, p...)
}

// take hands the value over and makes ready for the next one.
func (c *collector) take() (value []byte, dropped bool) {
	value, dropped = c.buf, c.dropped
	c.buf, c.dropped = nil, false
	return value, dropped
}
