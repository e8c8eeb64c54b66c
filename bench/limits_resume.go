package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"time"
)

// resumeResult is how soon an import goes on that was killed in the middle.
type resumeResult struct {
	via   string
	keys  int64
	there int64           // keys in the cluster when it was killed
	first []time.Duration // from the start of the process to the first key written
}

// resumeSizes are how many keys are imported and killed.
func (b *bench) resumeSizes() []int {
	if b.options.resumeKeys > 0 && !b.options.short {
		return []int{b.options.keys, b.options.resumeKeys}
	}
	return []int{b.options.keys}
}

// measureResumes kills imports of so many keys, from each kind of source.
func (b *bench) measureResumes(ctx context.Context, src *source, keys int) ([]resumeResult, error) {
	if int64(keys) != src.keys {
		say("limits: a source with %d keys", keys)
		var err error
		if src, err = fill(ctx, b.dir, mixed, keys); err != nil {
			return nil, err
		}
		defer src.server.Stop()
	}
	var all []resumeResult
	for _, via := range b.options.sources {
		r := resumeResult{via: via, keys: src.keys}
		for range b.options.pairs {
			if err := b.resume(ctx, direct(via, src, b.target), src, &r); err != nil {
				return nil, fmt.Errorf("%s: %w", via, err)
			}
		}
		say("limits: %s of %d keys, killed at %d: first key after %s", via, r.keys, r.there, median(r.first).Round(time.Millisecond))
		all = append(all, r)
	}
	return all, nil
}

// resume kills one import when half of the keys are there, and lets it finish.
func (b *bench) resume(ctx context.Context, e ends, src *source, r *resumeResult) error {
	if err := b.empty(ctx); err != nil {
		return err
	}
	checkpoint, err := os.MkdirTemp(b.tool.dir, "checkpoint-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(checkpoint) }()
	args := append([]string{"import", "--checkpoint", checkpoint, "--output", "json"}, b.tool.arguments(e)...)
	if r.there, err = b.killed(ctx, b.tool.command(ctx, append(args, "--rate-keys", strconv.FormatInt(2*src.keys, 10))), src.keys/2); err != nil {
		return err
	}

	for _, n := range b.target.cluster.Nodes {
		if err := n.Client().ConfigResetStat(ctx).Err(); err != nil {
			return fmt.Errorf("resetting the counts of %s: %w", n.Addr, err)
		}
	}
	watching, stop := context.WithCancel(ctx)
	defer stop()
	wrote := make(chan time.Time, 1)
	begun := time.Now()
	go func() { wrote <- b.firstWrite(watching) }()
	_, stdout, err := b.tool.run(ctx, args)
	if err != nil {
		return err
	}
	stop()
	s, err := lastLine[summary](stdout)
	if err != nil {
		return err
	}
	held, err := b.target.keys(ctx)
	if err != nil {
		return err
	}
	first := <-wrote
	if !s.Resumed || first.IsZero() {
		return fmt.Errorf("resumed: %v, first key seen at %v", s.Resumed, first)
	}
	s.Resumed = false // as it should be here
	r.first = append(r.first, first.Sub(begun))
	return s.check(src.keys, held)
}

// killed runs a program until the cluster holds so many keys.
func (b *bench) killed(ctx context.Context, cmd *exec.Cmd, keys int64) (there int64, err error) {
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for err == nil && there < keys && len(ended) == 0 {
		there, err = b.target.keys(ctx)
	}
	if len(ended) > 0 {
		return there, errors.Join(errors.New("the import ended before it was killed"), <-ended)
	}
	_ = cmd.Process.Kill()
	<-ended
	if err == nil {
		there, err = b.target.keys(ctx)
	}
	return there, err
}

// restores is what INFO commandstats tells of RESTORE. The tool tries one that
// can't succeed before it begins.
var restores = regexp.MustCompile(`cmdstat_restore:calls=(\d+),.*failed_calls=(\d+)`)

// firstWrite waits until a master has carried out a RESTORE. The zero time
// means that none did.
func (b *bench) firstWrite(ctx context.Context) time.Time {
	for ctx.Err() == nil {
		for _, n := range b.target.cluster.Nodes {
			info, err := n.Client().Info(ctx, "commandstats").Result()
			if m := restores.FindStringSubmatch(info); err == nil && m != nil && m[1] != m[2] {
				return time.Now()
			}
		}
	}
	return time.Time{}
}
