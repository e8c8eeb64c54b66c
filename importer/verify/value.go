package verify

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/slotferry/slotferry/rdbparse"
	"github.com/slotferry/slotferry/rdbparse/decode"
)

func (c *Comparer) sourceType(typ byte) string { return rdbparse.TypeName(c.opts.Vendor, typ) }

// weigh says how two values differ whose bytes do: what counts is what commands
// see of them, and fields that have expired don't.
func (c *Comparer) weigh(wantType byte, want []byte, gotType byte, got []byte) verdict {
	if v, ok := c.types(wantType, gotType); !ok {
		return v
	}
	if wantType == gotType && c.shuffled(wantType, want, got) {
		return verdict{}
	}
	a, err := decode.Decode(c.opts.Vendor, wantType, want)
	if err != nil {
		return undecodable("the source", err)
	}
	b, err := decode.Decode(c.vendor, gotType, got)
	if err != nil {
		return undecodable("the target", err)
	}
	now := time.Now().Add(c.moment).UnixMilli()
	a.DropExpired(now)
	b.DropExpired(now)
	if c.opts.Replayed {
		a.DropConsumerTimes()
		b.DropConsumerTimes()
	}
	if d := decode.Difference(a, b); d != "" {
		return verdict{outcome: differs, kind: Value, detail: d}
	}
	return verdict{}
}

// types says how two RDB types differ; ok means that they stand for the same.
func (c *Comparer) types(want, got byte) (v verdict, ok bool) {
	w, g := c.sourceType(want), rdbparse.TypeName(c.vendor, got)
	switch {
	case w == "":
		return verdict{outcome: skip, detail: fmt.Sprintf("the source's RDB type %d is not known", want)}, false
	case g == "":
		return verdict{outcome: skip, detail: fmt.Sprintf("the target's RDB type %d is not known", got)}, false
	case w != g:
		return verdict{outcome: differs, kind: Type, detail: fmt.Sprintf("%s, not %s", g, w)}, false
	}
	return verdict{}, true
}

func undecodable(where string, err error) verdict {
	if errors.Is(err, decode.ErrModule) {
		return verdict{outcome: skip, detail: "a module's value: its bytes are not the same, and only the module knows what that means"}
	}
	return verdict{outcome: skip, detail: fmt.Sprintf("its value in %s can't be decoded: %v", where, err)}
}

// empty tells whether a hash consists of expired fields only, so that a server
// that reads it has no key.
func (c *Comparer) empty(ch *chunk, e *entry) bool {
	if c.sourceType(e.typ) != "hash" || e.isLarge() {
		return false
	}
	v, err := decode.Decode(c.opts.Vendor, e.typ, e.value.of(ch.values))
	if err != nil {
		return false
	}
	v.DropExpired(time.Now().Add(c.moment).UnixMilli())
	return len(v.Hash) == 0
}

// tooLong judges values whose bytes differ and that may not be decoded: by
// their types, and the lengths of strings.
func (c *Comparer) tooLong(r replies, ch *chunk, e *entry, n int64) (verdict, error) {
	b, err := r.Peek(int(min(n, 1+stringHead)))
	if err != nil {
		return verdict{}, cutOff(err)
	}
	gotType, got, gotPlain := b[0], plainLength(b[1:]), b[1] != packedString
	if err := r.pass(n); err != nil {
		return verdict{}, err
	}
	v, ok := c.types(e.typ, gotType)
	if !ok {
		return v, nil
	}
	if c.sourceType(e.typ) == "string" {
		head := ch.front(e, stringHead)
		want := plainLength(head)
		switch {
		case want < 0 || got < 0:
		case want != got:
			return verdict{outcome: differs, kind: Value, detail: fmt.Sprintf("%d bytes, want %d", got, want)}, nil
		case gotPlain && head[0] != packedString:
			return verdict{outcome: differs, kind: Value, detail: fmt.Sprintf("%d bytes as it should, but not the same ones", got)}, nil
		}
	}
	return verdict{outcome: skip, detail: fmt.Sprintf("its %s of %d bytes in the source and %d in the target is not the same byte by byte, and too long to be decoded with the memory allowed",
		c.sourceType(e.typ), e.len(), n-1-footerBytes)}, nil
}

// stringHead is the most bytes in front of a string's own in an RDB file: a
// byte, and two lengths.
const stringHead = 1 + 2*9

// packedString is the first byte of LZF data (src/rdb.h).
const packedString = 0xc3

// plainLength reads the length of a string from its head, -1 if it does not
// stand there: 6, 14, 32 or 64 bits of length, or those of packed data in front
// of it (src/rdb.c).
func plainLength(b []byte) int64 {
	if len(b) == 0 || b[0] != packedString {
		n, _ := length(b)
		return n
	}
	n, b := length(b[1:]) // of the packed bytes
	if n >= 0 {
		n, _ = length(b)
	}
	return n
}

func length(b []byte) (n int64, rest []byte) {
	if len(b) == 0 {
		return -1, nil
	}
	switch c := b[0]; {
	case c>>6 == 0:
		return int64(c), b[1:]
	case c>>6 == 1 && len(b) >= 2:
		return int64(c&0x3f)<<8 | int64(b[1]), b[2:]
	case c == 0x80 && len(b) >= 5:
		return int64(binary.BigEndian.Uint32(b[1:])), b[5:]
	case c == 0x81 && len(b) >= 9 && b[1] < 0x80:
		return int64(binary.BigEndian.Uint64(b[1:])), b[9:]
	}
	return -1, nil
}
