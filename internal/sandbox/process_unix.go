//go:build !windows

package sandbox

import (
	"os/exec"
	"runtime"
	"sync"
	"syscall"
)

// starter runs every start on one thread that lives as long as this process:
// Linux ends a child with Pdeathsig when the thread that made it ends.
var starter = sync.OnceValue(func() chan<- func() {
	starts := make(chan func())
	go func() {
		runtime.LockOSThread()
		for start := range starts {
			start()
		}
	}()
	return starts
})

func startProcess(cmd *exec.Cmd, keep bool) error {
	// Its own group or session: Ctrl-C on the terminal is for us to handle.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: !keep, Setsid: keep}
	if !keep {
		dieWithParent(cmd.SysProcAttr)
	}
	done := make(chan error)
	starter() <- func() { done <- cmd.Start() }
	return <-done
}

func terminateProcess(pid int) error { return syscall.Kill(pid, syscall.SIGTERM) }
func pauseProcess(pid int) error     { return syscall.Kill(pid, syscall.SIGSTOP) }
func resumeProcess(pid int) error    { return syscall.Kill(pid, syscall.SIGCONT) }
