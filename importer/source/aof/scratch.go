package aof

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gofrs/flock"
	"go.uber.org/zap"

	"github.com/slotferry/slotferry/importer/preflight"
)

// In WorkDir are the RDB files that scratch servers wrote, and the folders of
// those at work.
const (
	convertedPrefix = "aof-"
	scratchPrefix   = "scratch-"
	lockName        = "lock"
)

// scratch lets a server turn the files into an RDB, unless that was done before,
// and looks at that.
func (s *Source) scratch(ctx context.Context, p plan, sum *reviewed, facts *preflight.Source) (found preflight.Findings) {
	path := filepath.Join(s.opts.WorkDir, fmt.Sprintf("%s%s-%s.rdb", convertedPrefix, p.contents, s.files.touched()))
	if _, err := os.Stat(path); err != nil {
		if facts.Memory > 0 {
			s.log.Info("the scratch server takes as much memory as the server that wrote the files", zap.Int64("bytes_then", facts.Memory))
		}
		err := s.convert(ctx, path, sum)
		if cause := context.Cause(ctx); err != nil && cause != nil {
			found.Block("interrupted", "", "%v", cause)
			return found
		}
		if err != nil {
			found.Block("scratch_failed", "see that the server is as new as the one that wrote the files, or name another one with --scratch-server; and that there is room in "+s.opts.WorkDir, "%v", err)
			return found
		}
	}
	s.use(p.way, s.walk(path, s.log))
	own, more := s.inner.Inspect(ctx)
	found = append(found, more...)
	if len(found.Blockers()) > 0 {
		return found
	}
	facts.RDB, facts.Memory, facts.Bytes = own.RDB, own.Memory, own.Bytes
	if facts.Version == "" {
		facts.Version = own.Version
	}
	return append(found, s.inner.Survey(ctx, facts)...)
}

// reopen opens the RDB that the scratch server wrote in an earlier run.
func (s *Source) reopen(ctx context.Context, p plan) error {
	found, err := filepath.Glob(filepath.Join(pattern(s.opts.WorkDir), convertedPrefix+p.contents+"-*.rdb"))
	if err == nil && len(found) == 0 {
		err = errors.New("it is gone")
	}
	if err != nil {
		return fmt.Errorf("the RDB that the scratch server wrote into %s: %w; --restart begins anew", s.opts.WorkDir, err)
	}
	s.use(p.way, s.walk(slices.Min(found), s.log))
	_, what := s.inner.Inspect(ctx)
	if blockers := what.Blockers(); len(blockers) > 0 {
		return &preflight.Error{Blockers: blockers}
	}
	return nil
}

// pattern makes a path one that Glob takes as it is.
func pattern(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// Discard removes the RDB that was made for the job; its end is the time for
// it.
func (s *Source) Discard() error {
	if s.opts.WorkDir == "" {
		return nil
	}
	found, err := filepath.Glob(filepath.Join(pattern(s.opts.WorkDir), convertedPrefix+"*.rdb"))
	for _, path := range found {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}

// convert runs the server in a folder of its own. An RDB of the name is whole.
func (s *Source) convert(ctx context.Context, path string, sum *reviewed) (err error) {
	if s.opts.WorkDir == "" {
		return errors.New("no folder for it to work in was named")
	}
	if err := os.MkdirAll(s.opts.WorkDir, 0o700); err != nil {
		return err
	}
	sweep(s.opts.WorkDir)
	program, err := s.program()
	if err != nil {
		return err
	}
	version, err := versionOf(ctx, program)
	if err != nil {
		return err
	}
	work, err := filepath.Abs(s.opts.WorkDir)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(work, scratchPrefix)
	if err != nil {
		return err
	}
	lock := flock.New(filepath.Join(dir, lockName))
	defer func() { _ = os.RemoveAll(dir) }()
	if _, err := lock.TryLock(); err != nil {
		return err
	}
	defer func() { _ = lock.Unlock() }()
	if err := s.lay(ctx, dir, sum, version.manifest()); err != nil {
		return fmt.Errorf("copying the files for the scratch server: %w", err)
	}
	s.log.Info("the scratch server begins to load the files", zap.String("server", version.text), zap.Int64("bytes", sum.end))
	server := &server{program: program, dir: dir, pulse: &s.pulse, log: s.log, databases: sum.maxDB + 1, lenient: sum.unread, manifest: version.manifest()}
	if err := server.save(ctx); err != nil {
		return fmt.Errorf("scratch server %s (%s): %w", program, version.text, err)
	}
	if err := os.Rename(filepath.Join(dir, dumpName), path); err != nil {
		return err
	}
	return syncFolder(work)
}

// syncFolder makes a renamed file survive a crash of the machine: a checkpoint
// will speak of it.
func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	if err := d.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return nil // not every system can; the file itself was synced by the server
	}
	return nil
}

// sweep removes what a killed run left behind: nobody holds the lock.
func sweep(dir string) {
	found, err := filepath.Glob(filepath.Join(pattern(dir), scratchPrefix+"*", lockName))
	if err != nil {
		return
	}
	for _, name := range found {
		lock := flock.New(name)
		if ok, err := lock.TryLock(); err == nil && ok {
			_ = os.RemoveAll(filepath.Dir(name))
			_ = lock.Unlock()
		}
	}
}
