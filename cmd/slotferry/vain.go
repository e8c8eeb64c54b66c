package main

import (
	"io"
	"os"
	"slices"
	"strings"

	"github.com/slotferry/slotferry/importer"
	"github.com/slotferry/slotferry/importer/target"
)

// endInVain writes the summary of a command line that came to nothing: whoever
// reads events must not wait for their end. What the command line says is all
// that is known of it.
func endInVain(stdout io.Writer, args []string, err error) {
	if len(args) == 0 || !wantsEvents(args) {
		return
	}
	s := importer.Summary{Status: importer.Blocked, Masters: []target.Master{}}
	e := &events{w: stdout}
	switch args[0] {
	case "import":
		e.end(s, nil, err)
	case "verify":
		e.put(struct {
			Event string `json:"event"`
			importer.Verification
			Exit  int    `json:"exit"`
			Error string `json:"error"`
		}{"summary", importer.Verification{Status: importer.Blocked}, exitCode(err), reason(err)})
	}
}

// wantsEvents tells whether a command line asks for events in JSON.
func wantsEvents(args []string) bool {
	text := strings.ReplaceAll(strings.Join(args, "\n"), "=", "\n")
	for _, flag := range []string{"--output", "--format"} {
		if strings.Contains("\n"+text+"\n", "\n"+flag+"\njson\n") {
			return true
		}
	}
	return !slices.Contains(strings.Split(text, "\n"), "--output") && os.Getenv("SLOTFERRY_OUTPUT") == "json"
}
