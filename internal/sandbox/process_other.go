//go:build !linux && !windows

package sandbox

import "syscall"

// dieWithParent does nothing: only Linux ends children with their parent.
func dieWithParent(*syscall.SysProcAttr) {}
