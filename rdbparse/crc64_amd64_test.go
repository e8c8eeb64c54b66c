package rdbparse

import (
	"math"
	"math/big"
	"math/bits"
	"testing"
)

// crcWays are the ways to sum up that this processor has.
var crcWays = func() []string {
	ways := []string{"tables"}
	if crcCanFold {
		ways = append(ways, "folding")
		if crcFolds.wideMin != math.MaxInt {
			ways = append(ways, "wide")
		}
	}
	return ways
}()

// useCRC has CRC64 go one of the ways until the function it gives is called.
func useCRC(way string) (restore func()) {
	canFold, wideMin := crcCanFold, crcFolds.wideMin
	crcCanFold = way != "tables"
	if way != "wide" {
		crcFolds.wideMin = math.MaxInt
	}
	return func() { crcCanFold, crcFolds.wideMin = canFold, wideMin }
}

// TestCRCFolds works the factors out again, with plain polynomials: bit n of a
// number is the factor of x^n.
func TestCRCFolds(t *testing.T) {
	jones := new(big.Int).SetUint64(0xad93d23594c935a9)
	jones.SetBit(jones, 64, 1)
	x := func(n int) *big.Int { return new(big.Int).Lsh(big.NewInt(1), uint(n)) }
	// upper is the 64 powers above the lowest one, reflected.
	upper := func(p *big.Int) uint64 { return bits.Reverse64(new(big.Int).Rsh(p, 1).Uint64()) }

	for _, fold := range []struct {
		bits int
		got  [2]uint64
	}{
		{2048, crcFolds.by2048}, {1536, crcFolds.by1536}, {1024, crcFolds.by1024}, {512, crcFolds.by512},
		{384, crcFolds.by384}, {256, crcFolds.by256}, {128, crcFolds.by128},
	} {
		_, first := dividePolynomials(x(fold.bits+64-1), jones)
		_, second := dividePolynomials(x(fold.bits-1), jones)
		if want := [2]uint64{bits.Reverse64(first.Uint64()), bits.Reverse64(second.Uint64())}; fold.got != want {
			t.Errorf("by %d bits: %016x, want %016x", fold.bits, fold.got, want)
		}
	}
	quotient, _ := dividePolynomials(x(128), jones)
	if want := [2]uint64{upper(quotient), upper(jones)}; crcFolds.barrett != want {
		t.Errorf("for the division: %016x, want %016x", crcFolds.barrett, want)
	}
}

func dividePolynomials(a, b *big.Int) (quotient, rest *big.Int) {
	quotient, rest = new(big.Int), new(big.Int).Set(a)
	for rest.BitLen() >= b.BitLen() {
		up := rest.BitLen() - b.BitLen()
		quotient.SetBit(quotient, up, 1)
		rest.Xor(rest, new(big.Int).Lsh(b, uint(up)))
	}
	return quotient, rest
}
