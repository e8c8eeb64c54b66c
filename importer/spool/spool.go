// Package spool is a queue of bytes between one writer that must not be held up
// and one reader that may be slow: a ring in memory, and behind it files on a
// disk, up to a limit. It owns those files, and nothing of them outlives the
// process. It keeps nothing for a second reading.
package spool

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
)

const (
	ringBytes    = 8 << 20
	segmentBytes = 16 << 20
	leastSegment = 64 << 10
	retryAfter   = 500 * time.Millisecond // a full disk is tried again
)

// ErrClosed means that the spool was closed by its owner.
var ErrClosed = errors.New("the spool is closed")

// Spool is the queue. One goroutine may write and one other may read; the other
// methods are for any goroutine.
type Spool struct {
	dir     string
	max     int64 // bytes that the files may have
	segment int64 // bytes of one of them
	retry   time.Duration
	open    func() (*file, error)
	log     *zap.Logger

	mu      sync.Mutex
	changed sync.Cond
	ring    ring  // the oldest bytes
	files   files // what came after them
	written int64 // bytes ever
	read    int64
	cuts    []int64 // places where a section ends, ascending
	full    string
	closed  bool
	ended   error // of the writer; nil while it goes on
}

// New returns an empty spool whose files are in dir, which is made if need be,
// and have at most limit bytes; with 0 it has its memory only. Files that a
// process left there which could not remove them are removed. The empty dir is
// that of the system's temporary files.
func New(dir string, limit int64, log *zap.Logger) (*Spool, error) {
	if log == nil {
		log = zap.NewNop()
	}
	if dir == "" {
		dir = os.TempDir()
	}
	s := &Spool{
		dir: dir, max: limit, log: log, retry: retryAfter,
		segment: min(segmentBytes, max(limit/4, leastSegment)), ring: newRing(ringBytes),
	}
	s.changed.L = &s.mu
	s.open = func() (*file, error) { return create(dir) }
	if limit <= 0 {
		return s, nil
	}
	if err := prepare(dir); err != nil {
		return nil, fmt.Errorf("the spool's folder: %w", err)
	}
	return s, nil
}

// Write puts p in, and waits while there is no room for it. A full disk is no
// error: it waits until there is room. Errors are those of the disk otherwise,
// and ErrClosed.
func (s *Spool) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		n, err := s.put(p[done:])
		done += n
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// put takes a part of p, at least one byte.
func (s *Spool) put(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if s.closed || s.ended != nil {
			return 0, ErrClosed
		}
		// What is on the disk is newer than the ring, so nothing may overtake it.
		if s.files.unread() == 0 {
			if n := s.ring.put(p); n > 0 {
				s.wrote(n)
				return n, nil
			}
		}
		room := s.max - s.files.held()
		if room > 0 {
			n, err := s.spill(p[:min(int64(len(p)), room)])
			if n > 0 || err != nil {
				return n, err
			}
			continue // the disk is full
		}
		s.say(fmt.Sprintf("the spool holds %d bytes, all that it may: the source is read only as fast as the target takes", s.ring.len()+s.files.unread()))
		s.changed.Wait()
	}
}

// spill puts a part of p into the newest file. It returns nothing after a wait
// for a disk that is full. The mutex is free meanwhile.
func (s *Spool) spill(p []byte) (n int, err error) {
	seg := s.files.newest()
	if seg == nil || seg.written >= s.segment {
		s.mu.Unlock()
		f, err := s.open()
		s.mu.Lock()
		if err != nil {
			return 0, s.failed(err)
		}
		if s.closed {
			_ = f.remove()
			return 0, ErrClosed
		}
		seg = &segment{file: f}
		s.files.list = append(s.files.list, seg)
	}
	p = p[:min(int64(len(p)), s.segment-seg.written)]
	seg.busy = true
	at := seg.written
	s.mu.Unlock()
	n, err = seg.file.WriteAt(p, at)
	s.mu.Lock()
	seg.busy = false
	seg.written += int64(n)
	if n > 0 {
		s.wrote(n)
	}
	if s.closed {
		return n, errors.Join(ErrClosed, s.files.drop())
	}
	if err == nil {
		return n, nil
	}
	// Another file follows: this one may be the one with the trouble.
	seg.sealed = true
	s.release()
	return n, s.failed(err)
}

// failed waits a moment if the disk is full, and otherwise is the error.
func (s *Spool) failed(err error) error {
	if !noSpace(err) {
		return fmt.Errorf("writing the spool in %s: %w", s.dir, err)
	}
	s.say(fmt.Sprintf("no room for the spool in %s (%v): the source is read only as fast as the target takes", s.dir, err))
	again := time.Now().Add(s.retry)
	wake := time.AfterFunc(s.retry, s.changed.Broadcast)
	defer wake.Stop()
	for !s.closed && s.ended == nil && time.Now().Before(again) {
		s.changed.Wait()
	}
	return nil
}

// say notes why the writer waits, and logs it when that begins.
func (s *Spool) say(why string) {
	if s.full == "" {
		s.log.Warn(why)
	}
	s.full = why
}

func (s *Spool) wrote(n int) {
	s.written += int64(n)
	s.full = ""
	s.changed.Broadcast()
}

// Read gives what is in, and waits until there is something. At a Cut it says
// io.EOF once. After CloseWrite it says that error when all is read.
func (s *Spool) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(p) > 0 {
		switch {
		case s.closed:
			return 0, ErrClosed
		case len(s.cuts) > 0 && s.cuts[0] == s.read:
			s.cuts = s.cuts[1:]
			return 0, io.EOF
		case s.written > s.read:
			return s.take(p)
		case s.ended != nil:
			return 0, s.ended
		}
		s.changed.Wait()
	}
	return 0, nil
}

// take reads from the ring, else from the oldest file.
func (s *Spool) take(p []byte) (int, error) {
	if len(s.cuts) > 0 {
		p = p[:min(int64(len(p)), s.cuts[0]-s.read)]
	}
	if n := s.ring.take(p); n > 0 {
		s.read += int64(n)
		s.changed.Broadcast()
		return n, nil
	}
	seg := s.files.list[0] // has unread bytes: release removes it otherwise
	p = p[:min(int64(len(p)), seg.written-seg.read)]
	at := seg.read
	seg.reading = true
	s.mu.Unlock()
	n, err := seg.file.ReadAt(p, at)
	s.mu.Lock()
	seg.reading = false
	if s.closed {
		return 0, errors.Join(ErrClosed, s.files.drop())
	}
	if n < len(p) {
		return 0, fmt.Errorf("reading the spool in %s: %w", s.dir, err)
	}
	seg.read += int64(n)
	s.read += int64(n)
	s.release()
	s.changed.Broadcast()
	return n, nil
}

// release removes the files that were read.
func (s *Spool) release() {
	s.files.list = slices.DeleteFunc(s.files.list, func(seg *segment) bool {
		// The last one goes even if it could take more, so that the ring is used again.
		if seg.busy || seg.reading || seg.read < seg.written {
			return false
		}
		if err := seg.file.remove(); err != nil {
			s.log.Warn("a file of the spool is left", zap.Error(err))
		}
		return true
	})
}

// Cut ends a section: when all before it is read, Read says io.EOF once. It is
// the writer's.
func (s *Spool) Cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cuts = append(s.cuts, s.written)
	s.changed.Broadcast()
}

// CloseWrite says that nothing more comes, and why; nil stands for io.EOF. Only
// the first call counts.
func (s *Spool) CloseWrite(err error) {
	if err == nil {
		err = io.EOF
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended == nil {
		s.ended = err
	}
	s.changed.Broadcast()
}

// Close gives up what is in. Who waits gets ErrClosed.
func (s *Spool) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.changed.Broadcast()
	return s.files.drop()
}

// Await waits until there is something to read, be it an error, or for a time;
// it tells which.
func (s *Spool) Await(d time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.readable() || d <= 0 {
		return s.readable()
	}
	deadline := time.Now().Add(d)
	wake := time.AfterFunc(d, s.changed.Broadcast)
	defer wake.Stop()
	for !s.readable() && time.Now().Before(deadline) {
		s.changed.Wait()
	}
	return s.readable()
}

func (s *Spool) readable() bool {
	return s.written > s.read || len(s.cuts) > 0 || s.ended != nil || s.closed
}

// Buffered is how many bytes are in.
func (s *Spool) Buffered() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.written - s.read
}

// Written is how many bytes were ever put in.
func (s *Spool) Written() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.written
}

// Max is how many bytes have a place in memory and files together.
func (s *Spool) Max() int64 { return ringBytes + max(s.max, 0) }

// Full says why the writer waits, "" if it does not.
func (s *Spool) Full() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.full
}
