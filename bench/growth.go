package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// point is one size of data and cluster.
type point struct{ keys, masters int }

// points show growth with keys, then with masters.
var points = []point{{100_000, 3}, {1_000_000, 3}, {5_000_000, 3}, {1_000_000, 6}}

// shortPoints only show that it works.
var shortPoints = []point{{1000, 4}}

// measureGrowth measures the mixed data at all points.
func (b *bench) measureGrowth(ctx context.Context) ([]setResult, error) {
	all := points
	if b.options.short {
		all = shortPoints
	}
	var results []setResult
	for _, p := range all {
		r, err := b.measureAt(ctx, p)
		if err != nil {
			return nil, fmt.Errorf("%d keys, %d masters: %w", p.keys, p.masters, err)
		}
		results = append(results, r)
	}
	return results, nil
}

// measureAt has a cluster of its own.
func (b *bench) measureAt(ctx context.Context, p point) (setResult, error) {
	dir, err := os.MkdirTemp(b.dir, "growth-")
	if err != nil {
		return setResult{}, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	say("growth: starting a cluster of %d masters", p.masters)
	to, err := startTarget(ctx, dir, p.masters)
	if err != nil {
		return setResult{}, err
	}
	defer to.cluster.Stop()
	here := &bench{options: b.options, dir: b.dir, tool: b.tool, target: to}
	r, err := here.measure(ctx, mixed, p.keys)
	if err != nil {
		return r, err
	}
	// The largest file is large, and only a size that comes again is worth keeping.
	if p.keys > b.options.keys {
		err = os.Remove(filepath.Join(b.dir, fmt.Sprintf("%s-%d.rdb", mixed.name, p.keys)))
	}
	return r, err
}
