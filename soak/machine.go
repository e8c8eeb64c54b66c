package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

// environment says on what the soak was run. Nothing in it names the
// machine or its owner.
type environment struct {
	processor, kernel string
	cores             int
	golang, server    string
	commit            string
	date              time.Time
}

func describe(ctx context.Context, server string) environment {
	e := environment{
		processor: runtime.GOARCH, kernel: runtime.GOOS, cores: runtime.NumCPU(),
		golang: runtime.Version(), server: server, commit: commit(ctx), date: time.Now().UTC(),
	}
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				e.processor = strings.TrimSpace(value)
				break
			}
		}
	}
	if release, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		e.kernel = "Linux " + strings.TrimSpace(string(release))
	}
	return e
}

// commit names what was built, with a mark if files had been changed since.
func commit(ctx context.Context) string {
	head, err := exec.CommandContext(ctx, "git", "rev-parse", "--short=12", "HEAD").Output()
	if err != nil {
		return "not known"
	}
	name := strings.TrimSpace(string(head))
	// The report itself is the one file that each run changes.
	changed, err := exec.CommandContext(ctx, "git", "status", "--porcelain", "--", ".", ":!soak/RESULTS.md").Output()
	if err != nil || len(changed) > 0 {
		name += fmt.Sprintf(" and %d changed or new files", strings.Count(string(changed), "\n"))
	}
	return name
}
