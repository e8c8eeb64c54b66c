package main

import (
	"io"
	"slices"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	o, err := parse([]string{"--set", "small", "--sources", "rdb", "--keys", "7"}, io.Discard)
	if err != nil || o.keys != 7 || o.pairs != 3 || o.out != resultsFile {
		t.Errorf("parse = %+v, %v", o, err)
	}
	if want := "go run ./bench --keys 7 --pairs 3 --masters 3 --parts import,redis-cli,sync,tail,cutover,delay,limits,micro --set small --sources rdb"; o.command() != want {
		t.Errorf("command = %q, want %q", o.command(), want)
	}
	o, err = parse([]string{"--short", "--pairs", "9"}, io.Discard)
	if err != nil || o.keys != shortKeys || o.pairs != 1 || !slices.Equal(o.parts, allParts) {
		t.Errorf("parse with --short = %+v, %v", o, err)
	}
	o, err = parse([]string{"--short", "--parts", "tail"}, io.Discard)
	if err != nil || o.keys != shortKeys || !slices.Equal(o.parts, []string{partTail}) {
		t.Errorf("parse with --short and a part = %+v, %v", o, err)
	}
	o, err = parse([]string{"--growth", "--sources", "rdb"}, io.Discard)
	if err != nil || o.pairs != 1 || !slices.Equal(o.parts, []string{partGrowth}) || o.out != growthFile {
		t.Errorf("parse with --growth = %+v, %v", o, err)
	}
	if want := "go run ./bench --growth --sources rdb"; o.command() != want {
		t.Errorf("command = %q, want %q", o.command(), want)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, args := range []string{"--keys 0", "--pairs -1", "--masters 0", "--set huge", "--set mixed,", "--sources aof", "--parts all", "rdb", "--nonsense"} {
		if o, err := parse(strings.Fields(args), io.Discard); err == nil {
			t.Errorf("parse %s = %+v, want an error", args, o)
		}
	}
}
