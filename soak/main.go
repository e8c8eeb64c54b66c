// Command soak lets slotferry serve run for minutes or hours while things go
// wrong around it. One job mirrors a server that is written to, by its schedule;
// another one follows a second server; both write to one cluster of masters with
// replicas. Meanwhile masters and sources are killed, frozen and cut off, the
// service is killed, and its settings are read again. All along its metrics are
// read: counters must not fall, and memory, goroutines and open files must not
// grow. In the end the metrics must agree with the history, every key of both
// sources must be in the cluster as it is at home, and no log, answer or file may
// hold a secret. Everything is real, runs on this machine and listens on loopback
// only. It ends and removes all that it started, but for the folder of a service
// that failed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

// endLimit is how long it may take from the end of the faults to the verdict,
// and the start of all servers.
const endLimit = 15 * time.Minute

// silence keeps go-redis from printing: connections break here all the time.
type silence struct{}

func (silence) Printf(context.Context, string, ...any) {}

func main() {
	o, err := parse(os.Args[1:], os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(2)
	}
	redis.SetLogger(silence{})
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	ctx, cancel := context.WithTimeoutCause(ctx, o.lasts+endLimit, fmt.Errorf("not done %s after the time was up", endLimit))
	err = run(ctx, o)
	cancel()
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

// run is the whole soak. What goes wrong on the way does not end it: more may
// come to light.
func run(ctx context.Context, o options) (err error) {
	dir, err := os.MkdirTemp(o.dir, "slotferry-soak-")
	if err != nil {
		return fmt.Errorf("making a folder: %w", err)
	}
	s := &soak{options: o, dir: dir, begun: time.Now()}
	defer func() {
		switch {
		case err != nil && ctx.Err() == nil:
			err = fmt.Errorf("%w\nkept in %s", err, dir)
		case o.keep:
			s.say("kept in %s", dir)
		default:
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	s.say("seed %d, %s: building slotferry, starting servers", o.seed, o.lasts)
	if err := s.start(ctx); err != nil {
		return errors.Join(err, s.stop())
	}
	s.disturb(ctx)
	if ctx.Err() == nil {
		s.finish(ctx)
	}
	err = errors.Join(s.stop(), s.failed())
	if ctx.Err() != nil {
		return errors.Join(fmt.Errorf("stopped: %w", context.Cause(ctx)), err)
	}
	text := s.report(ctx).markdown()
	fmt.Print(text)
	if o.out != "" {
		err = errors.Join(err, os.WriteFile(o.out, []byte(text), 0o644))
	}
	return err
}
