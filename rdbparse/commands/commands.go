// Package commands writes a serialized value as native commands, for servers
// that do not take its bytes, and for values too long for one command. The value
// is read as a stream: memory is bounded by the longest element, not by the
// value.
package commands

import (
	"errors"
	"io"

	"github.com/slotferry/slotferry/rdbparse"
)

// ErrUnsupported means that no native command makes such a value: a module's.
var ErrUnsupported = errors.New("no native command makes it")

// Emit takes one command, name and key included. Its words are valid until it
// returns.
type Emit func(words [][]byte) error

// Options bound what is written.
type Options struct {
	MaxBytes    int // of one command's words, where a single element allows; 1 MiB
	MaxElements int // of one command; 4096
}

// Write emits the commands that make, under a name that holds nothing, the value
// of RDB type typ whose bytes (without type byte and footer) are read from value
// to their end. Fields of hashes keep their expiry; the key's own is the caller's.
// Damage gives an *rdbparse.Error or rdbparse.ErrTruncated.
func Write(v rdbparse.Vendor, typ byte, value io.Reader, key []byte, o Options, emit Emit) error {
	return ErrUnsupported
}
