// Command matrix imports from every version of Redis, Valkey and Redict at hand
// into every other one, from the file that a server saved and from the live
// server, and says of every kind of value how it came over: as the bytes that
// DUMP gave, under an older RDB version, rebuilt by commands, or not at all. It
// believes nothing that the tool says: each key is read from both sides and
// compared, and the masters' own MONITOR tells how it got there. It writes
// docs/compatibility.md, and fails when a key that was reported as written
// differs, when one is lost without being named, when the account does not add
// up, or when a value came over in another way than the servers allow. It
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
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	runLimit = time.Hour // for the whole of it
	outFile  = "docs/compatibility.md"
)

type options struct {
	servers          string
	sources, targets string
	out              string
	short            bool
}

func main() {
	var o options
	flag.StringVar(&o.servers, "servers", os.Getenv("SLOTFERRY_SERVERS"), "`folder` of the servers, fetched into it if they are missing (default $SLOTFERRY_SERVERS, or slotferry/servers in the user's cache folder)")
	flag.StringVar(&o.sources, "sources", "", "`names` of the versions to import from, with commas between them (default all)")
	flag.StringVar(&o.targets, "targets", "", "`names` of the versions to import into (default all)")
	flag.StringVar(&o.out, "out", outFile, "`file` for the report")
	flag.BoolVar(&o.short, "short", false, "only the installed server to itself, no report file")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "matrix: %q is no flag\n", flag.Arg(0))
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	ctx, cancel := context.WithTimeoutCause(ctx, runLimit, fmt.Errorf("not done after %s", runLimit))
	err := run(ctx, o)
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("stopped: %w", context.Cause(ctx))
	}
	cancel()
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "matrix:", err)
		os.Exit(1)
	}
}

// matrix is everything there is while it runs.
type matrix struct {
	tool    string
	dir     string
	sources []*version
	targets []*version
	filled  []*source
	pairs   []*pair
	begun   time.Time
}

func run(ctx context.Context, o options) (err error) {
	m := &matrix{begun: time.Now()}
	if m.dir, err = os.MkdirTemp("", "slotferry-matrix-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(m.dir)) }()
	if err := m.choose(ctx, o); err != nil {
		return err
	}
	say("building the tool")
	if m.tool, err = buildTool(ctx, m.dir); err != nil {
		return err
	}
	defer func() {
		for _, s := range m.filled {
			s.server.Stop()
		}
	}()
	for _, v := range m.sources {
		s, err := startSource(ctx, m.dir, v)
		if err != nil {
			return err
		}
		say("%s (%s) holds %d keys", v.title, v.exact, len(s.keys))
		m.filled = append(m.filled, s)
	}
	for _, v := range m.targets {
		if err := m.into(ctx, v); err != nil {
			return err
		}
	}
	if !o.short {
		if err := os.WriteFile(o.out, []byte(m.markdown(commit(ctx))), 0o644); err != nil {
			return err
		}
		say("written: %s", o.out)
	}
	return m.verdict()
}

// choose fills in the servers.
func (m *matrix) choose(ctx context.Context, o options) (err error) {
	if o.short {
		v, err := installed(ctx)
		m.sources, m.targets = []*version{v}, []*version{v}
		return err
	}
	if o.servers == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return fmt.Errorf("no folder for the servers, name one with --servers: %w", err)
		}
		o.servers = filepath.Join(cache, "slotferry", "servers")
	}
	for _, side := range []struct {
		names string
		to    *[]*version
	}{{o.sources, &m.sources}, {o.targets, &m.targets}} {
		chosen, err := choose(strings.FieldsFunc(side.names, func(r rune) bool { return r == ',' }))
		if err == nil {
			*side.to, err = provide(ctx, o.servers, chosen)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// into tries all sources on a cluster of one version.
func (m *matrix) into(ctx context.Context, v *version) error {
	t, err := startTarget(ctx, m.dir, v)
	if err != nil {
		return err
	}
	defer t.stop()
	for _, s := range m.filled {
		p, err := m.try(ctx, s, t)
		if err != nil {
			return err
		}
		say("%s → %s: %s", s.title, v.title, p.short())
		m.pairs = append(m.pairs, p)
	}
	return nil
}

// verdict is an error if anything is not as it must be.
func (m *matrix) verdict() error {
	var n int
	for _, p := range m.pairs {
		n += len(p.problems)
	}
	if n > 0 {
		return fmt.Errorf("%d problems, see above", n)
	}
	say("%d pairs, each by file, by SCAN and by sync, are as they should be; %s", len(m.pairs), time.Since(m.begun).Round(time.Second))
	return nil
}

// say tells the person who waits what is going on.
func say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, time.Now().Format("15:04:05 ")+format+"\n", args...)
}
