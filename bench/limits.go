package main

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"
)

// The goals of the limits.
const (
	rateGoal   = 0.05        // share by which a rate may be missed
	resumeGoal = time.Second // from the start of the process to the first key
	queuedGoal = 0.95        // share of the time that a source's thread is at work or waits for a processor
)

// limitsResult is whether the tool keeps within limits, and how soon it goes on
// after it was killed.
type limitsResult struct {
	rates   []rateResult
	resumes []resumeResult
	loads   []loadResult
	keys    int64
}

// measureLimits measures rates, resuming, and what other clients of the source
// notice.
func (b *bench) measureLimits(ctx context.Context) (*limitsResult, error) {
	say("limits: a source with %d keys", b.options.keys)
	src, err := fill(ctx, b.dir, mixed, b.options.keys)
	if err != nil {
		return nil, err
	}
	defer src.server.Stop()
	result := &limitsResult{keys: src.keys}
	if result.loads, err = b.measureLoads(ctx, src); err != nil {
		return nil, fmt.Errorf("the source's other clients: %w", err)
	}
	if result.rates, err = b.measureRates(ctx, src); err != nil {
		return nil, fmt.Errorf("rates: %w", err)
	}
	for _, keys := range b.resumeSizes() {
		some, err := b.measureResumes(ctx, src, keys)
		if err != nil {
			return nil, fmt.Errorf("resuming: %w", err)
		}
		result.resumes = append(result.resumes, some...)
	}
	return result, nil
}

// rateResult is one limit and what came of it.
type rateResult struct {
	flag         string
	wanted, got  float64 // a second
	lowest, most float64 // of the seconds between, if there were any
}

// missed is the share by which the limit was missed.
func (r rateResult) missed() float64 { return r.got/r.wanted - 1 }

// measureRates imports at rates that make it last for a while: first so many
// keys a second, which tells how many bytes there are, then bytes.
func (b *bench) measureRates(ctx context.Context, src *source) ([]rateResult, error) {
	seconds := 10.0
	if b.options.short {
		seconds = 0.5
	}
	e := direct(viaRDB, src, b.target)
	keys := rateResult{flag: "--rate-keys", wanted: math.Ceil(float64(src.keys) / seconds)}
	bytes := rateResult{flag: "--rate-bytes"}
	for _, r := range []*rateResult{&keys, &bytes} {
		if err := b.empty(ctx); err != nil {
			return nil, err
		}
		s, speeds, err := b.tool.carryAt(ctx, e, r.flag, int64(r.wanted))
		if err != nil {
			return nil, err
		}
		held, err := b.target.keys(ctx)
		if err == nil {
			err = s.check(src.keys, held)
		}
		if err != nil {
			return nil, err
		}
		amount, of := s.Read, func(p progress) float64 { return p.keys }
		if r == &bytes {
			amount, of = s.Bytes, func(p progress) float64 { return p.bytes }
		}
		r.got = float64(amount) / s.Seconds
		if each := each(speeds, of); len(each) > 0 {
			r.lowest, r.most = slices.Min(each), slices.Max(each)
		}
		bytes.wanted = math.Ceil(float64(s.Bytes) / seconds)
		say("limits: %s %.0f: %.0f a second (%+.1f %%)", r.flag, r.wanted, r.got, 100*r.missed())
	}
	return []rateResult{keys, bytes}, nil
}
