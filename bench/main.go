// Command bench measures how fast slotferry carries a data set into a cluster,
// as a ratio to the ceiling: the same RESTORE commands, made beforehand and sent
// over raw connections. Everything is real and runs on this machine: a source, a
// cluster of masters with passwords, and the tool as a process of its own, in
// turn with the ceiling. Beside it run redis-cli's import, the live copy from
// its first key to the cutover, the same import over a long line, and Go's
// benchmarks of the hot path. It fails when a run loses a key or finds a
// difference; how fast it was is for the reader of the report to judge. It
// listens and connects on loopback only, and ends and removes all that it
// started.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"
)

const runLimit = 2 * time.Hour // for the whole of it

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

func run(ctx context.Context, o options) (err error) {
	begun := time.Now()
	dir, err := os.MkdirTemp(o.dir, "slotferry-bench-")
	if err != nil {
		return fmt.Errorf("making a folder for temporary data: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	b := &bench{options: o, dir: dir}
	r := report{options: o}
	if err := b.start(ctx, &r); err != nil {
		return err
	}
	defer b.target.cluster.Stop()
	if err := b.all(ctx, &r); err != nil {
		return err
	}
	if slices.Contains(o.parts, partMicro) {
		b.target.cluster.Stop() // its processes would disturb
		if r.micro, err = micro(ctx, o.short); err != nil {
			return err
		}
	}
	r.took = time.Since(begun)
	text := r.markdown()
	fmt.Print(text)
	if o.short {
		return nil
	}
	return os.WriteFile(o.out, []byte(text), 0o644)
}

// start builds the tool and starts the cluster.
func (b *bench) start(ctx context.Context, r *report) (err error) {
	say("building the tool")
	if b.tool, err = buildTool(ctx, b.dir); err != nil {
		return err
	}
	say("starting a cluster of %d masters", b.options.masters)
	if b.target, err = startTarget(ctx, b.dir, b.options.masters); err != nil {
		return err
	}
	r.environment = describe(ctx, b.target)
	return nil
}

// all measures the parts that were asked for.
func (b *bench) all(ctx context.Context, r *report) (err error) {
	parts := b.options.parts
	if slices.Contains(parts, partImport) {
		for _, s := range dataSets {
			if !slices.Contains(b.options.sets, s.name) {
				continue
			}
			result, err := b.measure(ctx, s, b.options.keys)
			if err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			r.sets = append(r.sets, result)
		}
	}
	if slices.Contains(parts, partCLI) {
		if r.cli, err = b.compareCLI(ctx); err != nil {
			return fmt.Errorf("beside redis-cli: %w", err)
		}
	}
	if slices.Contains(parts, partSync) {
		if r.syncs, err = b.measureSyncs(ctx); err != nil {
			return fmt.Errorf("full copies by PSYNC: %w", err)
		}
	}
	if slices.Contains(parts, partTail) {
		if r.tails, err = b.measureTails(ctx); err != nil {
			return fmt.Errorf("following a source: %w", err)
		}
	}
	if slices.Contains(parts, partSwitch) {
		if r.cutovers, err = b.measureCutovers(ctx); err != nil {
			return fmt.Errorf("cutover: %w", err)
		}
	}
	if slices.Contains(parts, partDelay) {
		if r.delay, err = b.measureDelays(ctx); err != nil {
			return fmt.Errorf("over a long line: %w", err)
		}
	}
	if slices.Contains(parts, partLimits) {
		if r.limits, err = b.measureLimits(ctx); err != nil {
			return fmt.Errorf("limits: %w", err)
		}
	}
	if slices.Contains(parts, partHuge) {
		if r.huge, err = b.measureHuge(ctx); err != nil {
			return fmt.Errorf("huge values: %w", err)
		}
	}
	if slices.Contains(parts, partGrowth) {
		b.target.cluster.Stop() // each point starts its own
		if r.growth, err = b.measureGrowth(ctx); err != nil {
			return fmt.Errorf("growth: %w", err)
		}
	}
	return nil
}

// say tells the person who waits what is going on.
func say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, time.Now().Format("15:04:05 ")+format+"\n", args...)
}
