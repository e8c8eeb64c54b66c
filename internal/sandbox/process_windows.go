package sandbox

import (
	"errors"
	"fmt"
	"os/exec"
	"syscall"
)

func startProcess(cmd *exec.Cmd, keep bool) error {
	if keep {
		cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
	}
	return cmd.Start()
}

var errUnsupported = fmt.Errorf("signals on this system: %w", errors.ErrUnsupported)

// There are no such signals here; Stop kills at once.

func terminateProcess(int) error { return errUnsupported }
func pauseProcess(int) error     { return errUnsupported }
func resumeProcess(int) error    { return errUnsupported }
