package decode

import (
	"math"
	"strings"
	"testing"
)

func list(elements ...string) (out [][]byte) {
	for _, e := range elements {
		out = append(out, []byte(e))
	}
	return out
}

func hashOf(fields ...Field) *Value { return &Value{Type: "hash", Hash: fields} }

func zsetOf(members ...Member) *Value { return &Value{Type: "zset", Zset: members} }

func TestDifference(t *testing.T) {
	b := func(s string) []byte { return []byte(s) }
	str := func(s string) *Value { return &Value{Type: "string", String: b(s)} }
	lst := func(e ...string) *Value { return &Value{Type: "list", List: list(e...)} }
	set := func(m ...string) *Value { return &Value{Type: "set", Set: list(m...)} }
	long := strings.Repeat("long", 20)
	const at = 4102444800123
	for _, tc := range []struct {
		name      string
		want, got *Value
		text      string
	}{
		{"types", lst("a"), set("a"), "type set, want list"},
		{"strings", str("abc"), str("abd"), "byte 3 of 3 differs"},
		{"string's length", str("abc"), str("ab"), "2 bytes, want 3"},
		{"same string", str("abc"), str("abc"), ""},
		{"list", lst("a", "b", "c"), lst("a", "x", "c"), "element 2 of 3 differs"},
		{"list's order", lst("a", "b"), lst("b", "a"), "element 1 of 2 differs, and 1 more"},
		{"longer list", lst("a"), lst("a", "b"), "2 elements, want 1"},
		{"shorter list", lst("a", "b", "c"), lst("a", "c"), "2 elements, want 3: element 2 of 3 differs"},
		{"set", set("a", "b", "x"), set("a", "b"), `2 members, want 3: member "x" is missing`},
		{"set's other member", set("a", "x"), set("a", "y"), `member "x" is missing, and 1 more`},
		{"set's extra member", set("b"), set("a", "b"), `2 members, want 1: member "a" is extra`},
		{"empty set", set("b"), set(), `0 members, want 1: member "b" is missing`},
		{"long name", set(long), set(), `0 members, want 1: member "` + long[:40] + `"… is missing`},
		{"binary name", set("\xff\r\n"), set(), `0 members, want 1: member "\xff\r\n" is missing`},
		{"hash's value", hashOf(Field{b("a"), b("secret"), 0}), hashOf(Field{b("a"), b("secres"), 0}), `field "a" has another value`},
		{"hash's field", hashOf(Field{b("a"), b("1"), 0}), hashOf(Field{b("b"), b("1"), 0}), `field "a" is missing, and 1 more`},
		{"field's expiry", hashOf(Field{b("a"), b("1"), at}), hashOf(Field{b("a"), b("1"), 0}),
			`field "a" expires never, want at 2100-01-01T00:00:00.123Z`},
		{"field's other expiry", hashOf(Field{b("a"), b("1"), at}), hashOf(Field{b("a"), b("1"), at + 1}),
			`field "a" expires at 2100-01-01T00:00:00.124Z, want at 2100-01-01T00:00:00.123Z`},
		{"score", zsetOf(Member{b("a"), 1}), zsetOf(Member{b("a"), math.Nextafter(1, 2)}), `member "a" has another score`},
		{"infinite score", zsetOf(Member{b("a"), math.Inf(1)}), zsetOf(Member{b("a"), math.Inf(-1)}), `member "a" has another score`},
		{"score that is no number", zsetOf(Member{b("a"), math.NaN()}), zsetOf(Member{b("a"), 1}), `member "a" has another score`},
		{"neither is a number", zsetOf(Member{b("a"), math.NaN()}), zsetOf(Member{b("a"), math.NaN()}), ""},
		{"sign of 0", zsetOf(Member{b("a"), 0}), zsetOf(Member{b("a"), math.Copysign(0, -1)}), ""},
		{"zset's member", zsetOf(Member{b("a"), 0}), zsetOf(), `0 members, want 1: member "a" is missing`},
		{"zset's extra member", zsetOf(), zsetOf(Member{b("a"), 0}), `1 members, want 0: member "a" is extra`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := Difference(tc.want, tc.got); got != tc.text {
				t.Errorf("%q, want %q", got, tc.text)
			}
			if got := Difference(tc.got, tc.want); (got == "") != (tc.text == "") {
				t.Errorf("the other way round: %q", got)
			}
		})
	}
}

// sampleStream has something of everything, in the newest revision.
func sampleStream() *Stream {
	b := func(s string) []byte { return []byte(s) }
	return &Stream{
		Revision: 5, Length: 2, LastID: ID{9, 0}, FirstID: ID{1, 1}, MaxDeletedID: ID{3, 0}, EntriesAdded: 5,
		Entries: []Entry{{ID{1, 1}, list("a", "1")}, {ID{2, 0}, list("a", "2", "b", "3")}},
		Groups: []Group{{
			Name: b("g"), LastID: ID{2, 0}, EntriesRead: 2,
			Pending:   []Pending{{ID{1, 1}, 1000, 1, b("c")}, {ID{2, 0}, 2000, 2, nil}},
			Consumers: []Consumer{{b("c"), 1000, 1000}},
			GivenBack: []ID{{2, 0}},
		}},
		Idempotence: &Idempotence{Seconds: 100, Most: 50, Added: 7, Duplicates: 1,
			Producers: []Producer{{b("p"), []Produced{{b("i"), ID{1, 1}}}}}},
	}
}

func TestStreamDifference(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(s *Stream)
		known  int // the revision from which on the change can be seen
		text   string
	}{
		{"nothing", func(*Stream) {}, 6, ""},
		{"entry missing", func(s *Stream) { s.Entries = s.Entries[:1] }, 1, "1 entries, want 2: entry 2-0 is missing"},
		{"entry extra", func(s *Stream) { s.Entries = append(s.Entries, Entry{ID: ID{4, 0}}) }, 1, "3 entries, want 2: entry 4-0 is extra"},
		{"value", func(s *Stream) { s.Entries[0].Fields = list("a", "x") }, 1, "entry 1-1 has other fields"},
		{"order of fields", func(s *Stream) { s.Entries[1].Fields = list("b", "3", "a", "2") }, 1, "entry 2-0 has other fields"},
		{"length", func(s *Stream) { s.Length = 3 }, 1, "a length of 3, want 2"},
		{"last ID", func(s *Stream) { s.LastID.Seq = 1 }, 1, "last ID 9-1, want 9-0"},
		{"first ID", func(s *Stream) { s.FirstID.Ms = 0 }, 2, "first ID 0-1, want 1-1"},
		{"deleted ID", func(s *Stream) { s.MaxDeletedID.Ms = 4 }, 2, "highest deleted ID 4-0, want 3-0"},
		{"entries added", func(s *Stream) { s.EntriesAdded = 2 }, 2, "2 entries ever added, want 5"},
		{"group missing", func(s *Stream) { s.Groups = nil }, 1, `group "g" is missing`},
		{"group extra", func(s *Stream) { s.Groups = append(s.Groups, Group{Name: []byte("h")}) }, 1, `group "h" is extra`},
		{"group's last ID", func(s *Stream) { s.Groups[0].LastID = ID{1, 1} }, 1, `group "g" has last ID 1-1, want 2-0`},
		{"entries read", func(s *Stream) { s.Groups[0].EntriesRead = -1 }, 2, `group "g" has read -1 entries, want 2`},
		{"pending missing", func(s *Stream) { s.Groups[0].Pending = s.Groups[0].Pending[:1] }, 1, `group "g" has 1 pending entries, want 2`},
		{"other pending", func(s *Stream) { s.Groups[0].Pending[1].ID.Ms = 8 }, 1, `group "g" lacks pending entry 2-0, and 1 more`},
		{"pending's consumer", func(s *Stream) { s.Groups[0].Pending[0].Consumer = nil }, 1, `pending entry 1-1 of group "g" is another consumer's`},
		{"delivery", func(s *Stream) { s.Groups[0].Pending[0].DeliveredAt++ }, 1,
			`pending entry 1-1 of group "g" was delivered at 1970-01-01T00:00:01.001Z, want 1970-01-01T00:00:01.000Z`},
		{"deliveries", func(s *Stream) { s.Groups[0].Pending[0].Deliveries++ }, 1, `pending entry 1-1 of group "g" was delivered 2 times, want 1`},
		{"consumer missing", func(s *Stream) { s.Groups[0].Consumers = nil }, 1, `group "g" lacks consumer "c"`},
		{"consumer extra", func(s *Stream) {
			s.Groups[0].Consumers = append(s.Groups[0].Consumers, Consumer{Name: []byte("d")})
		}, 1, `group "g" has consumer "d" besides`},
		{"seen", func(s *Stream) { s.Groups[0].Consumers[0].SeenAt = 0 }, 1,
			`consumer "c" of group "g" was seen at 1970-01-01T00:00:00.000Z, want 1970-01-01T00:00:01.000Z`},
		{"active", func(s *Stream) { s.Groups[0].Consumers[0].ActiveAt = -1 }, 3,
			`consumer "c" of group "g" was active never, want at 1970-01-01T00:00:01.000Z`},
		{"given back", func(s *Stream) { s.Groups[0].GivenBack = nil }, 5, `group "g" has other entries given back`},
		{"limits", func(s *Stream) { s.Idempotence.Most = 3 }, 4, "remembers 3 idempotence identifiers for 100 s, want 50 for 100 s"},
		{"producer", func(s *Stream) { s.Idempotence.Producers[0].Name = []byte("q") }, 4, `producer "p" is missing, and 1 more`},
		{"identifier", func(s *Stream) { s.Idempotence.Producers[0].IDs[0].ID.Ms = 2 }, 4, `producer "p" has other idempotence identifiers`},
		{"counters", func(s *Stream) { s.Idempotence.Duplicates = 2 }, 4, "7 idempotence identifiers added and 2 refused, want 7 and 1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for revision := 1; revision <= 5; revision++ {
				changed := sampleStream()
				tc.change(changed)
				changed.Revision = revision
				got := Difference(&Value{Type: "stream", Stream: sampleStream()}, &Value{Type: "stream", Stream: changed})
				want := ""
				if revision >= tc.known {
					want = "stream: " + tc.text
				}
				if got != want {
					t.Errorf("revision %d: %q, want %q", revision, got, want)
				}
			}
		})
	}
}

// TestEmptyStream leaves out the first ID of a stream without entries: some
// servers keep 0-0 there, others the highest one.
func TestEmptyStream(t *testing.T) {
	want := &Value{Type: "stream", Stream: &Stream{Revision: 3, LastID: ID{5, 0}}}
	got := &Value{Type: "stream", Stream: &Stream{Revision: 3, LastID: ID{5, 0}, FirstID: ID{math.MaxUint64, math.MaxUint64}}}
	if d := Difference(want, got); d != "" {
		t.Error(d)
	}
}
