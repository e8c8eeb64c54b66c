package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/redis/go-redis/v9"
)

// cliShare is how much of the keys redis-cli gets: it is slow, and does each key
// like the others.
const cliShare = 10

// cliResult sets redis-cli --cluster import beside the tool.
type cliResult struct {
	version string
	keys    int64
	all     int64 // keys that the scaled figure stands for
	lost    int64 // keys that did not arrive
	rounds  []round
}

// compareCLI carries a part of the mixed data from a live source: by the
// ceiling, by the tool and by redis-cli in turn.
func (b *bench) compareCLI(ctx context.Context) (_ *cliResult, err error) {
	program, version, err := findCLI(ctx)
	if err != nil {
		return nil, err
	}
	keys := max(1, b.options.keys/cliShare)
	say("redis-cli: filling a source with %d keys", keys)
	src, err := fill(ctx, b.dir, mixed, keys)
	if err != nil {
		return nil, err
	}
	defer src.server.Stop()
	all, err := b.bake(ctx, src)
	if err != nil {
		return nil, err
	}
	defer discard(all)
	unspeakable, err := namesWithNUL(ctx, src.server.Client())
	if err != nil {
		return nil, err
	}
	result := &cliResult{version: version, keys: src.keys, all: int64(b.options.keys)}
	for range b.options.pairs {
		var r round
		if r[theCeiling], err = b.ceiling(ctx, all, src.keys); err != nil {
			return nil, err
		}
		if r[theImport], err = b.carry(ctx, direct(viaScan, src, b.target), src); err != nil {
			return nil, err
		}
		if r[redisCLI], err = b.migrate(ctx, program, src); err != nil {
			return nil, err
		}
		held, err := b.target.keys(ctx)
		if err != nil {
			return nil, err
		}
		if result.lost = src.keys - held; result.lost != 0 && result.lost != unspeakable {
			return nil, fmt.Errorf("redis-cli lost %d of %d keys; %d names have a NUL, which it can't say", result.lost, src.keys, unspeakable)
		}
		say("redis-cli: %s", r)
		result.rounds = append(result.rounds, r)
	}
	return result, nil
}

// migrate fills the emptied cluster with redis-cli, which leaves the source its
// keys.
func (b *bench) migrate(ctx context.Context, program string, src *source) (sample, error) {
	if err := b.empty(ctx); err != nil {
		return sample{}, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, toolLimit, fmt.Errorf("redis-cli was not done after %s", toolLimit))
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "--no-auth-warning", "-a", targetPassword,
		"--cluster", "import", b.target.cluster.Nodes[0].Addr, "--cluster-from", src.server.Addr, "--cluster-from-user", "default",
		"--cluster-from-pass", sourcePassword, "--cluster-copy", "--cluster-replace")
	// A line for each key: a file takes that without a reader beside it.
	out, err := os.Create(filepath.Join(b.dir, "redis-cli.log"))
	if err != nil {
		return sample{}, err
	}
	defer func() { _ = out.Close() }()
	cmd.Stdout, cmd.Stderr = out, out
	r, err := b.sample(ctx, src, func() (usage, error) { return timed(cmd) })
	if ctx.Err() != nil {
		return r, context.Cause(ctx)
	}
	if err != nil {
		text, _ := os.ReadFile(out.Name())
		return r, fmt.Errorf("redis-cli --cluster import: %w\n%s", err, lastLines(string(text)))
	}
	return r, nil
}

func findCLI(ctx context.Context) (program, version string, err error) {
	for _, name := range []string{"redis-cli", "valkey-cli"} {
		if program, err = exec.LookPath(name); err == nil {
			out, err := exec.CommandContext(ctx, program, "--version").Output()
			return program, strings.TrimSpace(string(out)), err
		}
	}
	return "", "", errors.New("redis-cli is missing: install it, or leave redis-cli out of --parts")
}

// namesWithNUL counts the keys that redis-cli cuts short: it takes names for C
// strings.
func namesWithNUL(ctx context.Context, c *redis.Client) (int64, error) {
	found := map[string]bool{} // SCAN may yield a key twice
	names := c.Scan(ctx, 0, "", 1000).Iterator()
	for names.Next(ctx) {
		if strings.ContainsRune(names.Val(), 0) {
			found[names.Val()] = true
		}
	}
	if err := names.Err(); err != nil {
		return 0, fmt.Errorf("counting names with NUL: %w", err)
	}
	return int64(len(found)), nil
}
