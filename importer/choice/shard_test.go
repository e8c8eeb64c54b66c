package choice

import (
	"strings"
	"testing"

	"github.com/slotferry/slotferry/importer/route"
)

func TestShardSlots(t *testing.T) {
	for _, tc := range []struct{ shard, chosen, want string }{
		{"", "", ""},
		{"", "7,5-6", "7,5-6"},
		{"0/1", "", "0-16383"},
		{"0/4", "", "0-4095"},
		{"3/4", "", "12288-16383"},
		{"1/3", "", "5461-10921"},
		{" 0/2 ", "10-13", "10-11"},
		{"1/2", "1,3,5,100-102", "100-102"},
		{"16383/16384", "", "16383"},
	} {
		s, err := ParseShard(tc.shard)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := s.Slots(tc.chosen); err != nil || got != tc.want {
			t.Errorf("%s of %q is %q, %v; want %q", tc.shard, tc.chosen, got, err, tc.want)
		}
	}
}

// TestShardsMakeTheWhole has each slot in exactly one shard, and shards even.
func TestShardsMakeTheWhole(t *testing.T) {
	for _, chosen := range []string{"", "0-99,5000,16000-16383"} {
		whole, err := New(Options{Slots: chosen})
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range []int{1, 2, 3, 7, 100, 485} {
			var times [route.Slots]int
			least, most := route.Slots, 0
			for i := range n {
				slots, err := Shard{i, n}.Slots(chosen)
				if err != nil {
					t.Fatal(err)
				}
				part, err := New(Options{Slots: slots})
				if err != nil {
					t.Fatal(err)
				}
				size := 0
				for slot := range times {
					if part.Slot(uint16(slot)) {
						times[slot]++
						size++
					}
				}
				least, most = min(least, size), max(most, size)
			}
			if most-least > 1 {
				t.Errorf("%d shards of %q have %d to %d slots", n, chosen, least, most)
			}
			for slot, got := range times {
				want := 0
				if whole.Slot(uint16(slot)) {
					want = 1
				}
				if got != want {
					t.Fatalf("slot %d is in %d of %d shards of %q", slot, got, n, chosen)
				}
			}
		}
	}
}

func TestParseShardRefuses(t *testing.T) {
	for text, says := range map[string]string{
		"4/4": "the last one is 3/4", "0/0": "1 to 16384", "0/16385": "1 to 16384", "1": "no part", "-1/4": "no part",
		"1/4/4": "no part", "a/4": "no part", "/": "no part", "$(JOB_COMPLETION_INDEX)/4": "no part", "99999999999999999999/4": "no part",
	} {
		if _, err := ParseShard(text); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := (Shard{0, 3}).Slots("1-2"); err == nil || !strings.Contains(err.Error(), "3 parts of 2 slots") {
		t.Errorf("more shards than slots: %v", err)
	}
	if _, err := (Shard{0, 3}).Slots("x"); err == nil {
		t.Error("shards of what are no slots")
	}
}

func FuzzShard(f *testing.F) {
	for _, seed := range []string{"0/4", "3/4", "", "4/4", "0/0", "1/16384"} {
		f.Add(seed, "")
		f.Add(seed, "1-9,16383")
	}
	f.Fuzz(func(t *testing.T, text, chosen string) {
		s, err := ParseShard(text)
		if err != nil {
			return
		}
		slots, err := s.Slots(chosen)
		if s.Of == 0 && slots == chosen && err == nil { // as they are, right or wrong
			return
		}
		if err != nil {
			return
		}
		part, err := New(Options{Slots: slots})
		whole, err2 := New(Options{Slots: chosen})
		if err != nil || err2 != nil {
			t.Fatalf("%q of %q: %v, %v", text, chosen, err, err2)
		}
		for slot := range uint16(route.Slots) {
			if part.Slot(slot) && !whole.Slot(slot) {
				t.Fatalf("%q of %q has slot %d", text, chosen, slot)
			}
		}
	})
}
