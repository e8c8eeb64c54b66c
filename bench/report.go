package main

import (
	"fmt"
	"strings"
	"time"
)

// report is all that was measured.
type report struct {
	environment environment
	options     options
	sets        []setResult
}

// markdown renders the report.
func (r report) markdown() string {
	var b strings.Builder
	b.WriteString("# How fast\n\n")
	b.WriteString("Made by `bench`; don't edit. Everything ran on one machine: source, masters, sender. The **ceiling** is the\n" +
		"time for the same RESTORE commands, made beforehand and sent over one raw connection a master. Ceiling and tool\n" +
		"took turns; figures are medians, the ratio is the median of each pair's, with the lowest and the highest: far\n" +
		"apart, they tell of other work on the machine. The tool's times are those of its process, from start to exit.\n\n")
	r.environment.write(&b)
	for _, s := range r.sets {
		s.write(&b)
	}
	fmt.Fprintf(&b, "\n## Again\n\n```sh\n%s\n```\n", r.options.command())
	return b.String()
}

func (e environment) write(b *strings.Builder) {
	b.WriteString("| | |\n|---|---|\n")
	row := func(name, format string, args ...any) {
		fmt.Fprintf(b, "| %s | "+format+" |\n", append([]any{name}, args...)...)
	}
	row("processor", "%s, %d cores", e.processor, e.cores)
	row("memory", "%s", gibibytes(e.memory))
	row("kernel", "%s", e.kernel)
	row("load before", "%.1f", e.load)
	row("server", "%s", e.server)
	row("Go", "%s", e.golang)
	row("commit", "%s", e.commit)
	row("date", "%s", e.date.Format(time.DateOnly))
}

func (s setResult) write(b *strings.Builder) {
	fmt.Fprintf(b, "\n## %s: %d keys\n\n", s.name, s.keys)
	fmt.Fprintf(b, "%s%s. The RDB has %.1f MB, the commands %.1f MB.\n\n", strings.ToUpper(s.about[:1]), s.about[1:], megabytes(s.rdb), megabytes(s.commands))
	b.WriteString("| source | pairs | ceiling s | tool s | ratio (lowest-highest) | goal | user s | system s | peak MiB | keys/s | MB/s " +
		"| masters' CPU s: ceiling | tool | source's thread busy |\n")
	b.WriteString("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n")
	for _, j := range s.jobs {
		j.write(b, s)
	}
}

func (j jobResult) write(b *strings.Builder, s setResult) {
	seconds := func(figure func(pair) time.Duration) string {
		return fmt.Sprintf("%.2f", medianOf(j.pairs, figure).Seconds())
	}
	wall := medianOf(j.pairs, func(p pair) time.Duration { return p.tool.wall })
	middle, low, high := ratios(j.pairs)
	cells := []string{
		j.via, fmt.Sprint(len(j.pairs)),
		seconds(func(p pair) time.Duration { return p.ceiling.wall }),
		seconds(func(p pair) time.Duration { return p.tool.wall }),
		fmt.Sprintf("**%.2f** (%.2f-%.2f)", middle, low, high),
		orDash(j.goal, "≤ %.2f", j.goal),
		seconds(func(p pair) time.Duration { return p.tool.user }),
		seconds(func(p pair) time.Duration { return p.tool.system }),
		mebibytes(medianOf(j.pairs, func(p pair) int64 { return p.tool.peak })),
		fmt.Sprintf("%.0f", perSecond(s.keys, wall)),
		fmt.Sprintf("%.0f", perSecond(s.rdb, wall)/1e6),
		seconds(func(p pair) time.Duration { return p.ceiling.masters }),
		seconds(func(p pair) time.Duration { return p.tool.masters }),
	}
	busy := medianOf(j.pairs, pair.busy)
	cells = append(cells, orDash(busy, "%.0f %%", busy*100))
	fmt.Fprintf(b, "| %s |\n", strings.Join(cells, " | "))
}

// orDash formats a value unless what it depends on is 0.
func orDash(present float64, format string, value float64) string {
	if present == 0 {
		return "–"
	}
	return fmt.Sprintf(format, value)
}

func megabytes(bytes int64) float64 { return float64(bytes) / 1e6 }

func mebibytes(bytes int64) string {
	mib := float64(bytes) / (1 << 20)
	return orDash(mib, "%.0f", mib)
}

func gibibytes(bytes int64) string {
	gib := float64(bytes) / (1 << 30)
	return orDash(gib, "%.1f GiB", gib)
}
