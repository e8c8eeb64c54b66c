package report

import (
	"bytes"
	"unicode/utf8"
)

const (
	sampleKeys  = 4096
	sampleBytes = 1 << 20 // of their names
	nameBytes   = 1024    // of a longer name no more is looked at or shown
	prefixBytes = 256     // longer prefixes are cut

	minSeparated = 20 // per cent of names that hold a separator
	minOnePrefix = 80 // per cent of names with one prefix, above which more parts are looked at
	minGroup     = 20 // names of a prefix on average
	maxDepth     = 3
)

// separators are those that are guessed, the likelier first.
var separators = [...]byte{':', '/', '.', '|', '-', '_', '#'}

// sample is the first names of a data set. Servers give keys in the order of
// their hashes, so that the first ones are a fair sample of a database.
type sample struct {
	limit int // bytes of names
	names []byte
	keys  []sampled
}

type sampled struct {
	end   int // of its name in names
	bytes int64
}

// add takes a key, and tells whether that was enough.
func (s *sample) add(name []byte, bytes int64) bool {
	s.names = append(s.names, name[:min(len(name), nameBytes)]...)
	s.keys = append(s.keys, sampled{len(s.names), bytes})
	return len(s.keys) >= sampleKeys || len(s.names) >= s.limit
}

// each calls f with each name.
func (s *sample) each(f func(name []byte, bytes int64)) {
	start := 0
	for _, k := range s.keys {
		f(s.names[start:k.end], k.bytes)
		start = k.end
	}
}

// separator returns the one that most names hold, "" if few hold any.
func (s *sample) separator() []byte {
	var holding [len(separators)]int
	s.each(func(name []byte, _ int64) {
		for i, b := range separators {
			if bytes.IndexByte(name, b) >= 0 {
				holding[i]++
			}
		}
	})
	best := 0
	for i, n := range holding {
		if n > holding[best] {
			best = i
		}
	}
	if n := holding[best]; n == 0 || n*100 < len(s.keys)*minSeparated {
		return nil
	}
	return []byte{separators[best]}
}

// depth returns how many parts a prefix should have. One, unless nearly all
// names begin alike and one more part gives groups worth listing.
func (s *sample) depth(separator []byte) int {
	depth := 1
	_, largest, length := s.groups(separator, depth)
	for depth < maxDepth && largest*100 >= len(s.keys)*minOnePrefix {
		groups, next, longer := s.groups(separator, depth+1)
		if longer == length || groups*minGroup > len(s.keys) {
			break
		}
		depth, largest, length = depth+1, next, longer
	}
	return depth
}

// groups returns how many prefixes there are of a depth, how many names the
// most frequent one has, and how long all names' prefixes are together.
func (s *sample) groups(separator []byte, depth int) (groups, largest, length int) {
	count := map[string]int{}
	s.each(func(name []byte, _ int64) {
		p := prefix(name, separator, depth)
		count[string(p)]++
		length += len(p)
	})
	for _, n := range count {
		largest = max(largest, n)
	}
	return len(count), largest, length
}

// prefix returns a name up to and with its depth-th separator, or the last one
// if it has fewer.
func prefix(name, separator []byte, depth int) []byte {
	name = name[:min(len(name), nameBytes)]
	end := 0
	for range depth {
		i := bytes.Index(name[end:], separator)
		if i < 0 {
			break
		}
		end += i + len(separator)
	}
	return cut(name[:end], prefixBytes)
}

// cut shortens a name, not in the midst of a character.
func cut(name []byte, most int) []byte {
	if len(name) <= most {
		return name
	}
	end := most
	for end > most-utf8.UTFMax+1 && !utf8.RuneStart(name[end]) {
		end--
	}
	return name[:end]
}

// shorten returns a name to be shown, with … for what is left out. It may be
// the name's own memory.
func shorten(name []byte) []byte {
	if len(name) <= nameBytes {
		return name
	}
	return append(bytes.Clone(cut(name, nameBytes)), "…"...)
}
