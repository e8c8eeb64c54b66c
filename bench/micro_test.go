package main

import (
	"slices"
	"testing"
)

func TestParseMicro(t *testing.T) {
	out := `goos: linux
goarch: amd64
pkg: github.com/slotferry/slotferry/rdbparse
cpu: Some CPU
BenchmarkWalk-2   	      10	 100000 ns/op	 550.50 MB/s	 100.0 ns/key	 2048 B/op	       5 allocs/op
BenchmarkCRC64/1048576-2         	    5000	    200.5 ns/op
--- BENCH: BenchmarkOdd-2
    bench_test.go:1: text
PASS
ok  	github.com/slotferry/slotferry/rdbparse	3.2s
pkg: github.com/slotferry/slotferry/importer/route
BenchmarkSlot 	 1000	 12 ns/op	 0 B/op	 0 allocs/op
BenchmarkBroken-2 	 1000	 twelve ns/op
`
	want := []microResult{
		{pkg: "rdbparse", name: "Walk", nsPerOp: 100000, mbPerSecond: 550.5, nsPerKey: 100, allocsPerOp: 5, hasAllocs: true},
		{pkg: "rdbparse", name: "CRC64/1048576", nsPerOp: 200.5},
		{pkg: "importer/route", name: "Slot", nsPerOp: 12, hasAllocs: true},
	}
	got := parseMicro([]byte(out))
	if !slices.Equal(got, want) {
		t.Fatalf("parseMicro = %+v\nwant %+v", got, want)
	}
	if perKey, ok := got[0].allocsPerKey(); !ok || perKey != 0.005 { // an operation has 1000 keys
		t.Errorf("allocations a key = %v, %v; want 0.005", perKey, ok)
	}
	if perKey, ok := got[1].allocsPerKey(); ok {
		t.Errorf("allocations a key of what tells none = %v", perKey)
	}
}
