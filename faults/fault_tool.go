package main

import (
	"context"
	"time"
)

const killsOften = 4

var toolFaults = []*fault{
	{
		name: "kill", about: "kill -9 of the tool at any moment; the same command goes on",
		short: sourceKinds, runs: 50, lasts: 5 * time.Second, from: earliest, to: 0.7,
		strike: func(ctx context.Context, t *trial) error { return t.killTool(ctx) },
	},
	{
		name: "kill-often", about: "kill -9 of the tool several times in one import, each time soon after it went on",
		runs: 5, lasts: 6 * time.Second, from: earliest, to: 0.2, strike: killOften,
	},
	{
		name: "term", about: "SIGTERM to the tool, which must end with 75; the same command goes on",
		runs: 10, lasts: 5 * time.Second, from: earliest, to: 0.7,
		strike: func(ctx context.Context, t *trial) error { return t.terminateTool(ctx) },
	},
}

// killTool kills the tool, which must be in the middle of the import.
func (t *trial) killTool(ctx context.Context) error {
	if !t.now.kill() {
		return t.missedAt()
	}
	if err := t.hit(); err != nil {
		return err
	}
	_, err := t.ended(ctx)
	return err
}

// terminateTool ends the tool as an operator does.
func (t *trial) terminateTool(ctx context.Context) error {
	if err := t.now.terminate(); err != nil {
		return t.missedAt()
	}
	return t.wantExit(ctx, interrupted)
}

func killOften(ctx context.Context, t *trial) error {
	for kill := range killsOften {
		if kill > 0 {
			if err := t.launch(ctx, t.heldBack()...); err != nil {
				return err
			}
			before := t.share()
			for t.share() <= before && t.now.running() {
				if err := pause(ctx, pollEvery); err != nil {
					return err
				}
			}
			if err := pause(ctx, t.between(0, saveEvery)); err != nil {
				return err
			}
		}
		if err := t.killTool(ctx); err != nil {
			return err
		}
	}
	return nil
}
