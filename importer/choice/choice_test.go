package choice

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func mustNew(t testing.TB, o Options) *Choice {
	t.Helper()
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestKey(t *testing.T) {
	for _, tc := range []struct {
		name             string
		include, exclude []string
		yes, no          []string
	}{
		{"nothing chosen", nil, nil, []string{"", "a", "\x00"}, nil},
		{"include", []string{"user:*", "cart:?"}, nil, []string{"user:", "cart:1"}, []string{"cart:12", "x"}},
		{"exclude", nil, []string{"tmp:*"}, []string{"user:1"}, []string{"tmp:", "tmp:1"}},
		{"exclude beats include", []string{"*:1"}, []string{"tmp:*"}, []string{"a:1"}, []string{"tmp:1", "a:2"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := mustNew(t, Options{Include: tc.include, Exclude: tc.exclude})
			for _, k := range tc.yes {
				if !c.Key(0, []byte(k)) {
					t.Errorf("%q is left out", k)
				}
			}
			for _, k := range tc.no {
				if c.Key(0, []byte(k)) {
					t.Errorf("%q is let through", k)
				}
			}
		})
	}
}

func TestType(t *testing.T) {
	all := mustNew(t, Options{})
	if !all.Type("") || !all.Type("hash") || !all.Type("ReJSON-RL") {
		t.Error("a type is left out though none was chosen")
	}
	some := mustNew(t, Options{Types: []string{"Hash", "ReJSON-RL", "hash"}})
	if !some.Type("hash") || !some.Type("ReJSON-RL") || some.Type("string") || some.Type("") {
		t.Error("wrong types")
	}
	if got, want := some.TypesChosen(), []string{"ReJSON-RL", "hash"}; !slices.Equal(got, want) {
		t.Errorf("TypesChosen() = %q, want %q", got, want)
	}
}

func TestDBAndSlot(t *testing.T) {
	all := mustNew(t, Options{Slots: "0-8000, 8001-16383"})
	if !all.DB(12) || !all.Slot(16383) || all.SlotsChosen() {
		t.Error("something is left out though all was chosen")
	}
	c := mustNew(t, Options{DBs: []int{3, 0}, Slots: "5-7,16383, 9 - 9"})
	if !c.DB(0) || !c.DB(3) || c.DB(1) {
		t.Error("wrong databases")
	}
	for slot, want := range map[uint16]bool{4: false, 5: true, 6: true, 7: true, 8: false, 9: true, 16382: false, 16383: true, 16384: false, 65535: false} {
		if got := c.Slot(slot); got != want {
			t.Errorf("Slot(%d) = %v", slot, got)
		}
	}
}

func TestName(t *testing.T) {
	c := mustNew(t, Options{
		DBMap:  map[int]string{1: "db1:", 2: ""},
		Rename: []Rename{{"user:vip:", "v:"}, {"user:", "account:"}, {"same:", "same:"}, {"gone", ""}},
	})
	for _, tc := range []struct {
		db        int
		key, want string
	}{
		{0, "x", "x"},
		{0, "user:1", "account:1"},
		{0, "user:vip:1", "v:1"},
		{0, "same:1", "same:1"},
		{0, "gone", ""},
		{0, "", ""},
		{1, "x", "db1:x"},
		{1, "user:1", "db1:account:1"},
		{2, "x", "x"},
		{2, "user:1", "account:1"},
	} {
		if got := string(c.Name(nil, tc.db, []byte(tc.key))); got != tc.want {
			t.Errorf("Name(db %d, %q) = %q, want %q", tc.db, tc.key, got, tc.want)
		}
	}
	key := []byte("x")
	if got := c.Name(make([]byte, 0, 10), 0, key); &got[0] != &key[0] {
		t.Error("an unchanged name was copied")
	}
	if !c.Renames() || !c.Mapped(2) || c.Mapped(0) || mustNew(t, Options{}).Renames() {
		t.Error("wrong Renames or Mapped")
	}
}

func TestNoAllocation(t *testing.T) {
	c := mustNew(t, Options{
		Include: []string{"user:*", "*x[a-z]"}, Exclude: []string{"*:tmp"},
		DBMap: map[int]string{1: "db1:"}, Rename: []Rename{{"user:", "u:"}},
	})
	key, dst := []byte("user:123"), make([]byte, 0, 100)
	if n := testing.AllocsPerRun(100, func() {
		if !c.Key(1, key) || !c.DB(1) || !c.Type("hash") {
			t.Error("left out")
		}
		dst = c.Name(dst, 1, key)
	}); n != 0 {
		t.Errorf("%v allocations a key", n)
	}
}

func TestNewErrors(t *testing.T) {
	for _, tc := range []struct {
		name string
		o    Options
		want []string // one part for each error
	}{
		{"empty type", Options{Types: []string{"hash", " "}}, []string{"--type: a type is empty"}},
		{"empty pattern", Options{Include: []string{""}, Exclude: []string{""}}, []string{"--include: a pattern is empty", "--exclude: a pattern"}},
		{"negative database", Options{DBs: []int{-1}, DBMap: map[int]string{-2: "x"}}, []string{"--db: database -1", "--db-map: database -2"}},
		{"slot out of range", Options{Slots: "0-16384"}, []string{`--slots: "0-16384": slots are 0 to 16383`}},
		{"slot far out of range", Options{Slots: "99999999999999999999"}, []string{"slots are 0 to 16383"}},
		{"reversed slots", Options{Slots: "9-3"}, []string{"reversed; write 3-9"}},
		{"no slot", Options{Slots: "1,,2"}, []string{"is no slot"}},
		{"negative slot", Options{Slots: "-3"}, []string{"is no slot"}},
		{"signed slot", Options{Slots: "+3"}, []string{"is no slot"}},
		{"empty old prefix", Options{Rename: []Rename{{"", "x"}}}, []string{`--rename-prefix: "=x": the old prefix is empty`}},
		{"renamed twice", Options{Rename: []Rename{{"a", "x"}, {"a", "y"}}}, []string{`"a" is renamed twice`}},
		{"rule never reached", Options{Rename: []Rename{{"a", "x"}, {"ab", "y"}}}, []string{`rule for "ab" is never reached`}},
		{"all at once", Options{DBs: []int{-1}, Slots: "x", Types: []string{""}}, []string{"--db:", "--slots:", "--type:"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := New(tc.o)
			if err == nil {
				t.Fatal("no error")
			}
			joined, ok := err.(interface{ Unwrap() []error })
			if !ok || len(joined.Unwrap()) != len(tc.want) {
				t.Fatalf("not %d errors: %v", len(tc.want), err)
			}
			var one *OptionError
			if !errors.As(err, &one) || one.Flag == "" {
				t.Errorf("no OptionError: %v", err)
			}
			for _, w := range tc.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("error %q does not say %q", err, w)
				}
			}
		})
	}
}

func TestIdentity(t *testing.T) {
	if got := mustNew(t, Options{Slots: "0-16383"}).Identity(); got != "all keys" {
		t.Errorf("Identity() of no choice = %q", got)
	}
	a := mustNew(t, Options{
		Include: []string{"b*", "a b", "b*"}, Exclude: []string{"z", "c"}, Types: []string{"ZSET", "hash"}, DBs: []int{2, 0, 2},
		Slots: "9000,0-100,101-200,150", DBMap: map[int]string{2: "two:", 0: ""},
		Rename: []Rename{{"user:vip:", "v:"}, {"user:", "u:"}, {"a=b", ""}},
	})
	b := mustNew(t, Options{
		Include: []string{"a b", "b*"}, Exclude: []string{"c", "z"}, Types: []string{"hash", "zset", "hash"}, DBs: []int{0, 2},
		Slots: "0-200,9000", DBMap: map[int]string{0: "", 2: "two:"},
		Rename: []Rename{{"a=b", ""}, {"user:vip:", "v:"}, {"user:", "u:"}},
	})
	want := `--include "a b" --include b* --exclude c --exclude z --type hash --type zset --db 0,2 --slots 0-200,9000` +
		` --db-map 0= --db-map 2=two: --rename-prefix "a=b"= --rename-prefix user:=u: --rename-prefix user:vip:=v:`
	if got := a.Identity(); got != want {
		t.Errorf("Identity() =\n%s, want\n%s", got, want)
	}
	if a.Identity() != b.Identity() {
		t.Errorf("another order gives another text:\n%s\n%s", a.Identity(), b.Identity())
	}
	if mustNew(t, Options{Include: []string{"a --exclude b"}}).Identity() == mustNew(t, Options{Include: []string{"a"}, Exclude: []string{"b"}}).Identity() {
		t.Error("different choices have one identity")
	}
}
