package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// report is what came of the faults.
type report struct {
	options     options
	environment environment
	rows        []*row
	took        time.Duration
}

// markdown renders the report.
func (r report) markdown() string {
	var b strings.Builder
	b.WriteString("# What goes wrong, and what comes of it\n\n")
	b.WriteString("Made by `faults`; don't edit. In each run slotferry imports into a cluster of three masters with a replica each\n" +
		"(where the table doesn't say otherwise) and append-only files that are synced every second. The fault is made when\n" +
		"the checkpoint has between 10 and 90 % of the keys; one that came too late, or that the tool did not feel, was\n" +
		"missed and made again. Then all keys were compared both ways, values and expiries, by a comparison that is not\n" +
		"the tool's. Exits are the tool's exit codes, with how often each was seen: 75 asks for the same command again.\n" +
		"Retries are what the tool says that it met: redirections (moved, ask), answers of \"not now\" (paused), and\n" +
		"connections lost. Where slots are moved, expiries may differ by up to a second: the servers' own MIGRATE carries\n" +
		"the time that is left, not the time.\n\n" +
		"Sources sync and follow are written to all the time (`--via sync`, `--via scan --follow`), by commands on keys of all\n" +
		"types, of which most would leave a trace if they were applied twice or not at all; they have a sixth of the keys. The\n" +
		"fault is made behind the full copy, unless it says otherwise. Some seconds later the writer stops, the tool is\n" +
		"ended by SIGTERM, at once or when it has caught up, and a run with `--once` must end with 0. When the consumers of\n" +
		"a stream were last seen is not compared: servers don't tell it.\n\n")
	e := r.environment
	b.WriteString("| | |\n|---|---|\n")
	for _, line := range [][2]string{
		{"processor", fmt.Sprintf("%s, %d cores", e.processor, e.cores)}, {"kernel", e.kernel}, {"server", e.server},
		{"Go", e.golang}, {"commit", e.commit}, {"date", e.date.Format(time.DateOnly)}, {"took", r.took.Round(time.Second).String()},
		{"keys", fmt.Sprint(r.options.keys)}, {"seed", fmt.Sprint(r.options.seed)},
	} {
		fmt.Fprintf(&b, "| %s | %s |\n", line[0], line[1])
	}
	b.WriteString("\n| fault | source | runs | hit | missed | resumes | exits | moved | ask | paused | lost | differences | s a run |\n" +
		"|---|---|--:|--:|--:|--:|---|--:|--:|--:|--:|--:|--:|\n")
	for _, row := range r.rows {
		fmt.Fprintf(&b, "| %s | %s | %d | %d | %d | %d | %s | %d | %d | %d | %d | %d | %.0f |\n",
			row.fault.name, row.source, row.runs, row.hit, row.missed, row.resumes, row.exitText(),
			row.retries.Moved, row.retries.Ask, row.retries.Paused, row.retries.Lost, row.differences,
			row.took.Seconds()/float64(max(1, row.runs)))
	}
	b.WriteString("\n## The faults\n\n")
	for _, f := range faults {
		if slices.ContainsFunc(r.rows, func(row *row) bool { return row.fault == f }) {
			fmt.Fprintf(&b, "- **%s**: %s\n", f.name, f.about)
		}
	}
	runs := r.options.runs
	fmt.Fprintf(&b, "\n## Again\n\n```sh\n%s\n```\n", r.options.command(r.options.names, r.options.sources, r.options.first, runs))
	return b.String()
}

// exitText is `0 × 3, 75 × 1`.
func (r *row) exitText() string {
	var parts []string
	for exit, n := range r.exits {
		parts = append(parts, fmt.Sprintf("%s × %d", exit, n))
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}
