package verify

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/importer/route"
	"github.com/slotferry/slotferry/importer/target"
	"github.com/slotferry/slotferry/rdbparse"
)

// mend writes the source's values for those looks that ask for it, and returns
// all of which the target is to be asked now.
func (a *again) mend(ctx context.Context, addr string, looks []*look) ([]*look, error) {
	var ask []*look
	for _, l := range looks {
		if !l.mend {
			ask = append(ask, l)
			continue
		}
		v, err := a.c.restore(ctx, l)
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case final(err):
			return nil, err
		case err != nil:
			a.failed(l, addr, err.Error())
		case v.outcome == same:
			l.mend, l.mended, l.fails, l.since = false, true, 0, time.Time{}
			ask = append(ask, l)
		default:
			l.mend, l.mended = false, v.outcome != gone
			a.answered(l, v, addr)
		}
	}
	return ask, nil
}

// restore copies a value again, as it was read last. An error asks for another
// attempt unless it is final; a verdict that is not same says why there is none.
func (c *Comparer) restore(ctx context.Context, l *look) (verdict, error) {
	e := l.entry
	if e.expireAt != 0 && e.expireAt <= time.Now().UnixMilli() {
		return verdict{outcome: gone}, nil
	}
	if e.len() > c.opts.MaxValue {
		return verdict{outcome: skip, detail: fmt.Sprintf("its value of %d bytes does not fit into the memory allowed; import it again", e.len())}, nil
	}
	c.heavy.Lock()
	defer c.heavy.Unlock()
	body, err := l.ch.body(e)
	if err != nil {
		return verdict{}, &valueError{clone(l.ch.key(e)), err}
	}
	version := rdbparse.LowestVersion(e.typ)
	// A module's own encoding does not go by the type's number.
	if version == 0 || e.typ == rdbparse.TypeModule2 && e.version != 0 {
		version = e.version
	}
	name := l.ch.name(e)
	rebuild := func() (verdict, error) {
		r := &record.Record{Key: name, Type: e.typ, Value: body, Owned: true, Version: version, ExpireAt: e.expireAt}
		err := c.opts.Target.Rebuild(ctx, r, name, route.Slot(name))
		if errors.Is(err, target.ErrNotRebuilt) {
			return verdict{outcome: skip, detail: err.Error()}, nil
		}
		return c.reply(err)
	}
	if bytes := int64(len(body)); bytes > min(c.opts.Target.MaxCommand(), c.opts.Target.MaxBulk()-1-footerBytes) {
		return rebuild()
	}
	payload := rdbparse.AppendPayload(make([]byte, 0, len(body)+1+footerBytes), e.typ, body, version)
	words := []any{"RESTORE", name, e.expireAt, payload, "REPLACE"}
	if e.expireAt != 0 {
		words = append(words, "ABSTTL")
	}
	err = c.client.Do(ctx, words...).Err()
	if err != nil && target.Refuses(err.Error()) {
		return rebuild()
	}
	return c.reply(err)
}

// reply judges how the target answered a command through go-redis: not at all
// or not now (an error), with a refusal that stops the job (an error that is
// final), or with one that concerns this key only (a verdict).
func (c *Comparer) reply(err error) (verdict, error) {
	var said redis.Error
	if err == nil || errors.Is(err, redis.Nil) {
		return verdict{}, nil
	}
	if !errors.As(err, &said) {
		return verdict{}, err
	}
	for _, word := range []string{"OOM", "MISCONF", "NOREPLICAS", "READONLY"} {
		if redis.HasErrorPrefix(err, word) {
			return verdict{}, err
		}
	}
	v, stop := c.refused([]byte(said.Error()), "the target")
	if stop == nil && v.outcome == later {
		return verdict{}, err
	}
	return v, stop
}
