package importer

import (
	"context"
	"time"

	"github.com/slotferry/slotferry/checkpoint"
	"github.com/slotferry/slotferry/importer/choice"
	"github.com/slotferry/slotferry/importer/preflight"
	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/importer/report"
	"github.com/slotferry/slotferry/importer/route"
)

// PlanOptions is what a plan needs beside the job's own options.
type PlanOptions struct {
	Masters   int    // of a cluster that does not exist yet, when Options.Target is nil
	Separator string // what ends a prefix; "": found out
	MaxValue  int64  // longest value in bytes that an import of this source can hold; 0 for any
	MaxBulk   int64  // longest word that the target takes, in bytes; 512 MiB
	Memory    int64  // for counting, in bytes; 64 MiB
}

// Plan is Run with an end that only counts: the same source, filters and slots,
// and nothing is written anywhere. With blockers it returns a *preflight.Error
// beside the plan, which is as whole as it can be; ErrInterrupted when ctx ends.
func (j *Job) Plan(ctx context.Context, o PlanOptions) (*report.Plan, error) {
	j.begun, j.planning = time.Now(), true
	defer j.watch()()
	if o.MaxBulk == 0 {
		o.MaxBulk = 512 << 20
	}
	if o.Memory == 0 {
		o.Memory = 64 << 20
	}
	var found preflight.Findings
	source := j.lookAtSource(ctx)
	targetWell := j.opts.Target == nil || j.lookAtTarget(ctx, &found)
	sourceWell := source.done(true, &found)
	if context.Cause(ctx) != nil {
		return nil, ErrInterrupted
	}
	p := &report.Plan{Format: report.Format, Created: j.begun}
	j.describe(p, o)
	if sourceWell && !found.Has("target_unreachable", "target_auth", "target_not_cluster") {
		c := j.newCounting(o, p)
		if err := j.count(ctx, c); err != nil {
			if context.Cause(ctx) != nil {
				return nil, ErrInterrupted
			}
			found = found.Without("source_damaged")
			found.Block("source_damaged", "get a sound copy; the import stops there too, and fails. What this plan shows is what comes before", "%v", err)
		}
		c.fill(p)
		j.judge(p, c, targetWell, &found)
	}
	p.Blockers, p.Warnings = found.Blockers(), found.Warnings()
	if !p.Ready() {
		return p, &preflight.Error{Blockers: p.Blockers}
	}
	return p, nil
}

// count streams the whole source into the counting.
func (j *Job) count(ctx context.Context, c *counting) error {
	j.enter("count")
	j.saved.Total = j.source.Total()
	j.tracker.Store(checkpoint.NewTracker(checkpoint.State{}))
	begun := time.Now()
	err := j.opts.Source.Stream(ctx, record.Position{}, newSink(ctx, j, c))
	c.Flush()
	j.tracker.Load().Show()
	c.seconds = time.Since(begun).Seconds()
	return err
}

// describe says what both sides are.
func (j *Job) describe(p *report.Plan, o PlanOptions) {
	s := j.source
	p.Source = report.Source{
		Text: s.Text, Kind: "rdb", Version: s.Version, RDB: s.RDB, Size: s.Bytes, Measure: s.Measure, Memory: s.Memory,
	}
	switch {
	case s.Server != nil:
		p.Source.Kind = "redis"
	case s.Once:
		p.Source.Kind = "stdin"
	}
	if p.Source.Measure == "" {
		p.Source.Measure = report.MeasureSerialized
	}
	p.Target = report.Target{Text: j.target.Text, MaxBulk: o.MaxBulk}
	if j.opts.Target == nil {
		p.Target.Simulated = true
		return
	}
	p.Target.MaxBulk = j.opts.Target.MaxBulk()
	if len(j.target.Masters) > 0 {
		v := j.target.Oldest().Version
		p.Target.Version, p.Target.RDB = v.String(), v.RDB()
	}
}

// counting is the end of a plan. It belongs to the goroutine that streams.
type counting struct {
	counter  *report.Counter
	maxValue int64
	maxBulk  int64
	inParts  int64 // longer ones are rebuilt in parts, where that can be done
	live     bool  // the source hands on long values in parts
	named    bool  // what is measured includes the name
	seconds  float64

	names      *choice.Collisions
	collisions int64

	types   [256]some       // by RDB type
	modules map[string]some // by the module type's name
	refused some
	long    some // over maxBulk, and can't be rebuilt in parts
	large   some // over maxValue, likewise
	parts   some // too long for one command, or to be held: rebuilt in parts

	segment     *checkpoint.Segment // with keys that are counted and not told
	keys, bytes int64
}

// some keys, one of them by name.
type some struct {
	n      int64
	db     int
	key    string
	reason string
}

func (s *some) add(r *record.Record) {
	if s.n++; s.n == 1 {
		s.db, s.key, s.reason = r.DB, string(r.Key[:min(len(r.Key), 128)]), r.Reason
	}
}

func (j *Job) newCounting(o PlanOptions, p *report.Plan) *counting {
	table := route.Even(max(1, o.Masters))
	if j.opts.Target != nil {
		table = j.opts.Target.Table()
	}
	c := &counting{
		counter:  report.NewCounter(report.CounterOptions{Table: table, Separator: o.Separator, Memory: o.Memory, Now: j.begun}),
		maxValue: o.MaxValue, maxBulk: p.Target.MaxBulk, inParts: p.Target.MaxBulk, live: j.source.Server != nil, named: p.Source.Measure == report.MeasureMemory,
		modules: map[string]some{},
	}
	if j.opts.Target != nil {
		c.inParts = min(c.inParts, j.opts.Target.MaxCommand())
	}
	dbs := j.source.Databases()
	if j.opts.Choice.Renames() || len(dbs) > 1 || j.source.Keys == nil {
		c.names = j.opts.Choice.Merge(dbs, o.Memory)
	}
	return c
}

// Send counts a record.
func (c *counting) Send(_ context.Context, r *record.Record, name []byte, slot uint16, seg *checkpoint.Segment) error {
	if seg != c.segment {
		c.Flush()
		c.segment = seg
	}
	c.keys++
	if r.Fate == record.Refused {
		c.refused.add(r)
		return nil
	}
	if c.names.Both(r.DB, r.Key) {
		c.collisions++
	}
	size := r.Len()
	switch module := r.Type == moduleType; {
	case size > c.maxBulk && (module || r.Type == stringType):
		c.long.add(r)
	case c.maxValue > 0 && size > c.maxValue && (module || !c.live):
		c.large.add(r)
	case !module && (size > c.inParts || c.maxValue > 0 && size > c.maxValue):
		c.parts.add(r)
	}
	if !c.named {
		size += int64(len(name))
	}
	c.types[r.Type].add(r)
	if r.Type == moduleType {
		m := c.modules[r.Measure.Type]
		m.add(r)
		c.modules[r.Measure.Type] = m
	}
	c.counter.Key(report.Key{
		DB: r.DB, Key: r.Key, Name: name, Slot: slot, Type: r.Measure.Type, Encoding: r.Measure.Encoding,
		Bytes: size, ExpireAt: r.ExpireAt,
	})
	c.bytes += size
	return nil
}

// The RDB types of values that are whole or not at all, but that strings are
// written in parts as long as the target takes their length.
const (
	stringType = 0
	moduleType = 7
)

// Load has nothing to do: how many function libraries there are is known
// beforehand.
func (c *counting) Load(context.Context, record.Program) error { return nil }

// Flush tells the segment what was counted.
func (c *counting) Flush() {
	if c.keys > 0 {
		c.segment.Done(checkpoint.Written, c.keys, c.bytes, 0)
	}
	c.segment, c.keys, c.bytes = nil, 0, 0
}

// fill writes what was counted into the plan.
func (c *counting) fill(p *report.Plan) {
	c.counter.Fill(p)
	p.Refused = c.refused.n
	p.Collisions, p.CollisionsExact = c.collisions, !c.names.Full() && !c.names.Late()
	p.Source.Seconds = c.seconds
}
