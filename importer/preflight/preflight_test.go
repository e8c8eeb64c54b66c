package preflight

import (
	"errors"
	"fmt"
	"testing"
)

func TestErrorText(t *testing.T) {
	var f Findings
	f.Block("target_not_empty", "empty it", "the target holds %d keys", 3)
	f.Warn("clocks", "NTP", "clocks differ")
	f.Block("source_auth", "", "wrong")
	for _, tc := range []struct {
		blockers Findings
		want     string
	}{
		{f.Blockers(), "nothing was written: 2 blockers\n  target_not_empty: the target holds 3 keys\n      → empty it\n  source_auth: wrong"},
		{f.Blockers()[:1], "nothing was written: 1 blocker\n  target_not_empty: the target holds 3 keys\n      → empty it"},
	} {
		if got := (&Error{Blockers: tc.blockers}).Error(); got != tc.want {
			t.Errorf("got\n%s\nwant\n%s", got, tc.want)
		}
	}
}

func TestFindings(t *testing.T) {
	var f Findings
	f.Warn("a", "", "x")
	f.Block("b", "", "100%% of %s", "y")
	if got := f.Blockers(); len(got) != 1 || got[0].Code != "b" || got[0].Message != "100% of y" || !got[0].Blocks {
		t.Errorf("blockers %+v", got)
	}
	if got := f.Warnings(); len(got) != 1 || got[0].Code != "a" || got[0].Blocks {
		t.Errorf("warnings %+v", got)
	}
	if !f.Has("x", "b") || f.Has("c") || f.Has() {
		t.Error("wrong Has")
	}
	if got := (Findings(nil)).Blockers(); got == nil || len(got) != 0 {
		t.Error("no blockers should be an empty list, for JSON")
	}
	err := fmt.Errorf("wrapped: %w", &Error{})
	var blocked interface{ Blocked() bool }
	if !errors.As(err, &blocked) || !blocked.Blocked() {
		t.Error("not known as blocked")
	}
}
