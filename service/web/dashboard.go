package web

import (
	"bytes"
	_ "embed" // the page
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/slotferry/slotferry/service"
)

//go:embed page.tmpl
var pageText string

// parsePage makes the page's template. Its script fetches the page again when
// something has changed and takes over what differs, so that nothing is
// formatted in two places.
func parsePage(a *assets) (*template.Template, error) {
	return template.New("page").Funcs(template.FuncMap{"static": a.url}).Parse(pageText)
}

// page is what the template takes.
type page struct {
	Title   string
	Version string
	Token   string // what it is needed for: "look", "act" or "nothing"
	View    *view  // nil: who asks may not look
}

type view struct {
	Jobs     []jobRow
	Job      *jobDetail
	Troubles []trouble
	Runs     []runRow
	Only     string // the job whose runs these are, "" for all
	Paged    bool
	Newest   string // addresses of other pages, "" for none
	Older    string
	All      string
}

const runsOfPage = 20

// dashboard shows the page. Without a token, where one is needed, it has
// nothing in it.
func (s *Site) dashboard(w http.ResponseWriter, r *http.Request) {
	p := page{Title: "Slotferry", Version: s.opts.Version, Token: "nothing"}
	switch {
	case !s.opts.Loopback:
		p.Token = "look"
	case s.opts.Token != "":
		p.Token = "act"
	}
	no := s.guard.mayLook(r)
	switch {
	case no == nil:
		v, err := s.view(r.URL.Query(), time.Now())
		if err != nil {
			s.fail(w, "the history can't be read", err)
			return
		}
		p.View = v
		p.Title = v.title()
	case r.Header.Get("Authorization") != "" || s.opts.Token == "":
		no.write(w)
		return
	default:
		p.Token = "look"
	}
	var b bytes.Buffer
	if err := s.page.Execute(&b, p); err != nil {
		s.fail(w, "the page can't be made", err)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = b.WriteTo(w)
}

// view is what is asked for: a job, and how far back in its history.
func (s *Site) view(q url.Values, now time.Time) (*view, error) {
	jobs := s.opts.Service.Jobs()
	only := q.Get("job")
	// What can't be a number of a run shows the newest.
	before, _ := strconv.ParseUint(q.Get("before"), 10, 64)
	past, err := s.runs(only, runsOfPage, before)
	if err != nil {
		return nil, err
	}
	v := &view{Only: only, Paged: before > 0}
	chosen := choose(jobs, only)
	for i := range jobs {
		j := &jobs[i]
		v.Jobs = append(v.Jobs, newJobRow(j, j.Name == chosen))
		if t := newTrouble(j); t != nil {
			v.Troubles = append(v.Troubles, *t)
		}
		if j.Name == chosen {
			v.Job = newJobDetail(j)
		}
	}
	for i := range past.Runs {
		v.Runs = append(v.Runs, newRunRow(&past.Runs[i]))
	}
	if past.Before > 0 {
		v.Older = address(only, past.Before)
	}
	if before > 0 {
		v.Newest = address(only, 0)
	}
	if only != "" {
		v.All = address("", 0)
	}
	return v, nil
}

// choose returns the job whose details are shown: the one that was asked for,
// else one that runs, else the first.
func choose(jobs []service.JobView, asked string) string {
	if asked != "" {
		return asked
	}
	for i := range jobs {
		if jobs[i].Current != nil {
			return jobs[i].Name
		}
	}
	if len(jobs) > 0 {
		return jobs[0].Name
	}
	return ""
}

func (v *view) title() string {
	running := 0
	for i := range v.Jobs {
		if v.Jobs[i].Phase != "" {
			running++
		}
	}
	switch {
	case len(v.Troubles) > 0:
		return fmt.Sprintf("%d to look at, %d running: Slotferry", len(v.Troubles), running)
	case running > 0:
		return fmt.Sprintf("%d running: Slotferry", running)
	}
	return "Slotferry"
}

func address(job string, before uint64) string {
	q := url.Values{}
	if job != "" {
		q.Set("job", job)
	}
	if before > 0 {
		q.Set("before", strconv.FormatUint(before, 10))
	}
	if len(q) == 0 {
		return "/"
	}
	return "/?" + q.Encode()
}
