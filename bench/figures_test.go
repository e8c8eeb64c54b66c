package main

import (
	"testing"
	"time"
)

func TestMedian(t *testing.T) {
	for _, tc := range []struct {
		name   string
		values []float64
		want   float64
	}{
		{"none", nil, 0},
		{"one", []float64{3}, 3},
		{"odd, in any order", []float64{9, 1, 4}, 4},
		{"even: the mean of the middle two", []float64{10, 1, 4, 2}, 3},
		{"one far off counts once", []float64{1, 1, 100}, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before := append([]float64(nil), tc.values...)
			if got := median(tc.values); got != tc.want {
				t.Errorf("median(%v) = %v, want %v", tc.values, got, tc.want)
			}
			for i, v := range before {
				if tc.values[i] != v {
					t.Fatalf("median changed its argument to %v", tc.values)
				}
			}
		})
	}
	if got := median([]time.Duration{time.Second, 2 * time.Second}); got != 1500*time.Millisecond {
		t.Errorf("median of 1 s and 2 s = %s", got)
	}
}

func timesOf(ceiling, tool time.Duration) pair {
	return pair{ceiling: sample{usage: usage{wall: ceiling}}, tool: sample{usage: usage{wall: tool}}}
}

func TestRatios(t *testing.T) {
	// The machine was slow during the second pair: the ratio of the medians
	// would be 1.5.
	pairs := []pair{
		timesOf(time.Second, 1200*time.Millisecond),
		timesOf(4*time.Second, 4*time.Second),
		timesOf(2*time.Second, 3*time.Second),
	}
	middle, low, high := ratios(pairs)
	if middle != 1.2 || low != 1 || high != 1.5 {
		t.Errorf("ratios = %v (%v-%v), want 1.2 (1-1.5)", middle, low, high)
	}
	if middle, low, high := ratios(nil); middle != 0 || low != 0 || high != 0 {
		t.Errorf("ratios of nothing = %v (%v-%v)", middle, low, high)
	}
	if got := (pair{}).ratio(); got != 0 {
		t.Errorf("ratio to a ceiling of 0 s = %v", got)
	}
}

func TestBusy(t *testing.T) {
	p := timesOf(time.Second, 4*time.Second)
	p.tool.source = 3 * time.Second
	if got := p.busy(); got != 0.75 {
		t.Errorf("busy = %v, want 0.75", got)
	}
	if got := (pair{}).busy(); got != 0 {
		t.Errorf("busy of nothing = %v", got)
	}
}

func TestPerSecond(t *testing.T) {
	if got := perSecond(1000, 250*time.Millisecond); got != 4000 {
		t.Errorf("1000 in 250 ms = %v a second", got)
	}
	if got := perSecond(1000, 0); got != 0 {
		t.Errorf("1000 in no time = %v a second", got)
	}
}
