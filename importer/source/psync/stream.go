package psync

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/importer/source/rdb"
	"github.com/slotferry/slotferry/importer/spool"
	"github.com/slotferry/slotferry/resp"
)

// idleEvery is how often the sink is told that nothing comes.
const idleEvery = 100 * time.Millisecond

// Stream yields a full copy and the commands that follow it, or, from a position
// within a stream, the commands behind that. It goes on until the context ends,
// the sink fails, or the source can't go on (ErrHistoryLost, record.ErrPatience).
// Marks within the copy are zero: it can only be made again.
func (s *Source) Stream(ctx context.Context, from record.Position, sink record.Sink) error {
	if from.End {
		return nil
	}
	to, ok := sink.(record.CommandSink)
	if !ok {
		return errors.New("a replication stream needs a receiver of commands")
	}
	at, damaged := from, int64(-1)
	for {
		err := s.session(ctx, &at, to)
		if !errors.Is(err, resp.ErrProtocol) || errors.Is(err, record.ErrPatience) || at.Stream == "" {
			return err
		}
		if at.Serial == damaged {
			return fmt.Errorf("%w: %s, twice at offset %d of %s: %w", ErrDamaged, s.opts.Endpoint, at.Serial, at.Stream, err)
		}
		damaged = at.Serial
		s.log.Warn("what the source sent is no command; asking for it again", zap.Stringer("source", s.opts.Endpoint), zap.Int64("offset", at.Serial), zap.Error(err))
	}
}

// session yields what one receiver spools. at follows what was yielded.
func (s *Source) session(ctx context.Context, at *record.Position, sink record.CommandSink) error {
	sp, err := spool.New(s.opts.SpoolDir, s.opts.SpoolMax, s.log)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	var workers sync.WaitGroup
	defer func() {
		cancel(context.Canceled)
		_ = sp.Close() // wakes the receiver, whose bytes nobody wants any more
		workers.Wait()
		s.spool.Store(nil)
	}()
	r := &receiver{source: s, spool: sp, log: s.log, acks: make(chan struct{}, 1)}
	s.received.Store(at.Serial)
	if at.Stream != "" {
		r.following, r.era, r.offset = true, at.Era, at.Serial
		id := at.Stream
		s.stream.Store(&id)
	}
	s.spool.Store(sp)
	full := !r.following
	workers.Go(func() { r.run(ctx) })
	workers.Go(func() { s.watchBuffer(ctx) })
	if full {
		if *at, err = s.walk(ctx, r, sink); err != nil {
			return err
		}
		if err := sink.Copied(*at); err != nil {
			return err
		}
	}
	return s.commands(ctx, r, at, sink)
}

// walk yields the records of the RDB, and returns the position behind it.
func (s *Source) walk(ctx context.Context, r *receiver, sink record.CommandSink) (record.Position, error) {
	db := 0
	copied := &copySink{Sink: sink}
	section := &sectionReader{spool: r.spool}
	var file *rdb.Source
	file = rdb.New(rdb.Options{
		Stream: section, Prompt: true, Name: "the full copy of " + s.opts.Endpoint.String(),
		Choice: s.opts.Choice, MaxValue: s.opts.MaxValue, Room: s.opts.Room, Log: s.log,
		Aux: func(name, text []byte) {
			vendor := file.Vendor()
			s.vendor.Store(&vendor)
			// Of a source that is a replica itself: its master selects no database
			// anew for us.
			if bytes.Equal(name, []byte("repl-stream-db")) {
				if n, err := strconv.Atoi(string(text)); err == nil && n >= 0 {
					db = n
				}
			}
		},
	})
	if err := file.Stream(ctx, record.Position{}, copied); err != nil {
		return record.Position{}, err
	}
	// What the receiver noted is to be read behind its cut.
	if _, err := io.Copy(io.Discard, section); err != nil {
		return record.Position{}, err
	}
	if copied.end != r.length {
		return record.Position{}, fmt.Errorf("the full copy of %s ends at %d, but %d bytes were sent", s.opts.Endpoint, copied.end, r.length)
	}
	return s.position(r.era, db, r.offset), nil
}

// sectionReader reads the spool up to its next cut, and not beyond it when it is
// asked again.
type sectionReader struct {
	spool *spool.Spool
	ended bool
}

func (r *sectionReader) Read(p []byte) (int, error) {
	if r.ended {
		return 0, io.EOF
	}
	n, err := r.spool.Read(p)
	r.ended = err == io.EOF
	return n, err
}

// copySink keeps marks of the RDB to itself: they are of no use for a second
// one.
type copySink struct {
	record.Sink
	end int64 // length of the RDB, once it was read
}

func (c *copySink) Mark(pos record.Position) error {
	if pos.End {
		c.end = pos.Offset
	}
	return c.Sink.Mark(record.Position{})
}

// commands yields the stream. It ends with an error.
func (s *Source) commands(ctx context.Context, r *receiver, at *record.Position, sink record.CommandSink) error {
	calm := &calmReader{spool: r.spool}
	in := resp.NewCommandReader(calm, s.opts.MaxValue)
	c := record.Command{DB: at.DB}
	passed := false // something that is not yielded came last
	// The position behind a ping is yielded when nothing follows it, since whoever
	// waits for all of the stream compares offsets.
	calm.idle = func() error {
		if passed {
			passed = false
			c.Words, c.Raw = pingWords, pingRaw
			if err := sink.Command(&c); err != nil {
				return err
			}
		}
		return sink.Idle()
	}
	for {
		words, raw, err := in.Next()
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		if errors.Is(err, resp.ErrTooLarge) {
			return fmt.Errorf("the stream of %s behind offset %d: %w; give more --memory", s.opts.Endpoint, at.Serial, err)
		}
		if err != nil {
			return err
		}
		if len(words) == 2 && bytes.EqualFold(words[0], []byte("SELECT")) {
			if db, err := strconv.Atoi(string(words[1])); err == nil {
				c.DB = db
			}
		}
		c.End = s.position(r.era, c.DB, r.offset+in.Offset())
		*at = c.End
		if isPassive(r, words) {
			passed = true
			continue
		}
		passed = false
		c.Words, c.Raw = words, raw
		if err := sink.Command(&c); err != nil {
			return err
		}
	}
}

var (
	pingWords = [][]byte{[]byte("PING")}
	pingRaw   = resp.AppendCommand(nil, "PING")
)

// isPassive tells whether a command is for the replica itself, and answers it.
func isPassive(r *receiver, words [][]byte) bool {
	if isGetAck(words) {
		r.wantAck()
		return true
	}
	return bytes.EqualFold(words[0], pingWords[0])
}

// calmReader tells when there is nothing to read, at once and every now and
// then.
type calmReader struct {
	spool *spool.Spool
	idle  func() error
}

func (c *calmReader) Read(p []byte) (int, error) {
	for !c.spool.Await(0) {
		if err := c.idle(); err != nil {
			return 0, err
		}
		if c.spool.Await(idleEvery) {
			break
		}
	}
	return c.spool.Read(p)
}
