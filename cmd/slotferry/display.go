package main

import (
	"fmt"
	"sync"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/slotferry/slotferry/importer"
)

// display shows a bar for the whole and a line a master on the terminal, until
// the returned function is called. Log lines go above it.
func (o *output) display(job *importer.Job) (stop func()) {
	terminal := o.stderr.over(nil)
	bars := mpb.New(mpb.WithOutput(terminal), mpb.WithAutoRefresh(), mpb.WithRefreshRate(200*time.Millisecond), mpb.WithWidth(24))
	o.stderr.over(bars)
	v := &view{meter: newMeter(), bars: bars, shown: map[string]*mpb.Bar{}}
	v.total = bars.New(scale, mpb.BarStyle(),
		mpb.PrependDecorators(decor.Any(func(decor.Statistics) string { return v.head() })),
		mpb.AppendDecorators(decor.Any(func(decor.Statistics) string { return v.tail() })))
	stopTicking := tickUntil(200*time.Millisecond, func() { v.update(job.Progress()) })
	return func() {
		stopTicking()
		v.update(job.Progress())
		v.finish()
		bars.Wait()
		o.stderr.over(terminal)
	}
}

// scale is the length of the total's bar: parts in ten thousand.
const scale = 10000

// view is what the display's lines read.
type view struct {
	bars  *mpb.Progress
	total *mpb.Bar

	mu       sync.Mutex
	meter    *meter
	progress importer.Progress
	shown    map[string]*mpb.Bar
}

func (v *view) update(p importer.Progress) {
	v.mu.Lock()
	if p.Phase != "preflight" {
		v.meter.add(p)
	}
	v.progress = p
	v.mu.Unlock()
	if part := done(p); part >= 0 {
		v.total.SetCurrent(int64(part * (scale - 1))) // the last step ends the bar
	}
	for _, m := range p.Masters {
		if v.shown[m.Addr] == nil {
			v.shown[m.Addr] = v.bars.New(0, mpb.NopStyle(), mpb.PrependDecorators(
				decor.Any(func(decor.Statistics) string { return v.master(m.Addr) })))
		}
	}
}

// follows tells whether a job goes on behind its copy, without an end to reckon
// with.
func follows(p importer.Progress) bool { return p.Phase == "tail" && p.Lag != nil }

// finish ends all bars as they stand.
func (v *view) finish() {
	v.total.Abort(false)
	for _, b := range v.shown {
		b.Abort(false)
	}
}

// head is what stands before the bar.
func (v *view) head() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	p := v.progress
	if follows(p) {
		return "following the source "
	}
	text := fmt.Sprintf("%-9s %s", p.Phase, humanize.Comma(p.Counts.Answered()))
	if p.Total > 0 {
		text += "/" + humanize.Comma(p.Total)
	}
	return text + " keys "
}

// tail is what stands behind it.
func (v *view) tail() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	p := v.progress
	if s := p.Standstill; s != nil {
		return fmt.Sprintf("  no progress for %s: %s", time.Since(s.Since).Round(time.Second), s.Owed())
	}
	if follows(p) {
		return " " + behind(p)
	}
	keys, bytes, _ := v.meter.speed()
	text := ""
	if part := done(p); part >= 0 {
		text = fmt.Sprintf(" %3.0f %%", 100*part)
	}
	text += fmt.Sprintf("  %s keys/s  %s/s", humanize.Comma(int64(keys)), humanize.IBytes(uint64(max(0, bytes))))
	if left, ok := v.meter.left(p); ok {
		text += fmt.Sprintf("  %s left", left)
	}
	return text
}

// master is one master's line.
func (v *view) master(addr string) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, m := range v.progress.Masters {
		if m.Addr != addr {
			continue
		}
		text := fmt.Sprintf("  %-21s %5d slots %12s keys %10s", addr, m.Slots, humanize.Comma(m.Keys), humanize.IBytes(uint64(m.Bytes)))
		if m.Status != "" {
			text += "  " + m.Status
		}
		return text
	}
	return "  " + addr
}
