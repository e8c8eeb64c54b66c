package rdbparse

import (
	"encoding/binary"
	"fmt"
)

// footerLen is what DUMP puts behind the value: the RDB version in 2 bytes and
// the CRC64 of all before it in 8, little endian (createDumpPayload in
// src/cluster.c).
const footerLen = 2 + 8

// AppendFooter appends a DUMP payload's last 10 bytes. crc is the CRC64 of the
// type byte and the value; the version is taken into it here.
func AppendFooter(dst []byte, version uint16, crc uint64) []byte {
	at := len(dst)
	dst = binary.LittleEndian.AppendUint16(dst, version)
	return binary.LittleEndian.AppendUint64(dst, CRC64(crc, dst[at:]))
}

// AppendPayload appends the DUMP payload of a value, for RESTORE.
func AppendPayload(dst []byte, typ byte, value []byte, version uint16) []byte {
	at := len(dst)
	dst = append(dst, typ)
	dst = append(dst, value...)
	dst = binary.LittleEndian.AppendUint16(dst, version)
	return binary.LittleEndian.AppendUint64(dst, CRC64(0, dst[at:]))
}

// SplitPayload takes a DUMP payload apart, after a look at its checksum. A
// checksum of 0 means that the server made none, so none is checked. value is
// a slice of p.
func SplitPayload(p []byte) (typ byte, value []byte, version uint16, err error) {
	body, version, err := splitFooter(p)
	if err != nil {
		return 0, nil, 0, err
	}
	if len(body) == 0 {
		return 0, nil, 0, fmt.Errorf("%w: a payload without a type", ErrTruncated)
	}
	return body[0], body[1:], version, nil
}

func splitFooter(p []byte) (body []byte, version uint16, err error) {
	if len(p) < footerLen {
		return nil, 0, fmt.Errorf("%w: a payload of %d bytes", ErrTruncated, len(p))
	}
	summed, sum := p[:len(p)-8], binary.LittleEndian.Uint64(p[len(p)-8:])
	if got := CRC64(0, summed); sum != 0 && got != sum {
		return nil, 0, fmt.Errorf("%w: payload says %016x, its bytes give %016x", ErrChecksum, sum, got)
	}
	body = p[:len(p)-footerLen]
	return body, binary.LittleEndian.Uint16(p[len(body):]), nil
}

// FunctionLibraries gives the code of each library in what FUNCTION DUMP
// answers: opcode 245 and a string for each, then a footer.
func FunctionLibraries(dump []byte) ([]string, error) {
	body, _, err := splitFooter(dump)
	if err != nil {
		return nil, fmt.Errorf("reading function libraries: %w", err)
	}
	var libraries []string
	w := windowOver(body)
	for w.pos < w.end {
		if op := w.buf[w.pos]; op != opFunction {
			return nil, fmt.Errorf("reading function libraries: %w: opcode %d at %d", ErrCorrupt, op, w.pos)
		}
		w.pos++
		code, err := w.readString(nil)
		if err != nil {
			return nil, fmt.Errorf("reading function libraries: %w", err)
		}
		libraries = append(libraries, string(code))
	}
	return libraries, nil
}
