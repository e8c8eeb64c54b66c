package commands

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/slotferry/slotferry/rdbparse"
	"github.com/slotferry/slotferry/rdbparse/decode"
)

// now is before all expiries that the values have and are to keep.
const now = 1e9

// allValues are the rare ones and those of fixtures that differ in encodings.
func allValues(t testing.TB) map[string]serialized {
	all := map[string]serialized{}
	for _, fixture := range []string{"redis-6.0", "redis-7.0", "redis-8.6", "valkey-9.1"} {
		for key, s := range readFixture(t, fixture) {
			all[fixture+" "+key] = s
		}
	}
	for name, s := range rareValues {
		all[name] = s
	}
	return all
}

// inModel makes the value in a model.
func inModel(s serialized, value io.Reader, o Options) (*model, error) {
	m := newModel("k", o)
	return m, Write(s.vendor, s.typ, value, []byte("k"), o, m.take)
}

// TestModel writes every value with limits of all kinds, from readers that give
// little at a time.
func TestModel(t *testing.T) {
	for name, s := range allValues(t) {
		want := s.decode(t)
		want.DropExpired(now)
		for _, o := range []Options{{}, {MaxBytes: 1}, {MaxBytes: 40}, {MaxElements: 1}, {MaxBytes: 300, MaxElements: 7}} {
			o.Target, o.Now = everything, now
			m, err := inModel(s, iotest.HalfReader(bytes.NewReader(s.body)), o)
			if err != nil {
				t.Errorf("%s with %+v: %v", name, o, err)
				continue
			}
			if d := decode.Difference(sayable(want, everything), sayable(m.value(), everything)); d != "" {
				t.Errorf("%s of type %d with %+v: %s", name, s.typ, o, d)
			}
		}
	}
}

// collect gives the commands as lines.
func collect(s serialized, o Options) (lines []string, err error) {
	err = Write(s.vendor, s.typ, bytes.NewReader(s.body), []byte("k"), o, func(words [][]byte) error {
		lines = append(lines, string(bytes.Join(words, []byte(" "))))
		return nil
	})
	return lines, err
}

func TestCommands(t *testing.T) {
	for _, tc := range []struct {
		name string
		of   serialized
		o    Options
		want string
	}{
		{"empty string", serialized{typ: rdbparse.TypeString, body: []byte("\x00")}, Options{}, "SET k "},
		{"integer", serialized{typ: rdbparse.TypeString, body: []byte("\xc0\xfb")}, Options{}, "SET k -5"},
		{"string in parts", serialized{typ: rdbparse.TypeString, body: []byte("\x07abcdefg")}, Options{MaxBytes: 10}, "SET k abcde|APPEND k fg"},
		{"string of whole parts", serialized{typ: rdbparse.TypeString, body: []byte("\x0aabcdefghij")}, Options{MaxBytes: 10}, "SET k abcde|APPEND k fghij"},
		{"list in commands of two", serialized{typ: rdbparse.TypeList, body: []byte("\x05\x01a\x01b\x01c\x01d\x01e")}, Options{MaxElements: 2}, "RPUSH k a b|RPUSH k c d|RPUSH k e"},
		{"an element that is long goes alone", serialized{typ: rdbparse.TypeList, body: []byte("\x04\x01a\x0alongerthan\x01c\x01d")}, Options{MaxBytes: 10}, "RPUSH k a|RPUSH k longerthan|RPUSH k c d"},
		{"list of nothing", serialized{typ: rdbparse.TypeList, body: []byte("\x00")}, Options{}, ""},
		{"scores", rareValues["zset of extremes"], Options{},
			"ZADD k 1.7976931348623157e+308 a 5e-324 b inf c -inf d 0.1 e"},
		{"expiries behind their fields", serialized{typ: rdbparse.TypeHashTTL, body: []byte("\xe8\x03\x00\x00\x00\x00\x00\x00\x05" +
			"\x05\x01a\x011\x00\x01b\x012\x06\x01c\x013\x05\x01d\x014\x05\x01e\x015")}, Options{MaxElements: 4, Now: 1, Target: everything},
			"HSET k a 1 b 2 c 3 d 4|HPEXPIREAT k 1004 FIELDS 2 a d|HPEXPIREAT k 1005 FIELDS 1 c|HSET k e 5|HPEXPIREAT k 1004 FIELDS 1 e"},
		{"expired fields", serialized{typ: rdbparse.TypeHashTTL, body: []byte("\xe8\x03\x00\x00\x00\x00\x00\x00\x02\x01\x01a\x011\x02\x01b\x012")}, Options{Now: 1001, Target: everything}, ""},
		{"expired fields on a target without", serialized{typ: rdbparse.TypeHashTTL, body: []byte("\xe8\x03\x00\x00\x00\x00\x00\x00\x02\x01\x01a\x011\x00\x01b\x012")}, Options{}, "HSET k b 2"},
		{"stream of nothing for 7.0", serialized{typ: rdbparse.TypeStream2, body: []byte("\x00\x00\x05\x06\x00\x00\x03\x04\x07\x00")}, Options{Target: system},
			"XGROUP CREATE k slotferry 0 MKSTREAM|XGROUP DESTROY k slotferry|XSETID k 5-6 ENTRIESADDED 7 MAXDELETEDID 3-4"},
		{"stream of nothing for 6.0", serialized{typ: rdbparse.TypeStream2, body: []byte("\x00\x00\x05\x06\x00\x00\x03\x04\x07\x00")}, Options{},
			"XGROUP CREATE k slotferry 0 MKSTREAM|XGROUP DESTROY k slotferry|XSETID k 5-6"},
		{"group for 7.0", groupStream, Options{Target: system}, strings.Join([]string{
			"XADD k 1-1 f v", "XADD k 1-2 f w", "XSETID k 1-2 ENTRIESADDED 2 MAXDELETEDID 0-0", "XGROUP CREATE k g 1-1 ENTRIESREAD 1",
			"XGROUP CREATECONSUMER k g c", "XCLAIM k g c 0 1-1 1-2 TIME 9 RETRYCOUNT 3 FORCE JUSTID", "XGROUP CREATECONSUMER k g d"}, "|")},
		{"entries that were delivered at the same time", withGroup(4), Options{Target: system}, strings.Join([]string{
			"XADD k 1-1 f v", "XADD k 1-2 f w", "XSETID k 1-2 ENTRIESADDED 2 MAXDELETEDID 0-0", "XGROUP CREATE k g 1-1 ENTRIESREAD 1",
			"XGROUP CREATECONSUMER k g c", "XCLAIM k g c 0 1-1 TIME 9 RETRYCOUNT 3 FORCE JUSTID",
			"XCLAIM k g c 0 1-2 TIME 9 RETRYCOUNT 4 FORCE JUSTID", "XGROUP CREATECONSUMER k g d"}, "|")},
		{"group for 6.0", groupStream, Options{}, strings.Join([]string{
			"XADD k 1-1 f v", "XADD k 1-2 f w", "XSETID k 1-2", "XGROUP CREATE k g 1-1",
			"XREADGROUP GROUP g c COUNT 1 STREAMS k 0", "XCLAIM k g c 0 1-1 1-2 TIME 9 RETRYCOUNT 3 FORCE JUSTID",
			"XREADGROUP GROUP g d COUNT 1 STREAMS k 0"}, "|")},
	} {
		t.Run(tc.name, func(t *testing.T) {
			lines, err := collect(tc.of, tc.o)
			if got := strings.Join(lines, "|"); got != tc.want || err != nil {
				t.Errorf("\n got %s, %v\nwant %s", got, err, tc.want)
			}
		})
	}
}

// groupStream has two entries, both pending, and a deleted one.
var groupStream = withGroup(3)

func withGroup(deliveries byte) serialized {
	entries := listpack("\x02", "\x01", "\x01", "\x81f", "\x00", "\x02", "\x00", "\x00", "\x81v", "\x04",
		"\x02", "\x00", "\x01", "\x81w", "\x04", "\x03", "\x00", "\x02", "\x81x", "\x04")
	at := "\x09" + repeat("\x00", 7)
	pending := "\x02" + rawID(1, 1) + at + "\x03" + rawID(1, 2) + at + string(deliveries)
	consumers := "\x02\x01c" + at + "\x02" + rawID(1, 1) + rawID(1, 2) + "\x01d" + at + "\x00"
	return serialized{typ: rdbparse.TypeStream, body: []byte("\x01\x10" + rawID(1, 1) + entries + "\x02\x01\x02" + "\x01\x01g\x01\x01" + pending + consumers)}
}

func rawID(ms, seq byte) string {
	return repeat("\x00", 7) + string(ms) + repeat("\x00", 7) + string(seq)
}

func TestRefused(t *testing.T) {
	ttl := rareValues["hash:ttl:list"]
	for _, tc := range []struct {
		name string
		of   serialized
		o    Options
		want error
	}{
		{"module", serialized{typ: 7, body: []byte("\x00")}, Options{}, ErrUnsupported},
		{"module of release candidates", serialized{typ: 6}, Options{}, ErrUnsupported},
		{"field expiry", ttl, Options{}, ErrUnsupported},
		{"not a number", serialized{typ: rdbparse.TypeZset, body: []byte("\x01\x01a\xfd")}, Options{}, ErrUnsupported},
		{"entries given back", serialized{typ: rdbparse.TypeStream5, body: []byte("\x00\x00\x00\x00\x00\x00\x00\x00\x00" +
			"\x01\x01g\x00\x00\x00\x01" + rawID(1, 1) + repeat("\x00", 8) + "\x01\x00\x01" + rawID(1, 1) + "\x64\x40\x64\x00\x00\x00")}, Options{}, ErrUnsupported},
		{"stream entry of too many fields", groupStream, Options{MaxHeld: fieldBytes - 1}, rdbparse.ErrTooLong},
		{"unknown type", serialized{typ: 200}, Options{}, rdbparse.ErrUnknownType},
		{"Redis' type in Valkey's numbers", serialized{vendor: rdbparse.Valkey, typ: rdbparse.TypeHashTTL}, Options{}, rdbparse.ErrUnknownType},
		{"element over the cap", serialized{typ: rdbparse.TypeList, body: []byte("\x01\x0aabcdefghij")}, Options{MaxHeld: 9}, rdbparse.ErrTooLong},
		{"announced element over the cap", serialized{typ: rdbparse.TypeList, body: []byte("\x01\x81\x7f\xff\xff\xff\xff\xff\xff\xff")}, Options{}, rdbparse.ErrTooLong},
		{"container over the cap", rareValues["list ziplist"], Options{MaxHeld: 14}, rdbparse.ErrTooLong},
		{"pending entries over the cap", groupStream, Options{MaxHeld: 2*pendingBytes - 1}, rdbparse.ErrTooLong},
		{"bytes behind the value", serialized{typ: rdbparse.TypeString, body: []byte("\x01ab")}, Options{}, rdbparse.ErrCorrupt},
		{"more elements than there are", serialized{typ: rdbparse.TypeList, body: []byte("\x81\xff\xff\xff\xff\xff\xff\xff\xff\x01a")}, Options{}, rdbparse.ErrTruncated},
		{"LZF data that can't give so much", serialized{typ: rdbparse.TypeString, body: []byte("\xc3\x04\x81\x00\x00\x00\xff\x00\x00\x00\x00\x00x\xa0\x00")}, Options{}, rdbparse.ErrCorrupt},
		{"entries that don't add up", serialized{typ: rdbparse.TypeStream, body: []byte("\x00\x01\x00\x00\x00")}, Options{}, rdbparse.ErrCorrupt},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := collect(tc.of, tc.o)
			if !errors.Is(err, tc.want) {
				t.Fatalf("%v, want %v", err, tc.want)
			}
			var damage *rdbparse.Error
			if errors.As(err, &damage) == (tc.want == ErrUnsupported) {
				t.Errorf("an error of the wrong kind: %v", err)
			}
		})
	}
}

// TestTruncated cuts values off everywhere.
func TestTruncated(t *testing.T) {
	for name, s := range allValues(t) {
		if len(s.body) > 1000 {
			continue
		}
		for n := 0; n < len(s.body); n += 1 + len(s.body)/30 {
			_, err := inModel(s, bytes.NewReader(s.body[:n]), Options{Target: everything, Now: now})
			if !errors.Is(err, rdbparse.ErrTruncated) {
				t.Errorf("%s, %d of %d bytes: %v", name, n, len(s.body), err)
			}
			var damage *rdbparse.Error
			if !errors.As(err, &damage) || damage.Offset > int64(n) || string(damage.Key) != "k" {
				t.Errorf("%s, %d of %d bytes: %v", name, n, len(s.body), err)
			}
		}
	}
}

// TestOthersErrors: the reader's come with a place, Emit's as they are, and
// after either nothing is emitted any more.
func TestOthersErrors(t *testing.T) {
	broken := errors.New("broken")
	for name, s := range allValues(t) {
		_, err := inModel(s, io.MultiReader(bytes.NewReader(s.body[:len(s.body)/2]), iotest.ErrReader(broken)), Options{Target: everything, Now: now})
		var damage *rdbparse.Error
		if !errors.Is(err, broken) || !errors.As(err, &damage) {
			t.Errorf("%s: the reader's error becomes %v", name, err)
		}
		calls := 0
		err = Write(s.vendor, s.typ, bytes.NewReader(s.body), []byte("k"), Options{Target: everything, Now: now, MaxBytes: 20}, func([][]byte) error {
			calls++
			if calls == 2 {
				return broken
			}
			return nil
		})
		if calls > 2 || calls == 2 && err != broken {
			t.Errorf("%s: after %d commands %v", name, calls, err)
		}
	}
}

// TestIdempotence loses identifiers of entries that are not there.
func TestIdempotence(t *testing.T) {
	body := "\x01\x10" + rawID(1, 1) + listpack("\x01", "\x00", "\x01", "\x81f", "\x00", "\x02", "\x00", "\x00", "\x81v", "\x04") +
		"\x01\x01\x02\x01\x01\x00\x00\x02\x00" + "\x32\x20" + "\x01\x01p\x02\x01a\x01\x01\x01b\x01\x02" + "\x02\x00"
	s := serialized{typ: rdbparse.TypeStream4, body: []byte(body)}
	lines, err := collect(s, Options{Target: everything})
	want := []string{"XADD k 1-1 f v", "XSETID k 1-2 ENTRIESADDED 2 MAXDELETEDID 0-0", "XCFGSET k IDMP-DURATION 50 IDMP-MAXSIZE 32", "XIDMPRECORD k p a 1-1"}
	if err != nil || !slices.Equal(lines, want) {
		t.Errorf("%q, %v", lines, err)
	}
	lines, err = collect(s, Options{Target: system})
	if err != nil || !slices.Equal(lines, want[:2]) {
		t.Errorf("%q, %v", lines, err)
	}
	// Only the last ones are remembered.
	st := &stream{writer: &writer{options: Options{Target: everything}}, revision: 4}
	for i := range uint64(3 * mostRecent) {
		st.remember(decode.ID{Ms: i})
	}
	if first, last := st.recent[0].Ms, st.recent[len(st.recent)-1].Ms; last != 3*mostRecent-1 || last-first < mostRecent/2-1 || cap(st.recent) > 2*mostRecent {
		t.Error(fmt.Sprint(first, last, cap(st.recent)))
	}
}
