package aof

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/slotferry/slotferry/importer/preflight"
	"github.com/slotferry/slotferry/rdbparse"
)

// choosing is what Survey decided.
type choosing struct {
	plan
	start   int64 // place of the first command that matters, if the RDB does not; else 0
	startDB int
}

// Survey looks at every command once and chooses the way. If that is by the
// scratch server, it runs here, because only it can tell whether it knows all
// that is in the files.
func (s *Source) Survey(ctx context.Context, facts *preflight.Source) (found preflight.Findings) {
	sum, err := s.review(ctx, s.files.size())
	if cause := context.Cause(ctx); err != nil && cause != nil {
		found.Block("interrupted", "", "%v", cause)
		return found
	}
	switch {
	case errors.Is(err, errUntil):
		found.Block("until_unknown", "choose another time, or leave --until out", "%v", err)
	case err != nil:
		found.Block("source_damaged", "get a sound copy, or cut it there with redis-check-aof --fix on a copy if what follows may be lost", "%v", err)
	}
	if err != nil {
		return found
	}
	s.warn(sum, &found)
	c, ok := s.choose(sum, &found)
	if !ok {
		return found
	}
	if c.contents, err = s.files.contents(s.opts.Until, c.end); err != nil {
		found.Block("source_unreadable", "see that the files can be read", "%v", err)
		return found
	}
	switch {
	case c.way == wayScratch:
		facts.Replayed = true
		found = append(found, s.scratch(ctx, c.plan, sum, facts)...)
	case c.start > 0 || s.base == nil:
		s.use(c.way, nil) // no RDB, or it holds nothing that matters
	default:
		s.use(c.way, s.base)
		found = append(found, s.base.Survey(ctx, facts)...)
	}
	if len(found.Blockers()) == 0 {
		s.chosen = &c
	}
	return found
}

// decide is Survey for a run whose preflight went without it.
func (s *Source) decide(ctx context.Context) error {
	var facts preflight.Source
	found := s.Survey(ctx, &facts)
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	for _, w := range found.Warnings() {
		s.log.Warn(w.Message)
	}
	if blockers := found.Blockers(); len(blockers) > 0 {
		return &preflight.Error{Blockers: blockers}
	}
	return nil
}

// warn says what is odd but does not stand in the way.
func (s *Source) warn(sum *reviewed, found *preflight.Findings) {
	if sum.truncated != nil {
		found.Warn("aof_truncated", "that is usual after a crash of the server, which would leave it out too",
			"%v; what is read ends before it", sum.truncated)
	}
	if s.base != nil && !sum.checksum {
		found.Warn("aof_no_checksum", "", "the RDB in %s has no checksum: damage that leaves it readable would go unseen", s.files.parts[0].path)
	}
	s.grown(func(text string) {
		found.Warn("aof_growing", "read from the running server instead, or again when it has stopped", "%s", text)
	})
}

// grown tells when a server still appends.
func (s *Source) grown(tell func(string)) {
	last := s.files.last()
	if info, err := last.file.Stat(); err == nil && info.Size() > last.size {
		tell(fmt.Sprintf("%s has grown since it was opened: what was appended to it after byte %d is left out", last.path, last.size))
	}
}

// choose picks the way.
func (s *Source) choose(sum *reviewed, found *preflight.Findings) (c choosing, ok bool) {
	c = choosing{plan: plan{end: sum.end}, start: sum.start, startDB: sum.startDB}
	if s.base != nil && sum.commands == 0 && sum.start == 0 && !sum.unread {
		c.way = wayBase
		return c, true
	}
	why := s.against(sum)
	switch {
	case s.opts.Via != Scratch && len(why) == 0:
		c.way = wayReplay
		return c, true
	case s.opts.Via == Replay:
		found.Block("aof_replay_impossible", "--aof-via auto lets a server of this machine load the files", "the commands can't be applied to a cluster as they are: %s", strings.Join(why, "; "))
		return c, false
	}
	if _, err := s.program(); err != nil {
		reason := ""
		if len(why) > 0 {
			reason = "the commands can't be applied to a cluster as they are: " + strings.Join(why, "; ") + "; "
		}
		found.Block("aof_needs_server", "install redis-server or valkey-server, or name one with --scratch-server, to load the files", "%s%v", reason, err)
		return c, false
	}
	if len(why) > 0 {
		s.log.Info("a scratch server loads the files", zap.Strings("because", why))
	}
	c.way, c.start = wayScratch, 0
	return c, true
}

// against says what stands against a replay.
func (s *Source) against(sum *reviewed) (why []string) {
	for _, o := range sum.obstacles {
		why = append(why, o.text)
	}
	if sum.more > 0 {
		why = append(why, fmt.Sprintf("and %d commands more", sum.more))
	}
	c := s.opts.Choice
	var plain []int
	for db := range sum.dbs {
		if !c.Mapped(db) {
			plain = append(plain, db)
		}
	}
	slices.Sort(plain)
	switch {
	case s.opts.Values:
		why = append(why, "the final values are asked for")
	case s.opts.Filled:
		why = append(why, "the target may hold keys already, which the commands would build upon")
	}
	if len(plain) > 1 {
		why = append(why, fmt.Sprintf("they write to several databases (%s), and which of those hold keys at the end is not known", firstOf(plain)))
	}
	if types := c.TypesChosen(); len(types) > 0 {
		why = append(why, "types are chosen, which commands don't tell")
	}
	if c.Renames() && (s.base == nil || sum.start > 0) || !sum.names.Empty() {
		why = append(why, "two keys might get the same name in the target")
	}
	return why
}

// firstOf writes the first ten databases.
func firstOf(dbs []int) string {
	var b strings.Builder
	for i, db := range dbs {
		if i == 10 {
			b.WriteString(", …")
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%d", db)
	}
	return b.String()
}

// preferred tells whose server loads the files best.
func (s *Source) preferred() rdbparse.Vendor {
	if s.base == nil {
		return rdbparse.Redis
	}
	return s.base.Vendor()
}
