package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/slotferry/slotferry/checkpoint"
	"github.com/slotferry/slotferry/configs"
	"github.com/slotferry/slotferry/importer"
	"github.com/slotferry/slotferry/importer/target"
)

// line tells the progress in one log line.
func (o *output) line(p importer.Progress, m *meter) {
	text := progressText(p, m)
	if s := p.Standstill; s != nil {
		text += fmt.Sprintf("; no progress for %s", time.Since(s.Since).Round(time.Second))
	}
	o.log.Info(text)
	for _, master := range p.Masters {
		if master.Status != "" {
			o.log.Warn(master.Addr + ": " + master.Status)
		}
	}
}

// progressText is "copied 120,034 of 1,000,000 keys (12 %), 80,012 keys/s, …".
func progressText(p importer.Progress, m *meter) string {
	var b strings.Builder
	verb := "copied"
	switch p.Phase {
	case "drain":
		b.WriteString("stopping, waiting for answers: ")
	case "count":
		verb = "counted"
	case "compare":
		verb = "compared"
	case "extra keys", "settle":
		return settling(p)
	case "tail":
		return following(p)
	}
	fmt.Fprintf(&b, "%s %s", verb, humanize.Comma(p.Counts.Answered()))
	if p.Total > 0 {
		fmt.Fprintf(&b, " of %s", humanize.Comma(p.Total))
	}
	b.WriteString(" keys")
	if part := done(p); part >= 0 {
		fmt.Fprintf(&b, " (%.0f %%)", 100*part)
	}
	keys, bytes, _ := m.speed()
	if len(m.samples) > 1 {
		fmt.Fprintf(&b, ", %s keys/s, %s/s", humanize.Comma(int64(keys)), humanize.IBytes(uint64(max(0, bytes))))
	}
	if left, ok := m.left(p); ok {
		fmt.Fprintf(&b, ", about %s left", left)
	}
	return b.String()
}

// following is "following the source: 1.2 MiB behind (0.3 s), 120,034 commands
// applied, …".
func following(p importer.Progress) string { return "following the source: " + behind(p) }

// behind is how far the target is behind the source, and what was carried.
func behind(p importer.Progress) string {
	var parts []string
	switch l := p.Lag; {
	case l == nil:
	case l.Bytes > 0:
		parts = append(parts, fmt.Sprintf("%s behind (%.1f s)", humanize.IBytes(uint64(l.Bytes)), l.Seconds))
	case l.Keys > 0:
		parts = append(parts, fmt.Sprintf("%s behind (%.1f s)", keys(int64(l.Keys)), l.Seconds))
	default:
		parts = append(parts, "nothing is missing")
	}
	if t := p.Tail; t != nil {
		parts = append(parts, fmt.Sprintf("%s commands applied, %s read again", humanize.Comma(t.Applied), keys(t.Reread)))
	}
	return strings.Join(parts, ", ")
}

// shownFailures is how many failed keys the report for people names.
const shownFailures = 20

// finalReport is the end as people read it: the account on standard output, what
// went wrong and what to do on standard error.
func finalReport(stdout, stderr io.Writer, c *configs.Import, s importer.Summary, proof *importer.Verification, err error) {
	if s.Status == importer.Blocked {
		fmt.Fprintln(stderr, "slotferry:", err)
		return
	}
	fmt.Fprint(stdout, account(s))
	failures(stderr, s.Failures, s.Failed)
	if proof != nil {
		verdictOf(stdout, stderr, *proof, err)
		return
	}
	if err != nil && !errors.Is(err, importer.ErrFailedKeys) {
		fmt.Fprintln(stderr, "slotferry:", reason(err))
	}
	if err != nil {
		stdout = stderr
	}
	fmt.Fprintln(stdout, "\n"+next(c, s, err))
}

// reason puts an error into words for the operator.
func reason(err error) string {
	if errors.Is(err, importer.ErrInterrupted) {
		return "interrupted by a signal"
	}
	return err.Error()
}

// account is the summary that adds up.
func account(s importer.Summary) string {
	var b strings.Builder
	runs := ""
	if s.Runs > 1 {
		runs = fmt.Sprintf(", all %d runs of this job together", s.Runs)
	}
	fmt.Fprintf(&b, "\n%s after %s%s\n\n", s.Status, time.Duration(s.Seconds*float64(time.Second)).Round(10*time.Millisecond), runs)
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(name string, n int64, note string) {
		fmt.Fprintf(w, "  %s\t%s\t\t%s\n", name, humanize.Comma(n), note)
	}
	unique := ""
	if s.UniqueAtLeast > 0 && s.UniqueAtLeast < s.Written {
		unique = fmt.Sprintf("at least %s different ones: a scan may give a key twice", humanize.Comma(s.UniqueAtLeast))
	}
	row("read", s.Read, unique)
	row("= written", s.Written, humanize.IBytes(uint64(s.Bytes)))
	row("+ skipped", s.Skipped, noteIf(s.Skipped, "by your policy"))
	row("+ expired", s.Expired, noteIf(s.Expired, "or deleted before they were read"))
	row("+ filtered", s.Filtered, noteIf(s.Filtered, "by your choice of keys"))
	row("+ failed", s.Failed, "")
	_ = w.Flush()
	text := trimmed(b.String())
	b.Reset()
	b.WriteString(text + "\n")
	column := "keys written"
	if s.Runs > 1 {
		column = "keys written by this run"
	}
	b.WriteString(masters(s.Masters, column))
	b.WriteString(stream(s))
	if r := s.Retries; r != (target.Retries{}) {
		fmt.Fprintf(&b, "\n  on the way: %d MOVED, %d ASK, %d told to wait, %d setbacks of nodes, %d values relabelled, %d rebuilt\n", r.Moved, r.Ask, r.Paused, r.Lost, r.Restamped, r.Rebuilt)
	}
	return b.String()
}

// stream is the account of the commands behind a full copy, in this run.
func stream(s importer.Summary) string {
	t := s.Tail
	if t == nil {
		return ""
	}
	text := fmt.Sprintf("\n  behind the copy: %s commands applied, %s read again from the source\n", humanize.Comma(t.Applied), keys(t.Reread))
	if t.Torn > 0 {
		text += fmt.Sprintf("  %s of %s transactions were applied in parts, as their keys are in several slots\n", humanize.Comma(t.Torn), humanize.Comma(t.Transactions))
	}
	if l := s.Lag; l != nil && s.Status != importer.Done && l.Bytes > 0 {
		text += fmt.Sprintf("  %s of the source's stream were missing at the end\n", humanize.IBytes(uint64(l.Bytes)))
	}
	return text
}

// trimmed is text without spaces at the ends of lines.
func trimmed(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	return b.String()
}

func noteIf(n int64, note string) string {
	if n == 0 {
		return ""
	}
	return note
}

// masters is a table of what each master received in this run.
func masters(list []target.Master, column string) string {
	if len(list) == 0 {
		return ""
	}
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "  master\tslots\t%s\tbytes\n", column)
	for _, m := range list {
		fmt.Fprintf(w, "  %s\t%d\t%s\t%s\n", m.Addr, m.Slots, humanize.Comma(m.Keys), humanize.IBytes(uint64(m.Bytes)))
	}
	_ = w.Flush()
	return b.String()
}

// failures names keys that failed, or that were skipped as unsupported.
func failures(w io.Writer, list []checkpoint.Failure, failed int64) {
	for i, f := range list {
		if i == shownFailures {
			fmt.Fprintf(w, "  … %s more; --output json lists up to %d\n", humanize.Comma(max(failed, int64(len(list)))-shownFailures), checkpoint.KeepFailures)
			break
		}
		fmt.Fprintln(w, "  "+failureText(f))
	}
}

// failureText is `failed: key "a" (db 0, slot 15495, node 10.0.0.1:6379): …`.
func failureText(f checkpoint.Failure) string {
	what := "failed"
	if f.Skipped {
		what = "skipped"
	}
	return fmt.Sprintf("%s: key %s (db %d, slot %d%s): %s", what, shownKey(f.Key), f.DB, f.Slot, at(f.Node), f.Reason)
}

func at(node string) string {
	if node == "" {
		return ""
	}
	return ", node " + node
}

// shownKey quotes a key and shortens a long one.
func shownKey(key []byte) string {
	const longest = 128
	if len(key) > longest {
		return fmt.Sprintf("%q… (%s)", key[:longest], humanize.IBytes(uint64(len(key))))
	}
	return fmt.Sprintf("%q", key)
}

// next says what to do now, but for blockers, which say it themselves.
func next(c *configs.Import, s importer.Summary, err error) string {
	switch {
	case s.Status == importer.Blocked:
		return ""
	case s.Cutover != nil && s.Status == importer.Done:
		return switchedTo(c, *s.Cutover)
	case s.Status == importer.Done && c.Once:
		return "What was written to the source before the end of the copy is in the cluster, what was written after it is\nnot. The source was not changed. Next: compare both sides with slotferry verify."
	case s.Status == importer.Done:
		return "Every key that was read is in its master; the source was not changed. Next: compare both sides with\nslotferry verify, then point the applications at the cluster. What was written to the source after it was\nread is not in the cluster."
	case errors.Is(err, importer.ErrCutover):
		return "Nothing was switched, and the applications go on with the source. Remove the cause and run the same\ncommand again: it goes on from here."
	case s.Status == importer.Interrupted && c.Checkpoint == "none":
		return "There is no checkpoint (--checkpoint none), so the next run begins anew: add --on-exists replace to it."
	case s.Status == importer.Interrupted && s.Tail != nil:
		return "Run the same command again: it goes on from here while the source still has what comes next\n(repl-backlog-size), and else with another full copy. Nothing is lost or written twice."
	case s.Status == importer.Interrupted:
		return "Run the same command again: it goes on from here, and nothing is lost or written twice."
	case errors.Is(err, importer.ErrFailedKeys) && s.Tail != nil && s.Tail.Failed > 0:
		return fmt.Sprintf("%s could not be followed, some of which are listed. Remove the cause, then copy everything again:\nthe same command with --restart --on-exists replace.", keys(s.Tail.Failed))
	case errors.Is(err, importer.ErrFailedKeys):
		return fmt.Sprintf("All other keys are in their masters. %s failed, as listed. Remove the cause, then copy them again:\nthe same command with --on-exists replace and an --include for each of them.", keys(s.Failed))
	case c.Checkpoint == "none":
		return "What was written before stays written. Remove the cause; the next run begins anew and needs --on-exists replace."
	}
	return "What was written before stays written. Remove the cause and run the same command again: it goes on from here."
}

func keys(n int64) string {
	if n == 1 {
		return "1 key"
	}
	return humanize.Comma(n) + " keys"
}

// switchedTo says what to do when a cutover is done.
func switchedTo(c *configs.Import, f importer.CutoverFacts) string {
	var b strings.Builder
	b.WriteString("The cluster has everything that the source has.")
	switch {
	case f.PausedUntil.IsZero():
		b.WriteString(" Keep the writers stopped")
	default:
		fmt.Fprintf(&b, " The source's writers are paused until %s", f.PausedUntil.Format(time.TimeOnly))
	}
	if c.OnCutover == "" {
		b.WriteString(": point the applications\nat the cluster now.")
	} else {
		b.WriteString(": by then no\napplication should write to it any more.")
	}
	b.WriteString(" What is written to the source from now on is not in the cluster.")
	return b.String()
}
