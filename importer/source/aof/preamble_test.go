package aof

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slotferry/slotferry/importer/choice"
	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/internal/dataset"
	"github.com/slotferry/slotferry/internal/sandbox"
	"github.com/slotferry/slotferry/internal/sandbox/sandboxtest"
)

// TestPreamble has commands behind an RDB of a real server.
func TestPreamble(t *testing.T) {
	s, ctx := sandboxtest.Server(t, sandbox.Options{}), t.Context()
	if _, err := dataset.Fill(ctx, s.Client(), dataset.Options{Keys: 9000, StringBytes: 20}); err != nil {
		t.Fatal(err)
	}
	run(t, s.Client().Conn(), "SET soon 1 EX 600", "SET late 1 EX 90000", "SELECT 2", "SET other 1", "SELECT 0")
	path, err := s.Save(ctx)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Client().FunctionLoad(ctx, "#!lua name=l\nredis.register_function('f', function() return 1 end)").Err(); err != nil {
		t.Fatal(err)
	}
	if path, err = s.Save(ctx); err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	noServer(t)
	now := time.Now().Unix()
	one := choice.Options{DBs: []int{0}}
	for _, tc := range []struct {
		name     string
		base     []byte
		commands []string
		choice   choice.Options
		until    int64
		records  int
		want     string
	}{
		{name: "well", base: plain, commands: []string{"INCR late", "DEL soon"}, choice: one, records: 9002},
		{name: "with a function", base: program, commands: []string{"INCR late"}, choice: one, records: 9002},
		{name: "expires soon", base: plain, commands: []string{"INCR late", "INCR soon"}, choice: one, want: "INCR: its key had an expiry"},
		{name: "two databases", base: plain, commands: []string{"INCR late"}, want: "several databases (0, 2)"},
		{name: "mapped", base: plain, commands: []string{"INCR late"}, choice: choice.Options{DBMap: map[int]string{2: "two:"}}, records: 9003},
		{name: "mapped onto another", base: plain, commands: []string{"INCR two:other"}, choice: choice.Options{DBMap: map[int]string{2: "two:"}}, want: "two keys might get the same name"},
		{name: "flushed", base: plain, commands: []string{"RENAME a b", "FLUSHALL", "SET a 1"}, records: 0},
		{name: "flushed, but not functions", base: program, commands: []string{"FLUSHALL", "SET a 1"}, want: "not the functions"},
		{name: "until before", base: plain, commands: []string{"INCR late"}, until: now - 900, want: "was written at"},
		{name: "until, without stamps", base: plain, commands: []string{"INCR late"}, until: now + 900, want: "no time stamps"},
		{name: "until", base: plain, choice: one, commands: []string{fmt.Sprintf("#TS:%d", now+600), "INCR late", fmt.Sprintf("#TS:%d", now+1200), "INCR soon"}, until: now + 900, records: 9002},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := Options{Path: put(t, slices.Concat(tc.base, wire(tc.commands...))), Choice: chosen(t, tc.choice)}
			if tc.until != 0 {
				o.Until = time.Unix(tc.until, 0)
			}
			s, facts, found := look(t, o)
			if tc.want != "" {
				if len(found.Blockers()) == 0 || !strings.Contains(fmt.Sprint(found), tc.want) {
					t.Errorf("got %v", found)
				}
				return
			}
			if len(found) > 0 || s.chosen.way != wayReplay {
				t.Fatalf("%v, %+v", found, s.chosen)
			}
			if int(facts.Total()) != tc.records {
				t.Errorf("%d keys, want %d", facts.Total(), tc.records)
			}
			n := replayed(t, s)
			copied := slices.DeleteFunc(n.records, func(r string) bool { return tc.choice.DBs != nil && strings.HasPrefix(r, "2 ") })
			if len(copied) != tc.records || len(n.commands) == 0 || n.programs != facts.Libraries {
				t.Errorf("%d records, %q, %d programs", len(copied), n.commands, n.programs)
			}
		})
	}

	// From every mark within the RDB on, too, the commands follow.
	o := Options{Path: put(t, slices.Concat(plain, wire("INCR late"))), Choice: chosen(t, one)}
	whole := replayed(t, well(t, o))
	if len(whole.marks) < 3 {
		t.Fatalf("%d marks", len(whole.marks))
	}
	for i, m := range whole.marks[:len(whole.marks)-1] {
		s := New(o)
		defer s.Close()
		if _, found := s.Inspect(ctx); len(found) > 0 {
			t.Fatal(found)
		}
		rest := &notes{}
		if err := s.Stream(ctx, m, rest); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(rest.records, whole.records[whole.at[i]:]) || !slices.Equal(rest.commands, whole.commands) || !slices.Equal(rest.copied, whole.copied) {
			t.Errorf("from %+v: %d records, %q, copied %+v", m, len(rest.records), rest.commands, rest.copied)
		}
	}
	if err := New(o).Stream(ctx, record.Position{End: true}, nil); err != nil {
		t.Errorf("from the end: %v", err)
	}
}
