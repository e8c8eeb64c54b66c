package main

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// distance is one way in which the tool reaches both sides.
type distance struct {
	via            string
	source, target bool // reached through a proxy
	delay          time.Duration
	base           int     // the distance that this one is compared with
	goal           float64 // highest ratio wanted to base, 0 for none
}

// Through proxies of delay 0 everything costs what the proxies themselves cost.
var distances = []distance{
	0: {via: viaScan},
	1: {via: viaScan, source: true, base: 0},
	2: {via: viaScan, source: true, delay: time.Millisecond, base: 1, goal: 1.3},
	3: {via: viaScan, source: true, delay: 20 * time.Millisecond, base: 1, goal: 1.3},
	4: {via: viaScan, source: true, target: true, base: 0},
	5: {via: viaScan, source: true, target: true, delay: time.Millisecond, base: 4, goal: 1.3},
	6: {via: viaScan, source: true, target: true, delay: 20 * time.Millisecond, base: 4, goal: 1.3},
	7: {via: viaRDB, base: 7},
	8: {via: viaRDB, target: true, base: 7},
	9: {via: viaRDB, target: true, delay: time.Millisecond, base: 8, goal: 1.1},

	10: {via: viaRDB, target: true, delay: 20 * time.Millisecond, base: 8, goal: 1.1},
}

// shortDelay is the longest with --short.
const shortDelay = time.Millisecond

// delayResult is what was measured over each distance: samples[i] belongs to
// distances[i], and none if it was not asked for.
type delayResult struct {
	keys      int64
	samples   [][]sample
	roundTrip [][]time.Duration // of a PING to the side that is delayed
}

// measureDelays imports over all distances in turn.
func (b *bench) measureDelays(ctx context.Context) (*delayResult, error) {
	say("delays: a source with %d keys", b.options.keys)
	src, err := fill(ctx, b.dir, mixed, b.options.keys)
	if err != nil {
		return nil, err
	}
	defer src.server.Stop()
	result := &delayResult{
		keys: src.keys, samples: make([][]sample, len(distances)), roundTrip: make([][]time.Duration, len(distances)),
	}
	for _, via := range []string{viaScan, viaRDB} {
		if !slices.Contains(b.options.sources, via) {
			continue
		}
		if via == viaRDB {
			src.server.Stop()
		}
		for range b.options.pairs {
			for i, d := range distances {
				if d.via != via || b.options.short && d.delay > shortDelay {
					continue
				}
				s, trip, err := b.over(ctx, d, src)
				if err != nil {
					return nil, fmt.Errorf("%s: %w", d, err)
				}
				say("delays: %s: %.2f s, a PING takes %s", d, s.wall.Seconds(), trip.Round(time.Microsecond))
				result.samples[i] = append(result.samples[i], s)
				result.roundTrip[i] = append(result.roundTrip[i], trip)
			}
		}
	}
	return result, nil
}

// over imports over one distance.
func (b *bench) over(ctx context.Context, d distance, src *source) (sample, time.Duration, error) {
	e := direct(d.via, src, b.target)
	asked := e.seeds[0]
	if d.target {
		before, err := startProxies(e.seeds, d.delay)
		if err != nil {
			return sample{}, 0, err
		}
		defer before.Close()
		for i, addr := range before.addrs() {
			e.addressMap = append(e.addressMap, e.seeds[i]+"="+addr)
		}
		e.seeds = before.addrs()
		asked = e.seeds[0]
	}
	if d.source {
		before, err := startProxies([]string{e.source}, d.delay)
		if err != nil {
			return sample{}, 0, err
		}
		defer before.Close()
		e.source = before.addrs()[0]
		asked = e.source
	}
	trip, err := roundTrip(ctx, asked)
	if err != nil {
		return sample{}, 0, err
	}
	s, err := b.carry(ctx, e, src)
	return s, trip, err
}

func (d distance) String() string {
	if !d.source && !d.target {
		return d.via + ", no proxy"
	}
	return fmt.Sprintf("%s, %s + %s", d.via, d.place(), d.delay)
}

// place is the side that is far away.
func (d distance) place() string {
	switch {
	case d.source && d.target:
		return "source and target"
	case d.source:
		return "source"
	case d.target:
		return "target"
	}
	return "–"
}
