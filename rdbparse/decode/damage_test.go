package decode

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/slotferry/slotferry/rdbparse"
)

func TestErrors(t *testing.T) {
	for _, tc := range []struct {
		name   string
		vendor rdbparse.Vendor
		typ    byte
		body   string
		want   error
	}{
		{"module", rdbparse.Redis, 7, "\x81\x01\x02\x03\x04\x05\x06\x07\x08\x00", ErrModule},
		{"module of the release candidates", rdbparse.Redis, 6, "", ErrModule},
		{"no type", rdbparse.Redis, 8, "\x00", ErrUnknown},
		{"newer type", rdbparse.Redis, 28, "\x00", ErrUnknown},
		{"Redis' type for Valkey", rdbparse.Valkey, 24, "12345678\x00", ErrUnknown},
		{"opcode", rdbparse.Redis, 243, "\x00", ErrUnknown},
		{"nothing", rdbparse.Redis, 0, "", rdbparse.ErrTruncated},
		{"short string", rdbparse.Redis, 0, "\x03ab", rdbparse.ErrTruncated},
		{"long string", rdbparse.Redis, 0, "\x03abcd", rdbparse.ErrCorrupt},
		{"string without end", rdbparse.Redis, 0, "\x81\xff\xff\xff\xff\xff\xff\xff\xffab", rdbparse.ErrTruncated},
		{"encoding", rdbparse.Redis, 0, "\xc4ab", rdbparse.ErrCorrupt},
		{"length", rdbparse.Redis, 1, "\xc0\x01", rdbparse.ErrCorrupt},
		{"LZF that gives nothing", rdbparse.Redis, 0, "\xc3\x02\x00\x00a", rdbparse.ErrCorrupt},
		{"LZF that gives too much", rdbparse.Redis, 0, "\xc3\x02\x81\x7f\xff\xff\xff\xff\xff\xff\xff\x00a", rdbparse.ErrCorrupt},
		{"LZF beyond what there is", rdbparse.Redis, 0, "\xc3\x02\x81\xff\xff\xff\xff\xff\xff\xff\xff\x00a", rdbparse.ErrCorrupt},
		{"huge list", rdbparse.Redis, 1, "\x81\x7f\xff\xff\xff\xff\xff\xff\xff\x01a", rdbparse.ErrTruncated},
		{"member twice", rdbparse.Redis, 2, "\x02\x01a\x01a", rdbparse.ErrCorrupt},
		{"field twice", rdbparse.Redis, 16, listpack("\x81a", "\x00", "\x81a", "\x01"), rdbparse.ErrCorrupt},
		{"list container", rdbparse.Redis, 18, "\x01\x03\x01a", rdbparse.ErrCorrupt},
		{"intset's width", rdbparse.Redis, 11, "\x0b\x03\x00\x00\x00\x01\x00\x00\x00abc", rdbparse.ErrCorrupt},
		{"intset's count", rdbparse.Redis, 11, "\x0a\x02\x00\x00\x00\x02\x00\x00\x00ab", rdbparse.ErrCorrupt},
		{"zipmap without end", rdbparse.Redis, 9, "\x06\x01\x01a\x01\x00b", rdbparse.ErrTruncated},
		{"zipmap that ends early", rdbparse.Redis, 9, "\x04\x01\x01a\xff", rdbparse.ErrCorrupt},
		{"zipmap with more", rdbparse.Redis, 9, "\x03\x00\xffa", rdbparse.ErrCorrupt},
		{"intset without a head", rdbparse.Redis, 11, "\x02\x02\x00", rdbparse.ErrCorrupt},
		{"zipmap of nothing", rdbparse.Redis, 9, "\x00", rdbparse.ErrTruncated},
		{"score", rdbparse.Redis, 3, "\x01\x01a\x03abc", rdbparse.ErrCorrupt},
		{"packed score", rdbparse.Redis, 17, listpack("\x81a", "\x81b"), rdbparse.ErrCorrupt},
		{"member without a score", rdbparse.Redis, 17, listpack("\x81a"), rdbparse.ErrCorrupt},
		{"field without a value", rdbparse.Redis, 16, listpack("\x81a"), rdbparse.ErrCorrupt},
		{"field without an expiry", rdbparse.Redis, 23, listpack("\x81a", "\x81b"), rdbparse.ErrCorrupt},
		{"expiry that is no number", rdbparse.Redis, 23, listpack("\x81a", "\x81b", "\x81c"), rdbparse.ErrCorrupt},
		{"listpack's length", rdbparse.Redis, 20, "\x08\x09\x00\x00\x00\x00\x00\xff\xff", rdbparse.ErrCorrupt},
		{"listpack's end", rdbparse.Redis, 20, "\x07\x07\x00\x00\x00\x00\x00\x00", rdbparse.ErrCorrupt},
		{"listpack's count", rdbparse.Redis, 20, "\x09\x09\x00\x00\x00\x02\x00\x01\x01\xff", rdbparse.ErrCorrupt},
		{"listpack's lower count", rdbparse.Redis, 20, "\x09\x09\x00\x00\x00\x00\x00\x01\x01\xff", rdbparse.ErrCorrupt},
		{"listpack's encoding", rdbparse.Redis, 20, listpack("\xf5"), rdbparse.ErrCorrupt},
		{"ziplist's encoding", rdbparse.Redis, 10, ziplist("\xc1"), rdbparse.ErrCorrupt},
		{"packed string beyond the end", rdbparse.Redis, 20, listpack("\xbfa"), rdbparse.ErrCorrupt},
		{"packed string of 4 GiB", rdbparse.Redis, 20, listpack("\xf0\xff\xff\xff\xff"), rdbparse.ErrCorrupt},
		{"stream node without an ID", rdbparse.Redis, 15, "\x01\x01a" + streamNode() + "\x00\x00\x00\x00", rdbparse.ErrCorrupt},
		{"stream node with too many fields", rdbparse.Redis, 15,
			"\x01\x10" + id(1) + listpack("\x01", "\x00", "\x40", "\x81a", "\x00") + "\x01\x01\x01\x00", rdbparse.ErrCorrupt},
		{"consumer's entry that the group lacks", rdbparse.Redis, 15, "\x00\x00\x00\x00\x01\x01g\x00\x00\x00\x01\x01c12345678\x01" + id(1), rdbparse.ErrCorrupt},
		{"two consumers' entry", rdbparse.Redis, 15, "\x00\x00\x00\x00\x01\x01g\x00\x00\x01" + id(1) + "12345678\x01" +
			"\x02\x01c12345678\x01" + id(1) + "\x01d12345678\x01" + id(1), rdbparse.ErrCorrupt},
	} {
		t.Run(tc.name, func(t *testing.T) {
			v, err := Decode(tc.vendor, tc.typ, []byte(tc.body))
			if !errors.Is(err, tc.want) || v != nil {
				t.Errorf("%+v, %v, want %v", v, err, tc.want)
			}
		})
	}
}

// TestTruncated cuts every fixture short: no part of a value is one.
func TestTruncated(t *testing.T) {
	for _, fixture := range []string{"redis-6.0", "redis-8.6", "valkey-9.1"} {
		for key, s := range readFixture(t, fixture) {
			for n := 0; n < len(s.body); n += 1 + n/50 {
				if _, err := Decode(s.vendor, s.typ, s.body[:n]); err == nil {
					t.Errorf("%s: %q of type %d, %d of %d bytes: no error", fixture, key, s.typ, n, len(s.body))
				}
			}
		}
	}
}

// TestFlipped flips bits of small values of every type. What a flip does to the
// text of a value nobody can see but a checksum; but it must not lead to a
// panic, much memory, or an error of no known kind.
func TestFlipped(t *testing.T) {
	known := []error{rdbparse.ErrTruncated, rdbparse.ErrCorrupt, rdbparse.ErrTooLong}
	var flips, seen int
	for _, fixture := range []string{"redis-6.0", "redis-7.0", "redis-8.6", "valkey-9.1"} {
		for key, s := range readFixture(t, fixture) {
			if len(s.body) > 300 {
				continue
			}
			for i := 0; i < 8*len(s.body); i += 3 { // every byte, all bits in turn
				altered, before := bytes.Clone(s.body), allocated()
				altered[i/8] ^= 1 << (i % 8)
				v, err := Decode(s.vendor, s.typ, altered)
				if took := allocated() - before; took > 1<<20 {
					t.Errorf("%s: %q with bit %d flipped: %d bytes taken", fixture, key, i, took)
				}
				flips++
				if err == nil {
					_ = Difference(v, v)
					continue
				}
				seen++
				if v != nil || !slices.ContainsFunc(known, func(k error) bool { return errors.Is(err, k) }) {
					t.Errorf("%s: %q with bit %d flipped: %v, %v", fixture, key, i, v, err)
				}
			}
		}
	}
	if flips < 5000 || seen < flips/10 || seen == flips {
		t.Errorf("%d of %d flips gave an error", seen, flips)
	}
}

func id(n byte) string {
	return strings.Repeat("\x00", 7) + string([]byte{n}) + strings.Repeat("\x00", 7) + string([]byte{n})
}

// streamNode is S of a listpack with entries 1-1 (f v, as the node), 1-2
// (deleted) and 2-1 (g w).
func streamNode() string {
	return listpack("\x02", "\x01", "\x01", "\x81f", "\x00",
		"\x02", "\x00", "\x00", "\x81v", "\x04",
		"\x03", "\x00", "\x01", "\x81x", "\x04",
		"\x00", "\x01", "\x00", "\x01", "\x81g", "\x81w", "\x06")
}

// TestStreamRevisions decodes one stream as each revision has it. No server
// behind the fixtures writes revision 5.
func TestStreamRevisions(t *testing.T) {
	entries := "\x01\x10" + id(1) + streamNode() + "\x02\x02\x01"
	added := "\x01\x01\x01\x02\x03"
	pending := "\x02" + id(1) + "\xe8\x03\x00\x00\x00\x00\x00\x00\x05" + id(2) + "\xe9\x03\x00\x00\x00\x00\x00\x00\x06"
	seen, active := "\xea\x03\x00\x00\x00\x00\x00\x00", "\xff\xff\xff\xff\xff\xff\xff\xff"
	read := "\x81\xff\xff\xff\xff\xff\xff\xff\xff"
	owned := "\x01" + id(1)
	both := "\x02" + id(1) + id(2)
	producers := "\x40\x64\x32\x01\x01p\x02\x01i\x01\x01\x01j\x02\x01\x03\x01"
	facts := []string{"length 2", "last-generated-id 2-1"}
	more := append(facts[:2:2], "recorded-first-entry-id 1-1", "max-deleted-entry-id 1-2", "entries-added 3")
	idempotent := append(more[:5:5], "idmp-duration 100", "idmp-maxsize 50", "pids-tracked 1", "iids-tracked 2", "iids-added 3", "iids-duplicates 1")
	group := func(read, owner, active string) []string {
		return []string{
			`group "g" last 2-1` + read, `pending "[1-1 c 1000 5]"`, `pending "[2-2 ` + owner + ` 1001 6]"`,
			`consumer "c" seen 1002` + active,
		}
	}
	for _, tc := range []struct {
		typ  byte
		body string
		want [][]string
	}{
		{15, entries + "\x01\x01g\x02\x01" + pending + "\x01\x01c" + seen + both, [][]string{facts, group("", "c", "")}},
		{19, entries + added + "\x01\x01g\x02\x01" + read + pending + "\x01\x01c" + seen + both, [][]string{more, group(" read <nil>", "c", "")}},
		{21, entries + added + "\x01\x01g\x02\x01\x02" + pending + "\x01\x01c" + seen + active + both, [][]string{more, group(" read 2", "c", " active -1")}},
		{26, entries + added + "\x01\x01g\x02\x01\x02" + pending + "\x01\x01c" + seen + active + both + producers,
			[][]string{idempotent, group(" read 2", "c", " active -1")}},
		{27, entries + added + "\x01\x01g\x02\x01\x02" + pending + "\x01\x01c" + seen + active + owned + "\x01" + id(2) + producers,
			[][]string{idempotent, group(" read 2", "", " active -1")}},
	} {
		t.Run(fmt.Sprint(tc.typ), func(t *testing.T) {
			v := serialized{typ: tc.typ, body: []byte(tc.body)}.decode(t)
			got, want := lines(v), []string{`1-1 ["f" "v"]`, `2-1 ["g" "w"]`}
			for _, part := range tc.want {
				want = append(want, part...)
			}
			if i, ok := firstDifferent(got, want); ok {
				t.Errorf("line %d: %s, want %s", i, at(got, i), at(want, i))
			}
			if tc.typ == 27 && fmt.Sprint(v.Stream.Groups[0].GivenBack) != "[2-2]" {
				t.Errorf("given back: %v", v.Stream.Groups[0].GivenBack)
			}
			if x := v.Stream.Idempotence; tc.typ >= 26 && fmt.Sprintf("%s", x.Producers) != "[{p [{i 1-1} {j 2-1}]}]" {
				t.Errorf("producers %s", x.Producers)
			}
		})
	}
}

// TestManyPacked is about more elements than a listpack's header can count.
func TestManyPacked(t *testing.T) {
	const members = 40000
	var b bytes.Buffer
	for i := range members {
		fmt.Fprintf(&b, "\x85%05d\x06\x01\x01", i)
	}
	lp := binary.LittleEndian.AppendUint32(nil, uint32(b.Len()+7))
	lp = append(append(append(lp, 0xff, 0xff), b.Bytes()...), 0xff)
	body := binary.BigEndian.AppendUint32([]byte{0x80}, uint32(len(lp)))
	v := serialized{typ: rdbparse.TypeZsetListpack, body: append(body, lp...)}.decode(t)
	if len(v.Zset) != members || string(v.Zset[members-1].Name) != "39999" || v.Zset[members-1].Score != 1 {
		t.Errorf("%d members, the last is %+v", len(v.Zset), v.Zset[len(v.Zset)-1])
	}
}

// TestBackLength is about the length behind a listpack's element where servers
// disagree on how many bytes it takes.
func TestBackLength(t *testing.T) {
	for _, tc := range []struct {
		name  string
		size  int // of the element, with 5 bytes in front
		after string
	}{
		{"two bytes", 16382, "\x7f\xfe"},
		{"two bytes, by Valkey 9.1", 16383, "\x7f\xff"},
		{"three bytes, by Redis", 16383, "\x00\xff\xff"},
		{"three bytes", 16384, "\x01\x80\x80"},
		{"three bytes, by Valkey 9.1", 2097151, "\x7f\xff\xff"},
		{"four bytes, by Redis", 2097151, "\x00\xff\xff\xff"},
		{"four bytes", 2097152, "\x01\x80\x80\x80"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			long := strings.Repeat("x", tc.size-5)
			element := string(binary.LittleEndian.AppendUint32([]byte{0xf0}, uint32(len(long)))) + long
			all := element + tc.after + "\x81y\x02"
			lp := string(binary.LittleEndian.AppendUint32(nil, uint32(len(all)+7))) + "\x02\x00" + all + "\xff"
			body := string(binary.BigEndian.AppendUint32([]byte{0x80}, uint32(len(lp)))) + lp
			v := serialized{typ: rdbparse.TypeSetListpack, body: []byte(body)}.decode(t)
			if len(v.Set) != 2 || string(v.Set[0]) != long || string(v.Set[1]) != "y" {
				t.Errorf("%d members", len(v.Set))
			}
		})
	}
}

func TestDropExpired(t *testing.T) {
	v := hashOf(Field{[]byte("a"), nil, 0}, Field{[]byte("b"), nil, 99}, Field{[]byte("c"), nil, 100}, Field{[]byte("d"), nil, 101})
	v.DropExpired(100)
	if got := fmt.Sprint(lines(v)); got != `["a"="" 0 "d"="" 101]` {
		t.Error(got)
	}
}
