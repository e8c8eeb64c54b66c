package main

import (
	"time"

	"github.com/slotferry/slotferry/importer"
)

// meter knows the speed of late: over the samples of the last seconds, so that
// neither a burst nor a long past stall misleads.
type meter struct {
	samples []sample
	now     func() time.Time
}

type sample struct {
	at     time.Time
	keys   int64
	bytes  int64
	offset int64
}

const meterSpan = 10 * time.Second

func newMeter() *meter { return &meter{now: time.Now} }

func (m *meter) add(p importer.Progress) {
	now := m.now()
	m.samples = append(m.samples, sample{now, p.Counts.Answered(), p.Counts.Bytes, p.Offset})
	for len(m.samples) > 2 && now.Sub(m.samples[1].at) >= meterSpan {
		m.samples = m.samples[1:]
	}
}

// speed returns keys, bytes of values and bytes of the file a second.
func (m *meter) speed() (keys, bytes, offset float64) {
	if len(m.samples) < 2 {
		return 0, 0, 0
	}
	first, last := m.samples[0], m.samples[len(m.samples)-1]
	seconds := last.at.Sub(first.at).Seconds()
	if seconds <= 0 {
		return 0, 0, 0
	}
	return float64(last.keys-first.keys) / seconds, float64(last.bytes-first.bytes) / seconds, float64(last.offset-first.offset) / seconds
}

// done returns the part that is done, 0 to 1, or -1 when that is not known.
func done(p importer.Progress) float64 {
	switch {
	case p.Total > 0:
		return min(1, float64(p.Counts.Answered())/float64(p.Total))
	case p.Size > 0:
		return min(1, float64(p.Offset)/float64(p.Size))
	}
	return -1
}

// left estimates the time that remains; false when nothing can be said.
func (m *meter) left(p importer.Progress) (time.Duration, bool) {
	keys, _, offset := m.speed()
	var seconds float64
	switch {
	case p.Total > 0 && keys > 0:
		seconds = float64(max(0, p.Total-p.Counts.Answered())) / keys
	case p.Total == 0 && p.Size > 0 && offset > 0:
		seconds = float64(p.Size-p.Offset) / offset
	default:
		return 0, false
	}
	const longest = 1000 * 3600
	if seconds > longest || seconds < 1 {
		return 0, false
	}
	return time.Duration(seconds * float64(time.Second)).Round(time.Second), true
}
