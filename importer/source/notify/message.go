package notify

import (
	"bytes"
	"fmt"
	"strconv"

	"github.com/slotferry/slotferry/resp"
)

// What a subscribed connection tells
// (https://redis.io/docs/latest/develop/pubsub/, …/pubsub/keyspace-notifications/).
type message struct {
	kind kind
	db   int
	key  []byte // touched; or what a PING said. Valid until the next message
	long bool   // the key's name does not fit into the memory allowed
}

type kind uint8

const (
	other      kind = iota // of no interest
	subscribed             // to a pattern
	pong
	keyTouched
)

// The patterns that may be subscribed to: with the key as the message, and with
// the key as part of the channel's name. A user with rights to some channels
// only needs the right to a pattern literally.
const (
	keyevent = "__keyevent@*__:*"
	keyspace = "__keyspace@*__:*"
)

const (
	shortMax   = 64      // bytes of the first word, and of what a PING said
	channelMax = 1 << 10 // bytes of a channel's name beside the key
)

// reader reads messages.
type reader struct {
	r       *resp.Reader
	keyMax  int64
	channel []byte
}

// next reads one message. An error reply is a resp.Head's line, as refusal.
func (r *reader) next() (m message, err error) {
	h, err := r.r.Head()
	switch {
	case err != nil:
		return m, err
	case h.Kind == '-':
		return m, &refusal{string(h.Line)}
	case h.Kind != '*' || h.N < 2 || h.N > 4:
		return m, fmt.Errorf("%w: message of kind %q", resp.ErrProtocol, h.Kind)
	}
	word, _, err := r.word(shortMax)
	if err != nil {
		return m, err
	}
	switch name := string(word); {
	case name == "pong" && h.N == 2:
		m.kind = pong
		m.key, _, err = r.word(shortMax)
		return m, err
	case name == "psubscribe" && h.N == 3:
		m.kind = subscribed
	case name == "pmessage" && h.N == 4:
		return r.event()
	}
	for range h.N - 1 {
		e, err := r.r.Head()
		if err != nil {
			return m, err
		}
		if err := r.r.Skip(e); err != nil {
			return m, err
		}
	}
	return m, nil
}

// event reads what follows "pmessage": the pattern, the channel, the message.
func (r *reader) event() (m message, err error) {
	pattern, _, err := r.word(shortMax)
	if err != nil {
		return m, err
	}
	space := string(pattern) == keyspace
	channel, long, err := r.word(channelMax + r.keyMax)
	if err != nil {
		return m, err
	}
	r.channel = append(r.channel[:0], channel...)
	key, tooLong, err := r.word(r.keyMax)
	if err != nil {
		return m, err
	}
	m.kind = keyTouched
	db, rest, ok := parseChannel(r.channel)
	if space {
		key, tooLong = rest, false
	}
	m.db, m.key, m.long = db, key, long || tooLong
	if !ok && !long {
		return message{}, nil
	}
	return m, nil
}

// word reads one word, which is valid until the next one. One that is longer
// than limit is thrown away.
func (r *reader) word(limit int64) (word []byte, long bool, err error) {
	h, err := r.r.Head()
	switch {
	case err != nil:
		return nil, false, err
	case h.Kind != '$' || h.N < 0:
		return nil, false, fmt.Errorf("%w: word of kind %q", resp.ErrProtocol, h.Kind)
	case h.N > limit:
		return nil, true, r.r.Discard(h.N)
	}
	word, _, err = r.r.Body(h.N)
	return word, false, err
}

// parseChannel cuts "__keyevent@3__:set" or "__keyspace@3__:key" into database
// and rest.
func parseChannel(channel []byte) (db int, rest []byte, ok bool) {
	head, rest, found := bytes.Cut(channel, []byte("__:"))
	if !found {
		return 0, nil, false
	}
	for _, prefix := range []string{"__keyevent@", "__keyspace@"} {
		if digits, ok := bytes.CutPrefix(head, []byte(prefix)); ok {
			db, err := strconv.Atoi(string(digits))
			return db, rest, err == nil && db >= 0
		}
	}
	return 0, nil, false
}

// refusal is an error reply.
type refusal struct{ line string }

func (r *refusal) Error() string { return fmt.Sprintf("the source answered %q", r.line) }
