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

// guarded does something with a file that may be damaged: the library panics
// over that, or reads from pages that the file does not have.
func guarded(do func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = &damagedError{fmt.Errorf("%v", p)}
		}
	}()
	return do()
}

// openSound opens a file, made if need be, and looks through all of it.
func openSound(path string, o bbolt.Options) (db *bbolt.DB, err error) {
	const patience = 100 * time.Millisecond
	o.Timeout = patience
	var file *os.File // closed by hand where the library panics
	o.OpenFile = func(path string, flag int, mode os.FileMode) (*os.File, error) {
		var err error
		file, err = os.OpenFile(path, flag, mode)
		return file, err
	}
	err = guarded(func() error {
		if db, err = bbolt.Open(path, 0o600, &o); err != nil {
			return err
		}
		return check(path)
	})
	var system syscall.Errno
	var damaged *damagedError
	switch {
	case err == nil:
		return db, nil
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, ErrLocked
	case !errors.As(err, &damaged) && !errors.As(err, &system):
		err = &damagedError{err}
	}
	if file != nil {
		// What is mapped still keeps the lock, of a file that is of no use anyway.
		_ = file.Close()
	}
	return nil, err
}

// check looks through a file that nobody else writes to.
func check(path string) error {
	const most = 4 << 30 // bytes; far more than any history has
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.Size() > most {
		return fmt.Errorf("it has more than %d bytes", int64(most))
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return sound(data)
}
