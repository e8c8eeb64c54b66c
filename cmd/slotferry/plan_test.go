package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slotferry/slotferry/importer/report"
)

// TestPlan plans a file in every format, against a cluster and without one.
func TestPlan(t *testing.T) {
	c := emptyCluster(t)
	src := source(t, 2000)
	dir, file := t.TempDir(), save(t, src)
	plan := func(r result) (p report.Plan) {
		t.Helper()
		if err := json.Unmarshal([]byte(r.stdout), &p); err != nil {
			t.Fatalf("%v\n%s%s", err, r.stdout, r.stderr)
		}
		return p
	}
	for _, args := range [][]string{{"plan", "--format", "json"}, {"plan", "--output", "json"}, {"import", "--dry-run", "--output", "json"}} {
		r := slotferry(t, dir, append(args, "--source", file, "--target", c.url)...)
		r.want(t, 0)
		p := plan(r)
		if p.Keys != 2000 || len(p.Masters) != 3 || p.Target.Simulated || len(p.Blockers) != 0 || p.Source.Kind != "rdb" || p.Format != report.Format {
			t.Errorf("%v: %d keys, %d masters, %+v, %v", args, p.Keys, len(p.Masters), p.Target, p.Blockers)
		}
	}
	r := slotferry(t, dir, "plan", "--source", file, "--masters", "5", "--format", "json", "--separator", ":")
	r.want(t, 0)
	if p := plan(r); len(p.Masters) != 5 || !p.Target.Simulated || p.Separator != ":" || len(p.Prefixes) == 0 {
		t.Errorf("%d masters, %+v, %q, %d prefixes", len(p.Masters), p.Target, p.Separator, len(p.Prefixes))
	}
	slotferry(t, dir, "plan", "--source", file).want(t, 0, "READY", "2,000", "master-3")
	slotferry(t, dir, "import", "--dry-run", "--source", file, "--target", c.url).want(t, 0, "READY", "2,000")
	slotferry(t, dir, "plan", "--source", "redis://"+src.Addr, "--target", c.url).want(t, 0, "READY", "MEMORY USAGE")
	out := filepath.Join(dir, "plan.html")
	slotferry(t, dir, "plan", "--source", file, "--format", "html", "--out", out).want(t, 0, "ready: 2,000 keys", out)
	page, err := os.ReadFile(out)
	if err != nil || !strings.Contains(string(page), "</html>") || !strings.Contains(string(page), "2,000") {
		t.Errorf("the page has %d bytes, %v", len(page), err)
	}
	slotferry(t, dir, "plan", "--source", file, "--out", filepath.Join(dir, "no/such/folder")).want(t, 1, "--out")
	slotferry(t, dir, "plan", "--source", file, "--out", os.DevNull).want(t, 0)
	if info, err := os.Stat(os.DevNull); err != nil || info.Mode().IsRegular() {
		t.Fatalf("a file is where the null device was: %v, %v", info, err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".slotferry*")); left != nil || c.keys(t) != 0 {
		t.Errorf("%v is left behind, and %d keys are in the target", left, c.keys(t))
	}

	set(t, c.Client(), "there", "already")
	for _, args := range [][]string{{"plan"}, {"import", "--dry-run"}} {
		slotferry(t, dir, append(args, "--source", file, "--target", c.url)...).want(t, 4, "BLOCKED", "target_not_empty", "--on-exists replace")
	}
	r = slotferry(t, dir, "plan", "--source", file, "--target", c.url, "--format", "json")
	r.want(t, 4)
	if p := plan(r); len(p.Blockers) != 1 || p.Keys != 2000 {
		t.Errorf("%d keys, %v", p.Keys, p.Blockers)
	}
	slotferry(t, dir, "plan", "--source", file, "--target", c.url, "--masters", "3").want(t, 2, "leave one of them out")
	slotferry(t, dir, "plan", "--source", file, "--target", "redis://127.0.0.1:1").want(t, 4, "slotferry: nothing was written: 1 blocker", "target_unreachable")
	slotferry(t, dir, "plan", "--source", filepath.Join(dir, "none.rdb")).want(t, 2, "there is no file")
}
