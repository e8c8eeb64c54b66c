package tail

import (
	"bytes"
	"testing"

	"github.com/slotferry/slotferry/checkpoint"
	"github.com/slotferry/slotferry/importer/route"
	"github.com/slotferry/slotferry/importer/target"
)

func TestParseMark(t *testing.T) {
	for _, tc := range []struct {
		text string
		want mark
		ok   bool
	}{
		{"12 3 0123abcd", mark{12, 3, "0123abcd"}, true},
		{"0 1 ", mark{0, 1, ""}, true},
		{"", mark{}, false},
		{"12 3", mark{}, false},
		{"x 3 e", mark{}, false},
		{"-1 3 e", mark{}, false},
	} {
		got, ok := parseMark(tc.text)
		if ok != tc.ok || ok && got != tc.want {
			t.Errorf("parseMark(%q) = %+v, %v", tc.text, got, ok)
		}
	}
}

func TestMarkNames(t *testing.T) {
	for slot := range uint16(route.Slots) {
		name := target.AppendMark(nil, slot, target.JobHash("tail"))
		if route.Slot(name) != slot {
			t.Fatalf("%s is of slot %d, not %d", name, route.Slot(name), slot)
		}
		if !checkpoint.OwnKey(string(name)) {
			t.Fatalf("%s counts as data", name)
		}
	}
}

// FuzzNotes reads what marks and pages may hold; what was written is read as it
// was.
func FuzzNotes(f *testing.F) {
	f.Add([]byte("*2\r\n$3\r\nDEL\r\n$1\r\na\r\n"), "=0:key", "1 2 era", 0)
	f.Add([]byte("*1\r\n$99999999999999999999\r\n"), "=:", "", 15)
	f.Add([]byte("$1\r\n"), "0", "1 ", -1)
	f.Fuzz(func(t *testing.T, raw []byte, field, text string, db int) {
		if words := split(raw); len(words) > 0 {
			again := split(appendWords(nil, words))
			if len(again) != len(words) {
				t.Fatalf("%d words became %d", len(words), len(again))
			}
			for i := range words {
				if !bytes.Equal(words[i], again[i]) {
					t.Fatalf("%q became %q", words[i], again[i])
				}
			}
		}
		parseMark(text)
		parseField(field)
		if gotDB, key, ok := parseField(string(appendField(nil, db, raw))); !ok || gotDB != db || !bytes.Equal(key, raw) {
			t.Fatalf("key %q of database %d became %q of %d", raw, db, key, gotDB)
		}
	})
}
