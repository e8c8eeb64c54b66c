package aof

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/slotferry/slotferry/importer/effect"
	"github.com/slotferry/slotferry/importer/record"
)

// Stream yields what follows from: the RDB's records, or those of the RDB that
// the scratch server made; and behind them the commands if they are replayed,
// for which the sink must be a record.CommandSink. Copied is not called again
// when it goes on among the commands. An error of the files comes after all
// that is whole before it was yielded.
func (s *Source) Stream(ctx context.Context, from record.Position, sink record.Sink) error {
	if from.End {
		return nil
	}
	p, at, err := s.prepare(ctx, from)
	if err != nil {
		return err
	}
	if p.way != wayReplay {
		return s.records(ctx, from, &marked{Sink: sink, era: p.String()})
	}
	commands, ok := sink.(record.CommandSink)
	if !ok {
		return fmt.Errorf("%s: %w", s.opts.Path, ErrNames)
	}
	if from.Stream != "" {
		return s.replay(ctx, p, from, commands)
	}
	if at.Serial == 0 && s.base != nil {
		before := &marked{Sink: sink, era: p.String(), hold: true}
		if err := s.records(ctx, from, before); err != nil {
			return err
		}
		at = p.behind(before.end, 0)
	}
	if err := commands.Copied(at); err != nil {
		return err
	}
	return s.replay(ctx, p, at, commands)
}

// prepare says which way to go: that of the interrupted run, or the one chosen.
// Start is where the commands begin that matter, if the RDB does not.
func (s *Source) prepare(ctx context.Context, from record.Position) (p plan, start record.Position, err error) {
	if from.Era != "" {
		if p, err = s.resumed(from); err == nil && p.way == wayScratch {
			err = s.reopen(ctx, p)
		} else if err == nil {
			s.use(p.way, s.base)
		}
		return p, start, err
	}
	if s.chosen == nil { // the survey of a run that was resumed is cut short
		if err := s.decide(ctx); err != nil {
			return p, start, err
		}
	}
	p = s.chosen.plan
	return p, p.behind(s.chosen.start, s.chosen.startDB), nil
}

// records walks an RDB.
func (s *Source) records(ctx context.Context, from record.Position, sink *marked) error {
	defer s.beat(s.inner.Pulse())()
	return s.inner.Stream(ctx, from, sink)
}

// marked gives the marks of an RDB the name of the plan.
type marked struct {
	record.Sink
	era  string
	hold bool  // the end of the RDB is not that of the source
	end  int64 // where it was
}

func (m *marked) Mark(pos record.Position) error {
	if pos.End && m.hold {
		m.end = pos.Offset
		return nil
	}
	pos.Era = m.era
	return m.Sink.Mark(pos)
}

// replay yields the commands behind a position.
func (s *Source) replay(ctx context.Context, p plan, from record.Position, sink record.CommandSink) error {
	defer s.beat(&s.pulse)()
	r := &reader{files: &s.files, pulse: &s.pulse, max: s.opts.MaxCommand, place: from.Serial, end: p.end}
	c := record.Command{DB: from.DB, End: from}
	var e effect.Effect
	for {
		words, raw, fresh, err := r.next(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if fresh {
			c.DB = 0
		}
		if db, ok := selected(words, &e); ok {
			c.DB = db
		}
		c.Words, c.Raw = words, raw
		c.End.DB, c.End.Serial = c.DB, r.place
		if err := sink.Command(&c); err != nil {
			return err
		}
	}
	s.grown(func(text string) { s.log.Warn(text) })
	if err := sink.Idle(); err != nil {
		return err
	}
	end := p.behind(p.end, c.DB)
	end.End = true
	return sink.Mark(end)
}
