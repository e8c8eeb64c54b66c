package route

import (
	"errors"
	"fmt"
	"slices"
	"testing"
)

// TestDivision tells a failover from slots that move.
func TestDivision(t *testing.T) {
	three := func(addrs ...string) *Table {
		table := NewTable()
		for i, addr := range addrs {
			table.Assign(Master{Addr: addr}, Range{uint16(i * 5000), uint16(i*5000 + 4999)})
		}
		table.Assign(Master{Addr: addrs[2]}, Range{15000, 16383})
		return table
	}
	before := three("a:1", "b:1", "c:1")
	if after := three("a:1", "d:1", "c:1"); after.Division() != before.Division() || before.Division() == 0 {
		t.Errorf("a failover changes %x to %x", before.Division(), after.Division())
	}
	seen := map[uint64]string{before.Division(): "before"}
	for name, table := range map[string]*Table{
		"the first slot": before.With(0, "b:1"), "one within": before.With(5123, "a:1"), "one to a newcomer": before.With(16383, "d:1"),
	} {
		if other, ok := seen[table.Division()]; ok || table.Division() == 0 {
			t.Errorf("%s: %x as with %q", name, table.Division(), other)
		}
		seen[table.Division()] = name
	}
	if d := NewTable().Division(); d != 0 {
		t.Errorf("with holes: %x", d)
	}
}

func TestTable(t *testing.T) {
	empty := NewTable()
	if _, err := empty.Owner(0); !errors.Is(err, ErrNoOwner) {
		t.Errorf("error is %v", err)
	}
	if holes := empty.Holes(); fmt.Sprint(holes) != "[0-16383]" {
		t.Errorf("holes are %v", holes)
	}

	a, b := Master{ID: "a", Addr: "10.0.0.1:7000"}, Master{ID: "b", Addr: "10.0.0.2:7000"}
	table := NewTable()
	table.Assign(a, Range{0, 99})
	table.Assign(b, Range{101, 200})
	table.Assign(a, Range{300, 16382})
	if holes := table.Holes(); fmt.Sprint(holes) != "[100 201-299 16383]" {
		t.Errorf("holes are %v", holes)
	}
	if n := table.Counts(); !slices.Equal(n, []int{100 + 16083, 100}) {
		t.Errorf("counts are %v", n)
	}
	if m := table.Masters(); !slices.Equal(m, []Master{a, b}) {
		t.Errorf("masters are %v", m)
	}
	for slot, want := range map[uint16]int{0: 0, 99: 0, 100: -1, 101: 1, 200: 1, 300: 0, 16382: 0, 16383: -1} {
		if got := table.Index(slot); got != want {
			t.Errorf("slot %d is master %d's, want %d", slot, got, want)
		}
	}

	known := table.With(0, b.Addr)
	if m, err := known.Owner(0); err != nil || m != b {
		t.Errorf("slot 0 is %v's, %v", m, err)
	}
	fresh := table.With(100, "10.0.0.3:7000")
	if m, err := fresh.Owner(100); err != nil || m.Addr != "10.0.0.3:7000" || len(fresh.Masters()) != 3 {
		t.Errorf("slot 100 is %v's, %v", m, err)
	}
	if m, _ := table.Owner(0); m != a || len(table.Masters()) != 2 || table.Index(100) != -1 {
		t.Error("the table itself was changed")
	}
}

func TestAddressMap(t *testing.T) {
	m := AddressMap{
		"10.0.0.1":           "gate.example",
		"10.0.0.1:7001":      "other.example:17001",
		"10.0.0.2":           "127.0.0.1:9000",
		"node.invalid":       "::1",
		"bracket.invalid":    "[::1]",
		"::5":                "five.example",
		"10.0.0.3:7000":      "three.example",
		"whole.invalid:7000": "[2001:db8::1]:1",
	}
	for addr, want := range map[string]string{
		"10.0.0.1:7000":        "gate.example:7000",
		"10.0.0.1:7001":        "other.example:17001",
		"10.0.0.2:7000":        "127.0.0.1:9000",
		"node.invalid:7000":    "[::1]:7000",
		"bracket.invalid:7000": "[::1]:7000",
		"[::5]:7000":           "five.example:7000",
		"10.0.0.3:7000":        "three.example:7000",
		"10.0.0.3:7001":        "10.0.0.3:7001",
		"whole.invalid:7000":   "[2001:db8::1]:1",
		"elsewhere:7000":       "elsewhere:7000",
		"no port":              "no port",
	} {
		if got := m.Dial(addr); got != want {
			t.Errorf("Dial(%q) = %q, want %q", addr, got, want)
		}
	}
	if got := AddressMap(nil).Dial("a:1"); got != "a:1" {
		t.Errorf("without a map: %q", got)
	}
}
