package main

import (
	"slices"
	"strings"
	"testing"
)

func TestParseSummary(t *testing.T) {
	stdout := `{"event":"progress","read":5}` + "\n" +
		`{"event":"summary","read":10,"written":8,"skipped":0,"expired":2,"filtered":0,"failed":0,"masters":[]}` + "\n"
	s, err := parseSummary([]byte(stdout))
	if want := (summary{Event: "summary", Read: 10, Written: 8, Expired: 2}); err != nil || s != want {
		t.Errorf("parseSummary = %+v, %v; want %+v", s, err, want)
	}
	for _, bad := range []string{"", "no JSON", `{"event":"progress"}`, stdout + "panic: something\n"} {
		if s, err := parseSummary([]byte(bad)); err == nil {
			t.Errorf("parseSummary(%q) = %+v, want an error", bad, s)
		}
	}
}

func TestCheck(t *testing.T) {
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
		{"something left out", summary{Read: 10, Written: 9, Filtered: 1}, 9, "nothing should fail"},
		{"a resumed run", summary{Read: 10, Written: 10, Resumed: true}, 10, "nothing should fail"},
		{"a key not read", summary{Read: 9, Written: 9}, 9, "9 keys were read"},
		{"a key not in the cluster", summary{Read: 10, Written: 10}, 9, "the cluster holds 9"},
		{"a key too many", summary{Read: 10, Written: 9, Expired: 1}, 10, "the cluster holds 10"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := tc.s.check(keys, tc.held)
			if tc.want == "" && err != nil {
				t.Errorf("check = %v", err)
			}
			if tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("check = %v, want %q in it", err, tc.want)
			}
		})
	}
}

func TestOwnEnvironment(t *testing.T) {
	got := ownEnvironment([]string{"PATH=/bin", "SLOTFERRY_SOURCE_PASSWORD=x", "HOME=/"})
	if want := []string{"PATH=/bin", "HOME=/"}; !slices.Equal(got, want) {
		t.Errorf("ownEnvironment = %q, want %q", got, want)
	}
}
