package service

import (
	"errors"
	"fmt"
	"hash/fnv"
	"strings"
	"time"

	"github.com/netresearch/go-cron"
)

// Schedule names times by a cron expression in a time zone. A fixed hour means
// the clock on the wall: a time that the clock jumps over comes right after the
// jump, and one that the clock shows twice comes once. Where every hour is meant
// the times go on evenly instead.
type Schedule struct {
	Text string // the expression
	Zone *time.Location
	// Jitter is the most that a time is put off by, so that many jobs don't all
	// begin at once. Each time has its own delay, always the same.
	Jitter time.Duration

	wall   cron.Schedule // reads wall clocks, written as if in UTC
	exact  cron.Schedule // of instants in Zone
	hourly bool          // every hour is meant
}

var (
	cronParser = cron.MustNewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor | cron.DowOrDom)
	cronFields = []string{"minute", "hour", "day of the month", "month", "day of the week"}
	cronNames  = []string{"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"}
)

// ParseSchedule reads a cron expression of five fields, or a name such as
// @daily. Of a day of the month and a day of the week either is enough, as in
// cron(8). The error tells where the expression is wrong.
func ParseSchedule(text string, zone *time.Location) (*Schedule, error) {
	text = strings.Join(strings.Fields(text), " ")
	if text == "" {
		return nil, errors.New("the expression is empty; write five fields: minute, hour, day of the month, month, day of the week")
	}
	if err := checkFields(text); err != nil {
		return nil, err
	}
	parsed, err := cronParser.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%q is no cron expression: %w", text, err)
	}
	fields, ok := parsed.(*cron.SpecSchedule)
	if !ok {
		return nil, fmt.Errorf("%q names no times", text)
	}
	wall, exact := *fields, *fields
	wall.Location, exact.Location = time.UTC, zone
	const allHours = 1<<24 - 1
	s := &Schedule{Text: text, Zone: zone, wall: &wall, exact: &exact, hourly: fields.Hour&allHours == allHours}
	if s.Next(time.Now()).IsZero() {
		return nil, fmt.Errorf("%q names a day that never comes", text)
	}
	return s, nil
}

// checkFields tries each field alone, to tell which one is wrong.
func checkFields(text string) error {
	if strings.HasPrefix(text, "@") {
		for _, name := range cronNames {
			if strings.EqualFold(text, name) {
				return nil
			}
		}
		return fmt.Errorf("%q is not known; write five fields, or one of %s", text, strings.Join(cronNames, ", "))
	}
	fields := strings.Fields(text)
	if len(fields) > 0 && strings.Contains(fields[0], "TZ=") {
		return errors.New("it begins with a time zone; name that by zone: instead")
	}
	if len(fields) != len(cronFields) {
		return fmt.Errorf("%q has %d of the five fields: minute, hour, day of the month, month, day of the week", text, len(fields))
	}
	column := 1
	for i, field := range fields {
		alone := []string{"*", "*", "*", "*", "*"}
		alone[i] = field
		if _, err := cronParser.Parse(strings.Join(alone, " ")); err != nil {
			return fmt.Errorf("field %d (%s) %q, at column %d, is wrong: %w", i+1, cronFields[i], field, column, err)
		}
		column += len(field) + 1
	}
	return nil
}

// Next returns the first time after t, without its delay; zero if there is none.
func (s *Schedule) Next(t time.Time) time.Time {
	t = t.In(s.Zone)
	if s.hourly {
		return s.exact.Next(t)
	}
	wall := asUTC(t)
	// Clocks are turned back by less than this. Times that are met again are
	// not after t, or are the same instant.
	wall = wall.Add(-3 * time.Hour)
	for {
		if wall = s.wall.Next(wall); wall.IsZero() {
			return wall
		}
		if at := s.instant(wall); at.After(t) {
			return at
		}
	}
}

// asUTC is the clock on the wall, as if it were in UTC.
func asUTC(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC)
}

// instant is when the clock on the wall shows a time first, or has jumped over
// it.
func (s *Schedule) instant(wall time.Time) time.Time {
	at := time.Date(wall.Year(), wall.Month(), wall.Day(), wall.Hour(), wall.Minute(), wall.Second(), 0, s.Zone)
	start, end := at.ZoneBounds()
	switch shown := asUTC(at); {
	case shown.After(wall):
		return start // of the time after the jump
	case shown.Before(wall):
		return end
	}
	if start.IsZero() {
		return at
	}
	_, now := at.Zone()
	_, before := start.Add(-time.Second).Zone()
	if first := at.Add(-time.Duration(before-now) * time.Second); before > now && first.Before(start) {
		return first
	}
	return at
}

// Delay is what a job's run for a time is put off by.
func (s *Schedule) Delay(job string, due time.Time) time.Duration {
	if s.Jitter <= 0 {
		return 0
	}
	h := fnv.New64a()
	fmt.Fprintf(h, "%s %d", job, due.Unix())
	const parts = 1 << 16
	return s.Jitter / parts * time.Duration(h.Sum64()%parts)
}

// latest returns the last time in (after, now], zero if there is none.
func (s *Schedule) latest(after, now time.Time) time.Time {
	// A schedule of minutes has half a million times in a year: look back no
	// further than need be.
	for _, back := range []time.Duration{time.Hour, 24 * time.Hour, 32 * 24 * time.Hour} {
		if from := now.Add(-back); from.After(after) {
			if due := s.Next(from); !due.IsZero() && !due.After(now) {
				after = from
				break
			}
		}
	}
	var last time.Time
	for due := s.Next(after); !due.IsZero() && !due.After(now); due = s.Next(due) {
		last = due
	}
	return last
}
