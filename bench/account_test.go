package main

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestLastLine(t *testing.T) {
	stdout := `{"event":"progress","read":5}` + "\n" +
		`{"event":"summary","read":10,"written":8,"skipped":0,"expired":2,"filtered":0,"failed":0,"masters":[]}` + "\n"
	s, err := lastLine[summary]([]byte(stdout))
	if want := (summary{Event: "summary", Read: 10, Written: 8, Expired: 2}); err != nil || s != want {
		t.Errorf("lastLine = %+v, %v; want %+v", s, err, want)
	}
	for _, bad := range []string{"", "no JSON", `{"event":"progress"}`, stdout + "panic: something\n"} {
		if s, err := lastLine[summary]([]byte(bad)); err == nil {
			t.Errorf("lastLine(%q) = %+v, want an error", bad, s)
		}
	}
}

func TestSummaryCheck(t *testing.T) {
	const keys = 10
	for _, tc := range []struct {
		name string
		s    summary
		held int64
		want string // part of the error; "" for none
	}{
		{"all written", summary{Read: 10, Written: 10}, 10, ""},
		{"some had expired", summary{Read: 10, Written: 7, Expired: 3}, 7, ""},
		{"one was yielded twice", summary{Read: 11, Written: 11}, 10, ""},
		{"a sum that is short", summary{Read: 10, Written: 9}, 10, "does not add up"},
		{"a failure", summary{Read: 10, Written: 9, Failed: 1}, 9, "nothing should fail"},
		{"a command that failed", summary{Read: 10, Written: 10, Tail: &tailAccount{Commands: 5, Failed: 1}}, 10, "no command should fail"},
		{"commands that went in", summary{Read: 10, Written: 10, Tail: &tailAccount{Commands: 5}}, 10, ""},
		{"something left out", summary{Read: 10, Written: 9, Filtered: 1}, 9, "nothing should fail"},
		{"a resumed run", summary{Read: 10, Written: 10, Resumed: true}, 10, "nothing should fail"},
		{"a key not read", summary{Read: 9, Written: 9}, 9, "9 keys were read"},
		{"a key not in the cluster", summary{Read: 10, Written: 10}, 9, "the cluster holds 9"},
		{"a key too many", summary{Read: 10, Written: 9, Expired: 1}, 10, "the cluster holds 10"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			expect(t, tc.s.check(keys, tc.held), tc.want)
		})
	}
}

func TestVerificationCheck(t *testing.T) {
	const keys = 10
	for _, tc := range []struct {
		name string
		v    verification
		live bool
		want string // part of the error; "" for none
	}{
		{"all the same", verification{Compared: 10}, false, ""},
		{"SCAN yielded one twice", verification{Compared: 11}, true, ""},
		{"a file has no key twice", verification{Compared: 11}, false, "11 keys were compared"},
		{"one not compared", verification{Compared: 9}, true, "9 keys were compared"},
		{"a difference", verification{Compared: 10, Differences: 1}, true, "nothing should differ"},
		{"one that can't be compared", verification{Compared: 10, NotComparable: 1}, true, "nothing should differ"},
		{"something left out", verification{Compared: 10, Filtered: 1}, true, "nothing should differ"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			expect(t, tc.v.check(keys, tc.live), tc.want)
		})
	}
}

func TestPlanCheck(t *testing.T) {
	for _, tc := range []struct{ name, document, want string }{
		{"all", `{"keys":10,"masters":[{"keys":4},{"keys":6}],"blockers":[],"slots":[{"slot":1}]}`, ""},
		{"a key short", `{"keys":9,"masters":[{"keys":4},{"keys":5}],"blockers":[]}`, "the plan has 9 keys"},
		{"a key on no master", `{"keys":10,"masters":[{"keys":4},{"keys":5}],"blockers":[]}`, "9 of them"},
		{"too few masters", `{"keys":10,"masters":[{"keys":10}],"blockers":[]}`, "on 1 masters"},
		{"a blocker", `{"keys":10,"masters":[{"keys":4},{"keys":6}],"blockers":[{"code":"x"}]}`, "1 blockers"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var p plan
			if err := json.Unmarshal([]byte(tc.document), &p); err != nil {
				t.Fatal(err)
			}
			expect(t, p.check(10, 2), tc.want)
		})
	}
}

// expect wants an error with a text in it, or none.
func expect(t *testing.T, err error, want string) {
	t.Helper()
	if want == "" && err != nil {
		t.Errorf("error %v, want none", err)
	}
	if want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
		t.Errorf("error %v, want %q in it", err, want)
	}
}
