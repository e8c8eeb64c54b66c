package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"go.uber.org/zap"

	"github.com/slotferry/slotferry/configs"
	"github.com/slotferry/slotferry/importer"
	"github.com/slotferry/slotferry/importer/verify"
)

// shownDifferences is how many differences are named to people.
const shownDifferences = 1000

// difference tells one key that differs. It is never called twice at a time.
func (o *output) difference(d verify.Difference) {
	if o.differs != nil {
		o.differs(d)
	}
	if o.json != nil {
		o.json.difference(d)
		return
	}
	o.differences++
	switch {
	case o.differences > shownDifferences:
	case o.differences == shownDifferences:
		fmt.Fprintln(o.between(), "  … and more; --format json names them all")
	default:
		fmt.Fprintln(o.between(), differenceText(d))
	}
}

// differenceText is `value    db 0  "user:1"  field "a" has another value`.
func differenceText(d verify.Difference) string {
	text := fmt.Sprintf("  %-8s db %d  %s", d.Kind, d.DB, shownKey(d.Key))
	if !bytes.Equal(d.Name, d.Key) {
		text += " as " + shownKey(d.Name)
	}
	if d.Detail != "" {
		text += "  " + d.Detail
	}
	if d.Repaired {
		text += "  (repaired)"
	}
	return text
}

func (e *events) difference(d verify.Difference) {
	out := struct {
		DB         int    `json:"db"`
		Key        string `json:"key,omitempty"`
		KeyBase64  []byte `json:"key_base64,omitempty"`
		Name       string `json:"name,omitempty"` // in the target, if it is another one
		NameBase64 []byte `json:"name_base64,omitempty"`
		Kind       string `json:"kind"`
		Detail     string `json:"detail"`
		Repaired   bool   `json:"repaired,omitempty"`
	}{DB: d.DB, Kind: string(d.Kind), Detail: d.Detail, Repaired: d.Repaired}
	out.Key, out.KeyBase64 = nameOf(d.Key)
	if !bytes.Equal(d.Name, d.Key) {
		out.Name, out.NameBase64 = nameOf(d.Name)
	}
	e.put(out)
}

// endVerify tells how a verification ended.
func (o *output) endVerify(c *configs.Verify, v importer.Verification, err error) {
	if o.json == nil {
		verdictOf(o.stdout, o.stderr, v, err)
		if part := c.Choice.Sample; part > 0 && part < 1 && v.Status == importer.Done {
			fmt.Fprintf(o.stdout, "\nA sample of %v of the keys was compared; --seed %d picks the same ones again.\n", part, c.Choice.Seed)
		}
		return
	}
	o.json.blockers(err)
	for _, f := range v.Incomparable {
		o.json.failure("not_comparable", f)
	}
	out := struct {
		Event string `json:"event"`
		importer.Verification
		Sample float64 `json:"sample"`
		Seed   uint64  `json:"seed,omitempty"`
		Exit   int     `json:"exit"`
		Error  string  `json:"error,omitempty"`
	}{Event: "summary", Verification: v, Sample: c.Choice.Sample, Exit: exitCode(err)}
	if c.Choice.Sample < 1 {
		out.Seed = c.Choice.Seed
	}
	if err != nil {
		out.Error = reason(err)
	}
	o.json.put(out)
	if err != nil {
		o.log.Error(notCompared(err), zap.String("next", nextOf(v, err)))
	}
}

// notCompared puts the error of a verification into words for the operator.
func notCompared(err error) string {
	return strings.Replace(reason(err), "nothing was written", "nothing was compared", 1)
}

// verdictOf is the end of a verification as people read it.
func verdictOf(stdout, stderr io.Writer, v importer.Verification, err error) {
	if v.Status == importer.Blocked {
		fmt.Fprintln(stderr, "slotferry:", notCompared(err))
		return
	}
	fmt.Fprint(stdout, verificationText(v))
	for i, f := range v.Incomparable {
		if i == shownFailures {
			fmt.Fprintf(stderr, "  … %s more\n", humanize.Comma(v.NotComparable-shownFailures))
			break
		}
		fmt.Fprintf(stderr, "  not compared: key %s (db %d): %s\n", shownKey(f.Key), f.DB, f.Reason)
	}
	if err == nil {
		fmt.Fprintln(stdout, "\n"+sameText(v))
		return
	}
	if !errors.Is(err, importer.ErrDifferences) && !errors.Is(err, importer.ErrNotCompared) {
		fmt.Fprintln(stderr, "slotferry:", reason(err))
	}
	fmt.Fprintln(stderr, "\n"+nextOf(v, err))
}

// nextOf says what to do after a verification that did not end well, but for
// blockers, which say it themselves.
func nextOf(v importer.Verification, err error) string {
	switch {
	case v.Status == importer.Blocked:
		return ""
	case errors.Is(err, importer.ErrDifferences):
		return fmt.Sprintf("%s from the source, as listed. --repair copies them again.", verb(v.Differences, "differs", "differ"))
	case errors.Is(err, importer.ErrNotCompared):
		return fmt.Sprintf("No difference was found, but %s could not be compared, as listed. Look at those by hand.", keys(v.NotComparable))
	case v.Status == importer.Interrupted:
		return "Run the same command again: it goes on from here, if it keeps a checkpoint."
	}
	return "Remove the cause and run the same command again."
}

func verb(n int64, one, several string) string {
	if n == 1 {
		return keys(n) + " " + one
	}
	return keys(n) + " " + several
}

func sameText(v importer.Verification) string {
	switch {
	case v.Repaired > 0:
		return "What differed is repaired: every key compared is now the same on both sides."
	case v.ExtraSought:
		return "Source and target hold the same."
	}
	return "Every key compared is the same on both sides (--extra looks for others in the target)."
}

// verificationText is the account.
func verificationText(v importer.Verification) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\ncompared %s in %s: ", keys(v.Compared), time.Duration(v.Seconds*float64(time.Second)).Round(10*time.Millisecond))
	if v.Differences == 0 {
		b.WriteString("no difference\n\n")
	} else {
		fmt.Fprintf(&b, "%s\n\n", verb(v.Differences, "differs", "differ"))
	}
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(name string, n int64, note string) {
		fmt.Fprintf(w, "  %s\t%s\t\t%s\n", name, humanize.Comma(n), note)
	}
	row("missing", v.Missing, "")
	if v.ExtraSought || v.Extra > 0 {
		row("extra", v.Extra, "")
	} else {
		row("extra", 0, "not looked for")
	}
	row("other type", v.Type, "")
	row("other value", v.Value, "")
	expiry := "to the millisecond"
	if v.ToleranceMs > 0 {
		expiry = fmt.Sprintf("give or take %d ms: a side is older than 7.0", v.ToleranceMs)
	}
	row("other expiry", v.TTL, expiry)
	if v.Repaired > 0 {
		row("repaired", v.Repaired, "")
	}
	row("not comparable", v.NotComparable, "")
	if v.Programs > 0 {
		row("libraries missing", v.Programs, "functions or scripts that a master lacks, see above")
	}
	row("expired", v.Expired, noteIf(v.Expired, "or deleted meanwhile"))
	row("filtered", v.Filtered, noteIf(v.Filtered, "by your choice of keys"))
	_ = w.Flush()
	return trimmed(b.String())
}

// compares says that an import is done and its comparison begins.
func (o *output) compares() {
	if o.json == nil {
		o.log.Info("everything is copied; comparing both sides")
	}
}

// settling tells of the phases that look again.
func settling(p importer.Progress) string {
	if p.Phase == "settle" {
		return "looking again at what differed"
	}
	return "looking for extra keys in the target"
}
