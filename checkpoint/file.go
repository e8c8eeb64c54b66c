package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/gofrs/flock"
)

const (
	fileName = "checkpoint.json"
	tempName = ".checkpoint.json.new" // of one name, so that killed runs leave at most one behind
	lockName = "lock"

	maxFileBytes = 256 << 20 // far more than any checkpoint has
)

// File keeps a checkpoint in a folder of its own. The folder may be reached by
// a symbolic link, which is its owner's way to put it elsewhere. A link or
// device in place of one of its files is not used: it would have been planted
// to make the tool write somewhere else.
type File struct {
	dir  string
	root *os.Root // stays the same folder whatever becomes of its path
	lock *flock.Flock
}

// OpenFile makes the folder if need be and takes its lock, which ends with
// Close or with the process. ErrLocked means that another run has it.
func OpenFile(dir string) (*File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the checkpoint's folder: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open the checkpoint's folder: %w", err)
	}
	f := &File{dir: dir, root: root}
	if err := f.takeLock(); err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return f, nil
}

// takeLock makes the lock's file by itself, because flock would make one at the
// other end of a link.
func (f *File) takeLock() error {
	if err := f.plain(lockName); errors.Is(err, fs.ErrNotExist) {
		made, err := f.root.OpenFile(lockName, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err == nil {
			err = made.Close()
		}
		if err != nil && !errors.Is(err, fs.ErrExist) { // another run was quicker
			return fmt.Errorf("lock the checkpoint's folder %s: %w", f.dir, err)
		}
	} else if err != nil {
		return fmt.Errorf("lock the checkpoint's folder %s: %w", f.dir, err)
	}
	f.lock = flock.New(filepath.Join(f.dir, lockName), flock.SetFlag(lockFlag()))
	ok, err := f.lock.TryLock()
	if err != nil {
		return fmt.Errorf("lock the checkpoint's folder: %w", err)
	}
	if !ok {
		return fmt.Errorf("%s: %w", f.dir, ErrLocked)
	}
	return nil
}

// lockFlag is how flock opens a lock's file that is there.
func lockFlag() int {
	switch runtime.GOOS {
	case "aix", "solaris", "illumos": // they lock only what may be written
		return os.O_RDWR
	}
	return os.O_RDONLY
}

// plain tells that a name of the folder is a file and not a link, a device or a
// folder. fs.ErrNotExist means that there is none.
func (f *File) plain(name string) error {
	info, err := f.root.Lstat(name)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no plain file (%s); see who put it there, remove it and run again", name, info.Mode().Type())
	}
	return nil
}

// String names the place, for messages.
func (f *File) String() string { return filepath.Join(f.dir, fileName) }

// Load returns what is stored, ErrNone if nothing is, or ErrDamaged.
func (f *File) Load(context.Context) (Checkpoint, error) {
	data, err := f.read()
	if errors.Is(err, fs.ErrNotExist) {
		return Checkpoint{}, ErrNone
	}
	if err != nil {
		return Checkpoint{}, fmt.Errorf("read checkpoint %s: %w", f, err)
	}
	c, err := Decode(data)
	if err != nil {
		return c, fmt.Errorf("%s: %w", f, err)
	}
	return c, nil
}

func (f *File) read() ([]byte, error) {
	if err := f.plain(fileName); err != nil {
		return nil, err
	}
	file, err := f.root.Open(fileName)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	data, err := io.ReadAll(io.LimitReader(file, maxFileBytes+1))
	if err == nil && len(data) > maxFileBytes {
		err = fmt.Errorf("%w: it has more than %d bytes", ErrDamaged, maxFileBytes)
	}
	return data, err
}

// Save replaces what is stored, so that a crash at any moment leaves either the
// old or the new checkpoint whole on the disk.
func (f *File) Save(_ context.Context, c Checkpoint) error {
	data, err := Encode(c)
	if err != nil {
		return err
	}
	if err := f.replace(data); err != nil {
		return fmt.Errorf("save checkpoint %s: %w", f, err)
	}
	return nil
}

// Close gives the lock back. What is stored stays.
func (f *File) Close(context.Context) error { return errors.Join(f.lock.Close(), f.root.Close()) }

// replace writes a new file and gives it the old one's name.
func (f *File) replace(data []byte) (err error) {
	// What a killed run has left is not written into: it may be a link by now.
	if err := f.unlinkTemp(); err != nil {
		return err
	}
	tmp, err := f.root.OpenFile(tempName, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = tmp.Close()
			_ = f.unlinkTemp()
		}
	}()
	if _, err = tmp.Write(data); err != nil {
		return err
	}
	if err = tmp.Sync(); err != nil {
		return err
	}
	if err = tmp.Close(); err != nil {
		return err
	}
	if err = f.root.Rename(tempName, fileName); err != nil {
		return err
	}
	return f.syncDir()
}

// unlinkTemp removes the name of the new file, never what it may point to, and
// no folder.
func (f *File) unlinkTemp() error {
	info, err := f.root.Lstat(tempName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.IsDir() {
		return fmt.Errorf("%s is a folder; remove it", tempName)
	}
	return f.root.Remove(tempName)
}

// syncDir makes a rename durable. Windows has no such call for folders; there
// the rename itself is written through.
func (f *File) syncDir() error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := f.root.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
