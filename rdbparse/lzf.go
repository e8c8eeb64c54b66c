package rdbparse

import "fmt"

// lzfMaxRatio bounds how much longer than its source LZF output can be: the
// longest back reference makes 264 bytes of 3.
const lzfMaxRatio = 264 / 3

// DecompressLZF unpacks src, which must give exactly n bytes (LZF as in
// liblzf, format description in lzf_d.c). The result is in dst's memory, from
// its beginning, if that is large enough. Otherwise memory is taken only for
// an n that src can give at all.
func DecompressLZF(dst, src []byte, n int) ([]byte, error) {
	if n < 0 || n/lzfMaxRatio > len(src) {
		return nil, fmt.Errorf("%w: %d bytes of LZF cannot give %d", ErrCorrupt, len(src), n)
	}
	if cap(dst) < n {
		dst = make([]byte, n)
	}
	dst = dst[:n]
	in, out := 0, 0
	for in < len(src) {
		ctrl := int(src[in])
		in++
		if ctrl < 32 { // that many bytes and one more, as they are
			ctrl++
			if ctrl > len(src)-in || ctrl > n-out {
				return nil, errLZF(out, n)
			}
			copy(dst[out:], src[in:in+ctrl])
			in += ctrl
			out += ctrl
			continue
		}
		length := ctrl >> 5
		if length == 7 {
			if in == len(src) {
				return nil, errLZF(out, n)
			}
			length += int(src[in])
			in++
		}
		length += 2
		if in == len(src) {
			return nil, errLZF(out, n)
		}
		back := ctrl&31<<8 + int(src[in]) + 1
		in++
		if back > out || length > n-out {
			return nil, errLZF(out, n)
		}
		if from := out - back; back >= length {
			copy(dst[out:out+length], dst[from:])
		} else { // it repeats what it is just writing
			for i := range length {
				dst[out+i] = dst[from+i]
			}
		}
		out += length
	}
	if out != n {
		return nil, errLZF(out, n)
	}
	return dst, nil
}

func errLZF(out, n int) error {
	return fmt.Errorf("%w: LZF data stop fitting after %d of %d bytes", ErrCorrupt, out, n)
}
