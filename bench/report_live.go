package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// verdict is a goal and whether it was reached, – of none.
func verdict(goal string, met bool) string {
	switch {
	case goal == "–":
		return goal
	case met:
		return goal + ": met"
	}
	return goal + ": **missed**"
}

func writeSyncs(b *strings.Builder, all []syncResult) {
	b.WriteString("\n## Live copy: the full copy of PSYNC\n\n")
	b.WriteString("`import --via sync --once` beside the ceiling. What counts is the copy, from the first key that the source sends until\n" +
		"all are answered; the whole import has its start, the source's fork and a look at both sides on top. The source had\n" +
		"`repl-diskless-sync-delay 0`: 5 s, the default, would come on top too. Its child writes the RDB, and takes a processor.\n\n")
	var rows [][]string
	for _, s := range all {
		ceilings, tools, copies := each(s.rounds, syncRound.sent), each(s.rounds, syncRound.used), each(s.rounds, syncRound.copy)
		to := ratios(copies, ceilings)
		cells := []string{
			s.name, fmt.Sprint(s.keys), fmt.Sprint(len(s.rounds)), seconds(ceilings, wall), seconds(copies, wall), to.String(), verdict(atMost(s.goal), to.middle <= s.goal),
			seconds(tools, wall), ratios(tools, ceilings).String(),
			fmt.Sprintf("%.2f", median(each(s.rounds, func(r syncRound) time.Duration { return r.child })).Seconds()),
		}
		rows = append(rows, append(cells, cost(tools, s.keys)...))
	}
	table(b, 1, append([]string{"data", "keys", "runs", "ceiling s", "copy s", "ratio (lowest-highest)", "goal", "import s", "ratio",
		"source's child CPU s"}, costHeads...), rows)
}

func writeTails(b *strings.Builder, all []tailResult) {
	b.WriteString("\n## Live copy: what is written behind it\n\n")
	fmt.Fprintf(b, "SETs of %d bytes to random keys of %d, for %s, while `import --via sync` follows a source whose %d keys it has\n"+
		"copied. `redis-benchmark` (4 clients, 64 commands at a time) writes as fast as the source takes it, *paced* is %d a\n"+
		"second. They, source, masters and tool share the processors. The lag counts as growing when its lowest point of the\n"+
		"last third of the time lies above that of the third before by more than %.0f %% of what was written between. All keys\n"+
		"were there at the end, and the last run of each was verified. The tool's times are those of the whole process.\n\n", setBytes, setKeys, loadFor, all[0].keys, paceRate, 100*growthGoal)
	var rows [][]string
	for _, t := range all {
		rows = append(rows, t.cells())
	}
	table(b, 1, []string{"load", "runs", "SET/s alone", "SET/s followed", "stream MB/s", "goal", "lag grows by", "goal", "highest lag MB", "highest lag s",
		"all in, s after the end", "user s", "system s", "peak MiB", "masters' CPU s", "source's thread s"}, rows)
	writeLags(b, all)
}

func (t tailResult) cells() []string {
	of := func(figure func(tailRun) float64) float64 { return median(each(t.runs, figure)) }
	alone := of(func(r tailRun) float64 { return r.alone.perSecond() })
	rate := of(func(r tailRun) float64 { return r.followed.perSecond() })
	// A pace is never above what it is set to; the last write may be cut off.
	const cutOff = 0.99
	grew, goal := "–", fmt.Sprintf("≤ %.0f %%", 100*growthGoal)
	var shares []float64
	for _, r := range t.runs {
		if share, known := r.grows(); known {
			shares = append(shares, share)
		}
	}
	if len(shares) > 0 {
		grew = fmt.Sprintf("**%.1f %%** (%.1f to %.1f)", 100*median(shares), 100*slices.Min(shares), 100*slices.Max(shares))
		goal = verdict(goal, median(shares) <= growthGoal)
	}
	highest := func(figure func(lag) float64) float64 {
		return of(func(r tailRun) float64 { return slices.Max(append(each(r.lags, figure), 0)) })
	}
	duration := func(figure func(tailRun) time.Duration) string {
		return fmt.Sprintf("%.2f", median(each(t.runs, figure)).Seconds())
	}
	return []string{
		t.name, fmt.Sprint(len(t.runs)), orDash(alone, "%.0f", alone), fmt.Sprintf("%.0f", rate),
		fmt.Sprintf("%.1f", of(func(r tailRun) float64 { return perSecond(r.followed.bytes, r.followed.took) })/1e6),
		verdict(fmt.Sprintf("≥ %d", tailGoal), rate >= tailGoal*cutOff), grew, goal,
		fmt.Sprintf("%.1f", highest(lag.megabytes)), fmt.Sprintf("%.2f", highest(lag.age)),
		duration(func(r tailRun) time.Duration { return r.behind }),
		duration(func(r tailRun) time.Duration { return r.tool.user }), duration(func(r tailRun) time.Duration { return r.tool.system }),
		mebibytes(median(each(t.runs, func(r tailRun) int64 { return r.tool.peak }))),
		duration(func(r tailRun) time.Duration { return r.masters }), duration(func(r tailRun) time.Duration { return r.followed.source }),
	}
}

func (l lag) megabytes() float64 { return megabytes(l.bytes) }
func (l lag) age() float64       { return l.seconds }

// writeLags shows the lag over time, second by second as the tool tells it.
func writeLags(b *strings.Builder, all []tailResult) {
	heads, longest := []string{"second"}, 0
	for _, t := range all {
		heads = append(heads, t.name+": lag MB", "lag s")
		for _, r := range t.runs {
			longest = max(longest, len(r.lags))
		}
	}
	if longest == 0 {
		return
	}
	b.WriteString("\nThe lag, as the tool tells it each second; medians of the runs:\n\n")
	var rows [][]string
	for i := range longest {
		row := []string{fmt.Sprint(i + 1)}
		for _, t := range all {
			var there []lag
			for _, r := range t.runs {
				if i < len(r.lags) {
					there = append(there, r.lags[i])
				}
			}
			if len(there) == 0 {
				row = append(row, "–", "–")
				continue
			}
			row = append(row, fmt.Sprintf("%.1f", median(each(there, lag.megabytes))), fmt.Sprintf("%.2f", median(each(there, lag.age))))
		}
		rows = append(rows, row)
	}
	table(b, 0, heads, rows)
}

func (c *cutoverResult) write(b *strings.Builder) {
	fmt.Fprintf(b, "\n## Cutover: %d keys\n\n", c.keys)
	fmt.Fprintf(b, "`import --via sync --cutover` of the mixed data, while %d commands a second of all kinds change other keys, several\n"+
		"at a time, in transactions and by scripts too: from the pause of the writers\n"+
		"until everything is in, and until clients can be switched, which the comparison of 100000 keys precedes. Each was\n"+
		"verified, in both directions, before the writers went on.\n\n", churnRate)
	of := func(figure func(cutoverRun) float64) []float64 { return each(c.runs, figure) }
	caught := of(func(r cutoverRun) float64 { return 1000 * r.facts.CaughtUpSeconds })
	tools := each(c.runs, func(r cutoverRun) sample { return r.tool })
	table(b, 0, []string{"runs", "writes/s", "caught up ms (lowest-highest)", "goal", "comparison ms", "safe after ms", "import s", "user s", "system s", "peak MiB"}, [][]string{{
		fmt.Sprint(len(c.runs)), fmt.Sprintf("%.0f", median(of(func(r cutoverRun) float64 { return r.rate }))),
		fmt.Sprintf("**%.0f** (%.0f-%.0f)", median(caught), slices.Min(caught), slices.Max(caught)), verdict("< "+milliseconds(cutoverGoal), slices.Max(caught) < float64(cutoverGoal.Milliseconds())),
		fmt.Sprintf("%.0f", median(of(func(r cutoverRun) float64 { return 1000 * r.facts.ComparedSeconds }))),
		fmt.Sprintf("%.0f", median(of(func(r cutoverRun) float64 { return 1000 * (r.facts.CaughtUpSeconds + r.facts.ComparedSeconds) }))),
		seconds(tools, wall), seconds(tools, func(s sample) time.Duration { return s.user }), seconds(tools, func(s sample) time.Duration { return s.system }),
		mebibytes(medianOf(tools, func(s sample) int64 { return s.peak })),
	}})
}
