package decode

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/hdt3213/rdb/model"
	"github.com/hdt3213/rdb/parser"

	"github.com/slotferry/slotferry/rdbparse"
)

// TestOtherDecoder compares with an independent reader of the format, for all
// fixtures of types that it knows: up to 25, and not Valkey's own. It panics on
// lists that mix nodes of one element with others (v1.3.1).
func TestOtherDecoder(t *testing.T) {
	compared, mixed := map[byte]int{}, 0
	for _, fixture := range fixtures {
		for key, s := range readFixture(t, fixture) {
			if s.typ > rdbparse.TypeHashListpackEx || s.vendor == rdbparse.Valkey && s.typ >= rdbparse.ValkeyHash2 {
				continue
			}
			if key == "list:plain" && s.typ == rdbparse.TypeQuicklist2 {
				mixed++
				continue
			}
			compareDecoders(t, fixture+" "+key, s)
			compared[s.typ]++
		}
	}
	for _, v := range oldValues {
		switch v.name {
		case "zipmap with long names", "zset with what is no number", "zset with scores beyond what is possible":
			continue // which it can't read
		}
		compareDecoders(t, v.name, serialized{typ: v.typ, body: []byte(v.body)})
		compared[v.typ]++
	}
	for _, typ := range []byte{0, 1, 2, 3, 4, 5, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25} {
		if compared[typ] == 0 {
			t.Errorf("no value of type %d was compared", typ)
		}
	}
	if mixed == 0 {
		t.Error("no list was left out")
	}
}

func compareDecoders(t *testing.T, what string, s serialized) {
	t.Helper()
	v := s.decode(t)
	if v.Stream != nil {
		for _, e := range v.Stream.Entries {
			sortFields(e.Fields)
		}
	}
	got, want := lines(v), lines(otherDecoder(t, s))
	if i, ok := firstDifferent(want, got); ok {
		t.Errorf("%s of type %d, line %d:\n got %.200s\nwant %.200s", what, s.typ, i, at(got, i), at(want, i))
	}
}

// otherDecoder decodes the value as the only key of a file.
func otherDecoder(t *testing.T, s serialized) *Value {
	t.Helper()
	file := slices.Concat([]byte("REDIS0012"), []byte{s.typ}, []byte("\x01k"), s.body, []byte{0xff}, make([]byte, 8))
	var v *Value
	err := parser.NewDecoder(bytes.NewReader(file)).Parse(func(o parser.RedisObject) bool {
		v = fromModel(t, o)
		return true
	})
	if err != nil || v == nil {
		t.Fatalf("the other decoder, on type %d: %v", s.typ, err)
	}
	return v
}

func fromModel(t *testing.T, o parser.RedisObject) *Value {
	v := &Value{Type: o.GetType()}
	byBytes := bytes.Compare
	switch o := o.(type) {
	case *parser.StringObject:
		v.String = o.Value
	case *parser.ListObject:
		v.List = o.Values
	case *parser.SetObject:
		v.Set = o.Members
		slices.SortFunc(v.Set, byBytes)
	case *parser.HashObject:
		for name, value := range o.Hash {
			v.Hash = append(v.Hash, Field{[]byte(name), value, o.FieldExpirations[name]})
		}
	case *parser.ZSetObject:
		for _, e := range o.Entries {
			v.Zset = append(v.Zset, Member{[]byte(e.Member), e.Score})
		}
	case *parser.StreamObject:
		v.Stream = fromStream(o)
	default:
		t.Fatalf("the other decoder gives a %T", o)
	}
	return v
}

func fromStream(o *parser.StreamObject) *Stream {
	id := func(i *model.StreamId) ID {
		if i == nil {
			return ID{}
		}
		return ID{i.Ms, i.Sequence}
	}
	s := &Stream{
		Revision: max(int(o.Version), 1), Length: o.Length, LastID: id(o.LastId), FirstID: id(o.FirstId),
		MaxDeletedID: id(o.MaxDeletedId), EntriesAdded: o.AddedEntriesCount,
	}
	for _, node := range o.Entries {
		for _, m := range node.Msgs {
			if m.Deleted {
				continue
			}
			e := Entry{ID: id(m.Id)}
			for name, value := range m.Fields {
				e.Fields = append(e.Fields, []byte(name), []byte(value))
			}
			sortFields(e.Fields)
			s.Entries = append(s.Entries, e)
		}
	}
	for _, g := range o.Groups {
		group := Group{Name: []byte(g.Name), LastID: id(g.LastId), EntriesRead: int64(g.EntriesRead)}
		owners := map[ID]string{}
		for _, c := range g.Consumers {
			group.Consumers = append(group.Consumers, Consumer{[]byte(c.Name), int64(c.SeenTime), int64(c.ActiveTime)})
			for _, p := range c.Pending {
				owners[id(p)] = c.Name
			}
		}
		for _, p := range g.Pending {
			group.Pending = append(group.Pending, Pending{id(p.Id), int64(p.DeliveryTime), p.DeliveryCount, []byte(owners[id(p.Id)])})
		}
		slices.SortFunc(group.Consumers, func(a, b Consumer) int { return bytes.Compare(a.Name, b.Name) })
		s.Groups = append(s.Groups, group)
	}
	slices.SortFunc(s.Groups, func(a, b Group) int { return bytes.Compare(a.Name, b.Name) })
	return s
}

// sortFields brings names and values into an order that maps can't lose.
func sortFields(fields [][]byte) {
	var pairs [][][]byte
	for pair := range slices.Chunk(slices.Clone(fields), 2) {
		pairs = append(pairs, pair)
	}
	slices.SortFunc(pairs, func(a, b [][]byte) int { return bytes.Compare(a[0], b[0]) })
	copy(fields, slices.Concat(pairs...))
}

var repeat = strings.Repeat

// oldValues are of types that no server behind the fixtures writes.
var oldValues = []struct {
	name string
	typ  byte
	body string
	want string // what lines makes of it
}{
	{"list", 1, "\x03\x01a\xc0\x05\xc3\x04\x08\x00x\xa0\x00", "[a 5 xxxxxxxx]"},
	{"list of integers of all widths", 1, "\x06\xc0\x80\xc1\x00\x80\xc1\xff\x7f\xc2\x00\x00\x00\x80\xc2\xff\xff\xff\x7f\x00", "[-128 -32768 32767 -2147483648 2147483647 ]"},
	{"string with a long length", 0, "\x80\x00\x00\x00\x03abc", "[abc]"},
	{"zset with text", 3, "\x04\x01a\x031.5\x01b\xfe\x01c\xff\x01e\x130.10000000000000001",
		scoreLines("a", 1.5, "b", math.Inf(1), "c", math.Inf(-1), "e", 0.1)},
	{"zset with what is no number", 3, "\x02\x01a\xfd\x01b\x04-nan", scoreLines("a", math.NaN(), "b", math.NaN())},
	{"zset with scores beyond what is possible", 3, "\x03\x01a\x051e999\x01b\x06-1e999\x01c\x061e-999", scoreLines("a", math.Inf(1), "b", math.Inf(-1), "c", 0)},
	{"zipmap", 9, "\x0c\x01\x03foo\x03\x01bar.\xff", `["foo"="bar" 0]`},
	{"zipmap with long names", 9, "\x41\x0c\x02" + "\xfe\xfe\x00\x00\x00" + repeat("n", 254) + "\x00\x00" + "\x01a\x01\x00b\xff",
		fmt.Sprintf(`["a"="b" 0 %q="" 0]`, repeat("n", 254))},
	{"list ziplist", 10, "\x0f\x0f\x00\x00\x00\x0a\x00\x00\x00\x01\x00\x00\x02hi\xff", "[hi]"},
	{"ziplist of all encodings", 10, ziplist(
		"\xf1", "\xfd", "\xfe\x80", "\xc0\x00\x80", "\xf0\x00\x00\x80", "\xd0\x00\x00\x00\x80", "\xe0\x00\x00\x00\x00\x00\x00\x00\x80",
		"\x00", "\x40\x40"+repeat("m", 64), "\x80\x00\x00\x00\x02ab"),
		"[0 12 -128 -32768 -8388608 -2147483648 -9223372036854775808  " + repeat("m", 64) + " ab]"},
	{"zset ziplist", 12, ziplist("\x02hi", "\xfe\x05", "\x02ho", "\x041e-2", "\x01i", "\x03inf", "\x01j", "\x02-0"),
		scoreLines("hi", 5, "ho", 0.01, "i", math.Inf(1), "j", math.Copysign(0, -1))},
	{"hash ziplist", 13, ziplist("\x02hi", "\xfe\x05"), `["hi"="5" 0]`},
	{"quicklist", 14, "\x02" + ziplist("\x02hi") + ziplist("\x01a", "\xf2"), "[hi a 1]"},
	{"hash with TTLs of a release candidate", 22, "\x02\x00\x01a\x01b\x81\x00\x00\x04\x00\x00\x00\x00\x00\x01c\x01d", `["a"="b" 0 "c"="d" 4398046511104]`},
	{"the same as a listpack", 23, listpack("\x81c", "\x81d", "\xf4\x00\x00\x00\x00\x00\x04\x00\x00", "\x81a", "\x81b", "\x00"), `["a"="b" 0 "c"="d" 4398046511104]`},
}

func scoreLines(pairs ...any) string {
	var out []string
	for pair := range slices.Chunk(pairs, 2) {
		switch score := pair[1].(type) {
		case int:
			out = append(out, scoreLine(pair[0].(string), float64(score)))
		case float64:
			out = append(out, scoreLine(pair[0].(string), score))
		}
	}
	return fmt.Sprint(out)
}

// ziplist is S of a ziplist of encoded elements.
func ziplist(elements ...string) string {
	var b strings.Builder
	before := 0
	for _, e := range elements {
		b.WriteByte(byte(before))
		b.WriteString(e)
		before = 1 + len(e)
	}
	total := 4 + 4 + 2 + b.Len() + 1
	return str(little(total) + little(total-1-before) + string([]byte{byte(len(elements)), 0}) + b.String() + "\xff")
}

// listpack is S of a listpack of encoded elements.
func listpack(elements ...string) string {
	var b strings.Builder
	for _, e := range elements {
		b.WriteString(e)
		b.WriteByte(byte(len(e)))
	}
	return str(little(4+2+b.Len()+1) + string([]byte{byte(len(elements)), 0}) + b.String() + "\xff")
}

func little(n int) string { return string([]byte{byte(n), byte(n >> 8), 0, 0}) }

// str is S of fewer than 16384 bytes.
func str(s string) string { return string([]byte{0x40 | byte(len(s)>>8), byte(len(s))}) + s }
