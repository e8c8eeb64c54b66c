package report

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
)

// texts makes a column of a list.
func texts[T any](k kind, head string, list []T, text func(T) string) column {
	c := column{kind: k, head: head}
	for _, x := range list {
		c.texts = append(c.texts, text(x))
	}
	return c
}

// bars makes a column of bars.
func bars[T any](list []T, value func(T) int64) column {
	c := column{kind: chart, style: drawn}
	for _, x := range list {
		c.values = append(c.values, value(x))
	}
	return c
}

// counted is a number of keys and bytes under a name.
type counted struct {
	Name        string // fit to be shown
	Keys, Bytes int64
}

// types returns the types with their bytes, most keys first.
func (p *Plan) types() []counted {
	bytes := map[string]int64{}
	for _, e := range p.Encodings {
		bytes[e.Type] += e.Bytes
	}
	var list []counted
	for t, n := range p.Types {
		list = append(list, counted{clean(t), n, bytes[t]})
	}
	slices.SortFunc(list, func(a, b counted) int {
		return cmp.Or(cmp.Compare(b.Keys, a.Keys), cmp.Compare(a.Name, b.Name))
	})
	return list
}

// expiries returns the histogram of the time left.
func (p *Plan) expiries() []counted {
	return []counted{
		{"no expiry", p.TTL.None, 0},
		{"within 1 hour", p.TTL.Hour, 0},
		{"within 1 day", p.TTL.Day, 0},
		{"within 7 days", p.TTL.Week, 0},
		{"within 30 days", p.TTL.Mon, 0},
		{"later", p.TTL.More, 0},
	}
}

// databases returns the databases in the order of their numbers.
func (p *Plan) databases() []counted {
	var list []counted
	for db, n := range p.Databases {
		list = append(list, counted{clean(db), n, 0})
	}
	slices.SortFunc(list, func(a, b counted) int {
		x, _ := strconv.Atoi(a.Name)
		y, _ := strconv.Atoi(b.Name)
		return cmp.Or(cmp.Compare(x, y), cmp.Compare(a.Name, b.Name))
	})
	return list
}

func countedName(c counted) string { return c.Name }
func countedKeys(c counted) int64  { return c.Keys }
func countedBytes(c counted) int64 { return c.Bytes }

// share makes a column of each one's part of all keys.
func (p *Plan) share(list []counted) column {
	return texts(number, "", list, func(c counted) string { return percent(c.Keys, p.Keys) })
}

func (p *Plan) textKinds(l *lines) {
	if list := p.types(); len(list) > 0 {
		l.title("Types")
		l.table(
			texts(name, "type", list, countedName),
			texts(number, "keys", list, func(c counted) string { return comma(c.Keys) }),
			bars(list, countedKeys),
			texts(number, "bytes", list, func(c counted) string { return iec(c.Bytes) }),
			bars(list, countedBytes),
		)
	}
	if len(p.Encodings) == 0 {
		return
	}
	shown := p.Encodings[:min(textEncodings, len(p.Encodings))]
	l.title("Encodings")
	l.table(
		texts(word, "type", shown, func(e Encoding) string { return clean(e.Type) }),
		texts(name, "encoding", shown, func(e Encoding) string { return cmp.Or(clean(e.Encoding), "?") }),
		texts(number, "keys", shown, func(e Encoding) string { return comma(e.Keys) }),
		texts(number, "bytes", shown, func(e Encoding) string { return iec(e.Bytes) }),
		bars(shown, func(e Encoding) int64 { return e.Bytes }),
	)
	p.more(l, len(p.Encodings)-len(shown), "encodings with fewer bytes")
}

func (p *Plan) textNames(l *lines) {
	if !p.prefixed() {
		return
	}
	shown := p.Prefixes[:min(textPrefixes, len(p.Prefixes))]
	l.title("Prefixes")
	l.table(
		texts(name, "prefix", shown, Prefix.label),
		texts(number, "keys", shown, func(x Prefix) string { return comma(x.Keys) }),
		bars(shown, func(x Prefix) int64 { return x.Keys }),
		texts(number, "bytes", shown, func(x Prefix) string { return iec(x.Bytes) }),
		bars(shown, func(x Prefix) int64 { return x.Bytes }),
	)
	p.more(l, len(p.Prefixes)-len(shown), "prefixes in the JSON")
}

// prefixed tells whether names have prefixes at all: else all keys are counted
// under the empty one.
func (p *Plan) prefixed() bool {
	return slices.ContainsFunc(p.Prefixes, func(x Prefix) bool { return len(x.Prefix) > 0 })
}

func (x Prefix) label() string {
	if len(x.Prefix) == 0 {
		return "(no prefix)"
	}
	return quoted(x.Prefix)
}

func (p *Plan) textExpiry(l *lines) {
	if p.TTL == (TTL{}) {
		return
	}
	list := p.expiries()
	l.title("Expiry")
	l.table(
		texts(word, "", list, countedName),
		texts(number, "keys", list, func(c counted) string { return comma(c.Keys) }),
		p.share(list),
		bars(list, countedKeys),
	)
}

// textDatabases writes nothing when all is in database 0, as in a cluster.
func (p *Plan) textDatabases(l *lines) {
	list := p.databases()
	if len(list) == 0 || len(list) == 1 && list[0].Name == "0" {
		return
	}
	shown := list[:min(textDatabases, len(list))]
	l.title("Databases")
	l.table(
		texts(word, "db", shown, countedName),
		texts(number, "keys", shown, func(c counted) string { return comma(c.Keys) }),
		p.share(shown),
		bars(shown, countedKeys),
	)
	p.more(l, len(list)-len(shown), "databases")
}

// doubts says what was approximate.
func (p *Plan) doubts() (list []string) {
	if !p.PrefixesExact && len(p.Prefixes) > 0 {
		list = append(list, "Prefixes: there were more than fit into memory. Those listed may be short by up to "+
			short(p.PrefixesError, p.PrefixesErrorKeys)+" each, and smaller ones may be missing.")
	}
	if !p.HashTagsExact && len(p.HashTags) > 0 {
		list = append(list, "Hash tags: there were more than fit into memory. Those listed may be short by up to "+
			short(p.HashTagsError, p.HashTagsErrorKeys)+" each, and smaller ones may be missing.")
	}
	if !p.CollisionsExact {
		list = append(list, "Collisions: there was not memory enough to find them all.")
	}
	if p.Source.Measure == MeasureMemory {
		list = append(list, "Bytes: MEMORY USAGE samples large collections, and counts the server's own overhead.")
	}
	return list
}

func short(bytes, keys int64) string {
	return fmt.Sprintf("%s and %s", iec(bytes), plural(keys, "key"))
}

func (p *Plan) textDoubts(l *lines) {
	list := p.doubts()
	if len(list) == 0 || p.Keys == 0 {
		return
	}
	l.title("Approximate")
	for _, text := range list {
		l.note(text)
	}
}
