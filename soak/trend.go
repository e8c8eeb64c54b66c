package main

import (
	"fmt"
	"slices"
	"time"
)

// A service that runs for long grows no further. The first third warms it up;
// then no process of it is ended any more, and the last third is held against
// the second.
const (
	mostMemory = 1.3 // times as much
	mostMore   = 8.0 // goroutines or files
	leastCalm  = 3   // moments of each third, or nothing can be said
)

// trend is one figure in both thirds.
type trend struct {
	name          string
	second, last  float64 // medians
	most          float64 // that last may be
	counts        [2]int  // samples
	unit          float64 // to divide by when it is shown
	unitName      string
	withoutThirds bool
}

// trends judges the samples of a soak.
func trends(all []sample, begun time.Time, lasts time.Duration) []trend {
	third := func(n int, calm bool, of func(sample) float64) (v []float64) {
		for _, s := range all {
			at := s.at.Sub(begun)
			if at >= lasts/3*time.Duration(n) && at < lasts/3*time.Duration(n+1) && (s.calm || !calm) {
				v = append(v, of(s))
			}
		}
		return v
	}
	out := []trend{}
	for _, f := range []struct {
		name     string
		calm     bool
		of       func(sample) float64
		unit     float64
		unitName string
		most     func(float64) float64
	}{
		{"memory", false, func(s sample) float64 { return s.memory }, 1 << 20, " MiB", func(v float64) float64 { return mostMemory * v }},
		{"goroutines", true, func(s sample) float64 { return s.goroutines }, 1, "", func(v float64) float64 { return v + mostMore }},
		{"open files", true, func(s sample) float64 { return s.files }, 1, "", func(v float64) float64 { return v + mostMore }},
	} {
		second, last := third(1, f.calm, f.of), third(2, f.calm, f.of)
		t := trend{name: f.name, counts: [2]int{len(second), len(last)}, unit: f.unit, unitName: f.unitName}
		if len(second) >= leastCalm && len(last) >= leastCalm {
			t.second, t.last = median(second), median(last)
			t.most = f.most(t.second)
		} else {
			t.withoutThirds = true
		}
		out = append(out, t)
	}
	return out
}

// grown is an error if there is too much of it in the last third.
func (t trend) grown() error {
	switch {
	case t.withoutThirds:
		return fmt.Errorf("%s: seen only %d and %d times in the last two thirds, which tells nothing", t.name, t.counts[0], t.counts[1])
	case t.last > t.most:
		return fmt.Errorf("%s: %s in the last third after %s in the second, more than %s", t.name, t.show(t.last), t.show(t.second), t.show(t.most))
	}
	return nil
}

func (t trend) show(v float64) string { return fmt.Sprintf("%.0f%s", v/t.unit, t.unitName) }

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}
