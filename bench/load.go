package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/slotferry/slotferry/resp"
)

// load is a way of writing to a source until ctx ends. It writes SETs of 64
// bytes to random keys of a million.
type load struct {
	name  string
	rate  int // wanted of it; 0 for as many as go
	write func(ctx context.Context, src *source) error
}

const (
	setKeys  = 1_000_000
	setBytes = 64
	paceRate = 100_000              // SETs a second
	paceStep = 2 * time.Millisecond // between writes
)

// loads are redis-benchmark, which knows no rate but the highest, and SETs at
// the rate of the goal.
func loads() ([]load, error) {
	program, err := findBenchmark()
	if err != nil {
		return nil, err
	}
	flood := func(ctx context.Context, src *source) error { return flood(ctx, program, src) }
	return []load{{name: "redis-benchmark", write: flood}, {name: "paced", rate: paceRate, write: pace}}, nil
}

// flood writes as fast as the source takes it.
func flood(ctx context.Context, program string, src *source) error {
	const forever = 1_000_000_000
	host, port, err := net.SplitHostPort(src.server.Addr)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, program, "-h", host, "-p", port, "-a", sourcePassword, "-t", "set", "-q",
		"-r", strconv.Itoa(setKeys), "-P", "64", "-c", "4", "-d", strconv.Itoa(setBytes), "-n", strconv.Itoa(forever))
	err = cmd.Run()
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("%s ended by itself: %w", program, err)
}

// pace writes at the rate of the goal over one connection. Where the source
// can't keep up, it waits.
func pace(ctx context.Context, src *source) error {
	c, err := dial(ctx, src.server.Addr, sourcePassword)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	answered := make(chan error, 1)
	go func() { answered <- wantOK(c) }()
	var out []byte
	value := strings.Repeat("x", setBytes)
	sent, begun := 0, time.Now()
	for ctx.Err() == nil && len(answered) == 0 {
		out = out[:0]
		for due := int(time.Since(begun).Seconds() * paceRate); sent < due; sent++ {
			key := fmt.Sprintf("key:%012d", rand.IntN(setKeys))
			out = resp.AppendCommand(out, "SET", key, strconv.Itoa(sent)+value[len(strconv.Itoa(sent)):])
		}
		if _, err := c.Write(out); err != nil {
			return fmt.Errorf("writing to the source: %w", err)
		}
		time.Sleep(paceStep)
	}
	if ctx.Err() != nil {
		return nil
	}
	return <-answered
}

// wantOK reads replies until the connection ends.
func wantOK(in io.Reader) error {
	const most = 1 << 20
	for r := resp.NewReader(in, writeBytes, nil); ; {
		r.SkipOK(most)
		h, err := r.Head()
		if err != nil {
			return fmt.Errorf("reading the source's replies: %w", err)
		}
		if h.Kind != '+' {
			return fmt.Errorf("the source answered %c%s to SET", h.Kind, h.Line)
		}
	}
}
