package target

import (
	"context"
	"errors"
	"strings"
)

// large builds a value under the temporary name of its slot and then renames
// that over the key, so that no reader sees half a value. It returns what became
// of it, as settle takes it.
func (s *rebuilding) large(ctx context.Context, c *chunk, i int) error {
	x := &c.entries[i]
	p := &parts{rebuilding: s, x: x, key: x.key.of(c.buf), name: s.cluster.tempName(x.slot)}
	s.left[x.slot] = struct{}{}
	s.begins(p.key, c.valueBytes(i))
	defer s.ended()
	err := p.build(ctx, c, i)
	if err == nil {
		err = p.show()
	}
	var said *replyError
	switch {
	case err == nil:
		delete(s.left, x.slot)
	case errors.As(err, &said) && classify([]byte(said.line)) == moved:
		// The next attempt, where the slot is now, begins with its removal.
	default:
		p.remove()
	}
	return err
}

// parts is one attempt to build a value in parts.
type parts struct {
	*rebuilding
	x         *entry
	key, name []byte
	begun     bool
	owed      []int // bytes of each command without an answer
	bytes     int   // of all of them
	total     int64 // bytes of all words of the value
	err       error // of the connection, or what a node answered
}

// build writes the value under the temporary name.
func (p *parts) build(ctx context.Context, c *chunk, i int) error {
	if p.x.passed() {
		return errExpired
	}
	if p.cluster.opts.Skip {
		p.add(wordExists, p.key)
		there, err := p.drain()
		if err != nil {
			return err
		}
		if there == 1 {
			return errThere
		}
	}
	p.add(wordUnlink, p.name)
	var err error
	if c.body != nil && c.body.build != nil {
		p.x.expireAt, err = c.body.build(ctx, p.name, func(words [][]byte) error {
			if p.err == nil {
				p.err = p.part(words)
				p.progress(p.total)
			}
			return p.err
		})
	} else {
		err = p.write(c, i, p.name, p.progress, func(words [][]byte) error {
			if p.err == nil {
				p.err = p.part(words)
			}
			return p.err
		})
	}
	switch {
	case p.err != nil:
		return p.err
	case err != nil && c.body != nil && c.body.build != nil:
		return &sourceError{err}
	case err != nil:
		return err
	case !p.begun:
		return p.x.nothingLeft()
	}
	// A key that was evicted or deleted meanwhile, and then begun anew by a later
	// part, has no expiry.
	p.add([]byte("PTTL"), p.name)
	ttl, err := p.drain()
	switch {
	case err != nil:
		return err
	case p.x.passed():
		return errExpired
	case ttl <= 0:
		return errVanished
	}
	return nil
}

// part sends one command of the value.
func (p *parts) part(words [][]byte) error {
	if err := p.cluster.shortEnough(words); err != nil {
		return err
	}
	p.add(words...)
	if !p.begun {
		p.begun = true
		p.add([]byte("PEXPIRE"), p.name, decimal(safetyExpiry.Milliseconds()))
	}
	for _, w := range words {
		p.total += int64(len(w))
	}
	if len(p.talk.out) >= chunkBytes {
		if err := p.talk.flush(); err != nil {
			return err
		}
	}
	window := p.cluster.opts.Window
	if p.bytes < window {
		return nil
	}
	_, err := p.answersTo(window / 2)
	return err
}

func (p *parts) add(words ...[]byte) {
	n := p.talk.addWords(words)
	p.owed = append(p.owed, n)
	p.bytes += n
}

// drain reads all answers and returns the last one's number.
func (p *parts) drain() (int64, error) { return p.answersTo(0) }

// answersTo reads answers until at most so many bytes are without one.
func (p *parts) answersTo(most int) (last int64, err error) {
	if err := p.talk.flush(); err != nil {
		return 0, err
	}
	for len(p.owed) > 0 && (p.bytes > most || most == 0) {
		a, err := p.next()
		if err != nil {
			return 0, err
		}
		if a.err != "" {
			return 0, &replyError{a.err}
		}
		last = a.n
	}
	if p.begun {
		p.well()
	}
	return last, nil
}

func (p *parts) next() (reply, error) {
	a, err := p.talk.answer()
	if err == nil {
		p.bytes -= p.owed[0]
		p.owed = p.owed[1:]
	}
	return a, err
}

// show gives the value its expiry and its name, over what has that name. The old
// value's memory is given back in the background: RENAME alone would do that at
// once, however long it takes.
func (p *parts) show() error {
	skip := p.cluster.opts.Skip
	p.add(wordMulti)
	if p.x.expireAt != 0 {
		p.add(wordPExpireAt, p.name, decimal(p.x.expireAt))
	} else {
		p.add([]byte("PERSIST"), p.name)
	}
	if skip {
		p.add(wordRenameNX, p.name, p.key)
	} else {
		p.add(wordUnlink, p.key)
		p.add([]byte("RENAME"), p.name, p.key)
	}
	p.add(wordExec)
	if err := p.talk.flush(); err != nil {
		return err
	}
	first := ""
	for len(p.owed) > 0 {
		a, err := p.next()
		if err != nil {
			return err
		}
		switch {
		case first != "":
		case a.err != "":
			first = a.err
		case len(p.owed) == 0 && skip && a.last[1] == 0:
			return errThere
		}
	}
	switch {
	case first == "":
		return nil
	case strings.HasPrefix(first, "ERR no such key") && p.x.passed():
		return errExpired
	case strings.HasPrefix(first, "ERR no such key"):
		return errVanished
	}
	return &replyError{first}
}

// remove takes the temporary key away after a failure, and what a transaction
// left half done. If that does not work now, it is tried again at the end.
func (p *parts) remove() {
	p.add(wordUnlink, p.name)
	if p.x.half {
		p.add(wordUnlink, p.key)
	}
	if p.talk.flush() != nil {
		return
	}
	last := reply{}
	for len(p.owed) > 0 {
		var err error
		if last, err = p.next(); err != nil {
			return
		}
	}
	if last.err == "" {
		delete(p.left, p.x.slot)
	}
}
