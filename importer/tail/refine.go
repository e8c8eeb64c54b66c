package tail

import "github.com/slotferry/slotferry/importer/route"

// coarse is the value of a mark's field for a key whose commands do not carry
// all that they changed in the source, so that it has to be read again before
// the end.
const coarse = "~"

// isCoarse tells whether a command says less than it did. XREADGROUP comes as
// XCLAIM, which does not tell how many entries its group has read; a replica does
// not know either (streamPropagateXCLAIM in src/t_stream.c).
func isCoarse(name string) bool { return name == "XCLAIM" }

// roughen notes that a key has to be read again before the end, here and in the
// mark of its slot.
func (a *Applier) roughen(db int, key []byte) error {
	name := string(a.opts.Choice.Name(nil, db, key))
	if a.rough[name] != nil || a.pending[name] != nil {
		return nil
	}
	w := &wanted{db: db, key: append([]byte(nil), key...), name: name, slot: route.Slot([]byte(name))}
	a.rough[name] = w
	a.unstale(w)
	_, err := a.note(w, coarse)
	return err
}

// Refine has the keys read again whose commands did not carry all that they
// changed. It costs the source a DUMP each, and is for when its writers are
// still, or nearly.
func (a *Applier) Refine() error {
	if a.opts.Reread == nil || a.ctx == nil || a.tx.open {
		return nil
	}
	for _, w := range a.rough {
		if err := a.want(w.db, w.key); err != nil {
			return err
		}
	}
	clear(a.rough)
	return a.Idle()
}
