package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/slotferry/slotferry/internal/dataset"
)

// cutoverGoal is for what is still missing when the source's writers are paused;
// the comparison comes on top.
const cutoverGoal = time.Second

const (
	churnRate    = 20_000 // writes a second
	churnPrefix  = "churn:"
	pauseTimeout = "30s"
)

// tailAccount is what a summary tells of the commands behind a copy.
type tailAccount struct {
	Commands int64 `json:"commands"`
	Refused  int64 `json:"refused"`
	Failed   int64 `json:"failed"`
}

// cutoverFacts is what a summary tells of a cutover.
type cutoverFacts struct {
	Paused          time.Time `json:"paused"`
	CaughtUpSeconds float64   `json:"caught_up_seconds"`
	ComparedSeconds float64   `json:"compared_seconds"`
}

// cutoverResult is all cutovers.
type cutoverResult struct {
	keys int64
	runs []cutoverRun
}

// cutoverRun is one, from the full copy to the switch.
type cutoverRun struct {
	facts    cutoverFacts
	rate     float64 // writes a second until the pause
	commands int64   // of the stream
	tool     sample
}

// measureCutovers cuts over while the source is written to, again and again.
func (b *bench) measureCutovers(ctx context.Context) (*cutoverResult, error) {
	src, err := b.fillSynced(ctx, mixed, b.options.keys)
	if err != nil {
		return nil, err
	}
	defer src.server.Stop()
	result := &cutoverResult{keys: src.keys}
	for i := range b.options.pairs {
		r, err := b.cutOver(ctx, src, uint64(i))
		if err != nil {
			return nil, err
		}
		say("cutover: %.0f writes/s; caught up in %.0f ms, compared in %.0f ms", r.rate, 1000*r.facts.CaughtUpSeconds, 1000*r.facts.ComparedSeconds)
		result.runs = append(result.runs, r)
	}
	return result, nil
}

// cutOver verifies while the writers are still paused: that is what clients are
// switched to.
func (b *bench) cutOver(ctx context.Context, src *source, seed uint64) (r cutoverRun, err error) {
	if err := b.empty(ctx); err != nil {
		return r, err
	}
	writer := b.churn(ctx, src, seed)
	defer func() { // whoever waits for the source's answer is cut off, so that nothing is written after it
		failed := writer.end()
		if err == nil {
			err = failed
		}
		if failed := src.server.Client().Do(context.WithoutCancel(ctx), "CLIENT", "UNPAUSE").Err(); err == nil {
			err = failed
		}
	}()
	e := direct(viaSync, src, b.target)
	var s summary
	r.tool, err = b.sample(ctx, src, func() (used usage, err error) {
		used, s, err = b.tool.carry(ctx, e, "--via", "sync", "--cutover", "--pause-timeout", pauseTimeout)
		return used, err
	})
	if err != nil {
		return r, err
	}
	// The verification may last longer than the pause; a longer one replaces it.
	if err := src.server.Client().Do(ctx, "CLIENT", "PAUSE", flushLimit.Milliseconds(), "WRITE").Err(); err != nil {
		return r, err
	}
	if err := s.sound(); err != nil {
		return r, err
	}
	if s.Cutover == nil || s.Tail == nil || s.Tail.Commands == 0 {
		return r, fmt.Errorf("there was no cutover, or nothing was written: %+v", s)
	}
	r.facts, r.commands = *s.Cutover, s.Tail.Commands
	r.rate = perSecond(writer.done.Load(), r.facts.Paused.Sub(writer.begun))
	_, err = b.verify(ctx, e, src, "", "--extra")
	return r, err
}

// churner writes to a source.
type churner struct {
	client *redis.Client
	begun  time.Time
	done   atomic.Int64 // writes
	stop   context.CancelFunc
	ended  chan error
}

func (b *bench) churn(ctx context.Context, src *source, seed uint64) *churner {
	o := src.server.ClientOptions()
	o.MaxRetries, o.PoolSize, o.ReadTimeout = -1, 1, toolLimit // a pause makes it wait
	c := &churner{client: redis.NewClient(o), begun: time.Now(), ended: make(chan error, 1)}
	ctx, c.stop = context.WithCancel(ctx)
	go func() {
		_, err := dataset.Churn(ctx, c.client, dataset.ChurnOptions{Seed: seed, Rate: churnRate, Prefix: churnPrefix}, &c.done)
		if ctx.Err() != nil { // it was cut off
			err = nil
		} else if err == nil {
			err = errors.New("the writer ended by itself")
		}
		c.ended <- err
	}()
	return c
}

// end cuts the writer off, even from an answer that it waits for.
func (c *churner) end() error {
	c.stop()
	_ = c.client.Close()
	return <-c.ended
}
