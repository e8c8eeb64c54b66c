package scan

import (
	"testing"
	"time"
)

func TestFlightValues(t *testing.T) {
	const mib = 1 << 20
	type values struct {
		n     int
		bytes int64
	}
	for name, tc := range map[string]struct {
		seen     []values
		min, max int // keys that may be on their way
	}{
		"nothing known":         {nil, firstKeys, firstKeys},
		"the first few":         {[]values{{10, 50}}, firstKeys + 40, firstKeys + 40},
		"short":                 {[]values{{1000, 50}}, nearKeys, nearKeys},
		"empty":                 {[]values{{1000, 0}}, nearKeys, nearKeys},
		"middling":              {[]values{{1000, 10_000}}, 90, 110},
		"longer than allowed":   {[]values{{1000, 100 * mib}}, 1, 1},
		"short, then one long":  {[]values{{1000, 50}, {1, mib}}, 100, 200},
		"short, then many long": {[]values{{1000, 50}, {300, mib}}, 1, 16},
		"long, then many short": {[]values{{300, mib}, {2000, 50}}, nearKeys, nearKeys},
		"the first one is long": {[]values{{1, 50 * mib}}, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			f := flight{count: 1000}
			f.begin()
			for _, v := range tc.seen {
				for range v.n {
					f.value(v.bytes)
				}
			}
			if n := f.keys(); n < tc.min || n > tc.max {
				t.Errorf("%d keys, want %d to %d", n, tc.min, tc.max)
			}
		})
	}
	// However far the source is, values of one length stay below the bound.
	f := flight{count: 1000, ahead: 20_000}
	f.begin()
	for range 1000 {
		f.value(100_000)
	}
	if n := f.keys(); n*100_000 > flightBytes || n*100_000 < flightBytes/2 {
		t.Errorf("%d keys of 100,000 bytes", n)
	}
	// Another database may be another world: a few values tell.
	f = flight{count: 1000}
	f.begin()
	for range 1000 {
		f.value(50)
	}
	f.begin()
	if n := f.keys(); n != firstKeys {
		t.Errorf("%d keys of another database", n)
	}
	for range firstKeys {
		f.value(mib)
	}
	if n := f.keys(); n > 20 {
		t.Errorf("%d keys after %d long ones", n, firstKeys)
	}
}

func TestFlightPages(t *testing.T) {
	const ms = time.Millisecond
	for name, tc := range map[string]struct {
		count      int
		rtt, each  time.Duration // distance, and time from page to page
		name       int           // bytes
		share      float64
		pages      int
		want, most int // COUNT
	}{
		"near":                {1000, ms / 10, 3 * ms, 20, 1, 20, 1000, 1000},
		"far, and slow":       {1000, 20 * ms, 200 * ms, 20, 1, 20, 1000, 1000},
		"far, first page":     {1000, 20 * ms, 21 * ms, 20, 1, 1, 3000, 4000},
		"far":                 {1000, 20 * ms, 21 * ms, 20, 1, 20, farCount, farCount},
		"the user wants more": {50_000, 20 * ms, 21 * ms, 20, 1, 20, 50_000, 50_000},
		"long names":          {100, 20 * ms, 21 * ms, 10_000, 1, 20, 400, 420},
		"braked":              {1000, ms / 10, 3 * ms, 20, 0.5, 20, 500, 500},
		"braked hard":         {1000, ms / 10, 3 * ms, 20, 0.001, 20, leastCount, leastCount},
		"braked, small":       {10, ms / 10, 3 * ms, 20, 0.001, 20, 10, 10},
	} {
		t.Run(name, func(t *testing.T) {
			f := flight{count: tc.count, rtt: tc.rtt}
			f.begin()
			n := 0
			for range tc.pages {
				f.page = time.Now().Add(-tc.each)
				f.scanned(f.pageKeys(1), 100, 100*tc.name)
				n = f.pageKeys(tc.share)
			}
			if n < tc.want || n > tc.most {
				t.Errorf("COUNT %d, want %d to %d", n, tc.want, tc.most)
			}
		})
	}
}
