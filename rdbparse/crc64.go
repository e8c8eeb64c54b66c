package rdbparse

import "encoding/binary"

// jonesReversed is the polynomial 0xad93d23594c935a9 of the "Jones" CRC64,
// bits reversed. Redis uses it reflected, with no inversion before or after
// (src/crc64.c: "123456789" gives 0xe9c6d914c4b8d9ca).
const jonesReversed = 0x95ac9329ac4bc9b5

// crcLane is the length of each of the two stretches that CRC64 takes at a
// time: long enough to make joining them cheap, short enough for most values.
const crcLane = 512

// crcSlices[k][b] is the CRC of byte b followed by k zero bytes, so that 16
// bytes take 16 look-ups which don't wait for each other.
var crcSlices = makeSlices()

// crcShift[i][d] is what hexadecimal digit i of a CRC, being d, becomes after
// crcLane zero bytes. A CRC is linear, so the digits' results are just xored.
var crcShift = makeShift(crcLane)

func makeSlices() *[16][256]uint64 {
	t := new([16][256]uint64)
	for i := range 256 {
		crc := uint64(i)
		for range 8 {
			if crc&1 == 1 {
				crc = crc>>1 ^ jonesReversed
			} else {
				crc >>= 1
			}
		}
		t[0][i] = crc
	}
	for i := range 256 {
		for k := 1; k < 16; k++ {
			prev := t[k-1][i]
			t[k][i] = t[0][byte(prev)] ^ prev>>8
		}
	}
	return t
}

func makeShift(zeros int) *[16][16]uint64 {
	t := new([16][16]uint64)
	for i := range 16 {
		for d := range uint64(16) {
			crc := d << (4 * i)
			for range zeros {
				crc = crcSlices[0][byte(crc)] ^ crc>>8
			}
			t[i][d] = crc
		}
	}
	return t
}

// CRC64 continues crc, which is 0 at the beginning, over p: the checksum at
// the end of RDB files and of DUMP payloads.
func CRC64(crc uint64, p []byte) uint64 {
	if len(p) >= 8 && crcCanFold { // the tables are as quick for less
		return crcFold(crc, p)
	}
	// One stretch alone leaves the processor waiting for each result before it
	// can begin the next step; two at once take a third less time.
	for len(p) >= 2*crcLane {
		crc = crcTwoLanes(crc, (*[2 * crcLane]byte)(p))
		p = p[2*crcLane:]
	}
	t := crcSlices
	for len(p) >= 16 {
		a := crc ^ binary.LittleEndian.Uint64(p)
		b := binary.LittleEndian.Uint64(p[8:])
		crc = t[15][byte(a)] ^
			t[14][byte(a>>8)] ^
			t[13][byte(a>>16)] ^
			t[12][byte(a>>24)] ^
			t[11][byte(a>>32)] ^
			t[10][byte(a>>40)] ^
			t[9][byte(a>>48)] ^
			t[8][a>>56] ^
			slice8(t, b)
		p = p[16:]
	}
	if len(p) >= 8 {
		crc = slice8(t, crc^binary.LittleEndian.Uint64(p))
		p = p[8:]
	}
	for _, c := range p {
		crc = t[0][byte(crc)^c] ^ crc>>8
	}
	return crc
}

func slice8(t *[16][256]uint64, a uint64) uint64 {
	return t[7][byte(a)] ^
		t[6][byte(a>>8)] ^
		t[5][byte(a>>16)] ^
		t[4][byte(a>>24)] ^
		t[3][byte(a>>32)] ^
		t[2][byte(a>>40)] ^
		t[1][byte(a>>48)] ^
		t[0][a>>56]
}

func crcTwoLanes(crc uint64, p *[2 * crcLane]byte) uint64 {
	t := crcSlices
	var second uint64
	for i := 0; i < crcLane; i += 8 {
		a := crc ^ binary.LittleEndian.Uint64(p[i:])
		b := second ^ binary.LittleEndian.Uint64(p[i+crcLane:])
		crc, second = slice8(t, a), slice8(t, b)
	}
	var shifted uint64
	for i := range 16 {
		shifted ^= crcShift[i][crc&15]
		crc >>= 4
	}
	return shifted ^ second
}
