package importer

import (
	"context"
	"time"

	"golang.org/x/time/rate"

	"github.com/slotferry/slotferry/checkpoint"
	"github.com/slotferry/slotferry/importer/choice"
	"github.com/slotferry/slotferry/importer/preflight"
	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/importer/route"
	"github.com/slotferry/slotferry/importer/target"
)

// end is where records go: into the masters, or where they are only compared or
// counted.
type end interface {
	// Send takes a record, for a slot and under a name, and gives it its outcome
	// in the segment, now or later.
	Send(ctx context.Context, r *record.Record, name []byte, slot uint16, seg *checkpoint.Segment) error
	Load(ctx context.Context, p record.Program) error
	// Flush lets nothing wait for more.
	Flush()
}

// sink is where each record's way is decided: it is filtered, expired, or sent
// to its slot under its new name.
type sink struct {
	ctx     context.Context // of the reading; a record.Sink has no room for it
	job     *Job
	end     end
	tracker *checkpoint.Tracker
	name    []byte
	now     int64 // Unix milliseconds, of the last mark
	flushed time.Time
	plainDB int                // Job.plainDB, for this goroutine
	stream  *choice.Collisions // of a source that could not be looked at beforehand
	mirror  Mirror             // nil: all is sent
	keys    *rate.Limiter
	bytes   *rate.Limiter
}

// flushEvery bounds how long records wait for a chunk to fill.
const flushEvery = 20 * time.Millisecond

func newSink(ctx context.Context, j *Job, to end) *sink {
	s := &sink{ctx: ctx, job: j, end: to, tracker: j.tracker.Load(), now: time.Now().UnixMilli(), plainDB: int(j.plainDB.Load())}
	if !j.surveyed() && !j.planning {
		s.stream = j.opts.Choice.Collisions(nil, 0)
	}
	if !j.planning && !j.verifying {
		s.mirror = j.opts.Mirror
	}
	if r := j.opts.RateKeys; r > 0 {
		s.keys = rate.NewLimiter(rate.Limit(r), max(1, int(r/20)))
	}
	if r := j.opts.RateBytes; r > 0 {
		s.bytes = rate.NewLimiter(rate.Limit(r), int(max(1, r/20)))
	}
	return s
}

// Record implements record.Sink.
func (s *sink) Record(r *record.Record) error {
	seg := s.tracker.Current()
	if r.Fate == record.Filtered {
		seg.Add()
		seg.Done(checkpoint.Filtered, 1, 0, 0)
		return nil
	}
	if err := s.oneDatabase(r.DB); err != nil {
		return err
	}
	c := s.job.opts.Choice
	if s.stream != nil {
		if s.stream.Both(r.DB, r.Key) {
			return collision(r.Key, r.DB)
		}
		if s.stream.Full() || s.stream.Late() {
			return collisionsUnknown()
		}
	}
	s.name = s.name[:0]
	name := c.Name(s.name, r.DB, r.Key)
	slot := route.Slot(name)
	seg.Add()
	switch {
	case !c.Slot(slot):
		seg.Done(checkpoint.Filtered, 1, 0, 0)
		return nil
	case r.Fate == record.Refused:
	case r.Fate == record.Gone, r.ExpireAt != 0 && r.ExpireAt <= s.now:
		seg.Done(checkpoint.Expired, 1, 0, 0)
		return nil
	}
	if m := s.mirror; m != nil {
		unchanged, err := m.Seen(r, name)
		if err != nil {
			return err
		}
		if unchanged {
			seg.Done(checkpoint.Skipped, 1, 0, 0)
			s.job.unchanged.Add(1)
			return nil
		}
	}
	if err := s.throttle(r); err != nil {
		return err
	}
	if s.job.slots != nil {
		s.job.slots[slot].Add(1)
	}
	return s.end.Send(s.ctx, r, name, slot, seg)
}

// oneDatabase refuses keys of a second database whose names would stay as they
// are: in the cluster's only one they could meet those of the first.
func (s *sink) oneDatabase(db int) error {
	if db == s.plainDB || s.job.planning {
		return nil
	}
	if err := s.job.claimDatabase(db); err != nil {
		return err
	}
	s.plainDB = int(s.job.plainDB.Load())
	return nil
}

// claimDatabase makes a database the one whose keys keep their names, if it is
// not mapped and there is none yet.
func (j *Job) claimDatabase(db int) error {
	plain := int(j.plainDB.Load())
	switch {
	case db == plain, j.opts.Choice.Mapped(db):
		return nil
	case plain < 0:
		j.plainDB.Store(int64(db))
		return nil
	}
	var f preflight.Findings
	f.Block("databases", databasesRemedy(plain, db), "keys of databases %d and %d: a cluster has one database", plain, db)
	return &MidwayError{&preflight.Error{Blockers: f}}
}

// Program implements record.Sink.
func (s *sink) Program(p record.Program) error {
	defer s.job.owes(target.Owes("the target", "an answer to a function library or script"))()
	return s.end.Load(s.ctx, p)
}

// Mark implements record.Sink.
func (s *sink) Mark(pos record.Position) error {
	s.tracker.Mark(pos)
	s.job.offset.Store(pos.Offset)
	now := time.Now()
	s.now = now.UnixMilli()
	if now.Sub(s.flushed) > flushEvery {
		s.flushed = now
		s.end.Flush()
	}
	return nil
}

// throttle waits as the limits ask.
func (s *sink) throttle(r *record.Record) error {
	if s.keys != nil {
		if err := s.take(s.keys, 1); err != nil {
			return err
		}
	}
	if s.bytes != nil {
		return s.take(s.bytes, int(r.Len())+len(r.Key))
	}
	return nil
}

// take takes n from a limiter, in parts where that is more than it ever holds.
// What was gathered goes out before a wait.
func (s *sink) take(l *rate.Limiter, n int) error {
	for n > 0 {
		part := min(n, l.Burst())
		n -= part
		if l.AllowN(time.Now(), part) {
			continue
		}
		s.end.Flush()
		s.job.limited.Store(true)
		err := l.WaitN(s.ctx, part)
		s.job.limited.Store(false)
		if err != nil {
			if cause := context.Cause(s.ctx); cause != nil {
				return cause
			}
			return err
		}
	}
	return nil
}
