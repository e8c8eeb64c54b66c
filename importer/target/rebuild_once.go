package target

import (
	"context"
	"errors"
	"fmt"

	"github.com/slotferry/slotferry/importer/record"
)

// ErrNotRebuilt means that no native commands make a value there; the error says
// why.
var ErrNotRebuilt = errors.New("it can't be rebuilt")

// Rebuild writes one record at once, with native commands. What a node answers
// comes as a redis.Error; a record that has expired is not written, and no error.
func (c *Cluster) Rebuild(ctx context.Context, r *record.Record, name []byte, slot uint16) error {
	m, err := c.Table().Owner(slot)
	if err != nil {
		return err
	}
	b := newLane(c, m.Addr).rebuilder // of no lane that runs
	defer b.clean(ctx)
	t, err := c.dialTalk(ctx, m.Addr, c.opts.ReplyTimeout, func() {})
	if err != nil {
		return c.denied(m.Addr, err)
	}
	defer t.conn.Close()
	defer context.AfterFunc(ctx, func() { _ = t.conn.Close() })()
	ch := &chunk{buf: make([]byte, 0, c.encoding.size(r, name))}
	c.encoding.add(ch, r, name, slot, nil)
	s := &rebuilding{rebuilder: b, talk: t}
	err = s.large(ctx, ch, 0)
	var no *refusal
	switch {
	case errors.As(err, &no):
		return fmt.Errorf("%w: %s", ErrNotRebuilt, no.reason)
	case errors.Is(err, errExpired):
		return nil
	}
	return c.denied(m.Addr, err)
}

// Refuses reports whether a node's answer to RESTORE means that the value must be
// rebuilt, if it is sound.
func Refuses(answer string) bool { return classify([]byte(answer)) == badValue }
