package importer

import (
	"strconv"

	"github.com/slotferry/slotferry/importer/report"
	"github.com/slotferry/slotferry/rdbparse"
)

// sketch is the plan as far as both sides tell it before the source is read:
// without slots, prefixes and names. nil when there is nothing to say.
func (j *Job) sketch() *report.Plan {
	if j.resumed || j.source.Total() == 0 || !j.opts.Choice.All() {
		return nil
	}
	p := &report.Plan{
		Format: report.Format, Created: j.begun, Keys: j.source.Total(),
		Types: map[string]int64{}, Databases: map[string]int64{},
	}
	j.describe(p, PlanOptions{})
	for db, keys := range j.source.Keys {
		p.Databases[strconv.Itoa(db)] = keys
	}
	if s := j.source.Survey; s != nil {
		p.Bytes = s.Bytes
		for typ, keys := range s.Types {
			p.Types[rdbparse.TypeName(j.vendor(), typ)] += keys
		}
	}
	for _, m := range j.target.Masters {
		p.Masters = append(p.Masters, report.Master{ID: m.ID, Addr: m.Addr, Slots: m.Slots})
	}
	j.estimate(p)
	return p
}

// vendor says whose numbers the source's types are.
func (j *Job) vendor() rdbparse.Vendor {
	if j.source.RDB >= rdbparse.FirstValkey {
		return rdbparse.Valkey
	}
	return rdbparse.Redis
}
