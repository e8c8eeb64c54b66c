package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"
)

// brakes are the values of --max-source-latency that are tried; "" for none.
var brakes = []string{"", "5ms", "2ms"}

const (
	loadClients  = 4
	loadRequests = 1000 // of each command in one measure
	loadAlone    = 5    // measures without an import
)

// loadResult is what other clients of a source notice.
type loadResult struct {
	importing bool
	brake     string
	took      time.Duration // the import
	get, set  []float64     // 99th percentiles in milliseconds, one a measure
}

// measureLoads asks the source for other things with redis-benchmark: alone,
// and while it is scanned.
func (b *bench) measureLoads(ctx context.Context, src *source) ([]loadResult, error) {
	program, err := findBenchmark()
	if err != nil {
		return nil, err
	}
	alone := loadResult{}
	times := loadAlone
	if b.options.short {
		times = 1
	}
	for range times {
		if err := b.load(ctx, program, src, &alone); err != nil {
			return nil, err
		}
	}
	all := []loadResult{alone}
	for _, brake := range brakes {
		r, err := b.loadDuring(ctx, program, src, brake)
		if err != nil {
			return nil, fmt.Errorf("--max-source-latency %q: %w", brake, err)
		}
		say("limits: beside a scan with --max-source-latency %q: GET %.2f ms, SET %.2f ms (p99), the import %.1f s", brake, median(r.get), median(r.set), r.took.Seconds())
		all = append(all, r)
	}
	return all, nil
}

// loadDuring measures again and again while an import runs. What began before
// its end and ended after it counts only if there is nothing else.
func (b *bench) loadDuring(ctx context.Context, program string, src *source, brake string) (loadResult, error) {
	r := loadResult{importing: true, brake: brake}
	if err := b.empty(ctx); err != nil {
		return r, err
	}
	args := []string{"import", "--checkpoint", "none", "--output", "json"}
	if brake != "" {
		args = append(args, "--max-source-latency", brake)
	}
	type end struct {
		used   usage
		stdout []byte
		err    error
	}
	importing, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan end, 1)
	go func() {
		used, stdout, err := b.tool.run(importing, append(args, b.tool.arguments(direct(viaScan, src, b.target))...))
		ended <- end{used, stdout, err}
	}()
	var measured error
	for measured == nil && len(ended) == 0 {
		one := loadResult{}
		if measured = b.load(ctx, program, src, &one); len(ended) > 0 && len(r.get) > 0 {
			break
		}
		r.get, r.set = append(r.get, one.get...), append(r.set, one.set...)
	}
	if measured != nil {
		stop()
		<-ended
		return r, measured
	}
	last := <-ended
	if last.err != nil {
		return r, last.err
	}
	r.took = last.used.wall
	s, err := lastLine[summary](last.stdout)
	if err != nil {
		return r, err
	}
	return r, s.sound()
}

// load measures once. The key that redis-benchmark writes is removed.
func (b *bench) load(ctx context.Context, program string, src *source, r *loadResult) error {
	host, port, err := net.SplitHostPort(src.server.Addr)
	if err != nil {
		return err
	}
	n := loadRequests
	if b.options.short {
		n /= 10
	}
	cmd := exec.CommandContext(ctx, program, "-h", host, "-p", port, "-a", sourcePassword,
		"-t", "set,get", "-n", strconv.Itoa(n), "-c", strconv.Itoa(loadClients), "--precision", "3", "--csv")
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("%s: %w", program, err)
	}
	figures, err := percentiles(string(out))
	if err != nil {
		return err
	}
	r.get, r.set = append(r.get, figures["GET"]), append(r.set, figures["SET"])
	return src.server.Client().Del(ctx, "key:__rand_int__", "key:000000000000").Err()
}

// percentiles reads what redis-benchmark --csv says: the 99th percentiles in
// milliseconds, by command.
func percentiles(text string) (map[string]float64, error) {
	begin := max(0, strings.Index(text, `"test"`)) // warnings may come before
	rows, err := csv.NewReader(strings.NewReader(text[begin:])).ReadAll()
	if err != nil || len(rows) == 0 {
		return nil, fmt.Errorf("redis-benchmark said %.200q: %w", text, errors.Join(err, errNoFigures))
	}
	at := slices.Index(rows[0], "p99_latency_ms")
	if at < 0 {
		return nil, fmt.Errorf("redis-benchmark tells no p99_latency_ms (it must be 6.2 or newer): %w", errNoFigures)
	}
	figures := map[string]float64{}
	for _, row := range rows[1:] {
		if figures[row[0]], err = strconv.ParseFloat(row[at], 64); err != nil {
			return nil, fmt.Errorf("redis-benchmark said %.200q: %w", text, err)
		}
	}
	if figures["GET"] == 0 || figures["SET"] == 0 {
		return nil, fmt.Errorf("redis-benchmark said %.200q: %w", text, errNoFigures)
	}
	return figures, nil
}

var errNoFigures = errors.New("no figures")

func findBenchmark() (string, error) {
	for _, name := range []string{"redis-benchmark", "valkey-benchmark"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("redis-benchmark is missing: install it, or leave limits and tail out of --parts")
}
