package main

import (
	"fmt"
	"strings"
)

func writeHuge(b *strings.Builder, all []hugeResult) {
	b.WriteString("\n## Huge values\n\n")
	fmt.Fprintf(b, "One value each, imported with `--memory %s` over an old value of its key. A reader that looked at the key all the\n", hugeMemory)
	b.WriteString("time saw the old value, and then the whole new one. Each value was compared with its source afterwards. *Silent* is\nthe longest that any master took to answer a PING meanwhile; what it does for the source's key counts, too.\n\n")
	var rows [][]string
	for _, r := range all {
		became := "the same"
		if r.tooLong {
			became = "failed by name, the old value stays"
		}
		rows = append(rows, []string{
			r.about, r.via, became, orDash(float64(r.dump), "%.1f", megabytes(r.dump)), fmt.Sprintf("%.1f", r.usage.wall.Seconds()),
			mebibytes(r.usage.peak), "≤ " + mebibytes(hugePeak), milliseconds(r.silence), "≤ " + milliseconds(hugeSilence),
		})
	}
	table(b, 3, []string{"value", "source", "became", "DUMP MB", "tool s", "peak MiB", "goal", "silent ms", "goal"}, rows)
}
