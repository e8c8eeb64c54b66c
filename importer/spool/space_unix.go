//go:build !windows

package spool

import (
	"errors"
	"syscall"
)

// noSpace tells whether room on the disk would help.
func noSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG)
}
