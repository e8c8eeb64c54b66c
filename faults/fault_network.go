package main

import (
	"context"
	"fmt"
	"time"
)

const (
	cutsAtLeast = 3
	cutsFor     = 3 * time.Second
)

var networkFaults = []*fault{
	{
		name: "cut-command", about: "connections to the masters are cut after a random number of bytes sent, in the middle of commands",
		before: behindCutter(limits{up: 600 << 10}), from: early, to: 0.4, strike: cutConnections,
		met: func(t *trial) bool { return t.retries.Lost > 0 },
	},
	{
		name: "cut-reply", about: "connections to the masters are cut after a random number of bytes received, in the middle of answers to commands that were carried out",
		before: behindCutter(limits{down: 6 << 10}), from: early, to: 0.4, strike: cutConnections,
		met: func(t *trial) bool { return t.retries.Lost > 0 },
	},
}

// behindCutter puts proxies between the tool and all nodes.
func behindCutter(l limits) func(context.Context, *trial) error {
	return func(_ context.Context, t *trial) (err error) {
		if t.cut, err = newCutter(t.rig.cluster.Seeds(), l, t.r); err != nil {
			return err
		}
		for _, p := range t.cut.proxies {
			t.args = append(t.args, "--address-map", p.to+"="+p.addr)
		}
		return nil
	}
}

func cutConnections(ctx context.Context, t *trial) error {
	t.cut.armed.Store(true)
	if err := pause(ctx, t.scaled(cutsFor)); err != nil {
		return err
	}
	t.cut.armed.Store(false)
	if cuts := t.cut.cuts.Load(); cuts < cutsAtLeast {
		return fmt.Errorf("%w: only %d connections were cut", errMissed, cuts)
	}
	return nil
}
