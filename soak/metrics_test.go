package main

import (
	"slices"
	"testing"
)

const told = `# HELP keys_total Keys.
# TYPE keys_total counter
keys_total{job="a",master="x"} 3
keys_total{master="y",job="a"} 4
keys_total{job="ab",master="y"} 100
# TYPE open gauge
open 7
# TYPE gc summary
gc_count 5
gc_sum 1
`

func TestReadMetrics(t *testing.T) {
	m, err := readMetrics([]byte(told))
	if err != nil {
		t.Fatal(err)
	}
	if m.values["open"] != 7 || m.counters["open"] || !m.counters[`keys_total{job="a",master="x"}`] {
		t.Errorf("%+v", m)
	}
	if got := m.sum("keys_total", "a"); got != 7 {
		t.Errorf("sum %v, want 7", got)
	}
	for _, wrong := range []string{"keys_total{", "keys_total x", "# TYPE a counter\n# TYPE a gauge\n"} {
		if _, err := readMetrics([]byte(wrong)); err == nil {
			t.Errorf("%q is taken for metrics", wrong)
		}
	}
}

func TestFallen(t *testing.T) {
	counters := func(v map[string]float64) metrics {
		m := metrics{values: v, counters: map[string]bool{}}
		for name := range v {
			m.counters[name] = name != "gauge"
		}
		delete(m.counters, "gauge")
		return m
	}
	before := counters(map[string]float64{"same": 1, "grown": 1, "fallen": 2, "gone": 0, "gauge": 9})
	now := counters(map[string]float64{"same": 1, "grown": 2, "fallen": 1, "new": 0, "gauge": 1})
	want := []string{"fallen fell from 2 to 1", "gone is gone, and was 0"}
	if got := now.fallen(before); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got := now.fallen(metrics{}); got != nil {
		t.Errorf("against nothing: %q", got)
	}
}

func FuzzReadMetrics(f *testing.F) {
	f.Add([]byte(told))
	f.Add([]byte("# TYPE h histogram\nh_bucket{le=\"1\"} 1\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := readMetrics(text)
		if err == nil && len(m.fallen(metrics{})) > 0 {
			t.Error("something fell from nowhere")
		}
	})
}
