package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/slotferry/slotferry/internal/sandbox"
)

const (
	movingLasts = 25 * time.Second
	slotsOf     = 20 // a slot is moved for so many keys of the source
)

var topologyFaults = []*fault{
	{
		name: "reshard", about: "redis-cli --cluster reshard moves thousands of slots from one master to another",
		short: []string{fromScan}, lasts: movingLasts, from: earliest, to: 0.25, strike: reshard,
		met: func(t *trial) bool { return t.retries.Moved > 0 && t.retries.Ask > 0 },
	},
	{
		name: "add-node", about: "redis-cli --cluster add-node, and rebalance gives the new master its share of the slots",
		lasts: movingLasts, from: earliest, to: 0.2, wears: true, strike: addNode,
		met: func(t *trial) bool { return t.retries.Moved > 0 },
	},
}

// reshard moves slots from the master that has most of them.
func reshard(ctx context.Context, t *trial) error {
	any, err := t.anyMaster(ctx)
	if err != nil {
		return err
	}
	ranges, err := any.Client().ClusterSlots(ctx).Result()
	if err != nil {
		return err
	}
	slots := map[string]int{}
	for _, r := range ranges {
		slots[r.Nodes[0].ID] += r.End - r.Start + 1
	}
	from, to := "", ""
	for id, n := range slots {
		if from == "" || n > slots[from] || n == slots[from] && id < from {
			from = id
		}
	}
	for id, n := range slots { // any other; the names are random
		if id != from && (to == "" || n < slots[to]) {
			to = id
		}
	}
	if to == "" {
		return errors.New("there is no other master")
	}
	return t.rig.cli(ctx, "--cluster", "reshard", any.Addr, "--cluster-from", from, "--cluster-to", to,
		"--cluster-slots", strconv.Itoa(t.keys/slotsOf), "--cluster-yes")
}

// addNode makes the cluster larger by a master.
func addNode(ctx context.Context, t *trial) error {
	c := t.rig.cluster
	newcomer, err := sandbox.Start(ctx, sandbox.Options{
		Dir: c.Dir, Password: targetPassword, AppendOnly: true,
		Args: []string{
			"--appendfsync", "everysec", "--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf",
			"--cluster-node-timeout", strconv.FormatInt(nodeTimeout.Milliseconds(), 10),
		},
	})
	if err != nil {
		return err
	}
	known := c.Nodes[0]
	c.Nodes = append(c.Nodes, newcomer) // Stop ends it with the others
	if err := t.rig.cli(ctx, "--cluster", "add-node", newcomer.Addr, known.Addr); err != nil {
		return err
	}
	err = until(ctx, healLimit, "not every node knows the new one", func(ctx context.Context) (bool, error) {
		for _, n := range c.Nodes {
			info, err := n.Client().ClusterInfo(ctx).Result()
			if err != nil || field(info, "cluster_known_nodes") != fmt.Sprint(len(c.Nodes)) || field(info, "cluster_state") != "ok" {
				return false, err
			}
		}
		return true, nil
	})
	if err != nil {
		return err
	}
	return t.rig.cli(ctx, "--cluster", "rebalance", known.Addr, "--cluster-use-empty-masters")
}
