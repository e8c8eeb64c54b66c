package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"

	"github.com/slotferry/slotferry/configs"
	"github.com/slotferry/slotferry/importer/choice"
	"github.com/slotferry/slotferry/importer/endpoint"
	"github.com/slotferry/slotferry/internal/dataset"
	"github.com/slotferry/slotferry/internal/sandbox"
)

// The demo's passwords guard nothing: its servers listen on loopback only and
// hold made-up data.
const (
	demoSourcePassword = "source-demo"
	demoTargetPassword = "cluster-demo"
	demoPrefix         = "db1:" // for the keys of its second database
)

// demo is the stage: real servers in a temporary folder.
type demo struct {
	keys   int
	keep   bool
	out    io.Writer
	dir    string
	source *sandbox.Server
	target *sandbox.Cluster
}

func demoCommand() *cobra.Command {
	d := &demo{}
	cmd := &cobra.Command{
		Use:   "demo [--keys N] [--keep]",
		Short: "Show an import between real servers, started here for the purpose",
		Long: `Start a password-protected redis-server with sample data of every type and a
password-protected cluster of three masters with a replica each, on free ports of
this machine; plan the import, import one into the other, and compare both sides.
Needs redis-server and redis-cli. Everything is removed at the end.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if d.keys < 1 {
				return &usageError{fmt.Errorf("--keys %d: it must be 1 at least", d.keys)}
			}
			d.out = cmd.OutOrStdout()
			return d.run(cmd.Context())
		},
	}
	cmd.Flags().IntVar(&d.keys, "keys", 100_000, "sample keys")
	cmd.Flags().BoolVar(&d.keep, "keep", false, "leave the servers running and say how to connect")
	return cmd
}

func (d *demo) run(ctx context.Context) (err error) {
	if d.dir, err = os.MkdirTemp("", "slotferry-demo-"); err != nil {
		return err
	}
	kept := false
	defer func() {
		if !kept {
			d.remove()
		}
	}()
	if err := d.start(ctx); err != nil {
		return err
	}
	if err := d.plan(ctx); err != nil {
		return err
	}
	if err := d.carry(ctx); err != nil {
		return err
	}
	if err := d.check(ctx); err != nil {
		return err
	}
	if d.keep {
		kept = true
		d.sayHow()
	}
	return nil
}

func (d *demo) say(format string, args ...any) { fmt.Fprintf(d.out, format+"\n", args...) }

// start starts the servers and fills the source.
func (d *demo) start(ctx context.Context) (err error) {
	d.say("starting a source and a cluster of 3 masters and 3 replicas, all with passwords …")
	o := sandbox.Options{Password: demoSourcePassword, Dir: d.dir, KeepRunning: d.keep}
	if d.source, err = sandbox.Start(ctx, o); err != nil {
		return err
	}
	o.Password, o.AppendOnly = demoTargetPassword, true
	d.target, err = sandbox.StartCluster(ctx, sandbox.ClusterOptions{Options: o, Masters: 3, Replicas: 1})
	if err != nil {
		return err
	}
	d.say("filling the source with %s keys of every type …", humanize.Comma(int64(d.keys)))
	main := dataset.Mixed(d.keys)
	second := dataset.Options{Keys: max(1, d.keys/50), Seed: 2, DB: 1, BinaryKeys: true}
	for _, o := range []dataset.Options{main, second} {
		s, err := dataset.Fill(ctx, d.source.Client(), o)
		if err != nil {
			return fmt.Errorf("fill the source: %w", err)
		}
		d.say("  db %d: %s keys, %s of them with an expiry, %d function libraries; %v", o.DB, humanize.Comma(int64(s.Keys)), humanize.Comma(int64(s.Expiring)), s.Functions, s.Types)
	}
	return nil
}

// common is what the commands of the demo share.
func (d *demo) common() configs.Common {
	return configs.Common{
		Source: configs.Source{Kind: configs.KindRedis, DB: -1, Text: "redis://" + d.source.Addr,
			Endpoint: endpoint.Endpoint{Addr: d.source.Addr, Password: demoSourcePassword}},
		Target: configs.Target{Seeds: d.target.Seeds()[:1], Text: "redis://" + d.target.Seeds()[0],
			Endpoint: endpoint.Endpoint{Addr: d.target.Seeds()[0], Password: demoTargetPassword}},
		Choice:   choice.Options{DBMap: map[int]string{1: demoPrefix}},
		RetryFor: time.Minute, Memory: 256 << 20, ScanCount: 1000, Output: "auto",
	}
}

// command shows a command line that does what follows.
func (d *demo) command(name, more string) {
	d.say("\n$ slotferry %s --source redis://%s --target redis://%s --db-map 1=%s%s\n", name, d.source.Addr, d.target.Seeds()[0], demoPrefix, more)
}

// plan shows how the data will lie on the cluster.
func (d *demo) plan(ctx context.Context) error {
	c := &configs.Plan{Common: d.common(), Policy: demoPolicy, Format: "text"}
	d.command("plan", "")
	if err := runPlan(ctx, c, nil, d.out); err != nil {
		return err
	}
	if !d.keep {
		return nil
	}
	c.Format, c.Out = "html", filepath.Join(d.dir, "plan.html")
	d.command("plan", " --format html --out "+c.Out)
	return runPlan(ctx, c, nil, d.out)
}

var demoPolicy = configs.Policy{OnExists: "fail", OnUnsupported: "fail", Functions: "replace"}

// carry runs the import as the command line would.
func (d *demo) carry(ctx context.Context) error {
	d.command("import", "")
	_, err := runImport(ctx, &configs.Import{
		Common: d.common(), Policy: demoPolicy, Resume: configs.Resume{Job: "demo", Checkpoint: filepath.Join(d.dir, "checkpoint")},
	}, nil, d.out)
	return err
}

// check compares both sides, both ways, and asks the masters what they hold.
func (d *demo) check(ctx context.Context) error {
	d.command("verify", " --extra")
	_, err := runVerify(ctx, &configs.Verify{
		Common: d.common(), Resume: configs.Resume{Job: "demo", Checkpoint: "none"},
		Rounds: configs.Rounds{Count: 3, Pause: time.Second}, Extra: true, Format: "text",
	}, d.out)
	if err != nil {
		return err
	}
	d.say("")
	masters, err := d.target.Masters(ctx)
	if err != nil {
		return err
	}
	for _, m := range masters {
		n, err := m.Client().DBSize(ctx).Result()
		if err != nil {
			return err
		}
		libs, err := m.Client().FunctionList(ctx, redis.FunctionListQuery{}).Result()
		if err != nil {
			libs = nil // the server is older than 7.0
		}
		d.say("  master %s: %s keys by DBSIZE, %d function libraries", m.Addr, humanize.Comma(n), len(libs))
	}
	return nil
}

// sayHow tells how to reach what is left running, and how to end it.
func (d *demo) sayHow() {
	d.say("\nstill running, as you asked:")
	d.say("  source:  REDISCLI_AUTH=%s redis-cli -p %d", demoSourcePassword, d.source.Port)
	d.say("  cluster: REDISCLI_AUTH=%s redis-cli -c -p %d", demoTargetPassword, d.target.Nodes[0].Port)
	pids := fmt.Sprint(d.source.PID())
	for _, n := range d.target.Nodes {
		pids += fmt.Sprint(" ", n.PID())
	}
	if runtime.GOOS == "windows" {
		d.say("end it: stop the processes %s and remove %s", pids, d.dir)
		return
	}
	d.say("end it:    kill %s; rm -r %s", pids, d.dir)
}

func (d *demo) remove() {
	if d.target != nil {
		d.target.Stop()
	}
	if d.source != nil {
		d.source.Stop()
	}
	_ = os.RemoveAll(d.dir)
}
