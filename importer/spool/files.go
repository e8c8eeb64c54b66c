package spool

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// pattern names the files. They hold a user's data: nobody else may read them.
const pattern = "slotferry-spool-*.tmp"

// file is one file of the spool. Where the system allows it has no name any
// more from its beginning on, so that it ends with the process.
type file struct {
	*os.File
	named bool
}

func create(dir string) (*file, error) {
	f, err := os.CreateTemp(dir, pattern)
	if err != nil {
		return nil, err
	}
	// Another run's sweep may have been quicker, which is as good.
	err = os.Remove(f.Name())
	return &file{File: f, named: err != nil && !errors.Is(err, fs.ErrNotExist)}, nil
}

func (f *file) remove() error {
	err := f.Close()
	if f.named {
		err = errors.Join(err, os.Remove(f.Name()))
	}
	return err
}

// prepare makes the folder, sees that it can be written to, and sweeps it. A
// system that keeps the names of open files does not remove those of a run that
// goes on; the others keep no names, so that no lock is needed.
func prepare(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := create(dir)
	if err != nil {
		return err
	}
	if err := f.remove(); err != nil {
		return err
	}
	left, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		return nil // a folder whose name is a pattern is not swept
	}
	for _, name := range left {
		_ = os.Remove(name) // in use
	}
	return nil
}

// segment is a part of the queue, in a file.
type segment struct {
	file          *file
	written, read int64
	busy, reading bool // outside of the mutex
	sealed        bool // takes no more
}

// files are the segments, oldest first.
type files struct{ list []*segment }

// newest returns the segment that takes more, or nil.
func (f *files) newest() *segment {
	if n := len(f.list); n > 0 && !f.list[n-1].sealed {
		return f.list[n-1]
	}
	return nil
}

// held is how many bytes they have on the disk.
func (f *files) held() (n int64) {
	for _, seg := range f.list {
		n += seg.written
	}
	return n
}

// unread is how many of them are to be read.
func (f *files) unread() (n int64) {
	for _, seg := range f.list {
		n += seg.written - seg.read
	}
	return n
}

// drop removes those that nobody uses at the moment; who does calls it again.
func (f *files) drop() (err error) {
	var used []*segment
	for _, seg := range f.list {
		if seg.busy || seg.reading {
			used = append(used, seg)
			continue
		}
		err = errors.Join(err, seg.file.remove())
	}
	f.list = used
	return err
}
