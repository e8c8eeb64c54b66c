package scan

import (
	"math"
	"testing"
	"time"
)

func TestBrakeJudge(t *testing.T) {
	const ms = time.Millisecond
	b := newBrake(10 * ms)
	now := time.Now()
	told := 0
	judge := func(n int, wait time.Duration) float64 {
		for range n {
			now = now.Add(probeEvery)
			if slow := b.judge(now, wait); slow > 0 {
				told++
				if slow != wait {
					t.Errorf("told of %v, not of %v", slow, wait)
				}
			}
		}
		return b.level()
	}
	for i, step := range []struct {
		answers int
		wait    time.Duration
		min     float64
		max     float64
	}{
		{100, ms, 1, 1},
		{1, time.Second, 1, 1}, // one slow answer may be anything
		{60, ms, 1, 1},
		{2, 30 * ms, 0.5, 0.5},
		{2, 30 * ms, 0.25, 0.25},
		{100, 7 * ms, 0.25, 0.25},
		{1000, 30 * ms, slowest, slowest},
		{300, ms, 1, 1},
	} {
		if level := judge(step.answers, step.wait); level < step.min || level > step.max {
			t.Errorf("step %d: the share is %v", i, level)
		}
	}
	if told != 1 {
		t.Errorf("the log says it %d times in a minute", told)
	}
	now = now.Add(2 * slowLogsApart)
	if judge(2, 30*ms); told != 2 {
		t.Errorf("the log said it %d times", told)
	}
}

func TestBrakeAllow(t *testing.T) {
	if n, wait := (*brake)(nil).allow(512, 100); n != 512 || wait != 0 || newBrake(0) != nil {
		t.Errorf("no brake: %d keys, then %v", n, wait)
	}
	b := newBrake(time.Millisecond)
	for _, tc := range []struct {
		share float64
		keys  int
		bytes float64
		want  int
		wait  time.Duration
	}{
		{1, 512, 100, 512, 0},
		{0.5, 512, 100, 256, 0},
		{0.02, 512, 100, 10, 0},
		{1.0 / 128, 512, 100, 8, 2 * time.Millisecond},
		{slowest / 100, 512, 100, 8, longestPause},
		{0.25, 16, 1 << 20, 4, 0},
		{1.0 / 32, 16, 1 << 20, 1, 2 * time.Millisecond},
		{0.5, 1, math.MaxInt64, 1, 2 * time.Millisecond},
		{0.5, 512, 0, 256, 0},
	} {
		b.setShare(tc.share)
		if n, wait := b.allow(tc.keys, tc.bytes); n != tc.want || wait != tc.wait {
			t.Errorf("%+v: %d keys, then %v", tc, n, wait)
		}
	}
}
