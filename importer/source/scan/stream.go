package scan

import (
	"bytes"
	"math"
	"slices"
	"strconv"

	"github.com/slotferry/slotferry/importer/record"
)

// streamID is an entry's.
type streamID struct{ ms, seq uint64 }

var lastID = streamID{math.MaxUint64, math.MaxUint64}

func parseID(b []byte) (id streamID, ok bool) {
	ms, seq, _ := bytes.Cut(b, []byte("-"))
	var err, err2 error
	id.ms, err = strconv.ParseUint(string(ms), 10, 64)
	id.seq, err2 = strconv.ParseUint(string(seq), 10, 64)
	return id, err == nil && err2 == nil
}

func (id streamID) append(dst []byte) []byte {
	dst = append(strconv.AppendUint(dst, id.ms, 10), '-')
	return strconv.AppendUint(dst, id.seq, 10)
}

func (id streamID) less(o streamID) bool {
	return id.ms < o.ms || id.ms == o.ms && id.seq < o.seq
}

// next is the ID behind id, or ok is false.
func (id streamID) next() (streamID, bool) {
	switch {
	case id == lastID:
		return id, false
	case id.seq == math.MaxUint64:
		return streamID{id.ms + 1, 0}, true
	}
	return streamID{id.ms, id.seq + 1}, true
}

// stream is what XINFO STREAM tells, in its own words; nil where the server does
// not know it (before 7.0).
type stream struct {
	last, deleted, added []byte
	groups               []*group
}

// group is a consumer group. Its name and numbers are as XINFO GROUPS tells.
type group struct {
	name, last, read, pending []byte

	queue pendingQueue
	claim claim
}

// stream reads a stream: groups and consumers first, because entries that are
// pending there, but deleted from the stream, have to be there for a moment to
// be claimed. XRANGE begins where the last part ended, so parts of a stream are
// asked for one by one.
//
// No command sets when a consumer was seen last, and XPENDING tells when an
// entry was delivered to the millisecond or so. What a stream knows of
// idempotent producers (8.6) is not told by any command.
func (b *builder) stream() error {
	info, err := b.streamInfo()
	if err != nil {
		return err
	}
	for _, g := range info.groups {
		if err := b.makeGroup(g, info.added != nil); err != nil {
			return err
		}
	}
	if len(info.groups) == 0 {
		// Makes a stream, which may stay without entries.
		none := []byte("none")
		if err := b.say("XGROUP", "CREATE", b.name, none, "0-0", "MKSTREAM"); err != nil {
			return err
		}
		if err := b.say("XGROUP", "DESTROY", b.name, none); err != nil {
			return err
		}
	}
	err = b.beside(func(q *builder) error { return b.entries(newPending(q, info)) })
	if err != nil {
		return err
	}
	if info.added != nil && info.deleted != nil {
		err = b.say("XSETID", b.name, info.last, "ENTRIESADDED", info.added, "MAXDELETEDID", info.deleted)
	} else {
		err = b.say("XSETID", b.name, info.last)
	}
	if err != nil {
		return err
	}
	for _, g := range info.groups {
		if g.read == nil {
			continue
		}
		// Some servers take no more as read than was added by then.
		if err := b.say("XGROUP", "SETID", b.name, g.name, g.last, "ENTRIESREAD", g.read); err != nil {
			return err
		}
	}
	return b.sameGroups(info)
}

// say emits one command, the words of which are strings or bytes.
func (b *builder) say(words ...any) error {
	command := make([][]byte, len(words))
	for i, w := range words {
		switch w := w.(type) {
		case []byte:
			command[i] = w
		case string:
			command[i] = []byte(w)
		}
	}
	return b.emit(command)
}

// makeGroup emits a group, and its consumers without pending entries; the
// others come with theirs. A source before 7.0 may stand beside a target that
// has no command to make one, but makes one that reads its own past.
func (b *builder) makeGroup(g *group, createConsumer bool) error {
	if err := b.say("XGROUP", "CREATE", b.name, g.name, g.last, "MKSTREAM"); err != nil {
		return err
	}
	const command = "XINFO CONSUMERS"
	b.ask(command, b.key, g.name)
	if err := b.send(); err != nil {
		return err
	}
	n, err := b.elements(command)
	if err != nil {
		return err
	}
	for range n {
		var name, pending []byte
		b.unit = 0
		if err := b.facts(command, map[string]*[]byte{"name": &name, "pending": &pending}); err != nil {
			return err
		}
		if string(pending) != "0" {
			continue
		}
		if createConsumer {
			err = b.say("XGROUP", "CREATECONSUMER", b.name, g.name, name)
		} else {
			err = b.say("XREADGROUP", "GROUP", g.name, name, "COUNT", "1", "STREAMS", b.name, "0-0")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// streamInfo asks for what is not entries.
func (b *builder) streamInfo() (*stream, error) {
	info := &stream{}
	b.ask("XINFO STREAM", b.key)
	b.ask("XINFO GROUPS", b.key)
	if err := b.send(); err != nil {
		return nil, err
	}
	b.unit = 0
	err := b.facts("XINFO STREAM", map[string]*[]byte{
		"last-generated-id": &info.last, "max-deleted-entry-id": &info.deleted, "entries-added": &info.added,
	})
	if err != nil {
		return nil, err
	}
	if _, ok := parseID(info.last); !ok {
		return nil, b.odd("XINFO STREAM")
	}
	info.groups, err = b.readGroups(info.added != nil)
	return info, err
}

// readGroups reads the answer to XINFO GROUPS. From 7.0 on it says how many
// entries a group has read, or nil where the server has lost count.
func (b *builder) readGroups(counts bool) (groups []*group, err error) {
	const command = "XINFO GROUPS"
	n, err := b.elements(command)
	if err != nil {
		return nil, err
	}
	b.unit = 0
	for range n {
		g := &group{}
		err := b.facts(command, map[string]*[]byte{
			"name": &g.name, "last-delivered-id": &g.last, "entries-read": &g.read, "pending": &g.pending,
		})
		if err != nil {
			return nil, err
		}
		if g.last == nil || g.pending == nil {
			return nil, b.odd(command)
		}
		if g.read == nil && counts {
			g.read = []byte("-1")
		}
		groups = append(groups, g)
	}
	return groups, nil
}

// sameGroups makes sure that the groups are as they were: WATCH does not see
// what consumers do. That one takes an entry over from another goes unnoticed.
func (b *builder) sameGroups(info *stream) error {
	b.ask("XINFO GROUPS", b.key)
	if err := b.send(); err != nil {
		return err
	}
	groups, err := b.readGroups(info.added != nil)
	if err != nil {
		return err
	}
	same := slices.EqualFunc(groups, info.groups, func(x, y *group) bool {
		return bytes.Equal(x.name, y.name) && bytes.Equal(x.last, y.last) && bytes.Equal(x.read, y.read) && bytes.Equal(x.pending, y.pending)
	})
	if !same {
		return record.ErrChanged
	}
	return nil
}

// facts reads a list of names and values, and keeps some of the values.
func (b *builder) facts(command string, keep map[string]*[]byte) error {
	n, err := b.elements(command)
	if err != nil {
		return err
	}
	if n%2 != 0 {
		return b.odd(command)
	}
	for range n / 2 {
		name, err := b.small(command, wordMax)
		if err != nil {
			return err
		}
		into := keep[string(name)]
		if into == nil {
			if err := b.skip(); err != nil {
				return err
			}
			continue
		}
		h, err := b.r.Head()
		switch {
		case err != nil:
			return b.wire(err)
		case h.Kind == ':':
			*into = strconv.AppendInt(nil, h.N, 10)
		case h.Kind == '$' && h.N < 0:
		case h.Kind == '$':
			if err := b.charge(h.N); err != nil {
				return err
			}
			word, _, err := b.r.Body(h.N)
			if err != nil {
				return b.wire(err)
			}
			*into = bytes.Clone(word)
		default:
			return b.odd(command)
		}
	}
	return nil
}

// entries emits all entries, and claims those that are pending.
func (b *builder) entries(pending *pending) error {
	const command = "XRANGE"
	b.batch.begin("XADD", b.name)
	last := streamID{} // smaller than any
	for {
		from, ok := last.next()
		if !ok {
			break
		}
		asked, err := b.count(listCount)
		if err != nil {
			return err
		}
		b.ask(command, b.key, from, "+", "COUNT", asked)
		if err := b.send(); err != nil {
			return err
		}
		n, err := b.elements(command)
		if err != nil {
			return err
		}
		bytes := int64(0)
		for range n {
			b.unit = 0
			id, err := b.entry(command, last)
			if err != nil {
				return err
			}
			if err := pending.before(id); err != nil {
				return err
			}
			if err := b.flush(); err != nil {
				return err
			}
			if err := pending.added(id); err != nil {
				return err
			}
			last = id
			bytes += b.unit
		}
		b.part(n, bytes)
		if n < int64(asked) {
			break
		}
	}
	return pending.finish()
}

// entry reads one entry behind last into the batch.
func (b *builder) entry(command string, last streamID) (id streamID, err error) {
	if err := b.fields(2, command); err != nil {
		return id, err
	}
	if err := b.take(command); err != nil {
		return id, err
	}
	id, ok := parseID(b.batch.words[b.batch.head])
	if !ok || !last.less(id) {
		return id, b.odd(command)
	}
	n, err := b.elements(command)
	if err != nil {
		return id, err
	}
	b.batch.words = slices.Grow(b.batch.words, int(min(n, partWords)))
	for range n {
		if err := b.take(command); err != nil {
			return id, err
		}
	}
	return id, nil
}
