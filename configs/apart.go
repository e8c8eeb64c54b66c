package configs

import (
	"slices"
	"strings"

	"github.com/slotferry/slotferry/importer/choice"
	"github.com/slotferry/slotferry/importer/route"
)

// apart refuses jobs whose keys may meet in the target.
func (f *serviceFile) apart(jobs []ServiceJob) {
	for i, a := range jobs {
		for _, b := range jobs[i+1:] {
			if a.Import == nil || b.Import == nil || a.SharedTarget || b.SharedTarget || !meet(a.Import, b.Import) {
				continue
			}
			f.d.wrong("jobs."+b.Name, "it writes to the same target as job %s, and their keys may meet; choose other slots, or prefixes by db_map or rename_prefix, or write shared_target: true if that is all right", a.Name)
		}
	}
}

// meet tells whether both may write a key of the same name.
func meet(a, b *Import) bool {
	if !slices.ContainsFunc(a.Target.Seeds, func(s string) bool { return slices.Contains(b.Target.Seeds, s) }) {
		return false
	}
	if !sameSlot(a, b) {
		return false
	}
	for _, p := range prefixes(a) {
		for _, q := range prefixes(b) {
			if strings.HasPrefix(p, q) || strings.HasPrefix(q, p) {
				return true
			}
		}
	}
	return false
}

// sameSlot tells whether both imports write to some slot.
func sameSlot(a, b *Import) bool {
	x, errX := choice.New(a.Choice)
	y, errY := choice.New(b.Choice)
	if errX != nil || errY != nil {
		return true
	}
	for slot := range uint16(route.Slots) {
		if x.Slot(slot) && y.Slot(slot) {
			return true
		}
	}
	return false
}

// prefixes returns prefixes of which every key that an import writes has one;
// "" is one of every key.
func prefixes(c *Import) []string {
	o := c.Choice
	fronts := []string{""}
	if len(o.DBs) > 0 && len(o.DBMap) > 0 {
		fronts = nil
		for _, db := range o.DBs {
			fronts = append(fronts, o.DBMap[db])
		}
	}
	names := []string{""}
	if len(o.Include) > 0 {
		names = nil
		for _, glob := range o.Include {
			names = append(names, literal(glob))
		}
	}
	var out []string
	for _, front := range fronts {
		for _, name := range names {
			out = append(out, front+renamed(o.Rename, name))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// literal is what every key begins with that fits a glob.
func literal(glob string) string {
	if i := strings.IndexAny(glob, `*?[\`); i >= 0 {
		return glob[:i]
	}
	return glob
}

// renamed is what keys of a prefix begin with under the rules, as far as that is
// the same for all of them.
func renamed(rules []choice.Rename, prefix string) string {
	for _, r := range rules {
		switch {
		case strings.HasPrefix(prefix, r.Old):
			return r.New + prefix[len(r.Old):]
		case strings.HasPrefix(r.Old, prefix):
			return "" // the rule is for some of them
		}
	}
	return prefix
}
