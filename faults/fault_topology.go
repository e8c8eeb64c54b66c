package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/slotferry/slotferry/internal/sandbox"
)

const (
	movingLasts = 20 * time.Second
	slotsOf     = 20 // a slot is moved for so many keys of the source
)

var topologyFaults = []*fault{
	{
		name: "reshard", about: "redis-cli --cluster reshard moves thousands of slots from one master to another",
		short: []string{fromScan}, lasts: movingLasts, moves: true, wears: true, from: 0.3, to: 0.4, strike: reshard,
		met: func(t *trial) bool { return t.retries.Moved > 0 && t.retries.Ask > 0 },
	},
	{
		name: "moved-loss-late", about: "a master is given slots by another, which wrote them more than a minute before, is killed, and the replica that takes over has heard nothing of it",
		runs: 1, lasts: 120 * time.Second, moves: true, wears: true, from: 0.6, to: 0.65, strike: loseMoved, met: (*trial).lost,
	},
	{
		name: "add-node", about: "redis-cli --cluster add-node, and rebalance gives the new master its share of the slots",
		lasts: movingLasts, moves: true, from: earliest, to: 0.2, wears: true, strike: addNode,
		met: func(t *trial) bool { return t.retries.Moved > 0 },
	},
	{
		name: "new-master-loss", about: "a master with a replica joins and gets its share of the slots; then its replica hears nothing for a while, it is killed, and writes which it acknowledged are lost when the replica takes over",
		lasts: 2 * movingLasts, moves: true, from: earliest, to: 0.2, wears: true, strike: loseNewcomer, met: (*trial).lost,
	},
}

func reshard(ctx context.Context, t *trial) error {
	all, err := t.rig.cluster.Masters(ctx)
	if err != nil {
		return err
	}
	i := t.r.IntN(len(all))
	return t.move(ctx, all[i], all[(i+1+t.r.IntN(len(all)-1))%len(all)])
}

// move gives slots of one master to another.
func (t *trial) move(ctx context.Context, from, to *sandbox.Server) error {
	var ids [2]string
	for i, n := range []*sandbox.Server{from, to} {
		var err error
		if ids[i], err = t.rig.cluster.NodeID(ctx, n); err != nil {
			return err
		}
	}
	return t.rig.cli(ctx, "--cluster", "reshard", to.Addr, "--cluster-from", ids[0], "--cluster-to", ids[1],
		"--cluster-slots", strconv.Itoa(t.keys/slotsOf), "--cluster-pipeline", "1", "--cluster-yes")
}

// loseMoved makes a master lose what it has only just been given by another.
func loseMoved(ctx context.Context, t *trial) error {
	all, err := t.rig.cluster.Masters(ctx)
	if err != nil {
		return err
	}
	i := t.r.IntN(len(all))
	from, to := all[i], all[(i+1)%len(all)]
	replica, err := t.rig.replicaOf(ctx, to)
	if err != nil {
		return err
	}
	return t.lose(ctx, to, replica, func() error { return t.move(ctx, from, to) })
}

// addNode makes the cluster larger by a master.
func addNode(ctx context.Context, t *trial) error {
	known := t.rig.cluster.Nodes[0]
	if _, err := t.newcomer(ctx, known); err != nil {
		return err
	}
	return t.rig.cli(ctx, "--cluster", "rebalance", known.Addr, "--cluster-use-empty-masters")
}

// loseNewcomer makes the cluster larger by a master with a replica, and then
// that master lose what it acknowledged last.
func loseNewcomer(ctx context.Context, t *trial) error {
	known := t.rig.cluster.Nodes[0]
	master, err := t.newcomer(ctx, known)
	if err != nil {
		return err
	}
	id, err := t.rig.cluster.NodeID(ctx, master)
	if err != nil {
		return err
	}
	replica, err := t.newcomer(ctx, known, "--cluster-slave", "--cluster-master-id", id)
	if err != nil {
		return err
	}
	if err := t.rig.cli(ctx, "--cluster", "rebalance", known.Addr, "--cluster-use-empty-masters"); err != nil {
		return err
	}
	if err := t.hit(); err != nil { // that took a while
		return err
	}
	return t.lose(ctx, master, replica, t.awhile(ctx))
}

// newcomer starts a node and makes it a part of the cluster.
func (t *trial) newcomer(ctx context.Context, known *sandbox.Server, how ...string) (*sandbox.Server, error) {
	c := t.rig.cluster
	n, err := sandbox.Start(ctx, sandbox.Options{
		Dir: c.Dir, Password: targetPassword, AppendOnly: true,
		Args: []string{
			"--appendfsync", "everysec", "--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf",
			"--cluster-node-timeout", strconv.FormatInt(nodeTimeout.Milliseconds(), 10),
		},
	})
	if err != nil {
		return nil, err
	}
	c.Nodes = append(c.Nodes, n) // Stop ends it with the others
	if err := t.rig.cli(ctx, append([]string{"--cluster", "add-node", n.Addr, known.Addr}, how...)...); err != nil {
		return nil, err
	}
	return n, until(ctx, healLimit, "not every node knows the new one", func(ctx context.Context) (bool, error) {
		for _, n := range c.Nodes {
			info, err := n.Client().ClusterInfo(ctx).Result()
			if err != nil || field(info, "cluster_known_nodes") != fmt.Sprint(len(c.Nodes)) || field(info, "cluster_state") != "ok" {
				return false, err
			}
		}
		return true, nil
	})
}
