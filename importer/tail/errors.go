package tail

import (
	"errors"
	"fmt"
)

// ErrResync means that the Applier can't go on exactly: only another full copy
// makes the target what the source is.
var ErrResync = errors.New("a new full copy is needed")

// ErrFlush means that the source emptied or swapped databases, and that nobody
// said that the target is to follow.
var ErrFlush = errors.New("the source emptied or swapped a database")

// ErrUnknown means that a command of the stream is not known, so that nobody can
// say which keys it changes.
var ErrUnknown = errors.New("a command that is not known")

// BehindError means that a master has lost what it acknowledged, such as a
// replica that took over before it had all of it. An Applier that begins anew,
// with the stream from Serial on, makes it good; where the stream can't be read
// from there, only a new full copy does.
type BehindError struct {
	Addr   string
	Serial int64 // of the last command that is in for certain, of the slot that lost most
	Slots  int   // that lost something
}

func (e *BehindError) Error() string {
	return fmt.Sprintf("%s no longer has what was acknowledged for %d slots; the commands from %d on must be applied again", e.Addr, e.Slots, e.Serial)
}

// ErrBehind is what a BehindError is.
var ErrBehind = errors.New("a master lost commands that it had acknowledged")

// Is makes errors.Is(err, ErrBehind) true.
func (e *BehindError) Is(target error) bool { return target == ErrBehind }
