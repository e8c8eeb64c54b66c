package main

import (
	"context"
	"io"
	"os"
	"runtime/debug"

	"github.com/slotferry/slotferry/configs"
	"github.com/slotferry/slotferry/importer"
	"github.com/slotferry/slotferry/importer/choice"
	"github.com/slotferry/slotferry/importer/target"
	"github.com/spf13/cobra"
)

func importCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import --source SRC --target TGT",
		Short: "Copy every key into the cluster; run it again to go on after any stop",
		Long: `Copy every key, value and expiry of the source into the cluster's masters.

Nothing is written before both sides were looked at; whatever stands in the way
is listed at once. Progress is kept in a checkpoint: after a Ctrl-C, a crash or a
failure the same command goes on where it stopped. The source's data is never changed.`,
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
			c, err := configs.LoadImport(cmd.Flags(), configs.Environment{})
			if err != nil {
				return &usageError{err}
			}
			if c.DryRun {
				return runPlan(cmd.Context(), dryRun(c), cmd.InOrStdin(), cmd.OutOrStdout())
			}
			_, err = runImport(cmd.Context(), c, cmd.InOrStdin(), cmd.OutOrStdout())
			return err
		},
	}
	configs.Flags(cmd.Flags(), configs.ImportCommand)
	cmd.SetUsageFunc(usage)
	cmd.SetHelpFunc(help)
	return cmd
}

// runImport runs one import and tells the operator all about it.
func runImport(ctx context.Context, c *configs.Import, stdin io.Reader, stdout io.Writer) (importer.Summary, error) {
	limitMemory(&c.Common)
	out := newOutput(c.Output, stdout, os.Stderr)
	defer out.close()
	out.configured(&c.Common)
	keys, err := choice.New(c.Choice)
	if err != nil {
		return importer.Summary{}, &usageError{err}
	}
	to := withPolicy(targetOptions(&c.Common, out.log), c.Policy)
	to.Job = c.Job
	cluster := target.New(to)
	defer cluster.Close()
	source := newFollowed(c, keys, use{room: cluster.Room, stdin: stdin, log: out.log}, out)
	defer source.close()
	job := importer.New(importOptions(c, keys, cluster, source, out))
	stopWatching := out.watch(job)
	summary, err := job.Run(ctx)
	stopWatching()
	if err == nil && source.done != nil {
		source.done()
	}
	var proof *importer.Verification
	if err == nil && c.Verify.Count > 0 {
		out.compares()
		proof, err = proveImport(ctx, c, out)
	}
	out.end(c, summary, proof, err)
	if err != nil {
		return summary, &toldError{err}
	}
	return summary, nil
}

// limitMemory keeps the process under --memory. The rest is for what the
// collector does not count: code, and memory that it has not given back yet.
func limitMemory(c *configs.Common) { debug.SetMemoryLimit(c.Memory * 9 / 10) }
