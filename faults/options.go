package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
)

// What the tool reads.
const (
	fromRDB    = "rdb"
	fromScan   = "scan"
	fromSync   = "sync"   // as a replica, which goes on with what is written
	fromFollow = "follow" // by SCAN, and then by what the source notifies
)

var (
	sourceKinds = []string{fromRDB, fromScan} // that stand still
	livingKinds = []string{fromSync, fromFollow}
	allKinds    = slices.Concat(sourceKinds, livingKinds)
)

const (
	usualKeys = 60_000
	shortKeys = 12_000
)

// options are the flags.
type options struct {
	keys, runs, first int
	seed              uint64
	names, sources    []string
	out, dir          string
	short, list       bool
}

// parse reads the flags; what is wrong with them is on the error.
func parse(args []string, usage io.Writer) (options, error) {
	var o options
	var names, sources string
	f := flag.NewFlagSet("faults", flag.ContinueOnError)
	f.SetOutput(usage)
	f.IntVar(&o.keys, "keys", usualKeys, "`number` of keys")
	f.IntVar(&o.runs, "runs", 0, "`number` of runs of each fault and source (default: each fault's own, see --list)")
	f.IntVar(&o.first, "first", 1, "`number` of the first run: with --runs 1 a single one can be had again")
	f.Uint64Var(&o.seed, "seed", 0, "the `number` that decides every random choice (default: drawn, and printed)")
	f.StringVar(&names, "faults", "", "`names` of the faults, with commas between them (default: all; see --list)")
	f.StringVar(&sources, "sources", strings.Join(allKinds, ","), "what the tool reads: rdb (a file), scan (a server), sync and follow (a server that is written to)")
	f.StringVar(&o.out, "out", "", "`file` for the table, beside standard output")
	f.StringVar(&o.dir, "dir", "", "parent `folder` of temporary data (default the system's)")
	f.BoolVar(&o.short, "short", false, fmt.Sprintf("only the most telling faults, once each, with %d keys", shortKeys))
	f.BoolVar(&o.list, "list", false, "only list the faults")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	o.sources = strings.Split(sources, ",")
	for _, known := range faults {
		if names == "" && (!o.short || len(known.short) > 0) {
			o.names = append(o.names, known.name)
		}
	}
	if names != "" {
		o.names = strings.Split(names, ",")
	}
	if o.short {
		o.keys, o.runs = shortKeys, 1
	}
	for o.seed == 0 {
		o.seed = rand.Uint64N(1e9)
	}
	return o, o.check(f.Args())
}

func (o options) check(rest []string) error {
	if len(rest) > 0 {
		return fmt.Errorf("%q is no flag", rest[0])
	}
	if o.keys < 1000 || o.runs < 0 || o.first < 1 {
		return errors.New("--keys must be at least 1000, --runs must not be negative, and --first at least 1")
	}
	for _, name := range o.names {
		if !slices.ContainsFunc(faults, func(f *fault) bool { return f.name == name }) {
			return fmt.Errorf("--faults %q is not known: see --list", name)
		}
	}
	for _, kind := range o.sources {
		if !slices.Contains(allKinds, kind) {
			return fmt.Errorf("--sources %q is not known: choose of %s", kind, strings.Join(allKinds, ", "))
		}
	}
	return nil
}

// command says how to have runs again, without this machine's paths.
func (o options) command(names, sources []string, first, runs int) string {
	text := fmt.Sprintf("go run ./faults --seed %d --keys %d --faults %s --sources %s", o.seed, o.keys, strings.Join(names, ","), strings.Join(sources, ","))
	if first > 1 {
		text += fmt.Sprintf(" --first %d", first)
	}
	if runs > 0 {
		text += fmt.Sprintf(" --runs %d", runs)
	}
	return text
}
