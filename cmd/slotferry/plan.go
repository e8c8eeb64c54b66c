package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/slotferry/slotferry/configs"
	"github.com/slotferry/slotferry/importer"
	"github.com/slotferry/slotferry/importer/choice"
	"github.com/slotferry/slotferry/importer/report"
	"github.com/slotferry/slotferry/importer/target"
)

func planCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "plan --source SRC [--target TGT | --masters N]",
		Short: "Show how the data will lie on the cluster; nothing is written anywhere",
		Long: `Read the source as an import would, and show what the cluster will look like: keys
and bytes on every slot and master, what is large or uneven, what stands in the way.
With --target it looks at the real slots, rights, versions and free memory; without,
it imagines a cluster of --masters. Nothing is written, neither there nor here but
for --out.`,
		Example: `  # how an RDB file would lie on six masters
  slotferry plan --source /var/lib/redis/dump.rdb --masters 6

  # a page for the browser, with the real cluster
  slotferry plan --source redis://10.0.0.9:6379 --target redis://10.0.0.1:6379 \
      --format html --out plan.html`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := configs.LoadPlan(cmd.Flags(), configs.Environment{})
			if err != nil {
				return &usageError{err}
			}
			return runPlan(cmd.Context(), c, cmd.InOrStdin(), cmd.OutOrStdout())
		},
	}
	configs.Flags(cmd.Flags(), configs.PlanCommand)
	cmd.SetUsageFunc(usage)
	cmd.SetHelpFunc(help)
	return cmd
}

// dryRun is the plan of an import.
func dryRun(c *configs.Import) *configs.Plan {
	p := &configs.Plan{Common: c.Common, Policy: c.Policy, Format: "text"}
	if c.Output == "json" {
		p.Format = "json"
	}
	return p
}

// runPlan makes one plan and shows it.
func runPlan(ctx context.Context, c *configs.Plan, stdin io.Reader, stdout io.Writer) error {
	limitMemory(&c.Common)
	if f, ok := stdout.(*os.File); ok && c.Format == "html" && c.Out == "" && isTerminal(f) {
		return &usageError{errors.New("--format html: the page is for a browser, not for this terminal; name a file with --out")}
	}
	out := newOutput(progressMode(c.Output), stdout, os.Stderr)
	defer out.close()
	out.configured(&c.Common)
	keys, err := choice.New(c.Choice)
	if err != nil {
		return &usageError{err}
	}
	var cluster *target.Cluster
	if c.Masters == 0 {
		cluster = target.New(withPolicy(targetOptions(&c.Common, out.log), c.Policy))
		defer cluster.Close()
	}
	source := newSource(&c.Common, keys, use{measure: true, stdin: stdin, log: out.log})
	defer source.close()
	job := importer.New(importer.Options{
		Source: source, Target: cluster, Choice: keys, OnExists: importer.OnExists(c.OnExists),
		SkipUnsupported: c.OnUnsupported == "skip", RetryFor: max(c.RetryFor, time.Nanosecond),
		RateKeys: c.RateKeys, RateBytes: c.RateBytes, Log: out.log,
	})
	stopWatching := out.watch(job)
	plan, err := job.Plan(ctx, importer.PlanOptions{
		Masters: c.Masters, Separator: c.Separator, MaxValue: longestValue(&c.Common), Memory: c.Memory / 4,
	})
	stopWatching()
	if plan == nil || plan.Masters == nil && c.Format == "text" { // nothing could be counted
		return err
	}
	if wrong := writePlan(c, plan, stdout); wrong != nil {
		return wrong
	}
	if err != nil {
		if c.Format != "text" || c.Out != "" { // the text says it itself
			fmt.Fprintln(out.stderr, "slotferry:", err)
		}
		return &toldError{err}
	}
	return nil
}

// progressMode is how progress is told where the result is one document: never
// on standard output.
func progressMode(output string) string {
	if output == "json" {
		return "text"
	}
	return output
}

// writePlan writes the plan to standard output or into the file of --out, which
// is either whole or as it was.
func writePlan(c *configs.Plan, p *report.Plan, stdout io.Writer) (err error) {
	if c.Out == "" {
		return formatPlan(c.Format, p, stdout)
	}
	if info, err := os.Stat(c.Out); err == nil && !info.Mode().IsRegular() {
		return writeDevice(c, p)
	}
	f, err := os.CreateTemp(filepath.Dir(c.Out), ".slotferry-plan-")
	if err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
			err = fmt.Errorf("--out %s: %w", c.Out, err)
		}
	}()
	if err = formatPlan(c.Format, p, f); err != nil {
		return err
	}
	if err = f.Chmod(0o644); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), c.Out); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%s\nThe plan is in %s.\n", verdict(p), c.Out)
	return nil
}

// writeDevice writes into what is no file, such as a pipe or /dev/null: nothing
// may be renamed over that.
func writeDevice(c *configs.Plan, p *report.Plan) error {
	f, err := os.OpenFile(c.Out, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	return errors.Join(formatPlan(c.Format, p, f), f.Close())
}

func verdict(p *report.Plan) string {
	if p.Ready() {
		return fmt.Sprintf("ready: %s can travel (%d warnings)", keys(p.Keys), len(p.Warnings))
	}
	text := fmt.Sprintf("blocked: %d blockers", len(p.Blockers))
	for _, f := range p.Blockers {
		text += fmt.Sprintf("\n  %s: %s", f.Code, f.Message)
	}
	return text
}

func formatPlan(format string, p *report.Plan, w io.Writer) error {
	b := bufio.NewWriter(w)
	var err error
	switch format {
	case "json":
		err = p.WriteJSON(b)
	case "html":
		err = p.WriteHTML(b)
	default:
		o := report.TextOptions{Width: 80}
		if f, ok := w.(*os.File); ok && isTerminal(f) {
			o.Color, o.Width = os.Getenv("NO_COLOR") == "", width()
		}
		err = p.WriteText(b, o)
	}
	return errors.Join(err, b.Flush())
}
