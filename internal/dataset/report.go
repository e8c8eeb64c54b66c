package dataset

import (
	"fmt"
	"sort"
	"strings"
	"time"
)

// shown is how many keys of a kind a report names.
const shown = 20

// Problems are the differences of one kind.
type Problems struct {
	Count int
	First []string // some of them: the key by %q, and what is wrong
}

func (p *Problems) add(format string, args ...any) {
	p.Count++
	if len(p.First) < shown {
		p.First = append(p.First, fmt.Sprintf(format, args...))
	}
}

// Report is what Compare found.
type Report struct {
	Compared int // keys of the source that should be on the target
	Vanished int // of the source between SCAN and DUMP: expired

	Missing   Problems // on the target
	Extra     Problems // on the target
	Different Problems // in type or value
	TTL       Problems // the value aside

	TTLTolerance time.Duration // 0: expiries were compared to the millisecond
}

// OK reports whether the target holds exactly what it should.
func (r Report) OK() bool {
	return r.Missing.Count+r.Extra.Count+r.Different.Count+r.TTL.Count == 0
}

func (r *Report) sort() {
	for _, p := range []*Problems{&r.Missing, &r.Extra, &r.Different, &r.TTL} {
		sort.Strings(p.First)
	}
}

// String says it on one line, and what is wrong on one line a key.
func (r Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d keys compared: %d missing, %d extra, %d different, %d with another expiry", r.Compared,
		r.Missing.Count, r.Extra.Count, r.Different.Count, r.TTL.Count)
	if r.Vanished > 0 {
		fmt.Fprintf(&b, "; %d expired meanwhile", r.Vanished)
	}
	if r.TTLTolerance > 0 {
		fmt.Fprintf(&b, "; expiries to %s", r.TTLTolerance)
	}
	for _, kind := range []struct {
		name string
		p    Problems
	}{{"missing", r.Missing}, {"extra", r.Extra}, {"different", r.Different}, {"expiry", r.TTL}} {
		for _, line := range kind.p.First {
			b.WriteString("\n  " + kind.name + ": " + line)
		}
		if more := kind.p.Count - len(kind.p.First); more > 0 {
			fmt.Fprintf(&b, "\n  %s: and %d more", kind.name, more)
		}
	}
	return b.String()
}
