package history

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// damagedError is a file that is no history, or no longer a whole one.
type damagedError struct{ err error }

func (e *damagedError) Error() string { return "it is damaged: " + e.err.Error() }
func (e *damagedError) Unwrap() error { return e.err }

// recovered turns a panic over a file that was damaged meanwhile into an error.
func recovered(err *error) {
	if p := recover(); p != nil {
		*err = &damagedError{fmt.Errorf("%v", p)}
	}
}

// openSound opens a file and looks through all of it. The library panics over
// some damages, and touches pages that a file which was cut off does not have.
func openSound(path string) (db *bbolt.DB, err error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := file.Close(); err != nil {
		return nil, err
	}
	return open(path, &bbolt.Options{Timeout: 100 * time.Millisecond})
}

// open opens a file that is there.
func open(path string, o *bbolt.Options) (db *bbolt.DB, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer recovered(&err)
	db, err = bbolt.Open(path, 0o600, o)
	var system syscall.Errno
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, ErrLocked
	case errors.As(err, &system):
		return nil, err
	case err != nil:
		return nil, &damagedError{err}
	}
	if err := check(db, path); err != nil {
		return nil, errors.Join(&damagedError{err}, db.Close())
	}
	return db, nil
}

func check(db *bbolt.DB, path string) (err error) {
	defer recovered(&err)
	return db.View(func(tx *bbolt.Tx) error {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		if tx.Size() > info.Size() {
			return fmt.Errorf("it has %d bytes of %d", info.Size(), tx.Size())
		}
		var first error
		for err := range tx.Check() { // to its end, as it waits for the reader
			if first == nil {
				first = err
			}
		}
		return first
	})
}
