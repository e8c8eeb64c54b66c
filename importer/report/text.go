package report

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/slotferry/slotferry/importer/preflight"
)

// TextOptions says for which terminal; zero fields take the defaults noted.
type TextOptions struct {
	Width int  // columns; 80, and 40 at least
	Color bool // with ANSI colours
}

const (
	defaultWidth = 80
	leastWidth   = 40
)

// How many of each are shown at most in text. The JSON has them all.
const (
	textMasters   = 20
	textKeys      = 10
	textPrefixes  = 15
	textTags      = 5
	textEncodings = 15
	textDatabases = 16
)

// WriteText writes the plan for a person: the verdict first, what to do last.
func (p *Plan) WriteText(w io.Writer, o TextOptions) error {
	l := newLines(o.Width, o.Color)
	p.textHead(l)
	p.textMasters(l)
	p.textSkew(l)
	p.textBigKeys(l)
	p.textKinds(l)
	p.textNames(l)
	p.textExpiry(l)
	p.textDatabases(l)
	p.textDoubts(l)
	textFindings(l, "Blockers", bad, p.Blockers)
	textFindings(l, "Warnings", caution, p.Warnings)
	return l.to(w)
}

func newLines(width int, color bool) *lines {
	return &lines{width: max(leastWidth, cmp.Or(max(0, width), defaultWidth)), color: color}
}

// verdict is the first line: whether the import can begin, and what hinders it.
func (p *Plan) verdict() (word string, s style, rest string) {
	if p.Ready() {
		if len(p.Warnings) > 0 {
			rest = ", " + plural(int64(len(p.Warnings)), "warning")
		}
		return "READY", good, rest
	}
	var codes []string
	for _, f := range p.Blockers {
		if !slices.Contains(codes, f.Code) {
			codes = append(codes, f.Code)
		}
	}
	return "BLOCKED", bad, ": " + plural(int64(len(p.Blockers)), "blocker") + " (" + strings.Join(codes, ", ") + ")"
}

func (p *Plan) textHead(l *lines) {
	word, s, rest := p.verdict()
	l.line(cell{word, s}, cell{rest, bold})
	l.line()
	p.textSides(l)
	if p.Keys == 0 {
		l.field("keys", "none: there is nothing to copy")
	} else {
		l.field("keys", comma(p.Keys))
	}
	if p.Bytes > 0 {
		l.field("bytes", iec(p.Bytes)+" ("+p.measure()+")")
	}
	for _, x := range []struct {
		n          int64
		name, note string
	}{
		{p.Expired, "expired", "they would not travel"},
		{p.Filtered, "filtered", "left out by the choice of keys"},
		{p.Refused, "refused", "they can't travel; see the blockers"},
		{p.Collisions, "collisions", "they would be written over by another key of the same new name"},
	} {
		if x.n > 0 {
			l.field(x.name, comma(x.n)+" ("+x.note+")")
		}
	}
	p.textEstimate(l)
}

// textSides writes source and target.
func (p *Plan) textSides(l *lines) {
	l.field("source", cmp.Or(p.Source.Text, "not named")+inBrackets(p.Source.facts()))
	if to := p.target(); to != "" {
		l.field("target", to)
	}
}

func (p *Plan) textEstimate(l *lines) {
	if p.Estimate.Seconds <= 0 {
		return
	}
	text := "about " + lasting(p.Estimate.Seconds)
	if p.Estimate.Basis != "" {
		text += ", by " + p.Estimate.Basis
	}
	l.field("will take", text)
}

func (s Source) facts() (facts []string) {
	if s.Version != "" {
		facts = append(facts, versioned(s.Version))
	}
	if s.RDB > 0 {
		facts = append(facts, fmt.Sprintf("RDB %d", s.RDB))
	}
	if s.Size > 0 {
		facts = append(facts, iec(s.Size))
	}
	if s.Memory > 0 {
		facts = append(facts, iec(s.Memory)+" in memory")
	}
	return facts
}

// versioned says what a bare number is; "valkey 8.0.1" says it itself.
func versioned(v string) string {
	if v[0] >= '0' && v[0] <= '9' {
		return "version " + v
	}
	return v
}

// target names the cluster and what is known of it.
func (p *Plan) target() string {
	masters := plural(int64(len(p.Masters)), "master")
	if p.Target.Simulated {
		if len(p.Masters) == 1 {
			return "1 master that does not exist yet"
		}
		return masters + " that do not exist yet, slots split evenly"
	}
	if p.Target.Text == "" {
		return ""
	}
	var facts []string
	if len(p.Masters) > 0 {
		facts = append(facts, masters)
	}
	if p.Target.Version != "" {
		facts = append(facts, versioned(p.Target.Version))
	}
	if p.Target.RDB > 0 {
		facts = append(facts, fmt.Sprintf("RDB %d", p.Target.RDB))
	}
	return p.Target.Text + inBrackets(facts)
}

func (p *Plan) measure() string {
	if p.Source.Measure == MeasureMemory {
		return "as MEMORY USAGE says"
	}
	return "serialized values and their names"
}

func inBrackets(facts []string) string {
	if len(facts) == 0 {
		return ""
	}
	return " (" + strings.Join(facts, ", ") + ")"
}

// byBytes returns up to n of the masters, the fullest first.
func (p *Plan) byBytes(n int) []Master {
	list := slices.Clone(p.Masters)
	slices.SortStableFunc(list, func(a, b Master) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(b.Keys, a.Keys))
	})
	return list[:min(n, len(list))]
}

// spread tells whether it is known which master gets how much.
func (p *Plan) spread() bool {
	return p.Keys == 0 || slices.ContainsFunc(p.Masters, func(m Master) bool { return m.Keys > 0 })
}

// label is what a master is called. Slots without an owner are listed as one
// without an address.
func (m Master) label() string { return cmp.Or(clean(m.Addr), "(no master)") }

// tight tells that a master's share does not fit into what it has free.
func (m Master) tight() bool { return m.Free > 0 && m.Needs > m.Free }

func (p *Plan) textMasters(l *lines) {
	if len(p.Masters) == 0 {
		return
	}
	shown := p.Masters
	if len(shown) > textMasters {
		shown = p.byBytes(textMasters)
	}
	l.title("Masters")
	cols := []column{
		texts(name, "master", shown, Master.label),
		texts(number, "slots", shown, func(m Master) string { return comma(int64(m.Slots)) }),
	}
	if p.spread() {
		cols = append(cols,
			texts(number, "keys", shown, func(m Master) string { return comma(m.Keys) }),
			bars(shown, func(m Master) int64 { return m.Keys }),
			texts(number, "bytes", shown, func(m Master) string { return iec(m.Bytes) }),
			bars(shown, func(m Master) int64 { return m.Bytes }),
		)
	}
	l.table(cols...)
	p.more(l, len(p.Masters)-len(shown), "masters, less full")
	p.textMemory(l)
}

// textMemory shows the masters of which memory is known, the tightest first if
// not all can be shown.
func (p *Plan) textMemory(l *lines) {
	known := slices.DeleteFunc(slices.Clone(p.Masters), func(m Master) bool { return m.Needs == 0 && m.Free == 0 })
	if len(known) == 0 {
		return
	}
	shown := known
	if len(shown) > textMasters {
		slices.SortStableFunc(shown, func(a, b Master) int { return cmp.Compare(b.Needs-b.Free, a.Needs-a.Free) })
		shown = shown[:textMasters]
	}
	l.title("Memory")
	l.table(
		texts(name, "master", shown, Master.label),
		texts(number, "needed", shown, func(m Master) string { return orElse(m.Needs, "?") }),
		texts(number, "free", shown, func(m Master) string { return orElse(m.Free, "no limit") }),
		texts(word, "", shown, func(m Master) string {
			switch {
			case m.tight():
				return "✗ " + iec(m.Needs-m.Free) + " too little"
			case m.Needs > 0 && m.Free > 0:
				return "✓"
			}
			return ""
		}),
	)
	p.more(l, len(known)-len(shown), "masters with more room")
}

// orElse writes bytes, or a word for none.
func orElse(n int64, word string) string {
	if n == 0 {
		return word
	}
	return iec(n)
}

func (p *Plan) more(l *lines, n int, what string) {
	if n > 0 {
		l.note(fmt.Sprintf("and %s more %s", comma(int64(n)), what))
	}
}

func (p *Plan) textBigKeys(l *lines) {
	if len(p.BigKeys) == 0 {
		return
	}
	shown := p.BigKeys[:min(textKeys, len(p.BigKeys))]
	l.title("Largest keys")
	cols := []column{
		texts(number, "bytes", shown, func(k BigKey) string { return iec(k.Bytes) }),
		texts(word, "type", shown, func(k BigKey) string { return clean(k.Type) }),
		texts(number, "slot", shown, func(k BigKey) string { return strconv.Itoa(k.Slot) }),
		texts(name, "master", shown, func(k BigKey) string { return clean(k.Master) }),
		texts(name, "key", shown, func(k BigKey) string { return quoted(k.Key) }),
	}
	if slices.ContainsFunc(shown, func(k BigKey) bool { return k.DB != 0 }) {
		cols = slices.Insert(cols, 2, texts(number, "db", shown, func(k BigKey) string { return strconv.Itoa(k.DB) }))
	}
	large := slices.ContainsFunc(shown, p.tooLarge)
	slow := slices.ContainsFunc(shown, p.tooSlow)
	if large || slow {
		marks := texts(word, "", shown, p.mark)
		marks.style = bad
		cols = slices.Insert(cols, 1, marks)
	}
	l.table(cols...)
	if large {
		l.note(markLarge + ": longer than " + iec(p.Target.MaxBulk) + ", which is the most that the target takes in one word (proto-max-bulk-len)")
	}
	if slow {
		l.note(markSlow + ": likely to be on its way for longer than --retry-for")
	}
}

const (
	markLarge = "✗ size"
	markSlow  = "✗ time"
)

// tooLarge and tooSlow tell nothing of what nobody asked a target for.
func (p *Plan) tooLarge(k BigKey) bool { return p.Target.MaxBulk > 0 && !k.Fits }
func (p *Plan) tooSlow(k BigKey) bool  { return k.Seconds > 0 && !k.InTime && !p.tooLarge(k) }

func (p *Plan) mark(k BigKey) string {
	switch {
	case p.tooLarge(k):
		return markLarge
	case p.tooSlow(k):
		return markSlow
	}
	return ""
}

func textFindings(l *lines, title string, s style, list preflight.Findings) {
	if len(list) == 0 {
		return
	}
	l.title(title)
	for _, f := range list {
		l.line(cell{"  ", plain}, cell{clean(f.Code), s})
		l.indented("    ", f.Message)
		if f.Remedy != "" {
			l.indented("    → ", f.Remedy)
		}
	}
}
