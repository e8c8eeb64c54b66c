package target

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/slotferry/slotferry/internal/sandbox"
	"github.com/slotferry/slotferry/internal/sandbox/sandboxtest"
)

// replica returns a replica of a master.
func replica(t *testing.T, c *sandbox.Cluster, master *sandbox.Server) *sandbox.Server {
	t.Helper()
	replicas, err := c.Replicas(t.Context(), master)
	if err != nil || len(replicas) == 0 {
		t.Fatalf("%s has no replica: %v", master.Addr, err)
	}
	return replicas[0]
}

// inSync waits until a replica has all that its master has.
func inSync(t *testing.T, master, replica *sandbox.Server) {
	t.Helper()
	eventually(t, "a replica in sync", func() bool {
		theirs := replica.Client().InfoMap(t.Context(), "replication").Val()["Replication"]
		ours := master.Client().InfoMap(t.Context(), "replication").Val()["Replication"]
		return theirs["master_link_status"] == "up" && theirs["slave_repl_offset"] == ours["master_repl_offset"]
	})
}

// promoted waits until a node is a master with slots, in the eyes of all.
func promoted(t *testing.T, c *sandbox.Cluster, s *sandbox.Server) {
	t.Helper()
	name := id(t, c, s)
	eventually(t, "the promotion of "+s.Addr, func() bool {
		for _, n := range c.Nodes {
			if !n.Running() {
				continue
			}
			info := n.Client().ClusterInfo(t.Context()).Val()
			if infoField(info, "cluster_state") != "ok" {
				return false
			}
			there := false
			for line := range strings.Lines(n.Client().ClusterNodes(t.Context()).Val()) {
				f := strings.Fields(line)
				there = there || (len(f) > 8 && f[0] == name && strings.Contains(f[2], "master"))
			}
			if !there {
				return false
			}
		}
		return true
	})
}

func TestFailover(t *testing.T) {
	nodes := sandboxtest.Cluster(t, sandbox.ClusterOptions{
		Options: sandbox.Options{AppendOnly: true}, Replicas: 1, NodeTimeout: 2 * time.Second,
	})
	// The table is found through a replica, and so is each new one.
	throughReplica := func() Options {
		o := options(nodes)
		masters, err := nodes.Masters(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		o.Seeds = []string{replica(t, nodes, masters[0]).Addr}
		return o
	}

	t.Run("planned", func(t *testing.T) {
		old := nodes.Nodes[0]
		heir := replica(t, nodes, old)
		s := begin(t, nodes, throughReplica())
		s.while(func() {
			do(t, heir, "CLUSTER", "FAILOVER")
			promoted(t, nodes, heir)
		})
		s.finish()
		s.counts(len(s.want), 0)
		if got := s.master(heir).Keys; got == 0 {
			t.Errorf("%d keys went to the new master", got)
		}
	})

	t.Run("a master killed", func(t *testing.T) {
		if err := nodes.WaitReady(t.Context()); err != nil {
			t.Fatal(err)
		}
		empty(t, nodes)
		old := nodes.Nodes[1]
		heir := replica(t, nodes, old)
		s := begin(t, nodes, throughReplica())
		s.must(s.numbered(2000))
		s.c.Flush()
		eventually(t, "the first keys", func() bool { return s.tracker.Totals().Written == 2000 })
		inSync(t, old, heir) // what an old master acknowledged and kept to itself would be lost with it
		if err := old.Kill(); err != nil {
			t.Fatal(err)
		}
		s.while(func() { promoted(t, nodes, heir) })
		s.finish()
		s.counts(len(s.want), 0)
		if got := s.master(heir).Keys; got == 0 {
			t.Errorf("%d keys went to the new master", got)
		}

		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if err := old.Restart(ctx); err != nil {
			t.Fatal(err)
		}
	})

	t.Run("a master without a replica killed", func(t *testing.T) {
		if err := nodes.WaitReady(t.Context()); err != nil {
			t.Fatal(err)
		}
		empty(t, nodes)
		old := nodes.Nodes[2]
		o := options(nodes)
		o.RetryFor = time.Second
		s := begin(t, nodes, o)
		if err := replica(t, nodes, old).Kill(); err != nil {
			t.Fatal(err)
		}
		if err := old.Kill(); err != nil {
			t.Fatal(err)
		}
		s.must(s.numbered(100))
		s.impatient(old.Addr)
		if n := s.tracker.Totals(); n.Failed != 0 || n.Written == 0 {
			t.Errorf("%+v", n)
		}
	})
}
