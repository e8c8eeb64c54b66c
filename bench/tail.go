package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"time"
)

// The goal of following a source: so many SETs a second, while the lag grows by
// a share of what is written at most.
const (
	tailGoal   = paceRate
	growthGoal = 0.05
)

const (
	tailKeys    = 100_000 // of the full copy in front
	loadFor     = 10 * time.Second
	loadForTest = 200 * time.Millisecond
	catchUp     = 5 * time.Minute // for what is behind at the end
)

// tailResult is all runs of one load.
type tailResult struct {
	name string
	rate int // wanted of it; 0 for as many as go
	keys int64
	runs []tailRun
}

// tailRun is a load on a source that is followed.
type tailRun struct {
	alone, followed written
	lags            []lag         // while it was written
	behind          time.Duration // from the end of the load until all was in
	tool            usage         // the full copy and the way back to no lag included
	masters         time.Duration // processor time, from the load's begin until all was in
}

// written is what a load wrote.
type written struct {
	sets, bytes int64 // bytes of the replication stream, if there was one
	took        time.Duration
	source      time.Duration // processor time of its thread
}

func (w written) perSecond() float64 { return perSecond(w.sets, w.took) }

// String is `250000 SET/s alone, 170000 SET/s followed; all in 0.82 s after the end`.
func (r tailRun) String() string {
	alone := ""
	if r.alone.sets > 0 {
		alone = fmt.Sprintf("%.0f SET/s alone, ", r.alone.perSecond())
	}
	return fmt.Sprintf("%s%.0f SET/s followed; all in %.2f s after the end", alone, r.followed.perSecond(), r.behind.Seconds())
}

// grows is the share of what was written by which the lag grew at the end.
func (r tailRun) grows() (share float64, known bool) {
	slope, known := growth(r.lags)
	return slope / perSecond(r.followed.bytes, r.followed.took), known && r.followed.bytes > 0
}

// measureTails follows a source under each load.
func (b *bench) measureTails(ctx context.Context) ([]tailResult, error) {
	all, err := loads()
	if err != nil {
		return nil, err
	}
	var results []tailResult
	for _, l := range all {
		result := tailResult{name: l.name, rate: l.rate}
		for i := range b.options.pairs {
			r, keys, err := b.tail(ctx, l, i == b.options.pairs-1)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", l.name, err)
			}
			say("tail, %s: %s", l.name, r)
			result.keys, result.runs = keys, append(result.runs, r)
		}
		results = append(results, result)
	}
	return results, nil
}

// tail writes to a source that nobody follows, then to another one that the
// tool follows from a small full copy on.
func (b *bench) tail(ctx context.Context, l load, verified bool) (r tailRun, keys int64, err error) {
	keys = min(tailKeys, int64(b.options.keys))
	if l.rate == 0 { // a pace is the same alone
		if r.alone, err = b.writeAlone(ctx, l, int(keys)); err != nil {
			return r, keys, err
		}
	}
	src, err := b.fillSynced(ctx, small, int(keys))
	if err != nil {
		return r, keys, err
	}
	defer src.server.Stop()
	if err := b.empty(ctx); err != nil {
		return r, keys, err
	}
	checkpoint, err := os.MkdirTemp(b.tool.dir, "checkpoint-")
	if err != nil {
		return r, keys, err
	}
	defer func() { _ = os.RemoveAll(checkpoint) }()
	e := direct(viaSync, src, b.target)
	args := append([]string{"import", "--via", "sync", "--checkpoint", checkpoint, "--output", "json"}, b.tool.arguments(e)...)
	if err := b.tailRun(ctx, l, src, args, &r); err != nil {
		return r, keys, err
	}
	there, err := b.finish(ctx, src, args)
	if err == nil && verified {
		_, err = b.verify(ctx, e, &source{server: src.server, keys: there}, "")
	}
	return r, keys, err
}

func (b *bench) writeAlone(ctx context.Context, l load, keys int) (written, error) {
	src, err := b.fillSynced(ctx, small, keys)
	if err != nil {
		return written{}, err
	}
	defer src.server.Stop()
	return b.write(ctx, src, l)
}

// tailRun starts the tool, waits for its full copy, and writes to the source
// until all of it is in.
func (b *bench) tailRun(ctx context.Context, l load, src *source, args []string, r *tailRun) (err error) {
	f := b.tool.follow(ctx, args)
	defer func() {
		ended := f.end()
		r.tool = f.used
		if err == nil {
			err = ended
		}
	}()
	if err := f.await(ctx, func() (bool, error) {
		keys, err := b.target.keys(ctx)
		return keys >= src.keys, err
	}); err != nil {
		return fmt.Errorf("waiting for the full copy: %w", err)
	}
	if !b.options.short {
		if err := b.target.settle(ctx); err != nil {
			return err
		}
	}
	r.masters, err = spent(ctx, b.target.processorTime, func() (err error) {
		begun := time.Now()
		if r.followed, err = b.write(ctx, src, l); err != nil {
			return err
		}
		ended := time.Now()
		r.lags = f.events.between(begun, ended)
		waiting, stop := context.WithTimeoutCause(ctx, catchUp, fmt.Errorf("what was written was not in after %s", catchUp))
		defer stop()
		if err := b.awaitLast(waiting, src, f); err != nil {
			return err
		}
		r.behind = time.Since(ended)
		return nil
	})
	return err
}

// awaitLast writes one more key to the source and waits until it is in the
// cluster. What was written before it is then, too, or on its way.
func (b *bench) awaitLast(ctx context.Context, src *source, f *follower) error {
	const key = "bench:last"
	if err := src.server.Client().Set(ctx, key, "1", 0).Err(); err != nil {
		return err
	}
	client := b.target.cluster.Client()
	return f.await(ctx, func() (bool, error) {
		n, err := client.Exists(ctx, key).Result()
		return n == 1, err
	})
}

// write lasts for a while, and asks the source what came of it: redis-benchmark
// tells its figures only if it is let to its end.
func (b *bench) write(ctx context.Context, src *source, l load) (w written, err error) {
	lasts := loadFor
	if b.options.short {
		lasts = loadForTest
	}
	before, err := writes(ctx, src)
	if err != nil {
		return w, err
	}
	w.source, err = spent(ctx, src.processorTime, func() error {
		begun := time.Now()
		writing, stop := context.WithTimeout(ctx, lasts)
		defer stop()
		err := l.write(writing, src)
		w.took = time.Since(begun)
		return errors.Join(err, ctx.Err())
	})
	if err != nil {
		return w, err
	}
	after, err := writes(ctx, src)
	w.sets, w.bytes = after.sets-before.sets, after.bytes-before.bytes
	if err == nil && w.sets <= 0 {
		err = errors.New("nothing was written")
	}
	return w, err
}

var (
	setCalls  = regexp.MustCompile(`cmdstat_set:calls=(\d+)`)
	streamEnd = regexp.MustCompile(`master_repl_offset:(\d+)`)
)

// writes is how many SETs a source has carried out, and how long the stream to
// its replicas is.
func writes(ctx context.Context, src *source) (w written, err error) {
	for _, ask := range []struct {
		section string
		pattern *regexp.Regexp
		to      *int64
	}{{"commandstats", setCalls, &w.sets}, {"replication", streamEnd, &w.bytes}} {
		info, err := src.server.Client().Info(ctx, ask.section).Result()
		if err != nil {
			return w, err
		}
		if m := ask.pattern.FindStringSubmatch(info); m != nil { // no SET yet: no line
			if *ask.to, err = strconv.ParseInt(m[1], 10, 64); err != nil {
				return w, err
			}
		}
	}
	return w, nil
}

// finish goes on from the checkpoint to the end, which removes what the tool
// keeps in the cluster beside the keys, and returns how many keys there are.
func (b *bench) finish(ctx context.Context, src *source, args []string) (there int64, err error) {
	_, stdout, err := b.tool.run(ctx, append(args, "--once"))
	if err != nil {
		return 0, err
	}
	s, err := lastLine[summary](stdout)
	if err != nil {
		return 0, err
	}
	if !s.Resumed {
		return 0, fmt.Errorf("it began anew: %+v", s)
	}
	s.Resumed = false // as it should be here
	if err := s.sound(); err != nil {
		return 0, err
	}
	if there, err = src.server.Client().DBSize(ctx).Result(); err != nil {
		return 0, err
	}
	held, err := b.target.keys(ctx)
	if err == nil && held != there {
		err = fmt.Errorf("the cluster holds %d keys, the source %d", held, there)
	}
	return there, err
}
