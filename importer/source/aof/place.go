package aof

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/slotferry/slotferry/importer/record"
)

// way is which of the three ways a run goes.
type way string

const (
	wayBase    way = "base"    // nothing follows the RDB
	wayReplay  way = "replay"  // the commands follow it
	wayScratch way = "scratch" // the RDB of a scratch server
)

// plan is what a run reads. All positions of it bear it as their Era, so that
// another run goes on the same way to the same end, whatever was appended since.
type plan struct {
	way      way
	contents string // of the files before end, see files.contents
	end      int64  // place behind the last command
}

const planPrefix = "aof"

func (p plan) String() string {
	return fmt.Sprintf("%s:%s:%s:%d", planPrefix, p.way, p.contents, p.end)
}

// planOf reads what String wrote.
func planOf(era string) (p plan, ok bool) {
	words := strings.Split(era, ":")
	if len(words) != 4 || words[0] != planPrefix {
		return p, false
	}
	end, err := strconv.ParseInt(words[3], 10, 64)
	p = plan{way: way(words[1]), contents: words[2], end: end}
	return p, err == nil && end >= 0 && (p.way == wayBase || p.way == wayReplay || p.way == wayScratch)
}

// resumed returns the plan of the run that a position comes from, once it is
// sure that the files still hold what that run read.
func (s *Source) resumed(from record.Position) (plan, error) {
	p, ok := planOf(from.Era)
	if ok && p.end <= s.files.size() {
		now, err := s.files.contents(s.opts.Until, p.end)
		if err != nil {
			return p, err
		}
		if now == p.contents {
			return p, nil
		}
	}
	return p, fmt.Errorf("%s: %w", s.opts.Path, ErrChanged)
}

// behind is the position behind a command.
func (p plan) behind(place int64, db int) record.Position {
	name := p.String()
	return record.Position{DB: db, Stream: name, Era: name, Serial: place}
}
