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

func timesOf(all ...time.Duration) []sample {
	samples := make([]sample, len(all))
	for i, t := range all {
		samples[i].wall = t
	}
	return samples
}

func TestRatios(t *testing.T) {
	const ms = time.Millisecond
	for _, tc := range []struct {
		name   string
		of, to []sample
		want   spread
	}{
		{
			"the machine was slow during the second pair: the ratio of the medians would be 1.5",
			timesOf(1200*ms, 4000*ms, 3000*ms), timesOf(1000*ms, 4000*ms, 2000*ms), spread{1.2, 1, 1.5},
		},
		{"nothing", nil, nil, spread{}},
		{"nothing to compare with", timesOf(ms), timesOf(0), spread{}},
		{"one without a neighbour", timesOf(3*ms, 9*ms), timesOf(2 * ms), spread{1.5, 1.5, 1.5}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := ratios(tc.of, tc.to); got != tc.want {
				t.Errorf("ratios = %v, want %v", got, tc.want)
			}
		})
	}
}

func TestBusy(t *testing.T) {
	s := sample{usage: usage{wall: 4 * time.Second}, source: 3 * time.Second}
	if got := s.busy(); got != 0.75 {
		t.Errorf("busy = %v, want 0.75", got)
	}
	if got := (sample{}).busy(); got != 0 {
		t.Errorf("busy of nothing = %v", got)
	}
}

func TestScaled(t *testing.T) {
	if got := scaled(3*time.Second, 100, 1000); got != 30*time.Second {
		t.Errorf("3 s for 100 of 1000 = %s for all", got)
	}
	if got := scaled(time.Second, 0, 1000); got != 0 {
		t.Errorf("1 s for nothing = %s for all", got)
	}
}

func TestOf(t *testing.T) {
	rounds := []round{{theCeiling: timesOf(1)[0], theImport: timesOf(2)[0]}, {theImport: timesOf(3)[0]}}
	if got := medianOf(of(rounds, theImport), wall); got != 2 { // the mean of 2 and 3, in whole nanoseconds
		t.Errorf("median import = %d ns", got)
	}
	if got := of(rounds, theCeiling); got[0].wall != 1 || got[1].wall != 0 {
		t.Errorf("ceilings = %v", got)
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
