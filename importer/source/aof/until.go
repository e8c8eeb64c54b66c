package aof

import (
	"fmt"
	"time"
)

// stamp is told the time of the commands that follow.
func (v *review) stamp(seconds int64) {
	until := v.source.opts.Until
	if v.stamped == 0 {
		v.stamped = seconds
	}
	if !until.IsZero() && time.Unix(seconds, 0).After(until) {
		v.late = true
	}
}

// checkUntil refuses a time at which it is not known what the keys were.
func (v *review) checkUntil(again bool) error {
	s := v.source
	until := s.opts.Until
	if until.IsZero() || again {
		return nil
	}
	at := func(t time.Time) string { return t.In(until.Location()).Format(time.RFC3339) }
	switch {
	case s.base != nil && s.written.IsZero():
		return fmt.Errorf("%w: the RDB in %s does not say when it was written", errUntil, s.files.parts[0].path)
	case s.base != nil && s.written.After(until):
		return fmt.Errorf("%w: the RDB in %s was written at %s, later than that", errUntil, s.files.parts[0].path, at(s.written))
	case v.stamped == 0 && v.unknown:
		return fmt.Errorf("%w: the commands have no time stamps (aof-timestamp-enabled was not set)", errUntil)
	case v.stamped == 0 || !time.Unix(v.stamped, 0).After(until):
		return nil
	case v.unknown:
		return fmt.Errorf("%w: commands come before the first time stamp, %s, which is later than that", errUntil, at(time.Unix(v.stamped, 0)))
	case s.base == nil:
		return fmt.Errorf("%w: the first time stamp is %s, later than that", errUntil, at(time.Unix(v.stamped, 0)))
	}
	return nil
}
