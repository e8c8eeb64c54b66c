//go:build !linux && !windows

package aof

import "syscall"

// dieWithParent does nothing: only Linux ends children with their parent.
func dieWithParent(*syscall.SysProcAttr) {}
