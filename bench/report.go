package main

import (
	"fmt"
	"strings"
	"time"
)

// report is all that was measured; parts that were not are nil.
type report struct {
	environment environment
	options     options
	sets        []setResult
	cli         *cliResult
	syncs       []syncResult
	tails       []tailResult
	cutovers    *cutoverResult
	delay       *delayResult
	limits      *limitsResult
	growth      []setResult
	huge        []hugeResult
	micro       []microResult
	took        time.Duration
}

// markdown renders the report.
func (r report) markdown() string {
	var b strings.Builder
	title := "How fast"
	if r.options.growth {
		title = "What more keys and more masters cost"
	}
	if r.options.huge {
		title = "Values that do not fit into memory"
	}
	fmt.Fprintf(&b, "# %s\n\n", title)
	b.WriteString("Made by `bench`; don't edit. Everything ran on one machine: source, masters, sender. The **ceiling** is the\n" +
		"time for the same RESTORE commands, made beforehand and sent over one raw connection a master. Ceiling and tool\n" +
		"took turns; figures are medians, a ratio is the median of those of neighbouring runs, with the lowest and the\n" +
		"highest: far apart, they tell of other work on the machine. The tool's times and memory are those of its process,\n" +
		"from start to exit. After each import the cluster holds as many keys as the source; each verify compared all of\n" +
		"them and found no difference. A live source's thread is *busy or queued* while it works, or could but waits for a\n" +
		fmt.Sprintf("processor: on few cores source, masters and tool share them. An import by scan wants ≥ %.0f %% of that.\n\n", 100*queuedGoal))
	r.environment.write(&b, r.took)
	for _, s := range r.sets {
		s.write(&b)
	}
	if r.cli != nil {
		r.cli.write(&b)
	}
	if r.syncs != nil {
		writeSyncs(&b, r.syncs)
	}
	if r.tails != nil {
		writeTails(&b, r.tails)
	}
	if r.cutovers != nil {
		r.cutovers.write(&b)
	}
	if r.delay != nil {
		r.delay.write(&b)
	}
	if r.limits != nil {
		r.limits.write(&b)
	}
	if r.huge != nil {
		writeHuge(&b, r.huge)
	}
	if r.growth != nil {
		writeGrowth(&b, r.growth)
	}
	if r.micro != nil {
		writeMicro(&b, r.micro)
	}
	fmt.Fprintf(&b, "\n## Again\n\n```sh\n%s\n```\n", r.options.command())
	return b.String()
}

func (e environment) write(b *strings.Builder, took time.Duration) {
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
	row("took", "%s", took.Round(time.Second))
}

// table writes heads and rows; columns after the first left ones are numbers.
func table(b *strings.Builder, left int, heads []string, rows [][]string) {
	fmt.Fprintf(b, "| %s |\n|", strings.Join(heads, " | "))
	for i := range heads {
		if i < left {
			b.WriteString("---|")
		} else {
			b.WriteString("--:|")
		}
	}
	b.WriteByte('\n')
	for _, cells := range rows {
		fmt.Fprintf(b, "| %s |\n", strings.Join(cells, " | "))
	}
}

// costHeads are the columns that cost fills.
var costHeads = []string{"user s", "system s", "peak MiB", "keys/s", "masters' CPU s", "source's thread busy", "busy or queued"}

// cost is what runs of a program took beside their time.
func cost(runs []sample, keys int64) []string {
	spent, busy, queued := medianOf(runs, masters).Seconds(), medianOf(runs, sample.busy), medianOf(runs, sample.queued)
	return []string{
		seconds(runs, func(s sample) time.Duration { return s.user }),
		seconds(runs, func(s sample) time.Duration { return s.system }),
		mebibytes(medianOf(runs, func(s sample) int64 { return s.peak })),
		fmt.Sprintf("%.0f", perSecond(keys, medianOf(runs, wall))),
		orDash(spent, "%.2f", spent),
		orDash(busy, "%.0f %%", busy*100),
		orDash(queued, "%.0f %%", queued*100),
	}
}

func wall(s sample) time.Duration    { return s.wall }
func masters(s sample) time.Duration { return s.masters }

// seconds is the median of a time.
func seconds(runs []sample, figure func(sample) time.Duration) string {
	return fmt.Sprintf("%.2f", medianOf(runs, figure).Seconds())
}

// String is `1.05 (1.00-1.20)`, – of nothing.
func (s spread) String() string {
	if s.middle == 0 {
		return "–"
	}
	return fmt.Sprintf("**%.2f** (%.2f-%.2f)", s.middle, s.low, s.high)
}

func atMost(goal float64) string { return orDash(goal, "≤ %.2f", goal) }

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
