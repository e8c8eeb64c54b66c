package main

import (
	"context"
	"fmt"
	"maps"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"time"
)

// commit names what was built, with a mark if files had been changed since.
func commit(ctx context.Context) string {
	head, err := exec.CommandContext(ctx, "git", "rev-parse", "--short=12", "HEAD").Output()
	if err != nil {
		return "not known"
	}
	name := strings.TrimSpace(string(head))
	// The report itself is the one file that each run changes.
	changed, err := exec.CommandContext(ctx, "git", "status", "--porcelain", "--", ".", ":!"+outFile).Output()
	if err != nil || len(changed) > 0 {
		name += fmt.Sprintf(" and %d changed or new files", strings.Count(string(changed), "\n"))
	}
	return name
}

// short counts the ways of a pair's keys, by file and SCAN together.
func (p *pair) short() string {
	sums := map[way]int{}
	for _, vias := range p.cells {
		for _, c := range vias {
			for w, n := range c.ways {
				sums[w] += n
			}
		}
	}
	var parts []string
	for _, w := range slices.Sorted(maps.Keys(sums)) {
		parts = append(parts, fmt.Sprintf("%s %d", w, sums[w]))
	}
	return strings.Join(parts, ", ")
}

func (m *matrix) markdown(commit string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `# Which values go from where to where

This page is written by `+"`make matrix`"+`, which imports from every one of these servers into a cluster of every
other one, from the RDB file that it saved, from the server (SCAN), and as its replica (`+"`--via sync`"+`) while it is
written to, and compares each key: type, value and expiry. Last made on %s from commit %s.

`, m.begun.UTC().Format("2 January 2006"), commit)
	m.writeLegend(&b)
	m.writeServers(&b)
	for _, v := range m.targets {
		m.writeTarget(&b, v)
	}
	m.writeProblems(&b)
	m.writeAgain(&b)
	return b.String()
}

func (m *matrix) writeLegend(b *strings.Builder) {
	b.WriteString(`| in the tables | how the value comes over |
|---|---|
| bytes | as the source serialized it: the fastest way, exact |
| stamp | the same bytes under an older RDB version, which the target takes: as exact; from a file at once, by SCAN after one more round trip |
| rebuilt | made again with commands under a temporary name, then renamed |
| rebuilt (1) | the same, but commands can't say all of it: what is lost stands below the table |
| loaded | function libraries, on every master |
| refused (1) | not at all: the import names the key and the reason, which stands below the table, and exits with 1; ` + "`--on-unsupported skip`" + ` goes on without it |
| – | the source has no such values |
| followed | ` + "`--via sync`" + `, while the source was written to: commands that followed the full copy / keys that were read again for them / commands that the target did not know or take, so that these were among the reasons |

`)
	if !m.rebuilds() {
		b.WriteString("This build does not rebuild values; what would need it is refused.\n\n")
	}
}

func (m *matrix) rebuilds() bool {
	return slices.ContainsFunc(m.pairs, func(p *pair) bool { return p.rebuilds })
}

// writeServers lists the servers with the RDB types that they write.
func (m *matrix) writeServers(b *strings.Builder) {
	b.WriteString("## The servers\n\nThe RDB version is that of what DUMP answers; the numbers below the kinds are the RDB types they are stored as.\n\n| source | exact version | RDB version |")
	for _, k := range kinds {
		fmt.Fprintf(b, " %s |", k.title)
	}
	b.WriteString("\n|---|---|---|" + strings.Repeat("---|", len(kinds)) + "\n")
	for _, s := range m.filled {
		types := map[string][]string{}
		for name, v := range s.keys {
			if number := fmt.Sprint(v.typ); !slices.Contains(types[kindOf(name)], number) {
				types[kindOf(name)] = append(types[kindOf(name)], number)
			}
		}
		fmt.Fprintf(b, "| %s | %s | %d |", s.title, s.exact, s.dump)
		for _, k := range kinds {
			slices.Sort(types[k.name])
			fmt.Fprintf(b, " %s |", dash(strings.Join(types[k.name], ", ")))
		}
		b.WriteByte('\n')
	}
	b.WriteByte('\n')
}

// writeTarget writes the table of one target.
func (m *matrix) writeTarget(b *strings.Builder, to *version) {
	fmt.Fprintf(b, "## Into %s (%s)\n\n| from |", to.title, to.exact)
	for _, k := range kinds {
		fmt.Fprintf(b, " %s |", k.title)
	}
	b.WriteString(" functions | followed |\n|---|" + strings.Repeat("---|", len(kinds)+2) + "\n")
	var reasons []string
	for _, p := range m.pairs {
		if p.to != to {
			continue
		}
		fmt.Fprintf(b, "| %s |", p.from.title)
		for _, k := range kinds {
			fmt.Fprintf(b, " %s |", p.text(k.name, &reasons))
		}
		fmt.Fprintf(b, " %s | %s |\n", p.text(functionsKind, &reasons), p.followed.text())
	}
	b.WriteByte('\n')
	for i, r := range reasons {
		fmt.Fprintf(b, "%d. %s\n", i+1, r)
	}
	if len(reasons) > 0 {
		b.WriteByte('\n')
	}
}

// text is a cell of the table: once if file and SCAN agree. From a file, what
// SCAN needs a stamp for has it at once. Reasons are numbered as they come.
func (p *pair) text(kind string, reasons *[]string) string {
	file, scan := p.cells[kind][viaFile].text(reasons), p.cells[kind][viaScan].text(reasons)
	if file == scan || file == string(bytesWay) && scan == string(stampWay) {
		return dash(scan)
	}
	return fmt.Sprintf("file: %s; SCAN: %s", dash(file), dash(scan))
}

func (c *cell) text(reasons *[]string) string {
	if c == nil {
		return ""
	}
	var parts []string
	for _, w := range slices.Sorted(maps.Keys(c.ways)) {
		why := ""
		switch {
		case w == refused:
			why = ofOneKey.ReplaceAllString(c.why, "")
		case w == rebuilt && len(c.lost) > 0:
			slices.Sort(c.lost)
			why = "Lost: " + strings.Join(c.lost, "; ") + "."
		}
		text := string(w)
		if why != "" {
			i := slices.Index(*reasons, why)
			if i < 0 {
				i = len(*reasons)
				*reasons = append(*reasons, why)
			}
			text += fmt.Sprintf(" (%d)", i+1)
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, ", ")
}

// ofOneKey is what a reason says of one key or encoding alone.
var ofOneKey = regexp.MustCompile(` \(RDB type \d+\)|, and key ".*" has such fields`)

func dash(s string) string {
	if s == "" {
		return "–"
	}
	return s
}

// writeProblems tells what is not as it must be, if anything.
func (m *matrix) writeProblems(b *strings.Builder) {
	var all []string
	for _, p := range m.pairs {
		all = append(all, p.problems...)
	}
	if len(all) == 0 {
		return
	}
	b.WriteString("## What is wrong\n\nThe matrix failed with these:\n\n")
	for _, text := range all {
		fmt.Fprintf(b, "- %s\n", text)
	}
	b.WriteByte('\n')
}

func (m *matrix) writeAgain(b *strings.Builder) {
	var runs, read, written int64
	for _, p := range m.pairs {
		for _, a := range p.accounts {
			runs++
			read += a.Read
			written += a.Written
		}
	}
	fmt.Fprintf(b, `## What was checked

In %d imports %d keys were read and %d written. Unless this page has a part "What is wrong", each key that was written
was there with the same type, value and expiry, each that was not was named, and read = written + skipped + expired +
filtered + failed held for each import. What a rebuilt value is said to lose is left out of the comparison.
How a value came over is what the masters saw (MONITOR), not what the import said.

By `+"`--via sync`"+` a writer changed keys of all types (but vector sets and fields with an expiry) before the full copy,
meanwhile and afterwards, with commands that only newer servers know among them. The first run followed and was ended by SIGTERM when the writer had
stopped, the second came to its end by `+"`--once`"+`. Then all keys were compared. What SCAN refuses was refused, and was left out
(`+"`--on-unsupported skip`"+`). Four things can't be told:

- Redis 6.0 doesn't say when a key expires, only how long it has still to live. Expiries are checked to the millisecond,
  but only to half a second in a target of 6.0 or by SCAN from a source of 6.0, and to a second with both. Commands of
  a source of 6.0 say how long a key has still to live, which may be %d ms old when they are read.
- What only one of both servers keeps of a stream is not compared, such as the highest deleted ID.
- A consumer that was never given an entry may be missing after `+"`--via sync`"+`: servers don't replicate it.
- Of a vector set, the members and their vectors are compared, not the graph that connects them.

## To make it again

    make matrix

It fetches the servers (Debian's packages, amd64) into the user's cache folder, or that named by
`+"`SLOTFERRY_SERVERS`"+`, installs nothing, and takes %s. A part of it: `+"`go run ./matrix --sources redis-7.0 --targets valkey-9.1 --out FILE`"+`.
`, runs, read, written, lateTTL, about(time.Since(m.begun)))
}

// about is a duration as a person says it.
func about(d time.Duration) string {
	if d < 2*time.Minute {
		return fmt.Sprintf("about %d seconds", int(d.Seconds()/10+1)*10)
	}
	return fmt.Sprintf("about %d minutes", int(d.Minutes()+1))
}
