package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/slotferry/slotferry/internal/sandbox"
)

// source is a filled server and the file that it saved.
type source struct {
	server *sandbox.Server
	rdb    string
	bytes  int64 // of the file
	keys   int64
	filled time.Duration // how long it took; 0 if the file was there
}

// fill starts a server, fills it and keeps its RDB file, which outlives it. The
// same data asked for again is loaded from that.
func fill(ctx context.Context, dir string, s dataSet, asked int) (_ *source, err error) {
	keys := s.size(asked)
	src := &source{rdb: filepath.Join(dir, fmt.Sprintf("%s-%d.rdb", s.name, keys))}
	o := sandbox.Options{Dir: dir, Password: sourcePassword}
	if _, err := os.Stat(src.rdb); err == nil {
		o.RDB = src.rdb
	}
	if src.server, err = sandbox.Start(ctx, o); err != nil {
		return nil, fmt.Errorf("starting the source: %w", err)
	}
	defer func() {
		if err != nil {
			src.server.Stop()
		}
	}()
	if o.RDB == "" {
		err = src.make(ctx, s, keys)
	} else {
		// Removed, the copy is not written to the disk during the runs.
		err = os.Remove(filepath.Join(src.server.Dir, "dump.rdb"))
	}
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(src.rdb)
	if err != nil {
		return nil, err
	}
	src.bytes = info.Size()
	if src.keys, err = src.server.Client().DBSize(ctx).Result(); err != nil {
		return nil, fmt.Errorf("counting the source's keys: %w", err)
	}
	if src.keys != int64(keys) {
		return nil, fmt.Errorf("the source holds %d keys, %d were written", src.keys, keys)
	}
	return src, nil
}

func (s *source) make(ctx context.Context, set dataSet, keys int) error {
	begun := time.Now()
	if err := set.fill(ctx, s.server.Client(), keys); err != nil {
		return err
	}
	s.filled = time.Since(begun)
	saved, err := s.server.Save(ctx)
	if err != nil {
		return err
	}
	if err := os.Rename(saved, s.rdb); err != nil {
		return fmt.Errorf("keeping the RDB file: %w", err)
	}
	return nil
}

// processorTime is what the thread that answers has spent since the server
// started: 0 when the server has ended or doesn't tell (before 6.2).
func (s *source) processorTime(ctx context.Context) (time.Duration, error) {
	if !s.server.Running() {
		return 0, nil
	}
	t, err := processorTime(ctx, s.server.Client(), mainThread)
	if errors.Is(err, errNoField) {
		return 0, nil
	}
	return t, err
}

// scheduled is what that thread has spent, and waited for a processor; 0 when
// the server has ended or the system doesn't tell.
func (s *source) scheduled(context.Context) (time.Duration, error) {
	if !s.server.Running() {
		return 0, nil
	}
	return scheduled(s.server.PID()), nil
}

// children is what the server's children have spent that have ended: they write
// RDB files.
func (s *source) children(ctx context.Context) (time.Duration, error) {
	return processorTime(ctx, s.server.Client(), "_children")
}
