package web

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/slotferry/slotferry/checkpoint"
	"github.com/slotferry/slotferry/importer/target"
	"github.com/slotferry/slotferry/service"
)

// jobDetail is the job that is looked at.
type jobDetail struct {
	Name, Source, Target string
	Live                 bool // a run is going on
	Caption, Message     string
	Orders               []orderButton
	Figures              []figure
	Masters              []masterRow
	Stages               []stageRow
}

type orderButton struct {
	Order, Label, Ask string
	Possible          bool
}

type figure struct {
	Name, Value string
	Bad         bool
}

type masterRow struct {
	Addr, Status, Keys, Bytes, Slots string
	Mille                            int64 // of the master with most keys
}

type stageRow struct {
	Name, Value string
	Mille       int64 // of all of them
}

func newJobDetail(j *service.JobView) *jobDetail {
	d := &jobDetail{Name: j.Name, Source: j.Source, Target: j.Target, Orders: buttons(j)}
	switch {
	case j.Current != nil:
		p := j.Current
		d.Live, d.Message = true, p.Message
		d.Caption = fmt.Sprintf("Run %d, going on for %s.", p.Run, lasting(p.Seconds))
		d.Figures = figuresOf(p.Counts, p.Unchanged, p.Deleted, 0, p.Retries)
		if p.BytesPerSecond > 0 {
			d.Figures = append(d.Figures, figure{Name: "per second", Value: iec(int64(p.BytesPerSecond))})
		}
		if p.Lag != nil {
			d.Figures = append(d.Figures, figure{Name: "behind the source", Value: iec(p.Lag.Bytes)})
		}
		d.Masters, d.Stages = masterRows(p.Masters), stageRows(p.Stages)
	case j.Last != nil:
		r := j.Last
		d.Caption = fmt.Sprintf("No run is going on. This is run %d, the last one: %s.", r.ID, r.Status)
		d.Figures = figuresOf(r.Counts, r.Unchanged, r.Deleted, r.Differences, r.Retries)
		d.Masters, d.Stages = masterRows(r.Masters), stageRows(r.Stages)
	default:
		d.Caption = "It has not run yet."
	}
	return d
}

// buttons are the orders, with what is asked before each. Those that the job
// can't follow now stay where they are, so that the focus does.
func buttons(j *service.JobView) []orderButton {
	running := j.State == service.Running
	resting := j.State == service.Idle || j.State == service.Waiting
	retrying := j.State == service.Waiting && (j.Kind != service.Cron || j.Failures > 0 || j.Resumable)
	start := fmt.Sprintf("A run begins now, from %s to %s.", j.Source, j.Target)
	if j.Resumable {
		start += " It goes on where the last one stopped."
	}
	return []orderButton{
		{"start", "Start", start, resting},
		{"pause", "Pause", "A run that is going on saves where it is and ends. None begins before the job is resumed.", running || resting},
		{"resume", "Resume", "The job runs again: at once if a run was interrupted, else at its next time.", j.State == service.Paused},
		{"stop", "Stop", "The run saves where it is and ends. It goes on at the job's next time, or when it is started.", running || retrying},
	}
}

func figuresOf(c checkpoint.Counts, unchanged, deleted, differences int64, r target.Retries) []figure {
	out := []figure{{Name: "keys read", Value: comma(c.Read)}, {Name: "keys written", Value: comma(c.Written)}, {Name: "data written", Value: iec(c.Bytes)}}
	for _, of := range []struct {
		name string
		n    int64
		bad  bool
	}{
		{"skipped", c.Skipped, false},
		{"unchanged", unchanged, false},
		{"deleted", deleted, false},
		{"expired", c.Expired, false},
		{"filtered out", c.Filtered, false},
		{"failed", c.Failed, true},
		{"differences", differences, true},
		{"redirected", r.Moved + r.Ask, false},
		{"pauses", r.Paused, false},
		{"connections lost", r.Lost, false},
		{"rewritten for the target", r.Restamped + r.Rebuilt, false},
	} {
		if of.n > 0 {
			out = append(out, figure{of.name, comma(of.n), of.bad})
		}
	}
	return out
}

func masterRows(masters []target.Master) []masterRow {
	var most int64 = 1
	for _, m := range masters {
		most = max(most, m.Keys)
	}
	var out []masterRow
	for _, m := range masters {
		out = append(out, masterRow{
			Addr: m.Addr, Status: m.Status, Keys: comma(m.Keys), Bytes: iec(m.Bytes), Slots: comma(int64(m.Slots)), Mille: m.Keys * 1000 / most,
		})
	}
	return out
}

// stageRows are the stages, the longest first.
func stageRows(seconds map[string]float64) []stageRow {
	type stage struct {
		name    string
		seconds float64
	}
	var all []stage
	var sum float64
	for name, s := range seconds {
		all = append(all, stage{name, s})
		sum += s
	}
	slices.SortFunc(all, func(a, b stage) int {
		return cmp.Or(cmp.Compare(b.seconds, a.seconds), cmp.Compare(a.name, b.name))
	})
	var out []stageRow
	for _, s := range all {
		out = append(out, stageRow{s.name, lasting(s.seconds), int64(s.seconds * 1000 / max(sum, 1e-9))})
	}
	return out
}
