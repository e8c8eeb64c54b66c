package main

import (
	"io"
	"slices"
	"strings"
	"testing"
)

func TestEnding(t *testing.T) {
	for name, tc := range map[string]struct {
		exit int
		line string
		want string // a part of the error, "" for none
	}{
		"done":             {0, `{"event":"summary","status":"done","exit":0,"read":5,"written":4,"expired":1}`, ""},
		"interrupted":      {75, `{"event":"summary","status":"interrupted","exit":75,"read":5,"written":5}`, ""},
		"a key too many":   {0, `{"event":"summary","status":"done","exit":0,"read":5,"written":4}`, "does not add up"},
		"a failed key":     {1, `{"event":"summary","status":"failed","exit":1,"read":5,"written":4,"failed":1}`, "no key should fail"},
		"a skipped key":    {0, `{"event":"summary","status":"done","exit":0,"read":5,"written":4,"skipped":1}`, "no key should fail"},
		"a failed command": {0, `{"event":"summary","status":"done","exit":0,"read":5,"written":5,"tail":{"failed":1}}`, "no key should fail"},
		"blocked":          {4, `{"event":"summary","status":"blocked","exit":4}`, "exit code 4"},
		"another code":     {0, `{"event":"summary","status":"interrupted","exit":75}`, "the summary says 75"},
		"another status":   {0, `{"event":"summary","status":"interrupted","exit":0}`, "exit code 0"},
		"no summary":       {0, `{"event":"progress"}`, "no summary"},
		"half of a line":   {0, `{"event":"summ`, "no summary"},
		"nothing written":  {0, "", "no summary"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := lastLine([]byte("{\"event\":\"plan\"}\n" + tc.line + "\n"))
			if tc.line == "" {
				s, err = lastLine(nil)
			}
			if err == nil {
				err = ending{exit: tc.exit, summary: s}.check()
			}
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
}

func TestParse(t *testing.T) {
	o, err := parse([]string{"--seed", "5", "--faults", "kill,reshard", "--sources", "rdb", "--runs", "2"}, io.Discard)
	if err != nil || o.seed != 5 || o.keys != usualKeys || !slices.Equal(o.names, []string{"kill", "reshard"}) {
		t.Errorf("parse = %+v, %v", o, err)
	}
	if got, want := o.command([]string{"kill"}, o.sources, 3, 1), "go run ./faults --seed 5 --keys 60000 --faults kill --sources rdb --first 3 --runs 1"; got != want {
		t.Errorf("command %q, want %q", got, want)
	}
	if o, err = parse(nil, io.Discard); err != nil || o.seed == 0 || len(o.names) != len(faults) {
		t.Errorf("parse = %+v, %v", o, err)
	}
	o, err = parse([]string{"--short"}, io.Discard)
	if err != nil || len(o.names) == 0 || len(o.names) == len(faults) || o.keys != shortKeys || o.runs != 1 {
		t.Errorf("parse with --short = %+v, %v", o, err)
	}
	if o, err = parse([]string{"--faults", "live-kill", "--sources", "sync,follow"}, io.Discard); err != nil || len(o.sources) != 2 {
		t.Errorf("parse = %+v, %v", o, err)
	}
	for _, args := range []string{"--keys 10", "--runs -1", "--first 0", "--faults flood", "--sources aof", "kill", "--nonsense"} {
		if o, err := parse(strings.Fields(args), io.Discard); err == nil {
			t.Errorf("parse %s = %+v, want an error", args, o)
		}
	}
}

func TestFaultsHaveNamesOfTheirOwn(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range faults {
		if seen[f.name] || f.name == "" || f.about == "" || f.strike == nil {
			t.Errorf("fault %q is there twice, or lacks something", f.name)
		}
		seen[f.name] = true
	}
}
