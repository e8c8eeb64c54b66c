package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
)

// microPackages hold the hot path, microNames its benchmarks: the walk, with and
// without framing, the checksum, the slot, and RESP as it is written and read.
var (
	microPackages = []string{"./rdbparse", "./resp", "./importer/route", "./importer/target"}
	microNames    = "^Benchmark(Walk|WalkAndFrame|Survey|CRC64|Slot|ReadOK|Encode|SendAndAnswer)$"
)

// microResult is one line of a Go benchmark; what it doesn't tell is 0.
type microResult struct {
	pkg, name            string
	nsPerOp, mbPerSecond float64
	nsPerKey             float64
	allocsPerOp          float64
	hasAllocs            bool
}

// allocsPerKey is allocsPerOp spread over the keys of an operation, where the
// benchmark tells what a key takes.
func (m microResult) allocsPerKey() (float64, bool) {
	if !m.hasAllocs || m.nsPerKey <= 0 || m.nsPerOp <= 0 {
		return 0, false
	}
	return m.allocsPerOp / (m.nsPerOp / m.nsPerKey), true
}

// micro runs the Go benchmarks of the hot path.
func micro(ctx context.Context, short bool) ([]microResult, error) {
	packages, benchTime := microPackages, "1s"
	if short { // those that are quickly built
		packages, benchTime = []string{"./resp", "./importer/route"}, "1x"
	}
	say("Go benchmarks")
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return nil, fmt.Errorf("looking for the module: %w", err)
	}
	args := append([]string{"test", "-run", "^$", "-bench", microNames, "-benchtime", benchTime}, packages...)
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = strings.TrimSpace(string(root))
	out, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("go test -bench: %w\n%s", err, lastLines(string(out)))
	}
	all := parseMicro(out)
	for _, pkg := range packages {
		if !hasPackage(all, strings.TrimPrefix(pkg, "./")) {
			return nil, fmt.Errorf("go test -bench gave nothing for %s:\n%s", pkg, out)
		}
	}
	return all, nil
}

func hasPackage(all []microResult, pkg string) bool {
	for _, m := range all {
		if m.pkg == pkg {
			return true
		}
	}
	return false
}

// parseMicro reads what go test -bench writes (golang.org/design/14313-benchmark-format);
// a package is named by its path within the module.
func parseMicro(out []byte) []microResult {
	var all []microResult
	pkg := ""
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		if path, ok := strings.CutPrefix(lines.Text(), "pkg: "); ok {
			parts := strings.SplitN(strings.TrimSpace(path), "/", 4) // host, owner, module, rest
			pkg = parts[len(parts)-1]
			continue
		}
		if m, ok := parseMicroLine(lines.Text()); ok {
			m.pkg = pkg
			all = append(all, m)
		}
	}
	return all
}

// parseMicroLine reads a name, a number of runs, then values with their units.
func parseMicroLine(line string) (microResult, bool) {
	words := strings.Fields(line)
	if len(words) < 4 || len(words)%2 != 0 || !strings.HasPrefix(words[0], "Benchmark") {
		return microResult{}, false
	}
	m := microResult{name: strings.TrimPrefix(words[0], "Benchmark")}
	if i := strings.LastIndexByte(m.name, '-'); i > 0 { // the number of processors
		m.name = m.name[:i]
	}
	for i := 2; i < len(words); i += 2 {
		v, err := strconv.ParseFloat(words[i], 64)
		if err != nil {
			return microResult{}, false
		}
		switch words[i+1] {
		case "ns/op":
			m.nsPerOp = v
		case "MB/s":
			m.mbPerSecond = v
		case "ns/key":
			m.nsPerKey = v
		case "allocs/op":
			m.allocsPerOp, m.hasAllocs = v, true
		}
	}
	return m, m.nsPerOp > 0
}
