package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// environment says what was measured, and on what. Nothing in it names the
// machine or its owner.
type environment struct {
	processor, kernel string
	cores             int
	memory            int64   // bytes, 0 if not known
	load              float64 // average of the minute before
	golang, server    string
	commit            string
	date              time.Time
}

func describe(ctx context.Context, t *target) environment {
	e := environment{
		processor: runtime.GOARCH, kernel: runtime.GOOS, cores: runtime.NumCPU(),
		golang: runtime.Version(), server: t.cluster.Nodes[0].Version.String(),
		commit: commit(ctx), date: time.Now().UTC(),
	}
	if name := field("/proc/cpuinfo", "model name"); name != "" {
		e.processor = name
	}
	if release, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		e.kernel = "Linux " + strings.TrimSpace(string(release))
	}
	if kib, err := strconv.ParseInt(strings.TrimSuffix(field("/proc/meminfo", "MemTotal"), " kB"), 10, 64); err == nil {
		e.memory = kib << 10
	}
	if averages, err := os.ReadFile("/proc/loadavg"); err == nil {
		minute, _, _ := strings.Cut(string(averages), " ")
		e.load, _ = strconv.ParseFloat(minute, 64)
	}
	return e
}

// field reads the first "name : value" of a file.
func field(path, name string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == name {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// commit names what was built, with a mark if files had been changed since.
func commit(ctx context.Context) string {
	head, err := exec.CommandContext(ctx, "git", "rev-parse", "--short=12", "HEAD").Output()
	if err != nil {
		return "not known"
	}
	name := strings.TrimSpace(string(head))
	// The report itself is the one file that each run changes.
	changed, err := exec.CommandContext(ctx, "git", "status", "--porcelain", "--", ".", ":!bench/RESULTS.md").Output()
	if err != nil || len(changed) > 0 {
		name += fmt.Sprintf(" and %d changed or new files", strings.Count(string(changed), "\n"))
	}
	return name
}
