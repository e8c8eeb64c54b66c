// Command bench measures how fast slotferry carries a data set into a cluster,
// as a ratio to the ceiling: the same RESTORE commands, made beforehand and sent
// over raw connections. Everything is real and runs on this machine: a source, a
// cluster of masters with passwords, and the tool as a process of its own, in
// turn with the ceiling. It fails when a run loses a key; how fast it was is for
// the reader of the report to judge. It listens and connects on loopback only,
// and ends and removes all that it started.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	shortKeys = 50_000
	runLimit  = 2 * time.Hour // for the whole of it
)

// options are the flags.
type options struct {
	keys, pairs, masters int
	sets, sources        []string
	out, dir             string
	short                bool
}

func main() {
	o, err := parse(os.Args[1:], os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	ctx, cancel := context.WithTimeoutCause(ctx, runLimit, fmt.Errorf("not done after %s", runLimit))
	err = run(ctx, o)
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("stopped: %w", context.Cause(ctx))
	}
	cancel()
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// parse reads the flags; what is wrong with them is on the error.
func parse(args []string, usage io.Writer) (options, error) {
	var o options
	var sets, sources string
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(usage)
	f.IntVar(&o.keys, "keys", 1_000_000, "`number` of keys")
	f.IntVar(&o.pairs, "pairs", 3, "`number` of times that ceiling and tool run in turn, for each job")
	f.IntVar(&o.masters, "masters", 3, "`number` of masters of the cluster")
	f.StringVar(&sets, "set", "mixed,small", "data sets: mixed (all types), small (strings of 64 bytes)")
	f.StringVar(&sources, "sources", "rdb,scan", "what the tool reads: rdb (a file), scan (the live server)")
	f.StringVar(&o.out, "out", "bench/RESULTS.md", "`file` for the report")
	f.StringVar(&o.dir, "dir", "", "`folder` for temporary data, several times the data set (default the system's)")
	f.BoolVar(&o.short, "short", false, fmt.Sprintf("only see that it works: %d keys, 1 pair, no report file", shortKeys))
	if err := f.Parse(args); err != nil {
		return o, err
	}
	o.sets, o.sources = strings.Split(sets, ","), strings.Split(sources, ",")
	if o.short {
		o.keys, o.pairs = shortKeys, 1
	}
	return o, o.check(f.Args())
}

func (o options) check(rest []string) error {
	if len(rest) > 0 {
		return fmt.Errorf("%q is no flag", rest[0])
	}
	if o.keys < 1 || o.pairs < 1 || o.masters < 1 {
		return errors.New("--keys, --pairs and --masters must be at least 1")
	}
	for _, name := range o.sets {
		if !slices.ContainsFunc(dataSets, func(s dataSet) bool { return s.name == name }) {
			return fmt.Errorf("--set %q is not known: mixed, small or both with a comma", name)
		}
	}
	for _, name := range o.sources {
		if name != viaRDB && name != viaScan {
			return fmt.Errorf("--sources %q is not known: rdb, scan or both with a comma", name)
		}
	}
	return nil
}

// command says how to get the same report again, without this machine's paths.
func (o options) command() string {
	return fmt.Sprintf("go run ./bench --keys %d --pairs %d --masters %d --set %s --sources %s",
		o.keys, o.pairs, o.masters, strings.Join(o.sets, ","), strings.Join(o.sources, ","))
}

func run(ctx context.Context, o options) (err error) {
	dir, err := os.MkdirTemp(o.dir, "slotferry-bench-")
	if err != nil {
		return fmt.Errorf("making a folder for temporary data: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	say("building the tool")
	tool, err := buildTool(ctx, dir)
	if err != nil {
		return err
	}
	say("starting a cluster of %d masters", o.masters)
	target, err := startTarget(ctx, dir, o.masters)
	if err != nil {
		return err
	}
	defer target.cluster.Stop()

	r := report{environment: describe(ctx, target), options: o}
	b := &bench{options: o, dir: dir, tool: tool, target: target}
	for _, s := range dataSets {
		if !slices.Contains(o.sets, s.name) {
			continue
		}
		result, err := b.measure(ctx, s)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		r.sets = append(r.sets, result)
	}
	text := r.markdown()
	fmt.Print(text)
	if o.short {
		return nil
	}
	return os.WriteFile(o.out, []byte(text), 0o644)
}

// say tells the person who waits what is going on.
func say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, time.Now().Format("15:04:05 ")+format+"\n", args...)
}
