package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

func (l *limitsResult) write(b *strings.Builder) {
	fmt.Fprintf(b, "\n## Limits, and going on: %d keys\n\n", l.keys)
	fmt.Fprintf(b, "An import of the mixed data at a rate that makes it last ten seconds, its look at both sides\nbeforehand included; the goal is to miss it by %.0f %% at most.\n\n", 100*rateGoal)
	var rows [][]string
	for _, r := range l.rates {
		rows = append(rows, []string{
			r.flag, fmt.Sprintf("%.0f", r.wanted), fmt.Sprintf("%.0f", r.got), fmt.Sprintf("**%+.1f %%**", 100*r.missed()), fmt.Sprintf("± %.0f %%", 100*rateGoal),
			orDash(r.lowest, "%.0f", r.lowest), orDash(r.most, "%.0f", r.most),
		})
	}
	table(b, 1, []string{"limit", "wanted/s", "got/s", "missed by", "goal", "slowest second", "fastest second"}, rows)

	b.WriteString("\nAn import, slowed down to half a second at least, was killed (SIGKILL) when half of the keys were there, and run again:\nfrom the start of that process to the first key that a master has taken. All keys were there at its end.\n\n")
	rows = nil
	for _, r := range l.resumes {
		rows = append(rows, []string{
			r.via, fmt.Sprint(r.keys), fmt.Sprint(r.there), fmt.Sprint(len(r.first)), milliseconds(median(r.first)), milliseconds(slices.Max(r.first)),
			"≤ " + milliseconds(resumeGoal),
		})
	}
	table(b, 1, []string{"source", "keys", "there when killed", "runs", "first key after ms", "highest", "goal"}, rows)

	fmt.Fprintf(b, "\n`redis-benchmark` (GET and SET, %d clients, no pipeline) on the source, alone and while it is scanned: the 99th\n", loadClients)
	b.WriteString("percentiles in milliseconds, medians of as many measures as fit into the import. They include what source, masters and\ntool take from one another on this machine.\n\n")
	rows = nil
	for _, r := range l.loads {
		cells := []string{"no import", "–", fmt.Sprint(len(r.get)), figure(r.get), figure(r.set), "–"}
		if r.importing {
			cells[0], cells[5] = "scan", fmt.Sprintf("%.2f", r.took.Seconds())
		}
		if r.brake != "" {
			cells[1] = r.brake
		}
		rows = append(rows, cells)
	}
	table(b, 2, []string{"import", "--max-source-latency", "measures", "GET p99 ms (lowest-highest)", "SET p99 ms (lowest-highest)", "import s"}, rows)
}

// figure is a median with its range.
func figure(values []float64) string {
	if len(values) == 0 {
		return "–"
	}
	return fmt.Sprintf("**%.2f** (%.2f-%.2f)", median(values), slices.Min(values), slices.Max(values))
}

func milliseconds(t time.Duration) string {
	return fmt.Sprintf("%.0f", float64(t)/float64(time.Millisecond))
}
