package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// The ways of reading a source.
const (
	viaRDB  = "rdb"
	viaScan = "scan"
	viaSync = "sync"
)

// bench is what all measurements share.
type bench struct {
	options options
	dir     string
	tool    tool
	target  *target
}

// sample is one run of a program, or one of the ceiling.
type sample struct {
	usage                 // of the sender; of the ceiling's the wall time alone
	masters time.Duration // processor time of all masters
	source  time.Duration // processor time of a live source's main thread
	queue   time.Duration // the same, and what it waited for a processor
}

// What runs.
const (
	theCeiling = iota
	theImport
	thePlan
	theVerify
	redisCLI
	runs
)

// round is one run of each, one after the other; those that were not made are
// zero.
type round [runs]sample

// runNames are what runs in the words of the report.
var runNames = [runs]string{"ceiling", "import", "plan", "verify", "redis-cli"}

// String is `ceiling 2.30 s, import 2.42 s (1.05)`.
func (r round) String() string {
	var parts []string
	for run, name := range runNames {
		switch {
		case r[run].wall == 0:
		case run == theCeiling:
			parts = append(parts, fmt.Sprintf("%s %.2f s", name, r[run].wall.Seconds()))
		default:
			parts = append(parts, fmt.Sprintf("%s %.2f s (%.2f)", name, r[run].wall.Seconds(), ratio(r[run], r[theCeiling])))
		}
	}
	return strings.Join(parts, ", ")
}

// of returns one kind of run of all rounds.
func of(rounds []round, run int) []sample {
	all := make([]sample, len(rounds))
	for i, r := range rounds {
		all[i] = r[run]
	}
	return all
}

// jobResult is all rounds of one way of reading.
type jobResult struct {
	via    string
	goals  goals
	rounds []round
}

// setResult is everything about one data set in one cluster.
type setResult struct {
	name, about   string
	keys          int64
	masters       int
	rdb, commands int64 // bytes
	filled        time.Duration
	verifyMemory  string // of verify, if not its default
	jobs          []jobResult
}

// measure runs all jobs of one data set. The live source goes first and then
// ends, so that the file's runs have the machine to themselves.
func (b *bench) measure(ctx context.Context, s dataSet, keys int) (_ setResult, err error) {
	say("%s: filling a source with %d keys", s.name, s.size(keys))
	src, err := fill(ctx, b.dir, s, keys)
	if err != nil {
		return setResult{}, err
	}
	defer src.server.Stop()
	result := setResult{
		name: s.name, about: s.about, keys: src.keys, masters: len(b.target.cluster.Nodes), rdb: src.bytes, filled: src.filled,
		verifyMemory: s.verifyMemory,
	}
	say("%s: filled in %.1f s; the RDB has %d MB; baking its commands", s.name, src.filled.Seconds(), src.bytes/1e6)
	all, err := b.bake(ctx, src)
	if err != nil {
		return result, err
	}
	defer discard(all)
	for _, f := range all {
		result.commands += f.bytes
	}
	for _, via := range []string{viaScan, viaRDB} {
		if !slices.Contains(b.options.sources, via) {
			continue
		}
		if via == viaRDB {
			src.server.Stop()
		}
		job := jobResult{via: via, goals: s.goals[via]}
		for range b.options.pairs {
			r, err := b.round(ctx, s, via, src, all)
			if err != nil {
				return result, fmt.Errorf("%s: %w", via, err)
			}
			say("%s, %s: %s", s.name, via, r)
			job.rounds = append(job.rounds, r)
		}
		result.jobs = append(result.jobs, job)
	}
	return result, nil
}

// bake bakes a source's commands, and sends them once: the masters' first run
// finds no memory of earlier ones, and is slower.
func (b *bench) bake(ctx context.Context, src *source) ([]*baked, error) {
	all, err := bake(ctx, src, b.target.table, b.dir)
	if err != nil {
		return nil, err
	}
	for _, f := range all {
		if !b.options.short && err == nil {
			err = f.file.Sync() // later, the disk would be busy during the runs
		}
	}
	if err == nil {
		_, err = b.ceiling(ctx, all, src.keys)
	}
	if err != nil {
		discard(all)
		return nil, err
	}
	return all, nil
}

// round runs ceiling and import in turn, then what proves and foresees it.
func (b *bench) round(ctx context.Context, s dataSet, via string, src *source, all []*baked) (r round, err error) {
	if r[theCeiling], err = b.ceiling(ctx, all, src.keys); err != nil {
		return r, err
	}
	e := direct(via, src, b.target)
	if r[theImport], err = b.carry(ctx, e, src); err != nil {
		return r, err
	}
	if r[theVerify], err = b.verify(ctx, e, src, s.verifyMemory); err != nil {
		return r, err
	}
	if via == viaRDB {
		r[thePlan], err = b.plan(ctx, src)
	}
	return r, err
}

// ceiling fills the emptied cluster with what was baked.
func (b *bench) ceiling(ctx context.Context, all []*baked, keys int64) (r sample, err error) {
	if err := b.empty(ctx); err != nil {
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

// empty empties the cluster. Where nobody reads the figures, its masters need
// not be quiet.
func (b *bench) empty(ctx context.Context) error {
	if err := b.target.empty(ctx); err != nil || b.options.short {
		return err
	}
	return b.target.settle(ctx)
}

// carry fills the emptied cluster with the tool and checks that all is there.
func (b *bench) carry(ctx context.Context, e ends, src *source) (sample, error) {
	if err := b.empty(ctx); err != nil {
		return sample{}, err
	}
	var account summary
	r, err := b.sample(ctx, src, func() (used usage, err error) {
		used, account, err = b.tool.carry(ctx, e)
		return used, err
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

// verify compares the cluster, which was just filled, with the source.
func (b *bench) verify(ctx context.Context, e ends, src *source, memory string, more ...string) (sample, error) {
	var account verification
	r, err := b.sample(ctx, src, func() (used usage, err error) {
		used, account, err = b.tool.verify(ctx, e, memory, more...)
		return used, err
	})
	if err != nil {
		return r, err
	}
	return r, account.check(src.keys, e.live)
}

// plan counts the source's file.
func (b *bench) plan(ctx context.Context, src *source) (r sample, err error) {
	masters := len(b.target.cluster.Nodes)
	used, p, err := b.tool.plan(ctx, src.rdb, masters)
	if err != nil {
		return r, err
	}
	r.usage = used
	return r, p.check(src.keys, masters)
}

// sample runs a program and asks both sides what it cost them.
func (b *bench) sample(ctx context.Context, src *source, run func() (usage, error)) (r sample, err error) {
	r.masters, err = spent(ctx, b.target.processorTime, func() error {
		r.source, err = spent(ctx, src.processorTime, func() error {
			r.queue, err = spent(ctx, src.scheduled, func() error {
				r.usage, err = run()
				return err
			})
			return err
		})
		return err
	})
	return r, err
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
