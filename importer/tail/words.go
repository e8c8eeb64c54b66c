package tail

import (
	"bytes"
	"strconv"

	"github.com/slotferry/slotferry/importer/effect"
)

// split returns the words of a command that was written here, nil for anything
// else.
func split(raw []byte) (words [][]byte) {
	n, raw, ok := head(raw, '*')
	for range n {
		var length int
		if length, raw, ok = head(raw, '$'); !ok || length+2 > len(raw) {
			return nil
		}
		words = append(words, raw[:length:length])
		raw = raw[length+2:]
	}
	if !ok {
		return nil
	}
	return words
}

// head reads a line of a kind that holds a length.
func head(raw []byte, kind byte) (n int, rest []byte, ok bool) {
	end := bytes.Index(raw, []byte("\r\n"))
	if end < 1 || raw[0] != kind {
		return 0, nil, false
	}
	n, err := strconv.Atoi(string(raw[1:end]))
	if err != nil || n < 0 || n > len(raw) {
		return 0, nil, false
	}
	return n, raw[end+2:], true
}

// effectOf returns which words of a command are keys.
func (a *Applier) effectOf(words [][]byte) []int {
	var e effect.Effect
	if a.effects.Of(words, 0, &e) != nil {
		return nil
	}
	return e.Keys
}
