package main

import (
	"slices"
	"testing"
)

func TestPercentiles(t *testing.T) {
	const head = `"test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95_latency_ms","p99_latency_ms","max_latency_ms"` + "\n"
	const sound = head + `"SET","1000.00","0.5","0.1","0.4","0.9","1.250","3.0"` + "\n" + `"GET","2000.00","0.3","0.1","0.2","0.5","0.750","2.0"` + "\n"
	for _, text := range []string{sound, "WARNING: something\n" + sound} {
		got, err := percentiles(text)
		if err != nil || got["SET"] != 1.25 || got["GET"] != 0.75 {
			t.Errorf("percentiles(%q) = %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", head, `"test","rps"` + "\n", head + `"SET","1","1","1","1","1","x","1"` + "\n", "ERR no"} {
		if got, err := percentiles(text); err == nil {
			t.Errorf("percentiles(%q) = %v, want an error", text, got)
		}
	}
}

func TestSpeeds(t *testing.T) {
	const out = `{"event":"plan","plan":{}}
{"event":"progress","written":100,"bytes":1000,"seconds":1}
{"event":"warning"}
{"event":"progress","written":300,"bytes":5000,"seconds":3}
{"event":"progress","written":400,"bytes":5000,"seconds":3.5}
{"event":"summary","written":500,"bytes":6000,"seconds":4}
`
	if got, want := speeds([]byte(out)), []progress{{100, 2000}, {200, 0}}; !slices.Equal(got, want) {
		t.Errorf("speeds = %v, want %v", got, want)
	}
}
