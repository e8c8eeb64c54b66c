package aof

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
)

const (
	maxManifest = 4 << 20 // bytes
	maxLine     = 1024    // bytes of one of its lines, as in Redis
)

// kind is a file's part in a manifest.
type kind byte

const (
	kindBase        kind = 'b' // what all keys were when it was written
	kindHistory     kind = 'h' // not needed any more, and soon to be removed
	kindIncremental kind = 'i' // the commands that followed
)

// entry is one line of a manifest.
type entry struct {
	name string
	seq  int64
	kind kind
}

var errManifest = errors.New("not the manifest of an append-only file")

// parseManifest returns the base and what follows it, in their order.
func parseManifest(text []byte) ([]entry, error) {
	var base, out []entry
	last, names := int64(0), map[string]bool{}
	for i, line := range bytes.Split(bytes.TrimSuffix(text, []byte("\n")), []byte("\n")) {
		e, err := parseLine(line)
		switch {
		case err != nil:
		case e.kind != 0 && names[e.name]:
			err = fmt.Errorf("%q stands there twice", e.name)
		case e.kind == kindBase && len(base) > 0:
			err = errors.New("a second base")
		case e.kind == kindBase:
			base = append(base, e)
		case e.kind == kindIncremental && e.seq <= last:
			err = fmt.Errorf("sequence number %d after %d", e.seq, last)
		case e.kind == kindIncremental:
			last = e.seq
			out = append(out, e)
		}
		if err != nil {
			return nil, fmt.Errorf("%w: line %d: %w", errManifest, i+1, err)
		}
		names[e.name] = true
	}
	if len(base) == 0 {
		return nil, fmt.Errorf("%w: it names no base, so that what the commands in it began with is not known", errManifest)
	}
	return append(base, out...), nil
}

// parseLine reads "file NAME seq N type LETTER" and whatever pairs newer servers
// add. A comment is an entry without a kind.
func parseLine(line []byte) (e entry, err error) {
	if len(line) > maxLine {
		return e, fmt.Errorf("%d bytes long", len(line))
	}
	if bytes.HasPrefix(line, []byte("#")) {
		return e, nil
	}
	words, ok := splitArgs(bytes.Trim(line, " \t\r\n"))
	if !ok || len(words) < 6 || len(words)%2 != 0 {
		return e, errors.New("not pairs of words: file NAME seq N type b, h or i")
	}
	for i := 0; i < len(words); i += 2 {
		value := words[i+1]
		switch strings.ToLower(words[i]) {
		case "file":
			if value == "" || value == "." || value == ".." || strings.ContainsAny(value, "/\\\x00") || value != filepath.Base(value) {
				return e, fmt.Errorf("%q is no name of a file in the same folder", value)
			}
			e.name = value
		case "seq":
			if e.seq, err = strconv.ParseInt(value, 10, 64); err != nil || e.seq < 1 {
				return e, fmt.Errorf("%q is no sequence number", value)
			}
		case "type":
			if value != "b" && value != "h" && value != "i" {
				return e, fmt.Errorf("file type %q is not known", value)
			}
			e.kind = kind(value[0])
		}
	}
	if e.name == "" || e.seq == 0 || e.kind == 0 {
		return e, errors.New("file, seq or type is missing")
	}
	return e, nil
}

// splitArgs splits a line into words as the servers' configuration files are
// (sdssplitargs): "…" with \n \r \t \b \a \xHH and \C for any other C, '…' with
// \' only. It reports whether all quotes are closed, with space behind them.
func splitArgs(line []byte) (words []string, ok bool) {
	for {
		line = bytes.TrimLeft(line, " \t\r\n\v\f")
		if len(line) == 0 {
			return words, true
		}
		var word []byte
		if word, line, ok = splitWord(line); !ok {
			return nil, false
		}
		words = append(words, string(word))
	}
}

// splitWord takes one word off a line; quotes may begin inside of it.
func splitWord(line []byte) (word, rest []byte, ok bool) {
	quote := byte(0)
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case quote != 0 && c == quote:
			rest = line[i+1:]
			return word, rest, len(rest) == 0 || space(rest[0])
		case quote == '"' && c == '\\' && i+3 < len(line) && line[i+1] == 'x' && hexDigit(line[i+2]) >= 0 && hexDigit(line[i+3]) >= 0:
			word = append(word, byte(hexDigit(line[i+2])<<4|hexDigit(line[i+3])))
			i += 3
		case quote == '"' && c == '\\' && i+1 < len(line):
			i++
			word = append(word, unescape(line[i]))
		case quote == '\'' && c == '\\' && i+1 < len(line) && line[i+1] == '\'':
			i++
			word = append(word, '\'')
		case quote != 0:
			word = append(word, c)
		case c == '"' || c == '\'':
			quote = c
		case space(c) || c == 0:
			return word, line[i+1:], true
		default:
			word = append(word, c)
		}
	}
	return word, nil, quote == 0
}

func space(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

func unescape(c byte) byte {
	if i := strings.IndexByte("nrtba", c); i >= 0 {
		return "\n\r\t\b\a"[i]
	}
	return c
}

func hexDigit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}

// quote writes a word that splitArgs reads.
func quote(word string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(word) {
		switch c := word[i]; {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < ' ' || c == 0x7f:
			fmt.Fprintf(&b, `\x%02x`, c)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}
