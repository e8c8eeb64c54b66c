package main

import (
	"slices"
	"time"
)

// number is what has a median.
type number interface{ ~int64 | ~float64 }

// median returns the middle value, or the mean of the two in the middle; 0 of
// none.
func median[T number](values []T) T {
	n := len(values)
	if n == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	low, high := sorted[(n-1)/2], sorted[n/2]
	return low + (high-low)/2
}

// medianOf returns the median of one figure of all pairs.
func medianOf[T number](pairs []pair, figure func(pair) T) T {
	values := make([]T, len(pairs))
	for i, p := range pairs {
		values[i] = figure(p)
	}
	return median(values)
}

// ratio is how many times longer than the ceiling the tool took. Neighbours in
// time are compared, since the machine's speed drifts.
func (p pair) ratio() float64 {
	if p.ceiling.wall <= 0 {
		return 0
	}
	return float64(p.tool.wall) / float64(p.ceiling.wall)
}

// ratios returns the median, the lowest and the highest ratio of the pairs.
func ratios(pairs []pair) (middle, low, high float64) {
	for i, p := range pairs {
		r := p.ratio()
		if i == 0 {
			low, high = r, r
		}
		low, high = min(low, r), max(high, r)
	}
	return medianOf(pairs, pair.ratio), low, high
}

// busy is the share of the tool's time in which a live source's main thread was
// at work.
func (p pair) busy() float64 {
	if p.tool.wall <= 0 {
		return 0
	}
	return float64(p.tool.source) / float64(p.tool.wall)
}

// perSecond is an amount over a time.
func perSecond(amount int64, t time.Duration) float64 {
	if t <= 0 {
		return 0
	}
	return float64(amount) / t.Seconds()
}
