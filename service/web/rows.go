package web

import (
	"fmt"
	"strings"
	"time"

	"github.com/slotferry/slotferry/service"
)

// jobRow is a job in the table of all.
type jobRow struct {
	Name, URL, Kind, State, Phase string
	Chosen                        bool
	Far                           *far
	Rate, Left, Lag               string
	Last                          *lastRun
	Next                          *time.Time
}

// far is how far a run is.
type far struct {
	Mille int64 // thousandths
	Text  string
}

type lastRun struct {
	Status service.Status
	Ended  *time.Time
}

func newJobRow(j *service.JobView, chosen bool) jobRow {
	row := jobRow{
		Name: j.Name, URL: address(j.Name, 0), Kind: string(j.Kind), State: string(j.State), Chosen: chosen, Next: known(j.Next),
	}
	if j.Schedule != "" {
		row.Kind = j.Schedule + " " + j.Zone
	}
	if j.Last != nil {
		row.Last = &lastRun{j.Last.Status, known(j.Last.Ended)}
	}
	p := j.Current
	if p == nil {
		return row
	}
	row.Phase, row.Far = p.Phase, howFar(p)
	row.Rate = comma(int64(p.KeysPerSecond))
	if p.SecondsLeft != nil {
		row.Left = lasting(*p.SecondsLeft)
	}
	if p.Lag != nil {
		row.Lag = lasting(p.Lag.Seconds)
	}
	return row
}

// howFar goes by keys where their number is known, else by the file.
func howFar(p *service.Progress) *far {
	done, all, text := p.Answered(), p.Total, ""
	switch {
	case all > 0:
		text = fmt.Sprintf("%s of %s keys", comma(done), comma(all))
	case p.Size > 0:
		done, all = p.Offset, p.Size
		text = fmt.Sprintf("%s of %s", iec(done), iec(all))
	default:
		return &far{Text: comma(done) + " keys"}
	}
	part := min(1, max(0, float64(done)/float64(all)))
	return &far{Mille: int64(part * 1000), Text: fmt.Sprintf("%.0f %%: %s", part*100, text)}
}

// trouble is what an operator should look at.
type trouble struct {
	Job, URL, What, Error, Remedy, Class string
	When                                 *time.Time
}

// newTrouble returns nil for a job that is well: one that goes on after an
// interruption is.
func newTrouble(j *service.JobView) *trouble {
	t := &trouble{Job: j.Name, URL: address(j.Name, 0)}
	switch {
	case j.Current != nil && j.Current.Message != "":
		t.What, t.Error, t.Class = "stands still", j.Current.Message, "caution"
		return t
	case j.Last == nil || j.Last.Status == service.Done || j.Last.Status == service.Interrupted && j.Failures == 0:
		return nil
	}
	t.Class = "bad"
	if j.Last.Status == service.Interrupted {
		t.Class = "caution"
	}
	t.What = fmt.Sprintf("%s in run %d", j.Last.Status, j.Last.ID)
	if j.Failures > 1 {
		t.What += fmt.Sprintf(", %d in a row", j.Failures)
	}
	t.What += ","
	t.Error, t.Remedy, t.When = j.Last.Error, j.Last.Remedy, known(j.Last.Ended)
	return t
}

// runRow is a run in the history.
type runRow struct {
	ID                          uint64
	Job, URL, Trigger, Took     string
	Started                     *time.Time
	Status                      service.Status
	Read, Written, Failed, More string
}

func newRunRow(r *service.Run) runRow {
	row := runRow{
		ID: r.ID, Job: r.Job, URL: address(r.Job, 0), Trigger: strings.ReplaceAll(string(r.Trigger), "_", " "),
		Started: known(r.Started), Status: r.Status,
		Read: comma(r.Read), Written: comma(r.Written), Failed: comma(r.Failed),
	}
	if !r.Ended.IsZero() {
		row.Took = lasting(r.Ended.Sub(r.Started).Seconds())
	}
	var more []string
	for _, of := range []struct {
		n    int64
		what string
	}{{r.Unchanged, "unchanged"}, {r.Deleted, "deleted"}, {r.Differences, "differences"}} {
		if of.n > 0 {
			more = append(more, comma(of.n)+" "+of.what)
		}
	}
	if r.Resumed {
		more = append(more, "resumed")
	}
	if r.Error != "" {
		more = append(more, r.Error)
	}
	row.More = strings.Join(more, "; ")
	return row
}

func known(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
