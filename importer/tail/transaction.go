package tail

import (
	"fmt"

	"github.com/slotferry/slotferry/importer/record"
)

// transaction is a MULTI of the source that is not whole yet. Its commands are
// kept, so that those of one slot can go in one block.
type transaction struct {
	open     bool
	loose    bool // it is too long to be kept
	commands []record.Command
	words    []word
	raw      []byte
	torn     bool // it goes in parts
}

func (t *transaction) begin() error {
	if t.open {
		return fmt.Errorf("%w: MULTI within MULTI", ErrUnknown)
	}
	t.open = true
	return nil
}

// keepFor keeps a command until EXEC. The words of earlier ones may lie in
// memory that was left when there was no more room; it is as good as before.
func (a *Applier) keepFor(c *record.Command) error {
	t := &a.tx
	if int64(len(t.raw)+len(c.Raw)) > a.opts.Memory/4 {
		t.loose, t.torn = true, true
		if err := a.applyKept(); err != nil {
			return err
		}
		t.commands = t.commands[:0]
		return a.again(c)
	}
	at := len(t.words)
	for _, w := range c.Words {
		t.words = append(t.words, t.copy(w))
	}
	kept := record.Command{DB: c.DB, Words: t.words[at:len(t.words):len(t.words)], Raw: t.copy(c.Raw), End: c.End}
	t.commands = append(t.commands, kept)
	return nil
}

func (t *transaction) copy(b []byte) []byte {
	at := len(t.raw)
	t.raw = append(t.raw, b...)
	return t.raw[at:len(t.raw):len(t.raw)]
}

// again gives a command whose effect may have been overwritten.
func (a *Applier) again(c *record.Command) error {
	if err := a.effects.Of(c.Words, a.now, &a.effect); err != nil {
		return fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	return a.apply(c, &a.effect)
}

func (a *Applier) applyKept() error {
	for i := range a.tx.commands {
		if err := a.again(&a.tx.commands[i]); err != nil {
			return err
		}
	}
	return nil
}

// commit applies what was kept: as one block if all of it goes to one slot as it
// is, else in parts.
func (a *Applier) commit() error {
	t := &a.tx
	if !t.open {
		return fmt.Errorf("%w: EXEC without MULTI", ErrUnknown)
	}
	a.count.transactions.Add(1)
	a.group = len(a.staged)
	if err := a.applyKept(); err != nil {
		return err
	}
	group := a.staged[a.group:]
	a.group = -1
	for _, e := range group {
		t.torn = t.torn || e.slot != group[0].slot
	}
	if t.torn {
		a.count.torn.Add(1)
	} else {
		for _, e := range group[:max(len(group)-1, 0)] {
			e.joined = true
		}
	}
	clear(t.commands)
	clear(t.words)
	*t = transaction{commands: t.commands[:0], words: t.words[:0], raw: t.raw[:0]}
	if cap(t.raw) > pageBytes {
		t.raw = nil
	}
	return nil
}
