package rdbparse

import (
	"errors"
	"fmt"
)

// What can be wrong with a file; [Error] wraps one of these.
var (
	ErrEmpty       = errors.New("the file is empty")
	ErrNotRDB      = errors.New("not an RDB file: it begins with neither REDIS nor VALKEY and a version")
	ErrVersion     = errors.New("RDB version not supported")
	ErrTruncated   = errors.New("the data end too early")
	ErrChecksum    = errors.New("checksum mismatch: the data are damaged")
	ErrUnknownType = errors.New("unknown type")
	ErrTooLong     = errors.New("length beyond every limit")
	ErrCorrupt     = errors.New("damaged data")
)

// shownKey is how many bytes of a key an error message shows.
const shownKey = 128

// Error says where in which file something is wrong. Errors of the reader
// itself come in it as well.
type Error struct {
	Name   string // the file, from Options.Name
	Offset int64  // where the entry begins
	Key    []byte // nil when the trouble came before the key was known
	DB     int
	Err    error
}

func (e *Error) Error() string {
	name := e.Name
	if name == "" {
		name = "RDB"
	}
	if e.Key == nil {
		return fmt.Sprintf("%s at %d: %v", name, e.Offset, e.Err)
	}
	key, more := e.Key, ""
	if len(key) > shownKey {
		key, more = key[:shownKey], "…"
	}
	return fmt.Sprintf("%s at %d, key %q%s: %v", name, e.Offset, key, more, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }
