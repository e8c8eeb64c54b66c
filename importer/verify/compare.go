package verify

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/slotferry/slotferry/importer/target"
)

// outcome is what the answers for one key say.
type outcome uint8

const (
	same    outcome = iota
	differs         // verdict.kind says how
	gone            // on its way out: expired, or deleted from a living source
	skip            // it can't be compared; verdict.detail says why
	later           // ask again: elsewhere, if verdict.addr says so
	closer          // ask again and hold the value in memory
)

type verdict struct {
	outcome outcome
	kind    Kind
	detail  string
	addr    string
	asking  bool
}

// What PTTL and PEXPIRETIME give for a key without expiry, and for none
// (https://redis.io/docs/latest/commands/pexpiretime/).
const (
	noExpiry = -1
	noKey    = -2
)

// manner is how an answer is to be read.
type manner struct {
	asking bool // each one follows the answer to an ASKING
	hold   bool // a large value may be taken into memory
}

// read reads a master's answers to one question and compares them with the
// entry. An error ends the connection.
func (c *Comparer) read(r replies, ch *chunk, e *entry, from string, how manner) (verdict, error) {
	h, err := c.answer(r, from, how)
	if err != nil {
		return verdict{}, err
	}
	var v verdict
	there := true
	switch {
	case h.kind == '-':
		v, err = c.refused(h.line, from)
	case h.kind != '$':
		err = fmt.Errorf("%w: answer to DUMP", errReply)
	case h.n < 0:
		there = false
	case h.n < 1+footerBytes:
		err = fmt.Errorf("%w: a DUMP of %d bytes", errReply, h.n)
	case e.gone:
		err = r.pass(h.n)
	default:
		v, err = c.value(r, ch, e, h.n, how.hold)
	}
	if err != nil {
		return verdict{}, err
	}
	at, refusal, err := c.expiry(r, from, how)
	switch {
	case err != nil:
		return verdict{}, err
	case v.outcome > gone:
		return v, nil
	case refusal.outcome != same:
		return refusal, nil
	}
	if there && at != noKey {
		return c.found(ch, e, v, at)
	}
	if e.gone || c.expiring(e.expireAt) || c.empty(ch, e) {
		return verdict{outcome: gone}, nil
	}
	return verdict{outcome: differs, kind: Missing, detail: c.sourceType(e.typ)}, nil
}

// answer reads the head of an answer, and the one to ASKING before it.
func (c *Comparer) answer(r replies, from string, how manner) (reply, error) {
	if how.asking {
		h, err := r.head()
		if err == nil && h.kind == '-' {
			_, err = c.refused(h.line, from) // without the right to it; else the next answer tells more
		}
		if err != nil {
			return reply{}, err
		}
	}
	return r.head()
}

// found judges a key that the target has, with the verdict on its value and its
// expiry.
func (c *Comparer) found(ch *chunk, e *entry, v verdict, at int64) (verdict, error) {
	switch {
	case e.gone:
		return verdict{outcome: differs, kind: Extra, detail: "deleted from the source meanwhile"}, nil
	case v.outcome == same && at == e.expireAt:
		return v, nil
	case e.expireAt != 0 && e.expireAt <= time.Now().UnixMilli():
		return verdict{outcome: gone}, nil
	case v.outcome != same || at != 0 && e.expireAt != 0 && max(at-e.expireAt, e.expireAt-at) <= c.Tolerance().Milliseconds():
		return v, nil
	}
	return verdict{outcome: differs, kind: TTL, detail: fmt.Sprintf("expires %s, not %s", expiry(at), expiry(e.expireAt))}, nil
}

// expiring tells whether a key is as good as expired.
func (c *Comparer) expiring(at int64) bool {
	return at != 0 && at <= time.Now().Add(c.moment).UnixMilli()
}

// expiry is a time in Unix milliseconds, 0 for never.
type expiry int64

func (e expiry) String() string {
	if e == 0 {
		return "never"
	}
	return time.UnixMilli(int64(e)).UTC().Format("2006-01-02 15:04:05.000 UTC")
}

// expiry reads the answer to PEXPIRETIME, or to TIME and PTTL: Unix
// milliseconds, 0 for never, noKey for no key.
func (c *Comparer) expiry(r replies, from string, how manner) (at int64, refusal verdict, err error) {
	now := int64(0)
	if c.pttl {
		h, err := r.head()
		if err != nil {
			return 0, verdict{}, err
		}
		if h.kind == '-' {
			refusal, err = c.refused(h.line, from)
		} else {
			now, err = r.clock(h)
		}
		if err != nil {
			return 0, verdict{}, err
		}
	}
	h, err := c.answer(r, from, how)
	switch {
	case err != nil:
	case h.kind == '-':
		refusal, err = c.refused(h.line, from)
	case h.kind != ':':
		err = fmt.Errorf("%w: answer to PEXPIRETIME", errReply)
	case h.n == noExpiry:
	case h.n < 0:
		at = noKey
	default:
		at = now + h.n
	}
	return at, refusal, err
}

// value compares a DUMP of n bytes with the entry's value.
func (c *Comparer) value(r replies, ch *chunk, e *entry, n int64, hold bool) (verdict, error) {
	body := n - 1 - footerBytes
	if !e.isLarge() && fits(n) {
		b, err := r.peek(n)
		if err != nil {
			return verdict{}, err
		}
		v := verdict{}
		if want := e.value.of(ch.values); b[0] != e.typ || !bytes.Equal(b[1:1+body], want) {
			v = c.weigh(e.typ, want, b[0], b[1:1+body])
		}
		return v, r.pass(n)
	}
	if hold {
		return c.held(r, ch, e, n)
	}
	if body != e.len() {
		return verdict{outcome: closer}, r.pass(n)
	}
	return c.streamed(r, ch, e, n)
}

// valueError is a value of the source that can't be read any more.
type valueError struct {
	key []byte
	err error
}

func (e *valueError) Error() string {
	return fmt.Sprintf("key %q: its value can't be read from the file any more (is it being changed?): %v", clipped(e.key), e.err)
}
func (e *valueError) Unwrap() error { return e.err }

// streamed compares a value of the same length while it comes.
func (c *Comparer) streamed(r replies, ch *chunk, e *entry, n int64) (verdict, error) {
	var want io.ReaderAt = e.large
	if e.large == nil {
		b, _ := ch.body(e) // it is in memory
		want = bytes.NewReader(b)
	}
	equal, at := true, int64(-1) // the type comes first
	buf := make([]byte, readBytes)
	err := r.parts(n, func(part []byte) error {
		if at < 0 {
			equal, part, at = part[0] == e.typ, part[1:], 0
		}
		part = part[:min(int64(len(part)), max(0, e.len()-at))]
		if !equal || len(part) == 0 {
			return nil
		}
		if k, err := want.ReadAt(buf[:len(part)], at); k < len(part) {
			return &valueError{clone(ch.key(e)), err}
		}
		equal = bytes.Equal(part, buf[:len(part)])
		at += int64(len(part))
		return nil
	})
	if !equal {
		return verdict{outcome: closer}, err
	}
	return verdict{}, err
}

// held compares values that have to be decoded, one such pair at a time.
func (c *Comparer) held(r replies, ch *chunk, e *entry, n int64) (verdict, error) {
	if longest := max(n, e.len()); longest > c.opts.MaxValue {
		return c.tooLong(r, ch, e, n)
	}
	c.heavy.Lock()
	defer c.heavy.Unlock()
	got, err := r.hold(n)
	if err != nil {
		return verdict{}, err
	}
	want, err := ch.body(e)
	if err != nil {
		return verdict{}, &valueError{clone(ch.key(e)), err}
	}
	got = got[:n-footerBytes]
	if got[0] == e.typ && bytes.Equal(got[1:], want) {
		return verdict{}, nil
	}
	return c.weigh(e.typ, want, got[0], got[1:]), nil
}

// refused reads an error reply: whether to ask again, to leave the key out, or
// to stop.
func (c *Comparer) refused(line []byte, from string) (verdict, error) {
	if addr, asking, ok := c.opts.Target.Redirection(line, from); ok {
		return verdict{outcome: later, detail: string(line), addr: addr, asking: asking}, nil
	}
	has := func(s string) bool { return bytes.Contains(line, []byte(s)) }
	word, _, _ := bytes.Cut(line, []byte(" "))
	switch string(word) {
	case "TRYAGAIN", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "BUSY", "MOVED", "ASK":
		return verdict{outcome: later, detail: string(line)}, nil
	case "NOPERM":
		if has("access a key") || has("access one of the keys") {
			break
		}
		fallthrough
	case "NOAUTH", "WRONGPASS", "DENIED":
		return verdict{}, fmt.Errorf("%w: %s answered %q", target.ErrDenied, from, line)
	case "ERR":
		if has("max number of clients") {
			return verdict{outcome: later, detail: string(line)}, nil
		}
		if has("unknown command") {
			return verdict{}, fmt.Errorf("%w: %s answered %q", target.ErrDenied, from, line)
		}
	}
	return verdict{outcome: skip, detail: fmt.Sprintf("%s answered %q", from, line)}, nil
}

// final reports whether an error ends the job: another connection would not
// mend it.
func final(err error) bool {
	var value *valueError
	var patience *target.PatienceError
	return errors.Is(err, target.ErrDenied) || errors.As(err, &value) || errors.As(err, &patience)
}

func clone(b []byte) []byte { return append([]byte(nil), b...) }

// clipped shortens a key for a message.
func clipped(key []byte) []byte { return key[:min(len(key), 128)] }
