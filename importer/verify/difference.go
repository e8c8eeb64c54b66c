package verify

import (
	"slices"
	"strings"
)

// Kind is how a key differs.
type Kind string

// The kinds of differences. What they say is from the source's point of view.
const (
	Missing Kind = "missing" // not in the target
	Extra   Kind = "extra"   // in the target only
	Type    Kind = "type"    // a list, say, and not a hash
	Value   Kind = "value"
	TTL     Kind = "ttl" // it expires at another time, or does so on one side only
)

// Difference is one key that is not in the target as it is in the source.
type Difference struct {
	DB       int
	Key      []byte // its name in the source; of an extra key that which it would have, Name if there are several
	Name     []byte // in the target
	Kind     Kind
	Detail   string // for an operator; it shows no values
	Repaired bool
}

// reason puts a difference into the reason of a checkpoint.Failure.
func reason(k Kind, detail string) string { return string(k) + ": " + detail }

// parseReason is the reverse of reason. What it doesn't know is a Value.
func parseReason(s string) (Kind, string) {
	k, detail, ok := strings.Cut(s, ": ")
	if ok && slices.Contains([]Kind{Missing, Extra, Type, Value, TTL}, Kind(k)) {
		return Kind(k), detail
	}
	return Value, s
}
