package main

import (
	"fmt"
	"strings"
	"time"
)

func (c *cliResult) write(b *strings.Builder) {
	fmt.Fprintf(b, "\n## Beside redis-cli: %d keys\n\n", c.keys)
	fmt.Fprintf(b, "`redis-cli --cluster import` (%s) sends one blocking MIGRATE a key, with `--cluster-copy` and `--cluster-replace`;\n"+
		"it had a part of the mixed data, from a live source, in turn with the ceiling and the tool. The last column is\n"+
		"**scaled, not measured**: redis-cli's time for %d keys, if each takes as long.", c.version, c.all)
	if c.lost > 0 {
		fmt.Fprintf(b, " redis-cli lost %d of the keys without\nsaying so: those whose names have a NUL.", c.lost)
	}
	b.WriteString("\n\n")
	var rows [][]string
	for _, p := range []struct {
		name string
		run  int
	}{{"slotferry import", theImport}, {"redis-cli --cluster import", redisCLI}} {
		runs, full := of(c.rounds, p.run), "–"
		if p.run == redisCLI {
			full = fmt.Sprintf("%.0f (scaled)", scaled(medianOf(runs, wall), c.keys, c.all).Seconds())
		}
		cells := []string{p.name, fmt.Sprint(len(runs)), seconds(of(c.rounds, theCeiling), wall), seconds(runs, wall),
			ratios(runs, of(c.rounds, theCeiling)).String(), ratios(runs, of(c.rounds, theImport)).String()}
		if p.run == theImport {
			cells[len(cells)-1] = "–"
		}
		rows = append(rows, append(append(cells, cost(runs, c.keys)...), full))
	}
	heads := append([]string{"program", "runs", "ceiling s", "s", "to the ceiling", "to slotferry"}, costHeads...)
	table(b, 1, append(heads, fmt.Sprintf("s for %d keys", c.all)), rows)
}

func (d *delayResult) write(b *strings.Builder) {
	fmt.Fprintf(b, "\n## Over a longer line: %d keys\n\n", d.keys)
	b.WriteString("Imports of the mixed data through proxies on this machine, which hold every byte back: the round trip grows by the\n" +
		"delay, a new connection costs one more, the bandwidth has no limit. A proxy costs processor time itself, so each\n" +
		"delay is compared with the same proxies without delay, and those with no proxy at all. The round trip is that of a\n" +
		"PING, measured.\n\n")
	var rows [][]string
	for i, at := range distances {
		runs := d.samples[i]
		if len(runs) == 0 {
			continue
		}
		delay, against := "no proxy", "–"
		to := spread{}
		if at.source || at.target {
			delay, against = fmt.Sprintf("%d ms", at.delay.Milliseconds()), "no proxy"
			if at.delay > 0 {
				against = "0 ms"
			}
			to = ratios(runs, d.samples[at.base])
		}
		cells := []string{
			at.via, at.place(), delay, fmt.Sprintf("%.2f", float64(median(d.roundTrip[i]))/float64(time.Millisecond)),
			fmt.Sprint(len(runs)), seconds(runs, wall), to.String(), against, atMost(at.goal),
		}
		rows = append(rows, append(cells, cost(runs, d.keys)...))
	}
	table(b, 2, append([]string{"source", "far away", "delay", "round trip ms", "runs", "tool s", "ratio (lowest-highest)", "to", "goal"}, costHeads...), rows)
}

func writeMicro(b *strings.Builder, all []microResult) {
	b.WriteString("\n## The hot path alone\n\n")
	b.WriteString("Go's benchmarks, on data in memory. Where a key's time is given, an operation is a whole file or batch.\n\n")
	var rows [][]string
	for _, m := range all {
		perKey, ok := m.allocsPerKey()
		allocs := "–"
		if ok {
			allocs = fmt.Sprintf("%.4f", perKey)
		}
		perOp := "–"
		if m.hasAllocs {
			perOp = fmt.Sprintf("%.0f", m.allocsPerOp)
		}
		rows = append(rows, []string{
			m.pkg, m.name, orDash(m.mbPerSecond, "%.0f", m.mbPerSecond), nanoseconds(m.nsPerOp),
			orDash(m.nsPerKey, "%.1f", m.nsPerKey), perOp, allocs,
		})
	}
	table(b, 2, []string{"package", "benchmark", "MB/s", "ns/operation", "ns/key", "allocations/operation", "allocations/key"}, rows)
}

// nanoseconds have a decimal where they are few.
func nanoseconds(ns float64) string {
	if ns < 1000 {
		return fmt.Sprintf("%.1f", ns)
	}
	return fmt.Sprintf("%.0f", ns)
}
