package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/slotferry/slotferry/internal/dataset"
	"github.com/slotferry/slotferry/service"
)

// report is what came of the soak.
type report struct {
	options     options
	environment environment
	soak        *soak
	took        time.Duration
	failures    []error
}

func (s *soak) report(ctx context.Context) report {
	r := report{options: s.options, soak: s, took: time.Since(s.begun), failures: s.failures}
	r.environment = describe(ctx, s.rig.mirrored.Version.String())
	return r
}

// markdown renders the report.
func (r report) markdown() string {
	var b strings.Builder
	b.WriteString("# A service that runs while things go wrong\n\n")
	b.WriteString("Made by `soak`; don't edit. `slotferry serve` mirrors one server every minute and follows another one, both of them\n" +
		"written to, into a cluster of three masters with a replica each, while the faults below are made: see\n" +
		"[docs/soak.md](../docs/soak.md).\n\n")
	e := r.environment
	table(&b, "| | |\n|---|---|\n", [][]string{
		{"processor", fmt.Sprintf("%s, %d cores", e.processor, e.cores)}, {"kernel", e.kernel}, {"server", e.server},
		{"Go", e.golang}, {"commit", e.commit}, {"date", e.date.Format(time.DateOnly)}, {"took", r.took.Round(time.Second).String()},
		{"faults for", r.options.lasts.String()}, {"seed", fmt.Sprint(r.options.seed)}, {"outcome", r.outcome()},
	})
	b.WriteString("\n## Jobs\n\n")
	table(&b, "| job | commands written to the source | runs | "+strings.Join(names(statuses), " | ")+" | keys compared | differences |\n|---|--:|--:|"+strings.Repeat("--:|", len(statuses))+"--:|--:|\n",
		[][]string{r.job(mirrorJob), r.job(followJob)})
	fmt.Fprintf(&b, "\nOf an interrupted run the process was killed, or it was told to pause; a blocked one met a fault before its first key.\n"+
		"After the mirror's last plain run %d keys differed; then came one with `check_target`.\n", problems(r.soak.unrepaired))
	fmt.Fprintf(&b, "Of %d faults %d were made during a run of the mirror, all others during that of the live job alone.\n", len(r.soak.faults), r.met())
	b.WriteString("\n## Faults\n\n")
	table(&b, "| fault | times | until all was well, s (median) | |\n|---|--:|--:|---|\n", r.faults())
	b.WriteString("\n## Growth\n\n")
	fmt.Fprintf(&b, "Medians of %d looks at `/metrics`, %d processes. No process is killed in the last two thirds. Goroutines and files are those\n"+
		"of calm moments: the mirror rests, the live job has caught up, no fault was made just before.\n\n", len(r.soak.samples), len(r.soak.service.logs))
	table(&b, "| | second third | last third | allowed | looks |\n|---|--:|--:|--:|--:|\n", r.growth())
	if len(r.failures) > 0 {
		b.WriteString("\n## What went wrong\n\n")
		for _, err := range r.failures {
			fmt.Fprintf(&b, "- %s\n", strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", "\n  "))
		}
	}
	fmt.Fprintf(&b, "\n## Again\n\n```sh\n%s\n```\n", r.options.command())
	return b.String()
}

// command says how to have the same faults again.
func (o options) command() string {
	if o.short {
		return fmt.Sprintf("go run ./soak --short --seed %d", o.seed)
	}
	return fmt.Sprintf("go run ./soak --minutes %g --seed %d", o.minutes, o.seed)
}

func (r report) outcome() string {
	if n := len(r.failures); n > 0 {
		return fmt.Sprintf("%d failures", n)
	}
	return "nothing is wrong"
}

// met is how many faults met a run of the mirror.
func (r report) met() (n int) {
	for _, f := range r.soak.faults {
		if slices.ContainsFunc(r.soak.runs, func(run service.Run) bool {
			ended := run.Ended
			if ended.IsZero() { // with the fault
				ended = f.ended
			}
			return run.Job == mirrorJob && run.Started.Before(f.ended) && ended.After(f.begun)
		}) {
			n++
		}
	}
	return n
}

func (r report) job(name string) []string {
	ended, runs := map[service.Status]int{}, 0
	for _, run := range r.soak.runs {
		if run.Job == name {
			ended[run.Status]++
			runs++
		}
	}
	row := []string{name, fmt.Sprint(r.soak.written[name]), fmt.Sprint(runs)}
	for _, s := range statuses {
		row = append(row, fmt.Sprint(ended[s]))
	}
	c, ok := r.soak.compared[name]
	if !ok {
		return append(row, "–", "–")
	}
	return append(row, fmt.Sprint(c.Compared), fmt.Sprint(problems(c)))
}

func (r report) faults() (rows [][]string) {
	for _, k := range kinds {
		var took []float64
		for _, f := range r.soak.faults {
			if f.kind == k {
				took = append(took, f.ended.Sub(f.begun).Seconds())
			}
		}
		if len(took) > 0 {
			rows = append(rows, []string{k.name, fmt.Sprint(len(took)), fmt.Sprintf("%.1f", median(took)), k.about})
		}
	}
	return rows
}

func (r report) growth() (rows [][]string) {
	for _, t := range trends(r.soak.samples, r.soak.faultsBegun, r.options.lasts) {
		looks := fmt.Sprintf("%d, %d", t.counts[0], t.counts[1])
		if t.withoutThirds || r.options.short {
			rows = append(rows, []string{t.name, "–", "–", "–", looks})
			continue
		}
		rows = append(rows, []string{t.name, t.show(t.second), t.show(t.last), t.show(t.most), looks})
	}
	return rows
}

func problems(r dataset.Report) int {
	return r.Missing.Count + r.Extra.Count + r.Different.Count + r.TTL.Count
}

func names(all []service.Status) (out []string) {
	for s := range slices.Values(all) {
		out = append(out, string(s))
	}
	return out
}

func table(b *strings.Builder, head string, rows [][]string) {
	b.WriteString(head)
	for _, row := range rows {
		fmt.Fprintf(b, "| %s |\n", strings.Join(row, " | "))
	}
}
