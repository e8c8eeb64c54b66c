// Package rdb is the source that walks an RDB file, from a disk or from
// standard input. Values are never decoded; those too large for a buffer are
// handed on as sections of the file.
package rdb

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"go.uber.org/zap"

	"github.com/slotferry/slotferry/importer/choice"
	"github.com/slotferry/slotferry/importer/pulse"
	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/rdbparse"
)

// Options says what is read. One of Path and Stream is set.
type Options struct {
	Path   string    // a file, which is read from the checkpoint's offset on
	Stream io.Reader // an RDB that can be read only once, such as standard input
	// Name is what messages call a Stream; "standard input".
	Name string
	// Prompt says that reading the Stream ends soon after the context does, so
	// that no goroutine need stand between. Inspect is not for such a Stream.
	Prompt bool
	// Aux is told the facts on itself that the RDB begins with; nil: nobody is.
	// Both are valid until it returns.
	Aux    func(name, text []byte)
	Choice *choice.Choice
	// MaxValue is the longest value in bytes that is held in memory, for a
	// Stream; longer ones are refused by name. A file's values have no limit.
	MaxValue int64
	// Room waits until there is room for that many bytes beside what is on its
	// way. It is asked for after each large value of a Stream, so that the next
	// one has its place; nil does not wait.
	Room func(ctx context.Context, bytes int64) error
	// Measure makes records carry the measure of their values instead of the
	// values, however long they are.
	Measure bool
	Log     *zap.Logger
}

// Source is an RDB file or stream.
type Source struct {
	opts   Options
	name   string
	file   *file
	pulse  pulse.Pulse
	stream *bufio.Reader
	log    *zap.Logger
	size   int64
	header rdbparse.Header
}

// headerBytes is the magic and the version that an RDB begins with.
const headerBytes = 9

// A mark is made after this many bytes or entries, whichever comes first.
const (
	markBytes   = 256 << 10
	markEntries = 4096
)

// New returns the source; Inspect opens it.
func New(o Options) *Source {
	s := &Source{opts: o, name: o.Path, log: o.Log}
	if s.opts.Room == nil {
		s.opts.Room = func(context.Context, int64) error { return nil }
	}
	if s.log == nil {
		s.log = zap.NewNop()
	}
	if o.Stream != nil {
		if s.name = o.Name; s.name == "" {
			s.name = "standard input"
		}
		s.stream = bufio.NewReaderSize(&pulse.Reader{R: o.Stream, Pulse: &s.pulse, Wait: s.owes()}, headBytes)
	}
	return s
}

// Close closes the file.
func (s *Source) Close() error {
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}

// Exact tells that expiries are known to the millisecond.
func (s *Source) Exact() bool { return true }

// Vendor says whose RDB types the records bear, once Inspect has looked.
func (s *Source) Vendor() rdbparse.Vendor { return s.header.Vendor }

// Size returns the length of the file in bytes, 0 for a stream.
func (s *Source) Size() int64 { return s.size }

// Stream yields the entries that follow from. A damaged file ends it with an
// *rdbparse.Error, after everything before the damage was yielded.
func (s *Source) Stream(ctx context.Context, from record.Position, sink record.Sink) error {
	if from.End {
		return nil
	}
	input, stop := s.input(ctx)
	defer stop()
	w, err := s.walker(input, from)
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if err != nil {
		return err
	}
	s.header = w.Header()
	v := &visit{source: s, walker: w, sink: sink, vendor: s.header.Vendor, marked: from}
	for {
		if err := context.Cause(ctx); err != nil {
			return errors.Join(err, v.mark())
		}
		e, err := w.Next()
		if errors.Is(err, io.EOF) {
			return v.end()
		}
		if err != nil {
			// What came before is whole, and need not be read again.
			if cause := context.Cause(ctx); cause != nil {
				err = cause
			}
			return errors.Join(err, v.mark())
		}
		if err := v.entry(e); err != nil {
			return err
		}
		if e.Owned {
			if err := s.opts.Room(ctx, s.opts.MaxValue); err != nil {
				return err
			}
		}
	}
}

// input returns what to read from. Reading a terminal or pipe can't be
// interrupted, so a goroutine of its own does it.
func (s *Source) input(ctx context.Context) (r io.Reader, stop func()) {
	if s.stream == nil {
		return s.file, func() {}
	}
	if s.opts.Prompt {
		return s.opts.Stream, func() {}
	}
	pr, pw := io.Pipe()
	go func() {
		_, err := io.Copy(pw, s.stream)
		pw.CloseWithError(err)
	}()
	release := context.AfterFunc(ctx, func() { pr.CloseWithError(context.Cause(ctx)) })
	return pr, func() {
		release()
		_ = pr.Close()
	}
}

// walker returns a walker that stands at from.
func (s *Source) walker(input io.Reader, from record.Position) (*rdbparse.Walker, error) {
	o := rdbparse.Options{
		Name: s.name, Seekable: s.file != nil, BufferMax: s.opts.MaxValue, InlineMax: record.LargeBytes,
	}
	if s.opts.Measure {
		// What need not be read again is passed over, in a stream too.
		o.Seekable = true
	}
	if s.file != nil {
		if _, err := s.file.Seek(0, io.SeekStart); err != nil {
			return nil, fmt.Errorf("%s: %w", s.name, err)
		}
	}
	if from.Offset == 0 {
		return rdbparse.NewWalker(input, o)
	}
	state := rdbparse.State{Offset: from.Offset, CRC: from.CRC, DB: from.DB}
	if s.file != nil {
		head, err := rdbparse.NewWalker(io.NewSectionReader(s.file, 0, s.size), o)
		if err != nil {
			return nil, err
		}
		if _, err := s.file.Seek(from.Offset, io.SeekStart); err != nil {
			return nil, fmt.Errorf("%s: %w", s.name, err)
		}
		return rdbparse.Resume(input, head.Header(), state, o), nil
	}
	header, err := s.skip(input, from)
	if err != nil {
		return nil, err
	}
	return rdbparse.Resume(input, header, state, o), nil
}

// skip reads a stream up to a checkpoint's position and makes sure, by the
// checksum of what it skips, that it is the stream the checkpoint is about.
func (s *Source) skip(input io.Reader, to record.Position) (rdbparse.Header, error) {
	s.log.Info("skipping what was imported before", zap.Int64("bytes", to.Offset))
	var first bytes.Buffer
	sum := &checksum{}
	n, err := io.CopyN(io.MultiWriter(&first, sum), input, min(headerBytes, to.Offset))
	if err == nil {
		var more int64
		more, err = io.CopyN(sum, input, to.Offset-n)
		n += more
	}
	if errors.Is(err, io.EOF) {
		err = rdbparse.ErrTruncated
	}
	if err != nil {
		return rdbparse.Header{}, fmt.Errorf("%s ends at %d, before the checkpoint's offset %d: %w", s.name, n, to.Offset, err)
	}
	head, err := rdbparse.NewWalker(&first, rdbparse.Options{Name: s.name})
	if err != nil {
		return rdbparse.Header{}, err
	}
	if sum.crc != to.CRC {
		return rdbparse.Header{}, fmt.Errorf("%s: the first %d bytes are not those of the interrupted run (checksum %016x, want %016x); --restart begins anew",
			s.name, to.Offset, sum.crc, to.CRC)
	}
	return head.Header(), nil
}

// checksum sums up what is written to it.
type checksum struct{ crc uint64 }

func (c *checksum) Write(p []byte) (int, error) {
	c.crc = rdbparse.CRC64(c.crc, p)
	return len(p), nil
}
