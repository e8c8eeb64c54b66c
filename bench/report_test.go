package main

import (
	"flag"
	"os"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files")

func example() report {
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	tool := func(wall, user, system, peakMiB, masters, source int) sample {
		return sample{
			usage:   usage{wall: ms(wall), user: ms(user), system: ms(system), peak: int64(peakMiB) << 20},
			masters: ms(masters), source: ms(source),
		}
	}
	sent := func(wall, masters int) sample { return sample{usage: usage{wall: ms(wall)}, masters: ms(masters)} }
	return report{
		environment: environment{
			processor: "Some CPU @ 2 GHz", kernel: "Linux 6.1.0", cores: 2, memory: 24 << 30, load: 0.42,
			golang: "go1.26.0", server: "Redis 7.0.15", commit: "0123456789ab and 2 changed or new files",
			date: time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC),
		},
		options: options{
			keys: 1_000_000, pairs: 3, masters: 3, sets: []string{"mixed", "small"}, sources: []string{"rdb", "scan"},
			out: "/home/someone/RESULTS.md", dir: "/mnt/fast",
		},
		sets: []setResult{
			{
				name: "mixed", about: "all types", keys: 1_000_000, rdb: 534_000_000, commands: 600_500_000,
				jobs: []jobResult{
					{via: viaScan, goal: 2.8, pairs: []pair{{sent(2300, 3000), tool(6000, 900, 800, 40, 3100, 5700)}}},
					{via: viaRDB, goal: 1.1, pairs: []pair{
						{sent(2300, 3000), tool(2415, 700, 500, 60, 3100, 0)},
						{sent(2000, 2900), tool(2000, 690, 510, 61, 3000, 0)},
						{sent(2500, 3300), tool(3000, 710, 520, 62, 3400, 0)},
					}},
				},
			},
			{name: "small", about: "strings", keys: 1000, rdb: 80_000, jobs: []jobResult{
				{via: viaRDB, pairs: []pair{{sent(10, 5), tool(20, 5, 5, 0, 6, 0)}}},
			}},
		},
	}
}

func TestReport(t *testing.T) {
	const golden = "testdata/report.md"
	got := example().markdown()
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the report differs from %s (go test ./bench -update writes it):\n%s", golden, got)
	}
}

func TestReportNamesNoPaths(t *testing.T) {
	got := example().markdown()
	for _, secret := range []string{"/home/someone", "/mnt/fast", sourcePassword, targetPassword} {
		if strings.Contains(got, secret) {
			t.Errorf("the report contains %q", secret)
		}
	}
}

// Every row has as many cells as the head, or Markdown shows no table.
func TestReportRowsFitTheHead(t *testing.T) {
	cells := 0
	for line := range strings.Lines(example().markdown()) {
		if !strings.HasPrefix(line, "|") {
			cells = 0
			continue
		}
		n := strings.Count(line, "|")
		if cells != 0 && n != cells {
			t.Errorf("%d bars, the head has %d: %s", n, cells, line)
		}
		cells = n
	}
}
