package report

import (
	"fmt"
	"io"
	"strings"
)

// WriteShort writes the plan in up to ten lines for the beginning of an import.
// What the plan does not know it leaves out. That it can't be written is not
// worth stopping for.
func (p *Plan) WriteShort(w io.Writer, width int) {
	l := newLines(width, false)
	p.shortSide(l, "source", p.Source.Text+inBrackets(p.Source.facts()))
	p.shortSide(l, "target", p.target())
	if p.Keys > 0 {
		text := comma(p.Keys)
		if p.Bytes > 0 {
			text += ", " + iec(p.Bytes)
		}
		if n := len(p.Databases); n > 1 {
			text += ", in " + plural(int64(n), "database")
		}
		p.shortSide(l, "keys", text)
	}
	if b := p.balance(); b != "" {
		p.shortSide(l, "skew", b)
	}
	if heavy := p.heavySlots(1); len(heavy) > 0 {
		text := fmt.Sprintf("slot %d", heavy[0].Slot.Slot) + " has " + percent(heavy[0].Bytes, p.Bytes) + " of the bytes"
		if c := heavy[0].cause(); c != "" {
			text += ": " + c
		}
		p.shortSide(l, "", text)
	}
	if len(p.BigKeys) > 0 {
		k := p.BigKeys[0]
		text := iec(k.Bytes) + ", " + clean(k.Type) + " " + quoted(k.Key)
		if m := p.mark(k); m != "" {
			text = m + ", " + text
		}
		p.shortSide(l, "largest key", text)
	}
	p.shortSide(l, "memory", p.shortMemory())
	if p.Estimate.Seconds > 0 {
		p.shortSide(l, "will take", "about "+lasting(p.Estimate.Seconds))
	}
	if word, _, rest := p.verdict(); !p.Ready() { // else the import goes ahead, which says it
		l.line(cell{clean(word + rest), plain})
	}
	_ = l.to(w)
}

// shortSide writes one line of one field, cut and not wrapped.
func (p *Plan) shortSide(l *lines, name, text string) {
	if text = strings.TrimSpace(text); text != "" {
		l.line(cell{fieldName(name), plain}, cell{clean(text), plain})
	}
}

// shortMemory tells the master with least room for what comes.
func (p *Plan) shortMemory() string {
	tightest := -1
	for i, m := range p.Masters {
		if m.Needs > 0 && m.Free > 0 && (tightest < 0 || m.Free-m.Needs < p.Masters[tightest].Free-p.Masters[tightest].Needs) {
			tightest = i
		}
	}
	if tightest < 0 {
		return ""
	}
	m := p.Masters[tightest]
	return m.label() + " needs " + iec(m.Needs) + " of " + iec(m.Free) + " free"
}
