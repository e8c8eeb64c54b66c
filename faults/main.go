// Command faults makes things go wrong, on purpose, while slotferry imports: it
// kills the tool, masters and the source, fails masters over, moves slots, cuts
// connections. Everything is real and runs on this machine: a source, a cluster
// of masters with replicas and append-only files, and the tool as a process of
// its own. At the end of each run every key is compared, both ways, value and
// expiry, by a comparison that is not the tool's. It fails when a key differs,
// when the tool's account does not add up, when it ends as it should not, and
// when a fault could not be made in the middle of an import. It listens and
// connects on loopback only, and ends and removes all that it started, but for
// the folder of a run that failed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

const wholeLimit = 6 * time.Hour

// silence keeps go-redis from printing: connections break here all the time.
type silence struct{}

func (silence) Printf(context.Context, string, ...any) {}

func main() {
	o, err := parse(os.Args[1:], os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
		os.Exit(2)
	}
	if o.list {
		for _, f := range faults {
			fmt.Printf("%-18s %3d × %s\n                         %s\n", f.name, f.times(), strings.Join(f.of(), ", "), f.about)
		}
		return
	}
	redis.SetLogger(silence{})
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	ctx, cancel := context.WithTimeoutCause(ctx, wholeLimit, fmt.Errorf("not done after %s", wholeLimit))
	err = run(ctx, o)
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("stopped: %w", context.Cause(ctx))
	}
	cancel()
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) (err error) {
	begun := time.Now()
	dir, err := os.MkdirTemp(o.dir, "slotferry-faults-")
	if err != nil {
		return fmt.Errorf("making a folder: %w", err)
	}
	say("seed %d: building the tool, starting servers", o.seed)
	built, err := buildTool(ctx, dir)
	if err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	// Most of the time is spent waiting: the two don't disturb each other.
	suites := []*suite{{options: o, dir: dir, tool: built}, {options: o, dir: dir, tool: built, living: true}}
	defer func() {
		if !suites[0].keep && !suites[1].keep {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	failures := make([]error, len(suites))
	var running sync.WaitGroup
	for i, s := range suites {
		running.Go(func() { failures[i] = s.all(ctx) })
	}
	running.Wait()
	failed := errors.Join(failures...)
	r := report{options: o, took: time.Since(begun)}
	server := ""
	for _, s := range suites {
		r.rows = append(r.rows, s.rows...)
		if s.rig != nil && s.rig.source != nil {
			server = s.rig.source.Version.String()
		}
	}
	if len(r.rows) == 0 {
		return errors.New("none of these faults is made with these sources")
	}
	r.environment = describe(ctx, server)
	text := r.markdown()
	fmt.Print(text)
	if o.out != "" {
		failed = errors.Join(failed, os.WriteFile(o.out, []byte(text), 0o644))
	}
	return failed
}

// say tells the person who waits what is going on.
func say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, time.Now().Format("15:04:05 ")+format+"\n", args...)
}
