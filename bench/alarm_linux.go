package main

import (
	"fmt"
	"os"
	"syscall"
	"time"
	"unsafe"
)

// alarm waits for less than a millisecond, too. The runtime's timers don't:
// with nothing else to do they wake up at whole milliseconds
// (https://go.dev/issue/44343). A timerfd wakes the poller when it is time.
type alarm struct{ file *os.File }

// Wait returns after d.
func (a *alarm) Wait(d time.Duration) error {
	if d <= 0 {
		return nil
	}
	if a.file == nil {
		const monotonic = 1
		fd, _, errno := syscall.Syscall(syscall.SYS_TIMERFD_CREATE, monotonic, syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
		if errno != 0 {
			return fmt.Errorf("making a timer: %w", errno)
		}
		a.file = os.NewFile(fd, "timer")
	}
	raw, err := a.file.SyscallConn()
	if err != nil {
		return err
	}
	setting := struct{ interval, value syscall.Timespec }{value: syscall.NsecToTimespec(int64(d))}
	var errno syscall.Errno
	err = raw.Control(func(fd uintptr) {
		_, _, errno = syscall.Syscall6(syscall.SYS_TIMERFD_SETTIME, fd, 0, uintptr(unsafe.Pointer(&setting)), 0, 0, 0)
	})
	if err == nil && errno != 0 {
		err = errno
	}
	if err != nil {
		return fmt.Errorf("setting a timer: %w", err)
	}
	var expirations [8]byte
	_, err = a.file.Read(expirations[:])
	return err
}

// Close gives the timer back.
func (a *alarm) Close() {
	if a.file != nil {
		_ = a.file.Close()
	}
}
