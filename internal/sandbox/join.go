package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// join makes a cluster of the nodes: as a user would, by redis-cli, when the
// layout is the usual one, else command by command.
func (c *Cluster) join(ctx context.Context) error {
	cli := findCLI(c.Nodes[0].Binary)
	if cli == "" || c.opts.Slots != nil || c.opts.Masters < 3 {
		return c.joinByHand(ctx)
	}
	args := []string{"--cluster", "create"}
	args = append(args, c.Seeds()...)
	args = append(args, "--cluster-replicas", strconv.Itoa(c.opts.Replicas), "--cluster-yes")
	if c.opts.TLS {
		n := c.Nodes[0]
		args = append(args, "--tls", "--cacert", n.CA, "--cert", n.Cert, "--key", n.Key)
	}
	cmd := exec.CommandContext(ctx, cli, args...)
	cmd.WaitDelay = time.Second
	if c.opts.Password != "" {
		cmd.Env = append(os.Environ(), "REDISCLI_AUTH="+c.opts.Password, "VALKEYCLI_AUTH="+c.opts.Password,
			"REDICTCLI_AUTH="+c.opts.Password)
	}
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		return fmt.Errorf("redis-cli --cluster create: %w", ctx.Err())
	}
	if err != nil {
		return fmt.Errorf("redis-cli --cluster create: %w\n%s", err, out)
	}
	return nil
}

func (c *Cluster) joinByHand(ctx context.Context) error {
	layout := c.opts.Slots
	if layout == nil {
		layout = evenSlots(c.opts.Masters)
	}
	for i, s := range c.Nodes {
		if err := s.Client().Do(ctx, "CLUSTER", "SET-CONFIG-EPOCH", i+1).Err(); err != nil {
			return fmt.Errorf("setting the epoch of %s: %w", s.Addr, err)
		}
		if i < len(layout) {
			if err := addSlots(ctx, s, layout[i]); err != nil {
				return err
			}
		}
	}
	first := c.Nodes[0]
	for _, s := range c.Nodes[1:] {
		if err := first.Client().ClusterMeet(ctx, host, strconv.Itoa(s.Port)).Err(); err != nil {
			return fmt.Errorf("introducing %s to %s: %w", s.Addr, first.Addr, err)
		}
	}
	for _, s := range c.Nodes {
		err := poll(ctx, 50*time.Millisecond, func(ctx context.Context) error {
			v, err := members(ctx, s)
			if err == nil && len(v) != len(c.Nodes) {
				err = fmt.Errorf("%s knows %d of %d nodes", s.Addr, len(v), len(c.Nodes))
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	for i, s := range c.Nodes[c.opts.Masters:] {
		id, err := c.NodeID(ctx, c.Nodes[i%c.opts.Masters])
		if err != nil {
			return err
		}
		if err := s.Client().ClusterReplicate(ctx, id).Err(); err != nil {
			return fmt.Errorf("making %s a replica: %w", s.Addr, err)
		}
	}
	return nil
}

func evenSlots(masters int) [][]SlotRange {
	layout := make([][]SlotRange, masters)
	for i := range layout {
		layout[i] = []SlotRange{{i * slotCount / masters, (i+1)*slotCount/masters - 1}}
	}
	return layout
}

// addSlots claims ranges with ADDSLOTS, which all versions have.
func addSlots(ctx context.Context, s *Server, ranges []SlotRange) error {
	var slots []int
	for _, r := range ranges {
		if r.First < 0 || r.Last < r.First || r.Last >= slotCount {
			return fmt.Errorf("slots %d-%d are no range within 0-%d", r.First, r.Last, slotCount-1)
		}
		for slot := r.First; slot <= r.Last; slot++ {
			slots = append(slots, slot)
		}
	}
	if len(slots) == 0 {
		return nil
	}
	if err := s.Client().ClusterAddSlots(ctx, slots...).Err(); err != nil {
		return fmt.Errorf("giving slots to %s: %w", s.Addr, err)
	}
	return nil
}

// covered counts the slots that were asked for.
func (c *Cluster) covered() int {
	if c.opts.Slots == nil {
		return slotCount
	}
	n := 0
	for _, ranges := range c.opts.Slots {
		for _, r := range ranges {
			n += r.Last - r.First + 1
		}
	}
	return n
}

// WaitReady waits until every running node agrees: all slots that the start
// asked for are covered and the state is ok, no node is failing or unknown, and
// every replica is linked to its master. It suits the time after a restart of a
// node too, but not after one was left dead.
func (c *Cluster) WaitReady(ctx context.Context) error {
	for _, s := range c.Nodes {
		err := poll(ctx, 50*time.Millisecond, func(ctx context.Context) error { return c.ready(ctx, s) })
		if err != nil {
			return fmt.Errorf("waiting for node %s: %w%s", s.Addr, err, s.logSuffix())
		}
	}
	return nil
}

func (c *Cluster) ready(ctx context.Context, s *Server) error {
	if !s.Running() {
		return errors.New("it has ended")
	}
	v, err := members(ctx, s)
	if err != nil {
		return err
	}
	slots, replicas := 0, 0
	for addr, m := range v {
		if m.failed {
			return fmt.Errorf("it takes %s for failed", addr)
		}
		for _, r := range m.slots {
			slots += r.Last - r.First + 1
		}
		if !m.master {
			replicas++
		}
	}
	if want := c.covered(); len(v) != len(c.Nodes) || slots != want || replicas != c.opts.Masters*c.opts.Replicas {
		return fmt.Errorf("it knows %d of %d nodes, %d of %d slots, %d of %d replicas", len(v), len(c.Nodes),
			slots, want, replicas, c.opts.Masters*c.opts.Replicas)
	}
	info, err := s.Client().ClusterInfo(ctx).Result()
	if err != nil {
		return err
	}
	if state := infoField(info, "cluster_state"); state != "ok" && c.covered() == slotCount {
		return fmt.Errorf("its cluster_state is %q", state)
	}
	if info, err = s.Client().Info(ctx, "replication").Result(); err != nil {
		return err
	}
	if infoField(info, "role") == "slave" && infoField(info, "master_link_status") != "up" {
		return errors.New("it is not linked to its master")
	}
	return nil
}

// member is one line of CLUSTER NODES.
type member struct {
	id, replicaOf  string
	master, failed bool
	slots          []SlotRange
}

// members asks one node for the cluster as it sees it, by host:port. Nodes whose
// handshake is not over are left out.
func members(ctx context.Context, s *Server) (map[string]member, error) {
	text, err := s.Client().ClusterNodes(ctx).Result()
	if err != nil {
		return nil, err
	}
	return parseMembers(text, s.Addr), nil
}

// parseMembers reads lines of `id host:port@bus[,hostname] flags master ping pong
// epoch link slots…`; self is the address of the node that said so, which may
// not know its own.
func parseMembers(text, self string) map[string]member {
	v := map[string]member{}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 8 {
			continue
		}
		flags := map[string]bool{}
		for flag := range strings.SplitSeq(f[2], ",") {
			flags[flag] = true
		}
		if flags["handshake"] || flags["noaddr"] {
			continue
		}
		addr, _, _ := strings.Cut(f[1], "@")
		if flags["myself"] {
			addr = self
		}
		m := member{id: f[0], master: flags["master"], failed: flags["fail"] || flags["fail?"]}
		if !m.master {
			m.replicaOf = f[3]
		}
		for _, word := range f[8:] {
			if strings.HasPrefix(word, "[") { // a slot on its way
				continue
			}
			first, last, ok := strings.Cut(word, "-")
			if !ok {
				last = first
			}
			a, errA := strconv.Atoi(first)
			b, errB := strconv.Atoi(last)
			if errors.Join(errA, errB) == nil {
				m.slots = append(m.slots, SlotRange{a, b})
			}
		}
		v[addr] = m
	}
	return v
}
