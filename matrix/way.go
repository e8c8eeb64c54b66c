package main

// way is how a value comes over.
type way string

const (
	bytesWay way = "bytes"    // its DUMP payload is taken as it comes
	stampWay way = "stamp"    // the same bytes under an older RDB version, after that
	rebuilt  way = "rebuilt"  // by commands
	followed way = "followed" // by the commands that changed it, or read again
	refused  way = "refused"  // named, and why
	lost     way = "LOST"     // not there, and not named
	fatal    way = "STOPS THE IMPORT"
	undone   way = "NOT FINISHED"
)

// expected says how a value should come over from what is known of the servers.
// A file's values are put under the lowest RDB version at once. rebuilds tells
// whether the tool makes values by commands at all.
func expected(to *version, via string, v value, rebuilds bool) way {
	switch {
	case to.knows(v.typ, v.rdb) && (via == viaFile || to.takes(v.rdb)):
		return bytesWay
	case to.knows(v.typ, v.rdb):
		return stampWay
	case !rebuilds, v.typ == typeModule:
		return refused
	case v.typ == typeValkeyHash, v.typ == typeHashTTL, v.typ == typeHashListpackEx:
		if !to.fieldTTL {
			return refused
		}
	}
	return rebuilt
}

// observed says how a value that is there came over, from what the masters did.
func observed(s *sight) way {
	switch {
	case s == nil, s.restored == 0 && !s.written:
		return "not seen"
	case s.written:
		return rebuilt
	case s.restored > 1: // the first was refused
		return stampWay
	}
	return bytesWay
}
