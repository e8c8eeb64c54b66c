package main

import (
	"slices"
	"testing"
)

func TestParseMonitor(t *testing.T) {
	for _, tc := range []struct {
		name, line string
		want       []string
	}{
		{"command", "+1700000000.123456 [0 127.0.0.1:60866] \"RESTORE\" \"key\" \"0\" \"\\x00\\x01v\\n\\x00\"\r\n", []string{"RESTORE", "key", "0"}},
		{"quotes and brackets", "+1.2 [0 127.0.0.1:1] \"set\" \"a \\\"b\\\"] \\\\\" \"\"\r\n", []string{"set", "a \"b\"] \\", ""}},
		{"bytes that are no text", "+1.2 [0 lua] \"get\" \"\\xff\\xc3\\a\\b\\t\"\r\n", []string{"get", "\xff\xc3\a\b\t"}},
		{"not escaped", "+1.2 [0 127.0.0.1:1] \"SET\" \"key\" \"\\ \"\r\n", []string{"SET", "key"}},
		{"answer", "+OK\r\n", nil},
		{"no words", "+1.2 [0 127.0.0.1:1] \r\n", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := parseMonitor(tc.line); !slices.Equal(got, tc.want) {
				t.Errorf("%q, want %q", got, tc.want)
			}
		})
	}
}

func FuzzParseMonitor(f *testing.F) {
	f.Add("+1.2 [0 127.0.0.1:1] \"set\" \"a\\x00\" \"b\"\r\n")
	f.Fuzz(func(t *testing.T, line string) {
		words := parseMonitor(line)
		length := 0
		for _, w := range words {
			length += len(w)
		}
		if len(words) > headWords || length > 3*len(line) { // what is no UTF-8 may become U+FFFD
			t.Errorf("%d words of %d bytes from a line of %d", len(words), length, len(line))
		}
	})
}

func TestNote(t *testing.T) {
	w := &watch{seen: map[string]*sight{}}
	for _, words := range [][]string{
		{"RESTORE", "as is", "0", "payload"},
		{"RESTORE", "twice", "0", "payload"}, {"restore", "twice", "0", "payload", "REPLACE"},
		{"RESTORE", "made", "0", "payload"}, {"RPUSH", "temporary", "a"}, {"RENAME", "temporary", "made"}, {"PEXPIREAT", "made", "1"},
		{"DUMP", "read"}, {"PING"},
	} {
		w.note(words)
	}
	for key, want := range map[string]way{"as is": bytesWay, "twice": stampWay, "made": rebuilt, "read": "not seen"} {
		if got := observed(w.seen[key]); got != want {
			t.Errorf("%s: %s, want %s", key, got, want)
		}
	}
}
