package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/slotferry/slotferry/configs"
)

// exitCodes closes the help of the commands that use them.
const exitCodes = `Exit codes:
   0  done
   1  failed, or some keys failed (they are listed)
   2  a flag, variable or setting is wrong
   3  source and target differ (verify, and import --verify)
   4  something stands in the way (listed); nothing was written
  75  interrupted, or out of patience: run the same command again to go on
`

// help prints what a command does, its examples, its flags in groups and the
// exit codes.
func help(cmd *cobra.Command, _ []string) {
	fmt.Fprintf(cmd.OutOrStdout(), "%s\n\nUsage:\n  %s\n\n", cmd.Long, cmd.UseLine())
	if cmd.Example != "" {
		fmt.Fprintf(cmd.OutOrStdout(), "Examples:\n%s\n\n", cmd.Example)
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s\n%s", strings.TrimRight(configs.Usage(cmd.Flags(), width()), "\n")+"\n", exitCodes)
}

func usage(cmd *cobra.Command) error {
	help(cmd, nil)
	return nil
}

// width is where lines of help break.
func width() int {
	const narrow, wide = 80, 110
	w, _, err := term.GetSize(int(os.Stdout.Fd()))
	if err != nil {
		return narrow
	}
	return min(max(w, narrow), wide)
}
