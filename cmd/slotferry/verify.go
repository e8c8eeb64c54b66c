package main

import (
	"context"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/slotferry/slotferry/configs"
	"github.com/slotferry/slotferry/importer"
	"github.com/slotferry/slotferry/importer/choice"
	"github.com/slotferry/slotferry/importer/source/scan"
	"github.com/slotferry/slotferry/importer/target"
	"github.com/slotferry/slotferry/importer/verify"
)

func verifyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "verify --source SRC --target TGT [--extra] [--repair]",
		Short: "Compare the source with the cluster: values, types, expiries, missing and extra keys",
		Long: `Compare every key of the source with what its master holds: is it there, of the
same type, value and expiry? With --extra, keys that only the cluster has are found,
too. What differs from a live source is looked at again in rounds before it counts.
Nothing is written unless --repair is given.`,
		Example: `  # everything, both ways
  slotferry verify --source redis://10.0.0.9:6379 --target redis://10.0.0.1:6379 --extra

  # one key in a hundred of a large data set
  slotferry verify --source /var/lib/redis/dump.rdb --target redis://10.0.0.1:6379 --sample 0.01`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := configs.LoadVerify(cmd.Flags(), configs.Environment{})
			if err != nil {
				return &usageError{err}
			}
			_, err = runVerify(cmd.Context(), c, cmd.OutOrStdout())
			return err
		},
	}
	configs.Flags(cmd.Flags(), configs.VerifyCommand)
	cmd.SetUsageFunc(usage)
	cmd.SetHelpFunc(help)
	return cmd
}

// runVerify runs one verification and tells the operator all about it.
func runVerify(ctx context.Context, c *configs.Verify, stdout io.Writer) (importer.Verification, error) {
	limitMemory(&c.Common)
	mode := progressMode(c.Output)
	if c.Format == "json" {
		mode = "json"
	}
	out := newOutput(mode, stdout, os.Stderr)
	defer out.close()
	out.configured(&c.Common)
	v, err := compareSides(ctx, c, out)
	out.endVerify(c, v, err)
	if err != nil {
		return v, &toldError{err}
	}
	return v, nil
}

// proveImport compares both sides of an import at its end.
func proveImport(ctx context.Context, c *configs.Import, out *output) (*importer.Verification, error) {
	v := &configs.Verify{Common: c.Common, Resume: configs.Resume{Checkpoint: "none", Job: c.Job}, Rounds: c.Verify}
	proof, err := compareSides(ctx, v, out)
	return &proof, err
}

// compareSides compares and tells differences as they are found.
func compareSides(ctx context.Context, c *configs.Verify, out *output) (importer.Verification, error) {
	keys, err := choice.New(c.Choice)
	if err != nil {
		return importer.Verification{}, &usageError{err}
	}
	o := targetOptions(&c.Common, out.log)
	o.ReadOnly, o.Repair = true, c.Repair
	cluster := target.New(o)
	defer cluster.Close()
	var comparer atomic.Pointer[verify.Comparer]
	source := newSource(&c.Common, keys, use{
		longest: comparedValue(c.Memory), log: out.log,
		room: func(ctx context.Context, bytes int64) error { return comparer.Load().Room(ctx, bytes) },
	})
	defer source.close()
	job := importer.New(importer.Options{
		Job: c.Job, Source: source, Target: cluster, Choice: keys,
		OpenStore: openStore(c.Resume, cluster), Restart: c.Restart, SavePatient: savePatience(c.Resume, c.RetryFor),
		RetryFor: max(c.RetryFor, time.Nanosecond),
		RateKeys: c.RateKeys, RateBytes: c.RateBytes,
		Log: out.log, Notify: out.warnings, Standstill: out.standstill,
	})
	vo := importer.VerifyOptions{
		Compare: verify.Options{
			Rounds: c.Count, Pause: max(c.Pause, time.Nanosecond), Repair: c.Repair,
			Memory: budgetShare(c.Memory), MaxValue: decodedShare(c.Memory), Report: out.difference,
		},
		Made: comparer.Store, Limit: c.Limit,
		Memory: namesShare(c.Memory),
	}
	if source.live != nil {
		vo.Compare.Live = again{source.live}
	}
	if c.Extra {
		vo.Names = source.names
	}
	stopWatching := out.watch(job)
	defer stopWatching()
	return job.Verify(ctx, vo)
}

// comparedValue is the longest value of a live source that is compared, in
// bytes: it lies in memory while the target's travels.
func comparedValue(memory int64) int64 { return memory / 4 }

// decodedShare is the longest value in bytes that is decoded where bytes differ:
// two of them, each several times as large when it is taken apart.
func decodedShare(memory int64) int64 { return memory / 16 }

// namesShare is the part of --memory for the names of keys when extra ones are
// sought.
func namesShare(memory int64) int64 { return memory / 2 }

// again is a live source whose single keys are read again.
type again struct{ *scan.Source }

func (a again) Read(ctx context.Context, db int, keys [][]byte, each func(i int, r verify.Reading) error) error {
	return a.Source.Read(ctx, db, keys, func(i int, v scan.Value) error { return each(i, verify.Reading(v)) })
}
