package main

import (
	"fmt"
	"slices"
	"strings"
)

// line is one program that ran on one data set.
type line struct {
	via    string
	rounds []round
	run    int
	goal   string
}

// lines are all that ran beside the ceiling, in the order of the report.
func (s setResult) lines() []line {
	var all []line
	for _, j := range s.jobs {
		all = append(all, line{j.via, j.rounds, theImport, atMost(j.goals.imported)})
	}
	for _, j := range s.jobs {
		if ran(of(j.rounds, thePlan)) {
			all = append(all, line{j.via, j.rounds, thePlan, orDash(j.goals.plan, "≤ %.2f of the ceiling", j.goals.plan)})
		}
		if ran(of(j.rounds, theVerify)) {
			all = append(all, line{j.via, j.rounds, theVerify, orDash(j.goals.verify, "≤ %.2f of the import", j.goals.verify)})
		}
	}
	return all
}

func ran(runs []sample) bool { return medianOf(runs, wall) > 0 }

func (l line) samples() []sample { return of(l.rounds, l.run) }

// ratios compares with the ceiling and, unless it is the import itself, with
// that.
func (l line) ratios() []string {
	toImport := "–"
	if l.run != theImport {
		toImport = ratios(l.samples(), of(l.rounds, theImport)).String()
	}
	return []string{ratios(l.samples(), of(l.rounds, theCeiling)).String(), toImport}
}

func (s setResult) write(b *strings.Builder) {
	fmt.Fprintf(b, "\n## %s: %d keys\n\n", s.name, s.keys)
	fmt.Fprintf(b, "%s%s. The RDB has %.1f MB, the commands %.1f MB.\n", strings.ToUpper(s.about[:1]), s.about[1:], megabytes(s.rdb), megabytes(s.commands))
	if s.verifyMemory != "" {
		fmt.Fprintf(b, "Verify ran with `--memory %s`, or it would leave the longest values out.\n", s.verifyMemory)
	}
	b.WriteByte('\n')
	var imports, others [][]string
	for _, l := range s.lines() {
		runs, ceilings := l.samples(), of(l.rounds, theCeiling)
		head := []string{runNames[l.run], l.via, fmt.Sprint(len(runs))}
		if l.run == theImport {
			cells := append(head, seconds(ceilings, wall), seconds(runs, wall), ratios(runs, ceilings).String(), l.goal)
			cells = append(cells, cost(runs, s.keys)...)
			imports = append(imports, append(cells,
				fmt.Sprintf("%.0f", perSecond(s.rdb, medianOf(runs, wall))/1e6), seconds(ceilings, masters)))
			continue
		}
		cells := append(head, seconds(runs, wall))
		cells = append(append(cells, l.ratios()...), l.goal)
		others = append(others, append(cells, cost(runs, s.keys)...))
	}
	heads := append([]string{"command", "source", "runs", "ceiling s", "tool s", "ratio (lowest-highest)", "goal"}, costHeads...)
	table(b, 2, append(heads, "MB/s", "masters' CPU s: ceiling"), imports)
	if len(others) > 0 {
		b.WriteByte('\n')
		table(b, 2, append([]string{"command", "source", "runs", "tool s", "to the ceiling", "to the import", "goal"}, costHeads...), others)
	}
}

// writeGrowth puts all sizes under one another, once measured each.
func writeGrowth(b *strings.Builder, all []setResult) {
	b.WriteString("\n## Growth: more keys, more masters\n\n")
	b.WriteString("The mixed data, each line measured once. Filling the sources (not part of any figure) and their files:")
	for _, s := range all {
		fmt.Fprintf(b, " %d keys, %d masters: %.1f s, %.1f MB;", s.keys, s.masters, s.filled.Seconds(), megabytes(s.rdb))
	}
	b.WriteString(" 0.0 s where the file was there.\n\n")
	var rows [][]string
	for _, s := range all {
		for _, l := range s.lines() {
			runs := l.samples()
			cells := []string{runNames[l.run], l.via, fmt.Sprint(s.keys), fmt.Sprint(s.masters), seconds(of(l.rounds, theCeiling), wall), seconds(runs, wall)}
			cells = append(cells, single(runs, of(l.rounds, theCeiling)), "–")
			if l.run != theImport {
				cells[len(cells)-1] = single(runs, of(l.rounds, theImport))
			}
			rows = append(rows, append(cells, cost(runs, s.keys)...))
		}
	}
	slices.SortStableFunc(rows, func(a, b []string) int { return strings.Compare(a[0]+a[1], b[0]+b[1]) })
	table(b, 2, append([]string{"command", "source", "keys", "masters", "ceiling s", "tool s", "to the ceiling", "to the import"}, costHeads...), rows)
}

// single is the ratio of one pair, which has no range.
func single(of, to []sample) string {
	middle := ratios(of, to).middle
	return orDash(middle, "%.2f", middle)
}
