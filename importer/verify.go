package importer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/slotferry/slotferry/checkpoint"
	"github.com/slotferry/slotferry/importer/preflight"
	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/importer/route"
	"github.com/slotferry/slotferry/importer/verify"
)

// ErrDifferences means that the target is not as the source.
var ErrDifferences = errors.New("source and target differ")

// ErrNotCompared means that no difference was found, but not all could be
// compared.
var ErrNotCompared = errors.New("not everything could be compared")

// VerifyOptions is what a verification needs beside the job's own options.
type VerifyOptions struct {
	// Compare says how; the job completes it by what it knows of both sides.
	Compare verify.Options
	// Made is told the comparer, before the source is read; may be nil.
	Made func(*verify.Comparer)
	// Names visits the names of all chosen keys of the source again, for keys that
	// only the target has; nil: those are not looked for.
	Names  func(ctx context.Context, visit func(db int, key []byte) error) error
	Memory int64 // for names, in bytes
	// Limit ends the reading after so many keys, in the source's own order; 0 for
	// none.
	Limit int64
}

// errEnough ends the reading when the limit is reached.
var errEnough = errors.New("enough keys were read")

// limited is a sink that takes so many records.
type limited struct {
	*sink
	left int64
}

func (l *limited) Record(r *record.Record) error {
	if l.left--; l.left < 0 {
		return errEnough
	}
	return l.sink.Record(r)
}

// Verification is the account of a verification, all its runs together.
type Verification struct {
	Status        Status  `json:"status"`
	Compared      int64   `json:"compared"`    // keys of the source
	Differences   int64   `json:"differences"` // that remain, of the kinds below
	Missing       int64   `json:"missing"`
	Extra         int64   `json:"extra"`
	Type          int64   `json:"type"`
	Value         int64   `json:"value"`
	TTL           int64   `json:"ttl"`
	Repaired      int64   `json:"repairs"` // differed, and no longer do
	NotComparable int64   `json:"not_comparable"`
	Programs      int64   `json:"programs_missing"` // function libraries and scripts that a master lacks
	Expired       int64   `json:"expired"`          // or deleted meanwhile
	Filtered      int64   `json:"filtered"`
	Read          int64   `json:"read"`
	Bytes         int64   `json:"bytes"`
	ExtraSought   bool    `json:"extra_sought"`
	ToleranceMs   int64   `json:"ttl_tolerance_ms"` // 0: expiries were compared to the millisecond
	Seconds       float64 `json:"seconds"`          // of this run
	Runs          int     `json:"runs"`
	Resumed       bool    `json:"resumed"`

	Incomparable []checkpoint.Failure `json:"-"` // by name and reason
}

// Verify is Run with an end that compares: the same source, filters and slots,
// and nothing is written unless it is to repair. Its error is nil when both
// sides are the same, ErrDifferences, ErrNotCompared, or like Run's.
func (j *Job) Verify(ctx context.Context, o VerifyOptions) (Verification, error) {
	j.begun, j.verifying = time.Now(), true
	j.rest = o.Compare.Pause
	defer j.watch()()
	j.opts.OnExists = "verify" // tells its checkpoint from an import's
	defer j.close(ctx)
	if err := j.preflight(ctx); err != nil {
		return j.verification(nil, o, err), err
	}
	if o.Compare.Repair {
		if err := j.notFollowed(ctx); err != nil {
			return j.verification(nil, o, err), err
		}
	}
	c := j.comparer(o)
	defer c.Close()
	j.forgetUnnamed()
	err := j.begin(ctx)
	if err != nil {
		return j.verification(c, o, err), err
	}
	// Of what an earlier run found, only what lies before the place where this
	// one begins: the rest is found again.
	c.Resume(j.saved.State.Failures)
	if err = j.compare(ctx, c, o.Limit); err == nil {
		err = j.settle(ctx, c, o)
	}
	err = j.finishVerify(ctx, c, err)
	return j.verification(c, o, err), err
}

// notFollowed refuses to repair what an import is following: commands that are
// on their way there would be applied to values that have them already.
func (j *Job) notFollowed(ctx context.Context) error {
	const suffix = "-verify" // of a verification's own name
	marks, err := j.opts.Target.Marks(ctx, strings.TrimSuffix(j.opts.Job, suffix))
	if ctx.Err() != nil {
		return ErrInterrupted
	}
	if err != nil || len(marks) == 0 { // who may not read marks has not made any
		return nil
	}
	var f preflight.Findings
	f.Block("followed", "end it first, with --once or --cutover, which remove what it keeps in the target; or compare without --repair",
		"an import of this job follows the source, or was interrupted while it did: what is repaired now, it would change once more")
	return &preflight.Error{Blockers: f}
}

// comparer makes the end by what is known of both sides.
func (j *Job) comparer(o VerifyOptions) *verify.Comparer {
	v := o.Compare
	v.Target, v.Facts, v.Vendor = j.opts.Target, j.target, j.vendor()
	v.Exact = j.source.Server == nil || j.source.Server.Version.AtLeast(7, 0)
	v.Replayed = j.source.Replayed
	v.Name = j.opts.Choice.Name
	v.RetryFor, v.Log = j.opts.RetryFor, j.log
	c := verify.New(v)
	j.comparing.Store(c)
	if o.Made != nil {
		o.Made(c)
	}
	return c
}

// forgetUnnamed makes the comparison begin anew if its checkpoint can't name all
// differences that an earlier run found.
func (j *Job) forgetUnnamed() {
	state := j.saved.State
	named := int64(0)
	for _, f := range state.Failures {
		if !f.Skipped {
			named++
		}
	}
	if state.Counts.Failed > named {
		j.log.Info("an earlier run found more differences than its checkpoint can name: comparing from the beginning")
		j.saved.State, j.saved.Trail = checkpoint.State{}, checkpoint.State{}
	}
}

// compare streams the source past the target.
func (j *Job) compare(ctx context.Context, c *verify.Comparer, limit int64) error {
	j.enter("compare")
	return j.carry(ctx, c, func(ctx context.Context) error {
		s := newSink(ctx, j, c)
		var to record.Sink = s
		if limit > 0 {
			to = &limited{sink: s, left: limit}
		}
		err := j.opts.Source.Stream(ctx, j.tracker.Load().Safe().Position, to)
		j.tracker.Load().Show()
		if err != nil && !errors.Is(err, errEnough) {
			return err
		}
		return c.Drain(ctx)
	})
}

// settle looks again at what differed, and for keys that only the target has.
func (j *Job) settle(ctx context.Context, c *verify.Comparer, o VerifyOptions) error {
	if o.Names != nil {
		j.enter("extra keys")
		if err := c.Extras(ctx, j.extras(o)); err != nil {
			return interrupted(ctx, err)
		}
	}
	j.enter("settle")
	return interrupted(ctx, c.Settle(ctx))
}

func (j *Job) extras(o VerifyOptions) verify.ExtrasOptions {
	dbs := j.source.Databases()
	if len(dbs) == 0 {
		dbs = []int{0}
	}
	return verify.ExtrasOptions{
		Memory: o.Memory,
		Names: func(ctx context.Context, visit func(name []byte, slot uint16) error) error {
			buf := make([]byte, 0, 1024)
			return o.Names(ctx, func(db int, key []byte) error {
				name := j.opts.Choice.Name(buf, db, key)
				return visit(name, route.Slot(name))
			})
		},
		Origins: func(name []byte, visit func(db int, key []byte)) { j.opts.Choice.Origins(name, dbs, visit) },
	}
}

// interrupted is err, or ErrInterrupted when that is why.
func interrupted(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return ErrInterrupted
	}
	return err
}

// finishVerify saves the last checkpoint and says how it ended.
func (j *Job) finishVerify(ctx context.Context, c *verify.Comparer, err error) error {
	j.enter("finish")
	t := j.tracker.Load()
	if err == nil {
		n := c.Counts()
		switch counts := t.Totals(); {
		case !counts.Balanced():
			err = fmt.Errorf("the account does not add up: %d keys read, %d accounted for; this is a fault of slotferry", counts.Read, counts.Answered())
		case n.Differences() > 0:
			err = ErrDifferences
		case n.NotComparable > 0 || counts.Skipped > 0:
			err = ErrNotCompared
		}
		j.saved.Done = true
	}
	if saveErr := j.save(context.WithoutCancel(ctx), t.Safe()); saveErr != nil {
		err = errors.Join(err, fmt.Errorf("%w: the last checkpoint can't be saved: %w", record.ErrPatience, saveErr))
	}
	return err
}

// verification gathers the account. An interrupted run's is that of its
// checkpoint, as far as that counts.
func (j *Job) verification(c *verify.Comparer, o VerifyOptions, err error) Verification {
	v := Verification{
		Status: status(err), Seconds: time.Since(j.begun).Seconds(), Runs: j.saved.Runs, Resumed: j.resumed, ExtraSought: o.Names != nil,
	}
	if errors.Is(err, ErrDifferences) || errors.Is(err, ErrNotCompared) {
		v.Status = Done
	}
	t := j.tracker.Load()
	if t == nil || c == nil {
		return v
	}
	counts, n := t.Totals(), c.Counts()
	v.Read, v.Expired, v.Filtered, v.Bytes = counts.Read, counts.Expired, counts.Filtered, counts.Bytes
	v.Compared = counts.Written + counts.Failed
	v.Missing, v.Extra, v.Type, v.Value, v.TTL = n.Missing, n.Extra, n.Type, n.Value, n.TTL
	v.Differences, v.Repaired = n.Differences(), n.Repaired
	v.NotComparable, v.Programs = counts.Skipped, n.Programs
	v.ToleranceMs = c.Tolerance().Milliseconds()
	v.Incomparable = c.NotComparable()
	return v
}
