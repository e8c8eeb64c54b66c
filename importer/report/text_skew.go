package report

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/slotferry/slotferry/importer/route"
)

// When unevenness is worth an explanation.
const (
	unevenMaster = 1.2  // the fullest master by the mean
	unevenSlot   = 16   // a slot by the mean slot …
	unevenShare  = 0.05 // … which also holds this part of a mean master
	fewKeys      = 1000 // with fewer, uneven slots are chance
)

// heavySlot is a slot that explains unevenness: what of it is by hash tags and
// single keys.
type heavySlot struct {
	Slot
	Tags []Tag
	Key  *BigKey // the largest in it, if it is one of the largest of all
}

// heavySlots returns up to n slots with most bytes, if there is something to be
// explained.
func (p *Plan) heavySlots(n int) []heavySlot {
	list := slices.Clone(p.Slots)
	slices.SortFunc(list, func(a, b Slot) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(b.Keys, a.Keys), cmp.Compare(a.Slot, b.Slot))
	})
	least := float64(p.Bytes) * max(unevenSlot/float64(route.Slots), unevenShare/float64(max(1, len(p.Masters))))
	uneven := len(p.Masters) > 1 && max(p.Skew.Keys, p.Skew.Bytes) >= unevenMaster
	var heavy []heavySlot
	for _, s := range list[:min(n, len(list))] {
		if p.Keys < fewKeys && !uneven || float64(s.Bytes) < least {
			break
		}
		h := heavySlot{Slot: s}
		for _, t := range p.HashTags {
			if t.Slot == s.Slot {
				h.Tags = append(h.Tags, t)
			}
		}
		if i := slices.IndexFunc(p.BigKeys, func(k BigKey) bool { return k.Slot == s.Slot }); i >= 0 {
			h.Key = &p.BigKeys[i]
		}
		heavy = append(heavy, h)
	}
	return heavy
}

// cause says what fills a slot: a key or tag that has a tenth of it at least.
func (h heavySlot) cause() string {
	var parts []string
	for _, t := range h.Tags[:min(3, len(h.Tags))] {
		if t.Bytes*10 >= h.Bytes {
			parts = append(parts, "tag {"+unwrapped(t.Tag)+"} "+percent(t.Bytes, h.Bytes))
		}
	}
	if h.Key != nil && h.Key.Bytes*10 >= h.Bytes {
		parts = append(parts, "key "+quoted(h.Key.Key)+" "+percent(h.Key.Bytes, h.Bytes))
	}
	return strings.Join(parts, ", ")
}

// unwrapped is a tag as it stands in its braces.
func unwrapped(tag Text) string {
	q := quoted(tag)
	return q[1 : len(q)-1]
}

// factor writes the fullest master's share by the mean.
func factor(f float64) string { return strconv.FormatFloat(f, 'f', 2, 64) + " ×" }

// balance says how even the masters are; "" when there is nothing to compare.
func (p *Plan) balance() string {
	if len(p.Masters) < 2 || p.Skew == (Skew{}) {
		return ""
	}
	return fmt.Sprintf("the fullest master has %s the mean bytes, %s the mean keys", factor(p.Skew.Bytes), factor(p.Skew.Keys))
}

func (p *Plan) textSkew(l *lines) {
	balance, heavy := p.balance(), p.heavySlots(textTags)
	if balance == "" && len(heavy) == 0 {
		return
	}
	l.title("Skew")
	if balance != "" {
		l.note(balance)
	}
	if len(heavy) == 0 {
		return
	}
	l.note("slots with most bytes:")
	l.table(
		texts(number, "slot", heavy, func(h heavySlot) string { return strconv.Itoa(h.Slot.Slot) }),
		texts(number, "keys", heavy, func(h heavySlot) string { return comma(h.Keys) }),
		texts(number, "bytes", heavy, func(h heavySlot) string { return iec(h.Bytes) }),
		texts(number, "of all", heavy, func(h heavySlot) string { return percent(h.Bytes, p.Bytes) }),
		texts(name, "by", heavy, heavySlot.cause),
	)
}
