package commands

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/slotferry/slotferry/rdbparse/decode"
)

// model is a server with one key. It takes the commands that Write gives, and
// nothing that a server would not take.
type model struct {
	key     string
	options Options
	sent    int
	bytes   int
	kind    string
	text    []byte
	list    [][]byte
	hash    map[string]*decode.Field
	set     map[string]bool
	zset    map[string]float64
	stream  decode.Stream
}

func newModel(key string, o Options) *model {
	return &model{key: key, options: o.withDefaults(), hash: map[string]*decode.Field{}, set: map[string]bool{}, zset: map[string]float64{}}
}

// commandShapes: where the key stands, how many words there are in front of
// the elements and behind them, and how many an element has.
var commandShapes = map[string]struct {
	kind                   string
	key, front, back, each int
}{
	"SET": {"string", 1, 2, 0, 1}, "APPEND": {"string", 1, 2, 0, 1},
	"RPUSH": {"list", 1, 2, 0, 1}, "SADD": {"set", 1, 2, 0, 1},
	"ZADD": {"zset", 1, 2, 0, 2}, "HSET": {"hash", 1, 2, 0, 2}, "HPEXPIREAT": {"hash", 1, 5, 0, 1},
	"XADD": {"stream", 1, 3, 0, 2}, "XSETID": {"stream", 1, 3, 0, 4}, "XCLAIM": {"stream", 1, 5, 6, 1},
	"XGROUP CREATE": {"stream", 2, 5, 0, 2}, "XGROUP CREATE MKSTREAM": {"stream", 2, 6, 0, 1},
	"XGROUP DESTROY": {"stream", 2, 4, 0, 1}, "XGROUP CREATECONSUMER": {"stream", 2, 5, 0, 1},
	"XREADGROUP": {"stream", 7, 9, 0, 1}, "XCFGSET": {"stream", 1, 6, 0, 1}, "XIDMPRECORD": {"stream", 1, 5, 0, 1},
}

func (m *model) take(words [][]byte) error {
	if err := m.apply(words); err != nil {
		return fmt.Errorf("%.300q: %w", words, err)
	}
	m.sent++
	return nil
}

func (m *model) apply(words [][]byte) error {
	name := string(words[0])
	if name == "XGROUP" {
		name += " " + string(words[1])
		if string(words[len(words)-1]) == "MKSTREAM" {
			name += " MKSTREAM"
		}
	}
	shape, ok := commandShapes[name]
	if !ok || len(words) < shape.front+shape.back || (len(words)-shape.front-shape.back)%shape.each != 0 {
		return fmt.Errorf("not well formed")
	}
	if string(words[shape.key]) != m.key {
		return fmt.Errorf("the key is missing")
	}
	if m.kind != "" && m.kind != shape.kind {
		return fmt.Errorf("the key is a %s", m.kind)
	}
	m.kind = shape.kind
	length := 0
	for _, word := range words {
		if word == nil {
			return fmt.Errorf("a word of nothing")
		}
		length += len(word)
	}
	m.bytes += length
	elements := words[shape.front : len(words)-shape.back]
	switch name {
	case "RPUSH", "SADD", "ZADD", "HSET", "XCLAIM":
		if n := len(elements) / shape.each; n == 0 || n > m.options.MaxElements || n > 1 && length > m.options.MaxBytes {
			return fmt.Errorf("%d elements and %d bytes", n, length)
		}
	}
	return m.change(name, words, elements)
}

func (m *model) change(name string, words, elements [][]byte) error {
	switch name {
	case "SET":
		if m.sent > 0 {
			return fmt.Errorf("not the first")
		}
		m.text = bytes.Clone(words[2])
	case "APPEND":
		m.text = append(m.text, words[2]...)
	case "RPUSH":
		for _, e := range elements {
			m.list = append(m.list, bytes.Clone(e))
		}
	case "SADD":
		for _, e := range elements {
			m.set[string(e)] = true
		}
	case "ZADD":
		for pair := range slices.Chunk(elements, 2) {
			score, err := strconv.ParseFloat(string(pair[0]), 64)
			if err != nil || score != score {
				return fmt.Errorf("not a score")
			}
			m.zset[string(pair[1])] = score
		}
	case "HSET":
		for pair := range slices.Chunk(elements, 2) {
			m.hash[string(pair[0])] = &decode.Field{Name: bytes.Clone(pair[0]), Value: bytes.Clone(pair[1])}
		}
	case "HPEXPIREAT":
		at, err := strconv.ParseInt(string(words[2]), 10, 64)
		if err != nil || at <= m.options.Now || string(words[4]) != strconv.Itoa(len(elements)) {
			return fmt.Errorf("not well formed")
		}
		for _, e := range elements {
			if m.hash[string(e)] == nil {
				return fmt.Errorf("no such field")
			}
			m.hash[string(e)].ExpireAt = at
		}
	default:
		return m.changeStream(name, words, elements)
	}
	return nil
}

func (m *model) changeStream(name string, words, elements [][]byte) error {
	s := &m.stream
	switch name {
	case "XADD":
		e := decode.Entry{ID: parseID(words[2])}
		for _, word := range elements {
			e.Fields = append(e.Fields, bytes.Clone(word))
		}
		s.Entries = append(s.Entries, e)
	case "XSETID":
		s.LastID = parseID(words[2])
		if len(elements) > 0 {
			s.EntriesAdded, _ = strconv.ParseUint(string(words[4]), 10, 64)
			s.MaxDeletedID = parseID(words[6])
		}
	case "XGROUP CREATE":
		g := decode.Group{Name: bytes.Clone(words[3]), LastID: parseID(words[4])}
		if len(elements) > 0 {
			g.EntriesRead, _ = strconv.ParseInt(string(words[6]), 10, 64)
		}
		s.Groups = append(s.Groups, g)
	case "XGROUP CREATECONSUMER", "XREADGROUP":
		g, consumer := words[3], words[4]
		if name == "XREADGROUP" {
			g, consumer = words[2], words[3]
		}
		if last := &s.Groups[len(s.Groups)-1]; bytes.Equal(last.Name, g) {
			last.Consumers = append(last.Consumers, decode.Consumer{Name: bytes.Clone(consumer)})
			return nil
		}
		return fmt.Errorf("no such group")
	case "XCLAIM":
		g := &s.Groups[len(s.Groups)-1]
		back := words[len(words)-6:]
		at, err := strconv.ParseInt(string(back[1]), 10, 64)
		n, err2 := strconv.ParseUint(string(back[3]), 10, 63)
		if err := cmp.Or(err, err2); err != nil {
			return err
		}
		for _, id := range elements {
			g.Pending = append(g.Pending, decode.Pending{ID: parseID(id), DeliveredAt: at, Deliveries: n, Consumer: bytes.Clone(words[3])})
		}
	case "XCFGSET":
		s.Idempotence = &decode.Idempotence{}
		s.Idempotence.Seconds, _ = strconv.ParseUint(string(words[3]), 10, 64)
		s.Idempotence.Most, _ = strconv.ParseUint(string(words[5]), 10, 64)
	case "XIDMPRECORD":
		x := s.Idempotence
		if x == nil {
			return nil // which real sources don't lead to
		}
		if n := len(x.Producers); n == 0 || !bytes.Equal(x.Producers[n-1].Name, words[2]) {
			x.Producers = append(x.Producers, decode.Producer{Name: bytes.Clone(words[2])})
		}
		p := &x.Producers[len(x.Producers)-1]
		p.IDs = append(p.IDs, decode.Produced{Name: bytes.Clone(words[3]), ID: parseID(words[4])})
	}
	return nil
}

func parseID(word []byte) (id decode.ID) {
	ms, seq, _ := strings.Cut(string(word), "-")
	id.Ms, _ = strconv.ParseUint(ms, 10, 64)
	id.Seq, _ = strconv.ParseUint(seq, 10, 64)
	return id
}

// value is what the key holds by now.
func (m *model) value() *decode.Value {
	v := &decode.Value{Type: m.kind, String: m.text, List: m.list}
	for _, member := range slices.Sorted(maps.Keys(m.set)) {
		v.Set = append(v.Set, []byte(member))
	}
	for _, name := range slices.Sorted(maps.Keys(m.hash)) {
		v.Hash = append(v.Hash, *m.hash[name])
	}
	for _, name := range slices.Sorted(maps.Keys(m.zset)) {
		v.Zset = append(v.Zset, decode.Member{Name: []byte(name), Score: m.zset[name]})
	}
	if m.kind != "stream" {
		return v
	}
	s := m.stream
	s.Revision, s.Length = 3, uint64(len(s.Entries))
	if s.Idempotence != nil {
		s.Revision = 4
	}
	if s.Length > 0 {
		s.FirstID = s.Entries[0].ID
	}
	for i := range s.Groups {
		slices.SortFunc(s.Groups[i].Pending, func(a, b decode.Pending) int { return a.ID.Compare(b.ID) })
	}
	v.Stream = &s
	return v
}
