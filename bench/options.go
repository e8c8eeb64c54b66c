package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
)

// The parts of the measurement.
const (
	partImport = "import"
	partCLI    = "redis-cli"
	partDelay  = "delay"
	partMicro  = "micro"
	partGrowth = "growth"
	partLimits = "limits"
	partHuge   = "huge"
	partSync   = "sync"
	partTail   = "tail"
	partSwitch = "cutover"
)

var (
	usualParts = []string{partImport, partCLI, partSync, partTail, partSwitch, partDelay, partLimits, partMicro}
	allParts   = append(usualParts[:len(usualParts):len(usualParts)], partGrowth, partHuge)
	setNames   = func() (names []string) {
		for _, s := range dataSets {
			names = append(names, s.name)
		}
		return names
	}()
	sourceNames = []string{viaRDB, viaScan}
)

const (
	shortKeys   = 10_000
	resultsFile = "bench/RESULTS.md"
	growthFile  = "bench/GROWTH.md"
	hugeFile    = "bench/HUGE.md"
)

// options are the flags.
type options struct {
	keys, pairs, masters int
	resumeKeys           int
	parts, sets, sources []string
	out, dir             string
	growth, huge, short  bool
}

// parse reads the flags; what is wrong with them is on the error.
func parse(args []string, usage io.Writer) (options, error) {
	var o options
	var parts, sets, sources string
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(usage)
	f.IntVar(&o.keys, "keys", 1_000_000, "`number` of keys")
	f.IntVar(&o.pairs, "pairs", 3, "`number` of times that ceiling and tool run in turn, for each job")
	f.IntVar(&o.masters, "masters", 3, "`number` of masters of the cluster")
	f.StringVar(&parts, "parts", strings.Join(usualParts, ","), "what to measure: import, redis-cli, sync (the full copy of PSYNC), tail (what is written behind it), cutover, delay (a longer line), limits (rates, resuming, the source's other clients), micro (Go's benchmarks)")
	f.StringVar(&sets, "set", strings.Join(setNames, ","), "data sets: mixed (all types), small (strings of 64 bytes), big (values of 1 to 64 MiB)")
	f.StringVar(&sources, "sources", strings.Join(sourceNames, ","), "what the tool reads: rdb (a file), scan (the live server)")
	f.BoolVar(&o.growth, "growth", false, fmt.Sprintf("measure instead what more keys (%s) and more masters cost, once each; the report is %s", pointsText(), growthFile))
	f.BoolVar(&o.huge, "huge", false, fmt.Sprintf("import instead one huge value after the other; the report is %s", hugeFile))
	f.IntVar(&o.resumeKeys, "resume-keys", 0, "with the part limits: resume an import of so many keys, too; such as 5000000")
	f.StringVar(&o.out, "out", "", fmt.Sprintf("`file` for the report (default %s)", resultsFile))
	f.StringVar(&o.dir, "dir", "", "`folder` for temporary data, several times the data set (default the system's)")
	f.BoolVar(&o.short, "short", false, fmt.Sprintf("only see that everything works: %d keys, 1 pair, no report file", shortKeys))
	if err := f.Parse(args); err != nil {
		return o, err
	}
	o.parts, o.sets, o.sources = strings.Split(parts, ","), strings.Split(sets, ","), strings.Split(sources, ",")
	switch {
	case o.short:
		o.keys, o.pairs = shortKeys, 1
		chosen := false
		f.Visit(func(g *flag.Flag) { chosen = chosen || g.Name == "parts" })
		if !chosen {
			o.parts = allParts
		}
	case o.growth:
		o.pairs, o.parts = 1, []string{partGrowth}
	case o.huge:
		o.pairs, o.parts = 1, []string{partHuge}
	}
	if o.out == "" {
		o.out = resultsFile
		if o.growth {
			o.out = growthFile
		}
		if o.huge {
			o.out = hugeFile
		}
	}
	return o, o.check(f.Args())
}

func (o options) check(rest []string) error {
	if len(rest) > 0 {
		return fmt.Errorf("%q is no flag", rest[0])
	}
	if o.keys < 1 || o.pairs < 1 || o.masters < 1 || o.resumeKeys < 0 {
		return errors.New("--keys, --pairs and --masters must be at least 1, --resume-keys not negative")
	}
	for _, list := range []struct {
		flag          string
		chosen, known []string
	}{{"parts", o.parts, allParts}, {"set", o.sets, setNames}, {"sources", o.sources, sourceNames}} {
		for _, name := range list.chosen {
			if !slices.Contains(list.known, name) {
				return fmt.Errorf("--%s %q is not known: choose of %s, with commas between them", list.flag, name, strings.Join(list.known, ", "))
			}
		}
	}
	return nil
}

// command says how to get the same report again, without this machine's paths.
func (o options) command() string {
	if o.growth {
		return fmt.Sprintf("go run ./bench --growth --sources %s", strings.Join(o.sources, ","))
	}
	if o.huge {
		return fmt.Sprintf("go run ./bench --huge --sources %s", strings.Join(o.sources, ","))
	}
	text := fmt.Sprintf("go run ./bench --keys %d --pairs %d --masters %d --parts %s --set %s --sources %s",
		o.keys, o.pairs, o.masters, strings.Join(o.parts, ","), strings.Join(o.sets, ","), strings.Join(o.sources, ","))
	if o.resumeKeys > 0 {
		text += fmt.Sprintf(" --resume-keys %d", o.resumeKeys)
	}
	return text
}

// pointsText lists the sizes of --growth.
func pointsText() string {
	var sizes []string
	for _, p := range points {
		sizes = append(sizes, fmt.Sprintf("%d with %d masters", p.keys, p.masters))
	}
	return strings.Join(sizes, ", ")
}
