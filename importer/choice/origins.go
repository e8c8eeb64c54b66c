package choice

import (
	"bytes"

	"github.com/slotferry/slotferry/importer/route"
)

// Origins visits the chosen keys of the given databases that have a name in the
// target: the reverse of Name. There may be none, and with renamed prefixes
// several. The key is valid during the visit only.
func (c *Choice) Origins(name []byte, dbs []int, visit func(db int, key []byte)) {
	if c.slots != nil && !c.Slot(route.Slot(name)) {
		return
	}
	for _, db := range dbs {
		rest, ok := bytes.CutPrefix(name, []byte(c.dbMap[db]))
		if !ok || !c.DB(db) {
			continue
		}
		if c.rule(rest) < 0 && c.Key(db, rest) {
			visit(db, rest)
		}
		for i, r := range c.rename {
			tail, ok := bytes.CutPrefix(rest, r.new)
			if !ok {
				continue
			}
			key := append(append([]byte(nil), r.old...), tail...)
			if c.rule(key) == i && c.Key(db, key) {
				visit(db, key)
			}
		}
	}
}
