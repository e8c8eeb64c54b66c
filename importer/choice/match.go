package choice

// Match tells whether a name fits one of Redis' glob patterns, by the rules of
// KEYS and SCAN MATCH (stringmatchlen in Redis' util.c):
//
//	"*"    any bytes, also none; "/" and "." are nothing special
//	?      any one byte
//	[abc]  one of these bytes; [a-z] is a range, whichever end comes first,
//	       [^a] any byte but these, and \ takes the next byte literally
//	\x     the byte x literally
//
// A bracket that is never closed ends with the pattern; "[^" is then any byte.
// Ranges compare bytes as signed numbers, as Redis does on x86. Only "*" itself
// fits the empty name, "**" does not.
//
// Every part of a pattern but "*" takes one byte, so going back to the latest
// "*" alone is enough: the time is at most the product of both lengths.
func Match(pattern, s []byte) bool {
	if len(pattern) == 1 && pattern[0] == '*' {
		return true // KEYS and SCAN ask nothing more then
	}
	if len(s) == 0 {
		return len(pattern) == 0
	}
	p, at := 0, 0         // next bytes of pattern and s
	star, starAt := -1, 0 // after the latest "*", and where its rest began in s
	for at < len(s) {
		if p < len(pattern) && pattern[p] == '*' {
			p = skipStars(pattern, p)
			if p == len(pattern) {
				return true
			}
			star, starAt = p, at
			continue
		}
		if p < len(pattern) {
			if n, ok := matchByte(pattern[p:], s[at]); ok {
				p += n
				at++
				continue
			}
		}
		if star < 0 {
			return false
		}
		starAt++
		p, at = star, starAt
	}
	return skipStars(pattern, p) == len(pattern)
}

func skipStars(pattern []byte, p int) int {
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p
}

// matchByte matches the first part of a pattern, which is not "*", against one
// byte. It returns the part's length.
func matchByte(pattern []byte, b byte) (int, bool) {
	switch pattern[0] {
	case '?':
		return 1, true
	case '[':
		return matchClass(pattern, b)
	case '\\':
		if len(pattern) >= 2 {
			return 2, pattern[1] == b
		}
	}
	return 1, pattern[0] == b
}

// matchClass matches a class in brackets.
func matchClass(pattern []byte, b byte) (int, bool) {
	p := 1
	not := p < len(pattern) && pattern[p] == '^'
	if not {
		p++
	}
	found := false
	for p < len(pattern) && pattern[p] != ']' {
		rest := pattern[p:]
		switch {
		case rest[0] == '\\' && len(rest) >= 2:
			found = found || rest[1] == b
			p += 2
		case len(rest) >= 3 && rest[1] == '-':
			from, to := int8(rest[0]), int8(rest[2])
			found = found || min(from, to) <= int8(b) && int8(b) <= max(from, to)
			p += 3
		default:
			found = found || rest[0] == b
			p++
		}
	}
	if p < len(pattern) {
		p++ // the closing bracket
	}
	return p, found != not
}
