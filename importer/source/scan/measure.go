package scan

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/slotferry/slotferry/importer/preflight"
	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/resp"
)

const (
	wordMax   = 128 // bytes of the name of a type or encoding
	wordsKept = 256
)

// measurable sees whether the user may ask for measures. If not, values are
// read as for an import, and measured here.
func (s *Source) measurable(ctx context.Context, found *preflight.Findings) {
	var denied []string
	for _, words := range [][]any{{"TYPE"}, {"OBJECT", "ENCODING"}, {"MEMORY", "USAGE"}} {
		err := s.clients.first.Do(ctx, append(words, preflight.ProbeKey)...).Err()
		var reply redis.Error
		switch {
		case err == nil, errors.Is(err, redis.Nil):
		case !errors.As(err, &reply):
			s.unreachable(found, err)
			return
		case !keyDenied(err.Error()) && !noSuchKey(err.Error()): // refused, renamed or disabled
			denied = append(denied, strings.TrimSpace(fmt.Sprintln(words...)))
		}
	}
	if len(denied) > 0 {
		found.Warn("measure_dump", "ACL SETUSER <user> +type +object|encoding +memory|usage",
			"the user may not run %s on the source: values are read in full and measured by their serialized length, which costs as much as an import",
			strings.Join(denied, ", "))
		return
	}
	s.memory = true
}

func noSuchKey(reply string) bool { return strings.HasPrefix(reply, "ERR no such key") }

// appendMeasure asks what a key's value is.
func (p *pipe) appendMeasure(key []byte) {
	p.out = append(p.out, "*2\r\n$4\r\nTYPE\r\n"...)
	p.out = resp.AppendBulk(p.out, key)
	p.out = append(p.out, "*3\r\n$6\r\nOBJECT\r\n$8\r\nENCODING\r\n"...)
	p.out = resp.AppendBulk(p.out, key)
	p.out = append(p.out, "*3\r\n$6\r\nMEMORY\r\n$5\r\nUSAGE\r\n"...)
	p.out = resp.AppendBulk(p.out, key)
}

// readMeasure reads the answers. The key may vanish, or become another, between
// any two of them.
func (p *pipe) readMeasure() error {
	r := &p.record
	h, err := p.answer('+', "TYPE")
	if err != nil {
		return err
	}
	if h.Kind == '+' {
		if len(h.Line) > wordMax {
			return p.wire(fmt.Errorf("%w: a type's name of %d bytes", resp.ErrProtocol, len(h.Line)))
		}
		r.Measure.Type = p.word(h.Line)
		if r.Measure.Type == "none" {
			r.Fate = record.Gone
		}
	}
	if h, err = p.answer('$', "OBJECT ENCODING"); err != nil {
		return err
	}
	if h.Kind == '$' && h.N >= 0 {
		if h.N > wordMax {
			return p.wire(fmt.Errorf("%w: an encoding's name of %d bytes", resp.ErrProtocol, h.N))
		}
		body, _, err := p.r.Body(h.N)
		if err != nil {
			return p.wire(err)
		}
		r.Measure.Encoding = p.word(body)
	}
	if h, err = p.answer(':', "MEMORY USAGE"); err != nil {
		return err
	}
	if h.Kind == ':' {
		if h.N < 0 {
			return p.wire(fmt.Errorf("%w: answer to MEMORY USAGE", resp.ErrProtocol))
		}
		r.Measure.Bytes = h.N
	}
	if r.Type = rdbType(p.source.server.Version, r.Measure.Type, r.Measure.Encoding); r.Type == moduleType {
		r.Measure.Encoding = "module" // a server says "raw" of them
	}
	if r.Fate != record.Copy {
		r.Type, r.Measure = 0, record.Measure{}
	}
	return nil
}

// answer reads the first line of an answer of one kind. Nil means that the key
// is gone; an error that concerns this key only refuses it.
func (p *pipe) answer(kind byte, command string) (resp.Head, error) {
	r := &p.record
	h, err := p.r.Head()
	switch {
	case err != nil:
		return h, p.wire(err)
	case h.Kind == '-':
		if err := refused(h.Line, command); !keyOnly(h.Line) {
			return h, err
		}
		if r.Fate != record.Copy {
			return h, nil
		}
		if r.Fate = record.Gone; !noSuchKey(string(h.Line)) {
			r.Fate, r.Reason = record.Refused, fmt.Sprintf("the source answered %q to %s", h.Line, command)
		}
	case h.Kind == '$' && h.N < 0:
		if r.Fate == record.Copy {
			r.Fate = record.Gone
		}
	case h.Kind != kind:
		return h, p.wire(fmt.Errorf("%w: answer to %s", resp.ErrProtocol, command))
	}
	return h, nil
}

// word is b as a string; of the few that there are each is made once.
func (p *pipe) word(b []byte) string {
	if w, ok := p.words[string(b)]; ok {
		return w
	}
	if p.words == nil || len(p.words) >= wordsKept {
		p.words = map[string]string{}
	}
	w := string(b)
	p.words[w] = w
	return w
}

// rdbType is the RDB type that a server of version v writes for a value, by
// what it says of it (rdbSaveObjectType in src/rdb.c). Whether fields of a large
// hash expire it does not say: they count as if they did not.
func rdbType(v preflight.Version, kind, encoding string) byte {
	switch kind {
	case "string":
		return 0
	case "list":
		if v.RDB() >= 10 {
			return 18
		}
		return 14
	case "set":
		return pick(encoding, 2, "intset", 11, "listpack", 20)
	case "zset":
		return pick(encoding, 5, "listpack", 17, "ziplist", 12)
	case "hash":
		if encoding == "listpackex" {
			return 25
		}
		return pick(encoding, 4, "listpack", 16, "ziplist", 13)
	case "stream":
		return streamType(v)
	}
	return moduleType
}

func pick(encoding string, other byte, a string, ofA byte, b string, ofB byte) byte {
	switch encoding {
	case a:
		return ofA
	case b:
		return ofB
	}
	return other
}

func streamType(v preflight.Version) byte {
	switch {
	case v.Product == "redis" && v.AtLeast(8, 6):
		return 26
	case v.RDB() >= 11:
		return 21
	case v.RDB() >= 10:
		return 19
	}
	return 15
}
