package checkpoint

import (
	"context"
	"errors"
	"fmt"
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
)

// File keeps a checkpoint in a folder of its own.
type File struct {
	dir  string
	lock *flock.Flock
}

// OpenFile makes the folder if need be and takes its lock, which ends with
// Close or with the process. ErrLocked means that another run has it.
func OpenFile(dir string) (*File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the checkpoint's folder: %w", err)
	}
	lock := flock.New(filepath.Join(dir, lockName), flock.SetPermissions(0o600))
	ok, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock the checkpoint's folder: %w", err)
	}
	if !ok {
		return nil, fmt.Errorf("%s: %w", dir, ErrLocked)
	}
	return &File{dir: dir, lock: lock}, nil
}

// String names the place, for messages.
func (f *File) String() string { return filepath.Join(f.dir, fileName) }

// Load returns what is stored, ErrNone if nothing is, or ErrDamaged.
func (f *File) Load(context.Context) (Checkpoint, error) {
	data, err := os.ReadFile(f.String())
	if errors.Is(err, fs.ErrNotExist) {
		return Checkpoint{}, ErrNone
	}
	if err != nil {
		return Checkpoint{}, fmt.Errorf("read checkpoint: %w", err)
	}
	c, err := Decode(data)
	if err != nil {
		return c, fmt.Errorf("%s: %w", f, err)
	}
	return c, nil
}

// Save replaces what is stored, so that a crash at any moment leaves either the
// old or the new checkpoint whole on the disk.
func (f *File) Save(_ context.Context, c Checkpoint) error {
	data, err := Encode(c)
	if err != nil {
		return err
	}
	if err := replaceFile(f.String(), data); err != nil {
		return fmt.Errorf("save checkpoint: %w", err)
	}
	return nil
}

// Close gives the lock back. What is stored stays.
func (f *File) Close(context.Context) error { return f.lock.Close() }

func replaceFile(path string, data []byte) (err error) {
	// The lock keeps others out of the folder.
	tmp, err := os.OpenFile(filepath.Join(filepath.Dir(path), tempName), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = tmp.Close()
			_ = os.Remove(tmp.Name())
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
	if err = os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes a rename durable. Windows has no such call for folders; there
// the rename itself is written through.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
