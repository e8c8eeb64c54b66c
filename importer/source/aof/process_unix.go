//go:build !windows

package aof

import (
	"os/exec"
	"runtime"
	"sync"
	"syscall"
)

// starter makes processes on one thread that lives as long as this process:
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

// start starts a process that ends with this one, as far as the system does
// that, and that Ctrl-C on the terminal does not reach.
func start(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	dieWithParent(cmd.SysProcAttr)
	done := make(chan error)
	starter() <- func() { done <- cmd.Start() }
	return <-done
}
