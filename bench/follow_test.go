package main

import (
	"math"
	"testing"
	"time"
)

// Lines may arrive in pieces; only progress behind the copy tells a lag.
func TestEventLog(t *testing.T) {
	begun := time.Now().Add(-time.Millisecond)
	var l eventLog
	for _, piece := range []string{
		`{"event":"progress","phase":"copy"}` + "\n" + `{"event":"progress","lag":{"by`,
		`tes":7,"seconds":0.5}}` + "\n" + `not JSON` + "\n" + `{"event":"summary","lag":{"bytes":9}}` + "\n",
		`{"event":"progress","lag":{"bytes":8,"seconds":1}}` + "\n",
	} {
		if n, err := l.Write([]byte(piece)); n != len(piece) || err != nil {
			t.Fatalf("Write = %d, %v", n, err)
		}
	}
	got := l.between(begun, time.Now().Add(time.Millisecond))
	if len(got) != 2 || got[0].bytes != 7 || got[0].seconds != 0.5 || got[1].bytes != 8 {
		t.Errorf("lags = %+v", got)
	}
	if got := l.between(begun.Add(-time.Second), begun); len(got) != 0 {
		t.Errorf("lags before the first one = %+v", got)
	}
}

func TestGrowth(t *testing.T) {
	at := func(lags ...int64) (all []lag) {
		begun := time.Now()
		for i, bytes := range lags {
			all = append(all, lag{at: begun.Add(time.Duration(i) * time.Second), bytes: bytes})
		}
		return all
	}
	for _, tc := range []struct {
		name  string
		lags  []lag
		want  float64
		known bool
	}{
		{"none", nil, 0, false},
		{"too few", at(0, 100, 200, 300, 400), 0, false},
		{"steady growth", at(0, 10, 20, 30, 40, 50, 60), 10, true},
		{"growth at the beginning only", at(0, 500, 1000, 1000, 1000, 1000), 0, true},
		{"shrinking", at(0, 0, 90, 80, 60, 30), -25, true},
		{"up and down", at(0, 0, 0, 50, 0, 30, 40, 0, 90), 0, true},
	} {
		if got, known := growth(tc.lags); math.Abs(got-tc.want) > 1e-6 || known != tc.known {
			t.Errorf("%s: growth = %v, %v; want %v, %v", tc.name, got, known, tc.want, tc.known)
		}
	}
}

func TestGrows(t *testing.T) {
	r := tailRun{followed: written{bytes: 10_000, took: 10 * time.Second}}
	begun := time.Now()
	for i := range 10 {
		r.lags = append(r.lags, lag{at: begun.Add(time.Duration(i) * time.Second), bytes: int64(100 * i)})
	}
	if share, known := r.grows(); !known || math.Abs(share-0.1) > 1e-6 {
		t.Errorf("grows = %v, %v; want a tenth", share, known)
	}
	r.followed.bytes = 0
	if _, known := r.grows(); known {
		t.Error("the lag behind nothing is known to grow")
	}
}
