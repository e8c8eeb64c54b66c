package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"
)

// The ways of reading a source.
const (
	viaRDB  = "rdb"
	viaScan = "scan"
)

// bench is what all measurements share.
type bench struct {
	options options
	dir     string
	tool    tool
	target  *target
}

// sample is one filling of the cluster.
type sample struct {
	usage                 // of the sender; of the ceiling's the wall time alone
	masters time.Duration // processor time of all masters
	source  time.Duration // processor time of a live source's main thread
}

// pair is the ceiling and the tool, one after the other.
type pair struct{ ceiling, tool sample }

// jobResult is all pairs of one way of reading.
type jobResult struct {
	via   string
	goal  float64 // highest ratio wanted, 0 for none
	pairs []pair
}

// setResult is everything about one data set.
type setResult struct {
	name, about   string
	keys          int64
	rdb, commands int64 // bytes
	jobs          []jobResult
}

// measure runs all jobs of one data set. The live source goes first and then
// ends, so that the file's runs have the machine to themselves.
func (b *bench) measure(ctx context.Context, s dataSet) (_ setResult, err error) {
	say("%s: filling a source with %d keys", s.name, b.options.keys)
	src, err := fill(ctx, b.dir, s, b.options.keys)
	if err != nil {
		return setResult{}, err
	}
	defer func() {
		src.server.Stop()
		err = errors.Join(err, os.Remove(src.rdb))
	}()
	result := setResult{name: s.name, about: s.about, keys: src.keys, rdb: src.bytes}
	say("%s: the RDB has %d MB; baking its commands", s.name, src.bytes/1e6)
	all, err := bake(ctx, src, b.target.table, b.dir)
	if err != nil {
		return result, err
	}
	defer discard(all)
	for _, f := range all {
		result.commands += f.bytes
	}
	// The masters' first run finds no memory of earlier ones, and is slower.
	if _, err := b.ceiling(ctx, all, src.keys); err != nil {
		return result, err
	}
	for _, via := range []string{viaScan, viaRDB} {
		if !slices.Contains(b.options.sources, via) {
			continue
		}
		if via == viaRDB {
			src.server.Stop()
		}
		job := jobResult{via: via, goal: s.goals[via]}
		for range b.options.pairs {
			p, err := b.pair(ctx, via, src, all)
			if err != nil {
				return result, fmt.Errorf("%s: %w", via, err)
			}
			say("%s, %s: ceiling %.2f s, tool %.2f s, ratio %.2f", s.name, via, p.ceiling.wall.Seconds(), p.tool.wall.Seconds(), p.ratio())
			job.pairs = append(job.pairs, p)
		}
		result.jobs = append(result.jobs, job)
	}
	return result, nil
}

func (b *bench) pair(ctx context.Context, via string, src *source, all []*baked) (p pair, err error) {
	if p.ceiling, err = b.ceiling(ctx, all, src.keys); err != nil {
		return p, err
	}
	p.tool, err = b.carry(ctx, via, src)
	return p, err
}

// ceiling fills the emptied cluster with what was baked.
func (b *bench) ceiling(ctx context.Context, all []*baked, keys int64) (r sample, err error) {
	if err := b.target.empty(ctx); err != nil {
		return r, err
	}
	r.masters, err = spent(ctx, b.target.processorTime, func() error {
		r.wall, err = ceiling(ctx, all)
		return err
	})
	if err != nil {
		return r, err
	}
	held, err := b.target.keys(ctx)
	if err == nil && held != keys {
		err = fmt.Errorf("the ceiling wrote %d keys, the source has %d", held, keys)
	}
	return r, err
}

// carry fills the emptied cluster with the tool and checks that all is there.
func (b *bench) carry(ctx context.Context, via string, src *source) (r sample, err error) {
	if err := b.target.empty(ctx); err != nil {
		return r, err
	}
	var account summary
	r.masters, err = spent(ctx, b.target.processorTime, func() error {
		r.source, err = spent(ctx, src.processorTime, func() error {
			r.usage, account, err = b.tool.run(ctx, via, src, b.target)
			return err
		})
		return err
	})
	if err != nil {
		return r, err
	}
	held, err := b.target.keys(ctx)
	if err != nil {
		return r, err
	}
	return r, account.check(src.keys, held)
}

// spent is how far a clock goes while work is done.
func spent(ctx context.Context, clock func(context.Context) (time.Duration, error), work func() error) (time.Duration, error) {
	before, err := clock(ctx)
	if err != nil {
		return 0, err
	}
	if err := work(); err != nil {
		return 0, err
	}
	after, err := clock(ctx)
	return after - before, err
}
