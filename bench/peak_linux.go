package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// watchPeak looks at a process until the function that it returns is called,
// which gives its highest resident set in bytes. The figure that wait4 gives is
// at least the parent's: a child begins in its memory.
func watchPeak(pid int) func() int64 {
	done, result := make(chan struct{}), make(chan int64)
	go func() {
		var peak int64
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			peak = max(peak, highWater(pid))
			select {
			case <-done:
				result <- peak
				return
			case <-tick.C:
			}
		}
	}()
	return func() int64 {
		close(done)
		return <-result
	}
}

// highWater reads VmHWM, which never falls; 0 when the process has ended.
func highWater(pid int) int64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, after, _ := strings.Cut(string(status), "VmHWM:")
	kib, _ := strconv.ParseInt(strings.TrimSpace(strings.SplitN(after, "kB", 2)[0]), 10, 64)
	return kib << 10
}
