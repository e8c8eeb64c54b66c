package main

import (
	"fmt"
	"os"
	"time"
)

// scheduled is how long the first thread of a process was at work or ready to
// be, but waited for a processor
// (https://docs.kernel.org/scheduler/sched-stats.html); 0 if that is not told.
func scheduled(pid int) time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/schedstat", pid, pid))
	if err != nil {
		return 0
	}
	var ran, waited int64 // nanoseconds
	if _, err := fmt.Sscan(string(text), &ran, &waited); err != nil {
		return 0
	}
	return time.Duration(ran + waited)
}
