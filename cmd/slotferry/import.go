package main

import (
	"context"
	"errors"
	"io"
	"os"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/slotferry/slotferry/checkpoint"
	"github.com/slotferry/slotferry/configs"
	"github.com/slotferry/slotferry/importer"
	"github.com/slotferry/slotferry/importer/choice"
	"github.com/slotferry/slotferry/importer/source/rdb"
	"github.com/slotferry/slotferry/importer/source/scan"
	"github.com/slotferry/slotferry/importer/target"
)

func importCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import --source SRC --target TGT",
		Short: "Copy every key into the cluster; run it again to go on after any stop",
		Long: `Copy every key, value and expiry of the source into the cluster's masters.

Nothing is written before both sides were looked at; whatever stands in the way
is listed at once. Progress is kept in a checkpoint: after a Ctrl-C, a crash or a
failure the same command goes on where it stopped. The source is never changed.`,
		Example: `  # an RDB file (passwords from files, not from the command line)
  slotferry import --source /var/lib/redis/dump.rdb \
      --target redis://10.0.0.1:6379,10.0.0.2:6379 --target-password-file /run/secrets/cluster

  # a live server, both passwords from the environment
  export SLOTFERRY_SOURCE_PASSWORD=… SLOTFERRY_TARGET_PASSWORD=…
  slotferry import --source redis://10.0.0.9:6379 --target redis://10.0.0.1:6379

  # a file that comes over ssh, database 1 under a prefix
  ssh old-host cat dump.rdb | slotferry import --source - --target redis://10.0.0.1:6379 --db-map 1=db1:`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := configs.Load(cmd.Flags(), configs.Environment{})
			if err != nil {
				return &usageError{err}
			}
			_, err = runImport(cmd.Context(), c, cmd.InOrStdin(), cmd.OutOrStdout())
			return err
		},
	}
	configs.Flags(cmd.Flags())
	cmd.SetUsageFunc(usage)
	cmd.SetHelpFunc(help)
	return cmd
}

// runImport runs one import and tells the operator all about it.
func runImport(ctx context.Context, c *configs.Import, stdin io.Reader, stdout io.Writer) (importer.Summary, error) {
	// The rest is for what the collector does not count: code, and memory that it
	// has not given back yet.
	debug.SetMemoryLimit(c.Memory * 9 / 10)
	out := newOutput(c.Output, stdout, os.Stderr)
	defer out.close()
	log := out.log
	for _, w := range c.Warnings {
		log.Warn(w)
	}
	keys, err := choice.New(c.Choice)
	if err != nil {
		return importer.Summary{}, &usageError{err}
	}
	cluster := target.New(targetOptions(c, log))
	defer cluster.Close()
	source, closeSource := newSource(c, keys, cluster, stdin, log)
	defer closeSource()
	job := importer.New(importer.Options{
		Job: c.Job, Source: source, Target: cluster, Choice: keys, OnExists: importer.OnExists(c.OnExists),
		SkipUnsupported: c.OnUnsupported == "skip",
		OpenStore:       openStore(c, cluster), Restart: c.Restart, SavePatient: savePatience(c),
		RetryFor: max(c.RetryFor, time.Nanosecond),
		RateKeys: c.RateKeys, RateBytes: c.RateBytes,
		Log: log, Notify: out.warnings,
	})
	stopWatching := out.watch(job)
	summary, err := job.Run(ctx)
	stopWatching()
	out.end(c, summary, err)
	if err != nil {
		return summary, &toldError{err}
	}
	return summary, nil
}

// budgetShare is the part of --memory for records on their way. More would only
// let queues grow: what is on its way to a master is far less.
func budgetShare(memory int64) int64 { return memory * 5 / 32 }

// largeShare is the part of --memory for them while large values of a live
// source are among them, and so for the largest.
func largeShare(memory int64) int64 { return memory * 5 / 8 }

// streamShare is the part of --memory for the longest value of a stream, which
// takes half as much again while it is gathered.
func streamShare(memory int64) int64 { return memory / 2 }

func targetOptions(c *configs.Import, log *zap.Logger) target.Options {
	o := target.Options{
		Seeds: c.Target.Seeds, Endpoint: c.Target.Endpoint, AddressMap: c.AddressMap,
		Skip: c.OnExists == string(importer.Skip), SkipUnsupported: c.OnUnsupported == "skip",
		FailFast: c.FailFast, RetryFor: c.RetryFor, Log: log,
		Memory: budgetShare(c.Memory),
		Functions: map[string]target.Functions{
			"replace": target.ReplaceFunctions, "skip": target.SkipFunctions, "fail": target.FailFunctions,
		}[c.Functions],
	}
	// A node that is silent for RetryFor has had its time, if that is not too
	// short for a slow command.
	o.ReplyTimeout = min(20*time.Second, max(c.RetryFor, 5*time.Second))
	if c.Source.Kind == configs.KindRedis {
		o.LargeMemory = largeShare(c.Memory)
	}
	if c.RetryFor == 0 { // not at all, which Options has no zero for
		o.RetryFor = time.Nanosecond
	}
	return o
}

// newSource makes the source that the configuration names.
func newSource(c *configs.Import, keys *choice.Choice, cluster *target.Cluster, stdin io.Reader, log *zap.Logger) (importer.Source, func()) {
	switch c.Source.Kind {
	case configs.KindRedis:
		s := scan.New(scan.Options{
			Endpoint: c.Source.Endpoint, Choice: keys, Count: c.ScanCount, MaxValue: largeShare(c.Memory),
			Room: cluster.Room, RetryFor: max(c.RetryFor, time.Nanosecond), Log: log,
		})
		return s, func() { _ = s.Close() }
	case configs.KindStdin:
		s := rdb.New(rdb.Options{Stream: stdin, Choice: keys, MaxValue: streamShare(c.Memory), Room: cluster.Room, Log: log})
		return s, func() { _ = s.Close() }
	}
	s := rdb.New(rdb.Options{Path: c.Source.Path, Choice: keys, Log: log})
	return s, func() { _ = s.Close() }
}

// openStore returns how the checkpoint is opened, nil for none.
func openStore(c *configs.Import, cluster *target.Cluster) func(context.Context) (importer.Store, error) {
	switch c.Checkpoint {
	case "none":
		return nil
	case "target":
		return func(ctx context.Context) (importer.Store, error) {
			client := cluster.Client()
			store, err := checkpoint.OpenCluster(ctx, client, c.Job)
			if err != nil {
				return nil, errors.Join(err, client.Close())
			}
			return store, nil
		}
	}
	return func(context.Context) (importer.Store, error) { return checkpoint.OpenFile(c.Checkpoint) }
}

// savePatience is how long saving the checkpoint may fail: as long as the
// target may, when it is there.
func savePatience(c *configs.Import) time.Duration {
	if c.Checkpoint == "target" {
		return max(c.RetryFor, time.Second)
	}
	return 0
}
