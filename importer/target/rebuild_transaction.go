package target

import (
	"fmt"
	"time"
)

const (
	blockBytes   = 256 << 10      // of the longest transaction that builds a value
	maxBlockName = 16 << 10       // of a key that is built in one
	partBytes    = 1 << 20        // of a command, so that none keeps a node busy for long
	partElements = 4096           // the same
	leastPart    = 64 << 10       // of a command of more than one element, in bytes
	safetyExpiry = 24 * time.Hour // of a temporary key, so that nothing stays for ever
)

var (
	wordMulti, wordExec    = []byte("MULTI"), []byte("EXEC")
	wordUnlink, wordExists = []byte("UNLINK"), []byte("EXISTS")
	wordPExpireAt          = []byte("PEXPIREAT")
	wordRenameNX           = []byte("RENAMENX")
)

// transaction gathers an entry's commands as one transaction, which is all or
// nothing. errNotSmall means that the value must be built in parts.
func (s *rebuilding) transaction(c *chunk, i int) error {
	x := &c.entries[i]
	switch {
	case x.passed():
		return errExpired
	case !c.oneTransaction(i):
		return errNotSmall
	}
	key := x.key.of(c.buf)
	name := key
	if s.cluster.opts.Skip {
		name = s.cluster.tempName(x.slot)
	}
	t, before, n := s.talk, len(s.talk.out), 0
	add := func(words ...[]byte) {
		n++
		t.addWords(words)
	}
	add(wordMulti)
	add(wordUnlink, name)
	made := n
	err := s.write(c, i, name, nil, func(words [][]byte) error {
		long := len(t.out) - before
		for _, w := range words {
			long += len(w)
		}
		if long > blockBytes {
			return errNotSmall
		}
		add(words...)
		return nil
	})
	if err == nil && n == made {
		err = x.nothingLeft()
	}
	if err != nil {
		t.out = t.out[:before]
		return err
	}
	if x.expireAt != 0 {
		add(wordPExpireAt, name, decimal(x.expireAt))
	}
	if s.cluster.opts.Skip {
		add(wordRenameNX, name, key)
		add(wordUnlink, name) // where the key exists
	}
	add(wordExec)
	b := block{answers: n, bytes: len(t.out) - before}
	s.flight, s.sent = append(s.flight, b), s.sent+b.bytes
	return nil
}

// outcome reads the answers to an entry's transaction.
func (s *rebuilding) outcome(c *chunk, b block) (result, err error) {
	first := ""
	for range b.answers - 1 {
		a, err := s.talk.answer()
		if err != nil {
			return nil, err
		}
		if first == "" {
			first = a.err
		}
	}
	a, err := s.talk.answer() // to EXEC
	x := &c.entries[c.next]
	switch {
	case err != nil:
		return nil, err
	case first != "":
		return &replyError{first}, nil
	case a.within && x.passed():
		return errExpired, nil
	case a.within: // some of it took effect: it is built apart and then shown, or removed
		x.half = true
		return fmt.Errorf("%w: %q", errHalf, a.err), nil
	case a.err != "":
		return &replyError{a.err}, nil
	case s.cluster.opts.Skip && a.last[0] == 0:
		return errThere, nil
	}
	return nil, nil
}

// nothingLeft is what becomes of a value that takes no command to make.
func (x *entry) nothingLeft() error {
	if x.typ >= firstFieldExpiry {
		return errExpired
	}
	return &refusal{reason: "the value is empty"}
}

// firstFieldExpiry is the lowest RDB type of hashes whose fields may expire.
const firstFieldExpiry = 22

func (x *entry) passed() bool { return x.expireAt != 0 && x.expireAt <= time.Now().UnixMilli() }

// oneTransaction reports whether an entry's value may be built in one
// transaction. A stream is not: if a node did not take one of its commands, the
// others would have replaced the old value already.
func (c *chunk) oneTransaction(i int) bool {
	x := &c.entries[i]
	return c.body == nil && x.payload.len <= blockBytes && x.key.len <= maxBlockName && !x.half && !isStream(x.typ)
}
