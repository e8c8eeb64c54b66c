package rdbparse

import (
	"bytes"
	"testing"
)

// TestAllocations walks many keys on the memory taken for the first.
func TestAllocations(t *testing.T) {
	data, keys := benchFile(5000)
	for _, o := range []Options{{Seekable: true}, {Seekable: true, SkipCRC: true, SkipKeys: true}, {}} {
		allocations := testing.AllocsPerRun(3, func() {
			w, err := NewWalker(bytes.NewReader(data), o)
			for err == nil {
				_, err = w.Next()
			}
		})
		if allocations > 0.01*float64(keys) {
			t.Errorf("%+v: %.0f allocations for %d keys", o, allocations, keys)
		}
	}
}
