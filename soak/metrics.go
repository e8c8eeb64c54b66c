package main

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// metrics are what /metrics tells.
type metrics struct {
	values   map[string]float64 // by name and labels: name{a="b"}
	counters map[string]bool    // those that must not fall
}

// readMetrics reads the text format of Prometheus.
func readMetrics(text []byte) (metrics, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		return metrics{}, fmt.Errorf("reading the metrics: %w", err)
	}
	m := metrics{values: map[string]float64{}, counters: map[string]bool{}}
	for name, family := range families {
		for _, one := range family.GetMetric() {
			labels := labelText(one.GetLabel())
			switch family.GetType() {
			case dto.MetricType_COUNTER:
				m.values[name+labels] = one.GetCounter().GetValue()
				m.counters[name+labels] = true
			case dto.MetricType_GAUGE:
				m.values[name+labels] = one.GetGauge().GetValue()
			}
		}
	}
	return m, nil
}

func labelText(labels []*dto.LabelPair) string {
	if len(labels) == 0 {
		return ""
	}
	var parts []string
	for _, l := range labels {
		parts = append(parts, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
	}
	slices.Sort(parts)
	return "{" + strings.Join(parts, ",") + "}"
}

// fallen names the counters that are lower than they were, or gone.
func (m metrics) fallen(before metrics) (wrong []string) {
	for _, name := range slices.Sorted(maps.Keys(before.counters)) {
		now, there := m.values[name]
		switch was := before.values[name]; {
		case !there:
			wrong = append(wrong, fmt.Sprintf("%s is gone, and was %v", name, was))
		case now < was:
			wrong = append(wrong, fmt.Sprintf("%s fell from %v to %v", name, was, now))
		}
	}
	return wrong
}

// sum adds up a metric of a job over its other labels.
func (m metrics) sum(name, job string) float64 {
	var total float64
	for series, v := range m.values {
		if strings.HasPrefix(series, name+"{") && strings.Contains(series, fmt.Sprintf("job=%q", job)) {
			total += v
		}
	}
	return total
}
