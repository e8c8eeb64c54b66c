// Command slotferry moves a standalone Redis or Valkey into a Redis Cluster.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"

	"github.com/slotferry/slotferry/configs"
	"github.com/slotferry/slotferry/importer"
	"github.com/slotferry/slotferry/importer/preflight"
	"github.com/slotferry/slotferry/importer/record"
)

// The exit codes.
const (
	exitFailed      = 1
	exitUsage       = 2
	exitDifferences = 3
	exitBlocked     = 4
	exitInterrupted = 75 // EX_TEMPFAIL of sysexits.h: try again
)

func main() { os.Exit(run()) }

func run() int {
	// The first signal ends the context; stop puts the signals' own effect back,
	// so that a second one ends the process at once.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	redis.SetLogger(silence{}) // every error it would print is returned too
	err := rootCommand().ExecuteContext(ctx)
	var told *toldError
	if err != nil && !errors.As(err, &told) {
		err = &maskedError{err}
		fmt.Fprintln(os.Stderr, "slotferry:", err)
		endInVain(os.Stdout, os.Args[1:], err)
	}
	return exitCode(err)
}

// silence keeps go-redis from printing on its own.
type silence struct{}

func (silence) Printf(context.Context, string, ...any) {}

// maskedError is an error without the passwords of misplaced addresses: what
// the command line can't make sense of is quoted.
type maskedError struct{ err error }

func (e *maskedError) Error() string { return configs.Masked(e.err.Error()) }
func (e *maskedError) Unwrap() error { return e.err }

// toldError is an error that the operator has been told already.
type toldError struct{ err error }

func (e *toldError) Error() string { return e.err.Error() }
func (e *toldError) Unwrap() error { return e.err }

// usageError is a command line that can't be understood.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func exitCode(err error) int {
	var (
		usage   *usageError
		config  *configs.UsageError
		blocked *preflight.Error
	)
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage), errors.As(err, &config):
		return exitUsage
	case errors.Is(err, importer.ErrInterrupted), errors.Is(err, record.ErrPatience):
		return exitInterrupted
	case errors.As(err, &blocked):
		return exitBlocked
	case errors.Is(err, importer.ErrDifferences):
		return exitDifferences
	}
	return exitFailed
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "slotferry",
		Short: "Move a standalone Redis or Valkey into a Redis Cluster",
		Long: `Slotferry moves a standalone Redis or Valkey into a Redis Cluster: it streams the
keys from a live server or an RDB file and pipelines each into the master that
owns its slot. Whatever interrupts it, the same command goes on where it stopped.
The source's data is never changed.`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &usageError{fmt.Errorf("%w (see %s --help)", err, cmd.CommandPath())}
	})
	root.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		return &usageError{fmt.Errorf("unknown command %q (see %s --help)", args[0], cmd.CommandPath())}
	}
	root.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	root.AddCommand(importCommand(), planCommand(), verifyCommand(), serveCommand(), statusCommand(), demoCommand(), versionCommand())
	return root
}

// noArgs refuses words that are no flags.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		// It is not quoted: it may be a password that was to be asked for.
		return &usageError{fmt.Errorf("a word of %d letters belongs to no flag; it is not shown, as it may be a secret (see %s --help)", len(args[0]), cmd.CommandPath())}
	}
	return nil
}
