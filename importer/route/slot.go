// Package route decides which master owns a key. It knows slots and
// addresses; it never opens a connection.
package route

import "bytes"

// Slots is the number of hash slots of every Redis Cluster.
const Slots = 16384

// crcTable is CRC16 by the XMODEM parameters (polynomial 0x1021, initial value
// 0, not reflected), as the Redis Cluster specification asks for; two tables,
// so that two bytes are taken at a step.
var crcTable [2][256]uint16

func init() {
	for i := range 256 {
		crc := uint16(i) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
		crcTable[0][i] = crc
	}
	for i := range 256 {
		crc := crcTable[0][i]
		crcTable[1][i] = crc<<8 ^ crcTable[0][crc>>8]
	}
}

// Slot returns the hash slot of a key: CRC16 of its hash tag, or of the whole
// key when it has none, modulo 16384
// (https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#hash-tags).
func Slot(key []byte) uint16 { return crc16(Tag(key)) % Slots }

// Tag returns the part of the key that is hashed: what stands between the first
// "{" and the first "}" after it, if that is not empty; else the key.
func Tag(key []byte) []byte {
	open := bytes.IndexByte(key, '{')
	if open < 0 {
		return key
	}
	if n := bytes.IndexByte(key[open+1:], '}'); n > 0 {
		return key[open+1 : open+1+n]
	}
	return key
}

func crc16(p []byte) uint16 {
	var crc uint16
	for len(p) >= 2 {
		crc = crcTable[1][byte(crc>>8)^p[0]] ^ crcTable[0][byte(crc)^p[1]]
		p = p[2:]
	}
	if len(p) == 1 {
		crc = crc<<8 ^ crcTable[0][byte(crc>>8)^p[0]]
	}
	return crc
}
