package choice

import (
	"errors"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/slotferry/slotferry/importer/route"
)

var plainSlots = regexp.MustCompile(`^\s*(\d+)\s*(?:-\s*(\d+)\s*)?$`)

// naiveSlots is the plainest reading of a list of slots.
func naiveSlots(text string) (chosen [route.Slots]bool, ok bool) {
	for _, part := range strings.Split(text, ",") {
		m := plainSlots.FindStringSubmatch(part)
		if m == nil {
			return chosen, false
		}
		if m[2] == "" {
			m[2] = m[1]
		}
		from, errFrom := strconv.Atoi(m[1])
		to, errTo := strconv.Atoi(m[2])
		if errFrom != nil || errTo != nil || from > to || to >= route.Slots {
			return chosen, false
		}
		for s := from; s <= to; s++ {
			chosen[s] = true
		}
	}
	return chosen, true
}

// FuzzSlots compares with the naive reading, and reads back what is written of
// the slots.
func FuzzSlots(f *testing.F) {
	for _, s := range []string{"", "0-5460,9000", "0-16383", "5-7,16383, 9 - 9", "9-3", "1,,2", "-3", "+3", "16384", "99999999999999999999", "0-0", "00001", "1-2-3", " "} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, r := range text {
			if r >= 0x80 || r == '\v' || r < ' ' { // other kinds of space
				return
			}
		}
		c, err := New(Options{Slots: text})
		if strings.TrimSpace(text) == "" {
			text = "0-16383"
		}
		want, ok := naiveSlots(text)
		if ok != (err == nil) {
			t.Fatalf("%q: %v, want it to be possible: %t", text, err, ok)
		}
		if !ok {
			var o *OptionError
			if !errors.As(err, &o) || o.Flag != "slots" {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		for s := range uint16(route.Slots) {
			if c.Slot(s) != want[s] {
				t.Fatalf("%q: slot %d is chosen: %t", text, s, c.Slot(s))
			}
		}
		if !c.SlotsChosen() {
			return
		}
		again, err := New(Options{Slots: strings.TrimPrefix(c.Identity(), "--slots ")})
		if err != nil || *again.slots != *c.slots {
			t.Errorf("%q is not read back from %q: %v", text, c.Identity(), err)
		}
	})
}

// FuzzNames goes from a key to its name and back, by any rules that hold
// together.
func FuzzNames(f *testing.F) {
	f.Add("a:", "b:", "b:", "a:", "db1:", "*", "tmp*", "a:1")
	f.Add("user:vip:", "v:", "user:", "", "", "user:[a-z]*", "x", "user:vip:x")
	f.Add("ab", "a", "a", "ab", "a", "\\*", "", "ab")
	f.Add("", "", "a", "a", "x", "*?", "[^", "")
	f.Fuzz(func(t *testing.T, old1, new1, old2, new2, front, include, exclude, key string) {
		c, err := New(Options{
			Include: []string{include}, Exclude: []string{exclude}, DBMap: map[int]string{1: front},
			Rename: []Rename{{old1, new1}, {old2, new2}},
		})
		if err != nil {
			for _, part := range err.(interface{ Unwrap() []error }).Unwrap() {
				var o *OptionError
				if !errors.As(part, &o) || o.Message == "" {
					t.Errorf("%v", part)
				}
			}
			if include != "" && exclude != "" && old1 != "" && old2 != "" && !strings.HasPrefix(old2, old1) {
				t.Errorf("nothing is wrong, but: %v", err)
			}
			return
		}
		if want := Match([]byte(include), []byte(key)) && !Match([]byte(exclude), []byte(key)); c.Key(1, []byte(key)) != want {
			t.Errorf("%q is chosen: %t", key, !want)
		}
		for db := range 2 {
			name := string(c.Name(nil, db, []byte(key)))
			found := !c.Key(db, []byte(key))
			c.Origins([]byte(name), []int{0, 1}, func(from int, origin []byte) {
				found = found || from == db && string(origin) == key
				if back := string(c.Name(nil, from, origin)); back != name {
					t.Errorf("%q comes from %q of database %d, whose name is %q", name, origin, from, back)
				}
			})
			if !found {
				t.Errorf("%q does not come from %q of database %d", name, key, db)
			}
		}
	})
}
