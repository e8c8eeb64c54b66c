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

// each returns one figure of everything measured.
func each[M, T any](measured []M, figure func(M) T) []T {
	values := make([]T, len(measured))
	for i, m := range measured {
		values[i] = figure(m)
	}
	return values
}

// medianOf returns the median of one figure of all samples.
func medianOf[T number](samples []sample, figure func(sample) T) T {
	return median(each(samples, figure))
}

// ratio is how many times longer than another run one took; 0 if there was none.
func ratio(of, to sample) float64 {
	if to.wall <= 0 {
		return 0
	}
	return float64(of.wall) / float64(to.wall)
}

// spread is a median with the lowest and the highest value.
type spread struct{ middle, low, high float64 }

// ratios compares each run with the one that was made next to it, since the
// machine's speed drifts.
func ratios(of, to []sample) spread {
	var values []float64
	for i := range min(len(of), len(to)) {
		values = append(values, ratio(of[i], to[i]))
	}
	if len(values) == 0 {
		return spread{}
	}
	return spread{median(values), slices.Min(values), slices.Max(values)}
}

// busy is the share of the time in which a live source's main thread was at
// work.
func (s sample) busy() float64 {
	if s.wall <= 0 {
		return 0
	}
	return float64(s.source) / float64(s.wall)
}

// queued is the share in which it was at work or waited for a processor; 0 if
// the system does not tell.
func (s sample) queued() float64 {
	if s.wall <= 0 {
		return 0
	}
	return float64(s.queue) / float64(s.wall)
}

// perSecond is an amount over a time.
func perSecond(amount int64, t time.Duration) float64 {
	if t <= 0 {
		return 0
	}
	return float64(amount) / t.Seconds()
}

// scaled is how long all would take if it took as long for each as a part did.
func scaled(t time.Duration, part, all int64) time.Duration {
	if part <= 0 {
		return 0
	}
	return time.Duration(float64(t) * float64(all) / float64(part))
}
