package main

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// syncResult is what full copies by PSYNC took, of one data set.
type syncResult struct {
	name   string
	keys   int64
	goal   float64 // the highest ratio of the copy to the ceiling; 0 for none
	rounds []syncRound
}

// syncRound is a ceiling and a copy.
type syncRound struct {
	ceiling, tool sample
	copied        time.Duration // from the first key of the RDB until all are answered
	child         time.Duration // processor time of the source's child, which writes the RDB
}

func (r syncRound) sent() sample { return r.ceiling }
func (r syncRound) used() sample { return r.tool }

// copy is a run that took as long as the copy: what goes before its first key
// is the source's fork, and a look at both sides.
func (r syncRound) copy() sample { return sample{usage: usage{wall: r.copied}} }

// measureSyncs measures the data sets that have many keys.
func (b *bench) measureSyncs(ctx context.Context) ([]syncResult, error) {
	var all []syncResult
	for _, s := range []dataSet{mixed, small} {
		if !slices.Contains(b.options.sets, s.name) {
			continue
		}
		r, err := b.measureSync(ctx, s)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.name, err)
		}
		all = append(all, r)
	}
	return all, nil
}

// measureSync lets ceiling and full copy take turns, and verifies the last copy.
func (b *bench) measureSync(ctx context.Context, s dataSet) (syncResult, error) {
	src, err := b.fillSynced(ctx, s, b.options.keys)
	if err != nil {
		return syncResult{}, err
	}
	defer src.server.Stop()
	result := syncResult{name: s.name, keys: src.keys, goal: s.goals[viaSync].imported}
	all, err := b.bake(ctx, src)
	if err != nil {
		return result, err
	}
	defer discard(all)
	for range b.options.pairs {
		r, err := b.syncRound(ctx, src, all)
		if err != nil {
			return result, err
		}
		say("%s, sync: ceiling %.2f s, copy %.2f s (%.2f), import %.2f s", s.name, r.ceiling.wall.Seconds(),
			r.copied.Seconds(), ratio(r.copy(), r.ceiling), r.tool.wall.Seconds())
		result.rounds = append(result.rounds, r)
	}
	_, err = b.verify(ctx, direct(viaSync, src, b.target), src, s.verifyMemory)
	return result, err
}

// fillSynced fills a source that starts a full copy at once: by default it
// waits 5 s for more replicas, which is not the tool's to shorten.
func (b *bench) fillSynced(ctx context.Context, s dataSet, keys int) (*source, error) {
	say("%s: a source with %d keys", s.name, s.size(keys))
	src, err := fill(ctx, b.dir, s, keys)
	if err != nil {
		return nil, err
	}
	for setting, value := range map[string]string{"repl-diskless-sync": "yes", "repl-diskless-sync-delay": "0"} {
		if err := src.server.Client().ConfigSet(ctx, setting, value).Err(); err != nil {
			src.server.Stop()
			return nil, fmt.Errorf("setting %s of the source: %w", setting, err)
		}
	}
	return src, nil
}

func (b *bench) syncRound(ctx context.Context, src *source, all []*baked) (r syncRound, err error) {
	if r.ceiling, err = b.ceiling(ctx, all, src.keys); err != nil {
		return r, err
	}
	if err := b.empty(ctx); err != nil {
		return r, err
	}
	var account summary
	r.child, err = spent(ctx, src.children, func() error {
		r.tool, err = b.sample(ctx, src, func() (used usage, err error) {
			used, account, err = b.tool.carry(ctx, direct(viaSync, src, b.target), "--via", "sync", "--once")
			return used, err
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
	r.copied = time.Duration(account.CopySeconds * float64(time.Second))
	if r.copied <= 0 {
		return r, fmt.Errorf("the tool does not say how long the copy took: %+v", account)
	}
	return r, account.check(src.keys, held)
}
