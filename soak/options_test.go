package main

import (
	"io"
	"testing"
)

func TestParse(t *testing.T) {
	for _, tc := range []struct {
		args []string
		ok   bool
	}{
		{nil, true},
		{[]string{"--minutes", "2"}, true},
		{[]string{"--minutes", "1"}, false},
		{[]string{"--short"}, true},
		{[]string{"5"}, false},
		{[]string{"--unknown"}, false},
	} {
		o, err := parse(tc.args, io.Discard)
		if (err == nil) != tc.ok {
			t.Errorf("%q: %v", tc.args, err)
		}
		if tc.ok && (o.seed == 0 || o.lasts == 0 || o.quiet >= o.lasts || o.warm > o.lasts || o.between[0] >= o.between[1]) {
			t.Errorf("%q: %+v", tc.args, o)
		}
	}
}
