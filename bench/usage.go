package main

import (
	"os"
	"os/exec"
	"time"
)

// usage is what the run of a program took.
type usage struct {
	wall, user, system time.Duration
	peak               int64 // resident bytes; 0 if not known
}

// timed runs a program, which is interrupted when its context ends.
func timed(cmd *exec.Cmd) (usage, error) {
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = toolWait
	begun := time.Now()
	if err := cmd.Start(); err != nil {
		return usage{}, err
	}
	peak := watchPeak(cmd.Process.Pid)
	err := cmd.Wait()
	return usage{
		wall: time.Since(begun), user: cmd.ProcessState.UserTime(), system: cmd.ProcessState.SystemTime(), peak: peak(),
	}, err
}
