package rdbparse

import (
	"math"

	"golang.org/x/sys/cpu"
)

// The method is that of Intel's white paper "Fast CRC Computation for Generic
// Polynomials Using PCLMULQDQ Instruction": 128 bits of the message with n bits
// behind them can be replaced by what is left of them modulo the CRC's
// polynomial P, added to the bits n further on. That takes two multiplications
// without carries, by x^(n+64) mod P for the first 64 bits and by x^n mod P for
// the others.
//
// As the CRC is reflected, the lowest bit of a register is its highest power. A
// product of two times 64 bits has only 127 of them, and so comes out one power
// too high; the factors are one lower for that.
//
// Assembly is worth its upkeep here because the tables took more processor time
// than anything else in an import. Nanoseconds on an AMD EPYC (Zen 4), by
// tables, with PCLMULQDQ, and with 512 bits of it at once:
//
//	   64 bytes     24      9      9
//	  512 bytes    196     42     16
//	64 KiB      22 500  4 550  1 150
//
// A walk with both sums takes a third of the time. To get the figures again:
// go test -run '^$' -bench 'CRC64|WalkAndFrame' ./rdbparse

var crcCanFold = cpu.X86.HasPCLMULQDQ && cpu.X86.HasSSSE3

// crcFold is CRC64 of 8 bytes or more.
//
//go:noescape
func crcFold(crc uint64, p []byte) uint64

// crcFolding is what crcFold knows of the polynomial and of the processor.
type crcFolding struct {
	// Factors to fold by so many bits: for the first 64 bits, for the others.
	by2048, by1536, by1024, by512, by384, by256, by128 [2]uint64

	// x^128/P and P, both without their lowest power.
	barrett [2]uint64

	// 16 bytes from shift[16-n] on move those of a register up by n bytes, 16
	// from shift[16+n] on move them down; zeros come in.
	shift [48]byte

	// With so many bytes behind the first round it folds 512 bits at once;
	// that is the fewest that fill the registers.
	wideMin int
}

var crcFolds = crcFolding{
	by2048: foldBy(2048), by1536: foldBy(1536), by1024: foldBy(1024),
	by512: foldBy(512), by384: foldBy(384), by256: foldBy(256), by128: foldBy(128),
	barrett: barrett(),
	shift:   shifts(),
	wideMin: wideMin(cpu.X86.HasAVX2 && cpu.X86.HasAVX512F && cpu.X86.HasAVX512VPCLMULQDQ),
}

func wideMin(able bool) int {
	if able {
		return 192
	}
	return math.MaxInt
}

func foldBy(bits int) [2]uint64 { return [2]uint64{xPower(bits + 63), xPower(bits - 1)} }

// xPower is x^n mod P.
func xPower(n int) uint64 {
	power := uint64(1) << 63
	for range n {
		power = timesX(power)
	}
	return power
}

// timesX multiplies by x modulo P.
func timesX(a uint64) uint64 { return a>>1 ^ jonesReversed&-(a&1) }

// barrett divides x^128 by P bit by bit. Both quotient and P begin with x^64.
func barrett() [2]uint64 {
	quotient, rest := uint64(1), uint64(jonesReversed)
	for power := 1; power < 64; power++ {
		quotient |= rest & 1 << power
		rest = timesX(rest)
	}
	withoutFirst := uint64(jonesReversed)
	return [2]uint64{quotient, withoutFirst<<1 | 1}
}

func shifts() (t [48]byte) {
	for i := range t {
		t[i] = 0x80 // PSHUFB's word for zero
	}
	for i := range byte(16) {
		t[16+i] = i
	}
	return t
}
