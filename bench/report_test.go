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
			masters: ms(masters), source: ms(source), queue: ms(source * 104 / 100),
		}
	}
	start := time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)
	sent := func(wall, masters int) sample { return sample{usage: usage{wall: ms(wall)}, masters: ms(masters)} }
	scanned := round{
		theCeiling: sent(2300, 3000), theImport: tool(6000, 900, 800, 40, 3100, 5700), theVerify: tool(7500, 1900, 800, 45, 4100, 6500),
	}
	r := report{
		environment: environment{
			processor: "Some CPU @ 2 GHz", kernel: "Linux 6.1.0", cores: 2, memory: 24 << 30, load: 0.42,
			golang: "go1.26.0", server: "Redis 7.0.15", commit: "0123456789ab and 2 changed or new files",
			date: time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC),
		},
		options: options{
			keys: 1_000_000, pairs: 3, masters: 3, parts: allParts, sets: []string{"mixed", "small"}, sources: []string{"rdb", "scan"},
			out: "/home/someone/RESULTS.md", dir: "/mnt/fast",
		},
		sets: []setResult{
			{
				name: "mixed", about: "all types", keys: 1_000_000, masters: 3, rdb: 534_000_000, commands: 600_500_000,
				jobs: []jobResult{
					{via: viaScan, goals: goals{imported: 2.8, verify: 1.5}, rounds: []round{scanned}},
					{via: viaRDB, goals: goals{imported: 1.1, plan: 0.35, verify: 1.5}, rounds: []round{
						{sent(2300, 3000), tool(2415, 700, 500, 60, 3100, 0), tool(690, 600, 70, 50, 0, 0), tool(3100, 900, 500, 60, 4000, 0)},
						{sent(2000, 2900), tool(2000, 690, 510, 61, 3000, 0), tool(700, 600, 70, 51, 0, 0), tool(3000, 900, 500, 60, 4000, 0)},
						{sent(2500, 3300), tool(3000, 710, 520, 62, 3400, 0), tool(710, 600, 70, 52, 0, 0), tool(3300, 900, 500, 60, 4000, 0)},
					}},
				},
			},
			{name: "big", about: "strings", keys: 200, verifyMemory: "2GiB", masters: 3, rdb: 1_300_000_000, jobs: []jobResult{
				{via: viaRDB, rounds: []round{{sent(10, 5), tool(20, 5, 5, 0, 6, 0)}}},
			}},
		},
		cli: &cliResult{version: "redis-cli 7.0.15", keys: 100_000, all: 1_000_000, lost: 420, rounds: []round{
			{theCeiling: sent(230, 300), theImport: tool(700, 90, 80, 30, 310, 600), redisCLI: tool(9000, 2000, 1000, 8, 2500, 3000)},
		}},
		syncs: []syncResult{
			{name: "mixed", keys: 1_000_000, goal: 2.3, rounds: []syncRound{
				{ceiling: sent(2300, 3000), tool: tool(5200, 800, 700, 60, 3100, 200), copied: ms(4600), child: ms(4400)},
				{ceiling: sent(2300, 3000), tool: tool(6200, 800, 700, 60, 3100, 200), copied: ms(5600), child: ms(4400)},
			}},
			{name: "small", keys: 1_000_000, rounds: []syncRound{{ceiling: sent(900, 900), tool: tool(1200, 300, 200, 50, 1000, 100), copied: ms(1000), child: ms(700)}}},
		},
		tails: []tailResult{
			{name: "redis-benchmark", keys: 100_000, runs: []tailRun{{
				alone:    written{sets: 5_000_000, took: ms(10_000)},
				followed: written{sets: 2_000_000, bytes: 214_000_000, took: ms(10_000), source: ms(4000)},
				lags: []lag{
					{at: start, bytes: 1_000_000, seconds: 0.1}, {at: start.Add(ms(1000)), bytes: 4_000_000, seconds: 0.4},
					{at: start.Add(ms(2000)), bytes: 7_000_000, seconds: 0.7}, {at: start.Add(ms(3000)), bytes: 10_000_000, seconds: 1},
					{at: start.Add(ms(4000)), bytes: 13_000_000, seconds: 1.2}, {at: start.Add(ms(5000)), bytes: 16_000_000, seconds: 1.3},
				},
				behind: ms(1250), tool: usage{wall: ms(13_000), user: ms(4000), system: ms(2000), peak: 100 << 20}, masters: ms(9000),
			}}},
			{name: "paced", rate: paceRate, keys: 100_000, runs: []tailRun{{
				followed: written{sets: 999_500, bytes: 107_000_000, took: ms(10_000), source: ms(2000)},
				lags:     []lag{{at: start, bytes: 200_000, seconds: 0.02}}, behind: ms(15),
				tool: usage{wall: ms(13_000), user: ms(3000), system: ms(1500), peak: 80 << 20}, masters: ms(6000),
			}}},
		},
		cutovers: &cutoverResult{keys: 1_000_000, runs: []cutoverRun{
			{facts: cutoverFacts{CaughtUpSeconds: 0.2, ComparedSeconds: 1.1}, rate: 19_950, tool: tool(9000, 2000, 1000, 70, 5000, 2000)},
			{facts: cutoverFacts{CaughtUpSeconds: 1.4, ComparedSeconds: 1.2}, rate: 20_000, tool: tool(9100, 2000, 1000, 70, 5000, 2000)},
		}},
		delay: &delayResult{keys: 1_000_000, samples: make([][]sample, len(distances)), roundTrip: make([][]time.Duration, len(distances))},
		limits: &limitsResult{keys: 1_000_000, rates: []rateResult{
			{flag: "--rate-keys", wanted: 100_000, got: 99_500, lowest: 99_000, most: 101_000}, {flag: "--rate-bytes", wanted: 50 << 20, got: 51 << 20},
		}, resumes: []resumeResult{{via: viaRDB, keys: 1_000_000, there: 512_345, first: []time.Duration{ms(40), ms(60), ms(50)}}}, loads: []loadResult{
			{get: []float64{0.2, 0.3}, set: []float64{0.25}}, {importing: true, took: ms(6100), get: []float64{3.5}, set: []float64{3.6}},
			{importing: true, brake: "2ms", took: ms(9900), get: []float64{1.5}, set: []float64{1.75}},
		}},
		growth: []setResult{
			{keys: 100_000, masters: 3, rdb: 40_000_000, filled: ms(2500), jobs: []jobResult{{via: viaScan, rounds: []round{scanned}}}},
			{keys: 1_000_000, masters: 6, rdb: 400_000_000, jobs: []jobResult{
				{via: viaScan, rounds: []round{scanned}}, {via: viaRDB, rounds: []round{{sent(10, 5), tool(20, 5, 5, 0, 6, 0)}}},
			}},
		},
		micro: []microResult{
			{pkg: "rdbparse", name: "Walk", nsPerOp: 1e7, mbPerSecond: 5500, nsPerKey: 100, allocsPerOp: 5, hasAllocs: true},
			{pkg: "importer/route", name: "Slot", nsPerOp: 12.5, hasAllocs: true},
		},
		took: 10*time.Minute + ms(30_400),
	}
	for i, d := range distances {
		if d.via == viaRDB {
			r.delay.samples[i] = []sample{tool(2400+i, 700, 500, 60, 3100, 0)}
			r.delay.roundTrip[i] = []time.Duration{d.delay + 120*time.Microsecond}
		}
	}
	return r
}

// What was not measured leaves no trace.
func TestReportOfParts(t *testing.T) {
	r := example()
	r.sets, r.cli, r.syncs, r.tails, r.cutovers, r.delay, r.limits, r.growth, r.micro = nil, nil, nil, nil, nil, nil, nil, nil, nil
	if got := r.markdown(); strings.Count(got, "\n## ") != 1 {
		t.Errorf("the report of nothing has other sections than the last one:\n%s", got)
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
