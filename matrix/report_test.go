package main

import "testing"

// TestCells sees how a cell of the table is written, and that equal reasons
// share a number.
func TestCells(t *testing.T) {
	refusedFor := func(why string) *cell { return &cell{ways: map[way]int{refused: 2}, why: why} }
	one := func(w way) *cell { return &cell{ways: map[way]int{w: 1}} }
	lossy := &cell{ways: map[way]int{rebuilt: 1}, lost: []string{"b", "a"}}
	p := &pair{cells: map[string]map[string]*cell{
		"same":    {viaFile: one(bytesWay), viaScan: one(bytesWay)},
		"stamp":   {viaFile: one(bytesWay), viaScan: one(stampWay)},
		"differs": {viaFile: one(rebuilt), viaScan: refusedFor(`not this hash (RDB type 25): "ERR", and key "a:1" has such fields`)},
		"refused": {viaFile: refusedFor(`not this hash (RDB type 24): "ERR", and key "b:1" has such fields`), viaScan: refusedFor(`not this hash: "ERR"`)},
		"lossy":   {viaFile: lossy, viaScan: lossy},
	}}
	var reasons []string
	for _, tc := range []struct{ kind, want string }{
		{"none", "–"}, {"same", "bytes"}, {"stamp", "stamp"}, {"differs", "file: rebuilt; SCAN: refused (1)"}, {"refused", "refused (1)"}, {"lossy", "rebuilt (2)"},
	} {
		if got := p.text(tc.kind, &reasons); got != tc.want {
			t.Errorf("%s: %q, want %q", tc.kind, got, tc.want)
		}
	}
	if len(reasons) != 2 || reasons[0] != `not this hash: "ERR"` || reasons[1] != "Lost: a; b." {
		t.Errorf("reasons %q", reasons)
	}
}
