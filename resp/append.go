package resp

import "strconv"

// AppendArray appends the head of a command of n words.
func AppendArray(dst []byte, n int) []byte {
	dst = append(dst, '*')
	dst = strconv.AppendInt(dst, int64(n), 10)
	return append(dst, '\r', '\n')
}

// AppendBulk appends one word.
func AppendBulk(dst, word []byte) []byte {
	dst = AppendBulkHead(dst, int64(len(word)))
	dst = append(dst, word...)
	return append(dst, '\r', '\n')
}

// AppendBulkHead appends the head of a word of n bytes, whose body and line end
// the caller appends.
func AppendBulkHead(dst []byte, n int64) []byte {
	dst = append(dst, '$')
	dst = strconv.AppendInt(dst, n, 10)
	return append(dst, '\r', '\n')
}

// AppendInt appends a number as one word.
func AppendInt(dst []byte, n int64) []byte {
	var digits [20]byte
	return AppendBulk(dst, strconv.AppendInt(digits[:0], n, 10))
}

// AppendCommand appends a whole command.
func AppendCommand(dst []byte, words ...string) []byte {
	dst = AppendArray(dst, len(words))
	for _, w := range words {
		dst = AppendBulkHead(dst, int64(len(w)))
		dst = append(dst, w...)
		dst = append(dst, '\r', '\n')
	}
	return dst
}
