//go:build !linux

package main

import "time"

// alarm waits as exactly as the runtime's timers do.
type alarm struct{}

// Wait returns after d.
func (*alarm) Wait(d time.Duration) error {
	time.Sleep(d)
	return nil
}

// Close does nothing.
func (*alarm) Close() {}
