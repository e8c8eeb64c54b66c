package scan

import (
	"fmt"
	"strconv"
	"strings"
)

// What HPEXPIRETIME gives for a field without expiry, and for none
// (https://redis.io/docs/latest/commands/hpexpiretime/).
const (
	noFieldExpiry = -1
	noField       = -2
)

// hash reads a hash, and asks for the expiries of its fields if the server says
// that fields expire in this database at all. They are asked for on a second
// connection: on the first one answers are on their way, which may be long.
func (b *builder) hash() error {
	b.batch.begin("HSET", b.name)
	pair := func() error {
		if err := b.take("HSCAN"); err != nil {
			return err
		}
		return b.take("HSCAN")
	}
	expire, err := b.fieldsExpire()
	if err != nil {
		return err
	}
	if !expire {
		return b.search("HSCAN", pair)
	}
	return b.beside(func(q *builder) error {
		b.after = q.expireFields
		return b.search("HSCAN", pair)
	})
}

// beside opens a second connection for the same key.
func (b *builder) beside(do func(q *builder) error) error {
	return b.source.on(b.ctx, b.record.DB, func(p *pipe) error {
		return do(&builder{pipe: p, key: b.key, name: b.name, emit: b.emit})
	})
}

// fieldsExpire reports whether there are hashes in this database that have
// fields with an expiry: INFO counts them, on Redis from 7.4 and Valkey from 9.0
// on. One that comes later is a change.
func (b *builder) fieldsExpire() (bool, error) {
	b.ask("INFO", "keyspace")
	if err := b.send(); err != nil {
		return false, err
	}
	text, err := b.small("INFO", partBytes/4)
	if err != nil {
		return false, err
	}
	_, line, _ := strings.Cut("\n"+string(text), fmt.Sprintf("\ndb%d:", b.record.DB))
	line, _, _ = strings.Cut(line, "\n")
	for word := range strings.SplitSeq(strings.TrimSpace(line), ",") {
		switch name, n, _ := strings.Cut(word, "="); name {
		case "subexpiry", "keys_with_volatile_items":
			return n != "0", nil
		}
	}
	return false, nil
}

// expireFields gives fields, named with their values in turn, the expiries that
// they have. A field that has expired meanwhile is taken back.
func (b *builder) expireFields(pairs [][]byte) error {
	words := []any{b.key, "FIELDS", len(pairs) / 2}
	for i := 0; i < len(pairs); i += 2 {
		words = append(words, pairs[i])
	}
	b.ask("HPEXPIRETIME", words...)
	if err := b.send(); err != nil {
		return err
	}
	if err := b.fields(int64(len(pairs)/2), "HPEXPIRETIME"); err != nil {
		return err
	}
	var order []int64
	at := map[int64][][]byte{}
	for i := 0; i < len(pairs); i += 2 {
		ms, err := b.number("HPEXPIRETIME")
		if err != nil {
			return err
		}
		if ms == noFieldExpiry {
			continue
		}
		if at[ms] == nil {
			order = append(order, ms)
		}
		at[ms] = append(at[ms], pairs[i])
	}
	for _, ms := range order {
		fields := at[ms]
		command := [][]byte{[]byte("HPEXPIREAT"), b.name, strconv.AppendInt(nil, ms, 10), []byte("FIELDS"), strconv.AppendInt(nil, int64(len(fields)), 10)}
		switch {
		case ms == noField:
			command = [][]byte{[]byte("HDEL"), b.name}
		case ms < 0:
			return b.odd("HPEXPIRETIME")
		}
		if err := b.emit(append(command, fields...)); err != nil {
			return err
		}
	}
	return nil
}
