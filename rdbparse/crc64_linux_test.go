package rdbparse

import (
	"os"
	"syscall"
	"testing"
)

// TestCRC64Bounds sums up bytes between two pages that can't be read: what
// touches a byte before or behind them ends the test with a fault.
func TestCRC64Bounds(t *testing.T) {
	page := os.Getpagesize()
	pages, err := syscall.Mmap(-1, 0, 3*page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := syscall.Munmap(pages); err != nil {
			t.Error(err)
		}
	}()
	for _, forbidden := range [][]byte{pages[:page], pages[2*page:]} {
		if err := syscall.Mprotect(forbidden, syscall.PROT_NONE); err != nil {
			t.Fatal(err)
		}
	}
	readable := pages[page : 2*page]
	for _, way := range crcWays {
		done := useCRC(way)
		for n := range 1500 {
			CRC64(0, readable[:n])
			CRC64(0, readable[page-n:])
		}
		done()
	}
}
