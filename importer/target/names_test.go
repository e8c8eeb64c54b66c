package target

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/slotferry/slotferry/importer/route"
	"github.com/slotferry/slotferry/internal/sandbox"
	"github.com/slotferry/slotferry/internal/sandbox/sandboxtest"
)

// sendMoved sends to a cluster of which slots have moved since the table was
// read, so that redirections and CLUSTER SLOTS both name nodes, and uses the
// client for a key of such a slot.
func sendMoved(t *testing.T, nodes *sandbox.Cluster, o Options, from, to *sandbox.Server, slots ...int) {
	t.Helper()
	empty(t, nodes)
	s := prepare(t, nodes, o)
	client := s.c.Client()
	defer func() { _ = client.Close() }()
	stale := s.c.Table()
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Error(err)
	}
	settle(t, nodes, to, slots...)
	s.run()
	s.prefix = func(i int) string { return tagOf(slots[i%len(slots)]) }
	s.must(s.numbered(200))
	s.prefix = nil
	s.must(s.numbered(3000))
	s.finish()
	if moved := s.c.Retries().Moved; moved == 0 {
		t.Error("nothing was redirected")
	}
	name := tagOf(slots[0])
	if err := client.Set(t.Context(), name, "1", 0).Err(); err != nil {
		t.Error(err)
	}
	empty(t, nodes) // a slot with keys can't be given away
	settle(t, nodes, from, slots...)
	if n := len(stale.Masters()); len(s.c.Table().Masters()) != n {
		t.Errorf("masters %v, were %v", s.c.Table().Masters(), stale.Masters())
	}
}

func TestAnnouncedNames(t *testing.T) {
	host := func(i int) string { return fmt.Sprintf("node%d.invalid", i) }
	nodes := sandboxtest.Cluster(t, sandbox.ClusterOptions{
		// Uneven and in pieces, one master with a single slot.
		Slots: [][]sandbox.SlotRange{
			{{First: 0, Last: 99}, {First: 200, Last: 299}, {First: 5000, Last: 5000}, {First: 16000, Last: 16383}},
			{{First: 100, Last: 199}, {First: 300, Last: 4998}, {First: 5001, Last: 15999}},
			{{First: 4999, Last: 4999}},
		},
		NodeArgs: func(i int) []string { return []string{"--cluster-announce-hostname", host(i)} },
	})
	a, b := nodes.Nodes[0], nodes.Nodes[1]
	o := options(nodes)
	names := route.AddressMap{}
	for i := range nodes.Nodes {
		names[host(i)] = "127.0.0.1"
	}
	prefer := func(t *testing.T, kind string) {
		for _, n := range nodes.Nodes {
			do(t, n, "CONFIG", "SET", "cluster-preferred-endpoint-type", kind)
		}
		eventually(t, "everyone's host name", func() bool { // gossip brings it
			for _, n := range nodes.Nodes {
				shards := n.Client().Do(t.Context(), "CLUSTER", "SLOTS").String()
				for i := range nodes.Nodes {
					if kind == "hostname" && !strings.Contains(shards, host(i)) {
						return false
					}
				}
			}
			return true
		})
	}

	t.Run("pieces", func(t *testing.T) { sendMoved(t, nodes, o, a, b, 1, 250, 5000, 16383) })
	t.Run("host names", func(t *testing.T) {
		prefer(t, "hostname")
		o := o
		o.AddressMap = names
		sendMoved(t, nodes, o, a, b, 2, 251)
		o.Seeds = []string{net.JoinHostPort(host(1), strconv.Itoa(b.Port))}
		sendMoved(t, nodes, o, a, b, 3, 252)
	})
	t.Run("host names that lead nowhere", func(t *testing.T) {
		prefer(t, "hostname")
		finds(t, o, "master_unreachable", host(0))
	})
	t.Run("no names at all", func(t *testing.T) {
		prefer(t, "unknown-endpoint")
		for _, n := range nodes.Nodes { // each node's own is told in any case
			do(t, n, "CONFIG", "SET", "cluster-announce-hostname", "")
		}
		eventually(t, "host names forgotten", func() bool {
			for _, n := range nodes.Nodes {
				if strings.Contains(n.Client().Do(t.Context(), "CLUSTER", "SLOTS").String(), "invalid") {
					return false
				}
			}
			return true
		})
		sendMoved(t, nodes, o, a, b, 4, 253)
	})
}

// The certificate of a sandbox bears localhost and 127.0.0.1. At 127.0.0.2 it is
// good only for who looks for the name that the nodes announce.
func TestTLSNames(t *testing.T) {
	nodes := sandboxtest.Cluster(t, sandbox.ClusterOptions{
		Options: sandbox.Options{TLS: true, Password: "s3cret", Args: []string{
			"--bind", "127.0.0.1 127.0.0.2", "--cluster-announce-hostname", "localhost", "--cluster-preferred-endpoint-type", "hostname",
		}},
	})
	a, b := nodes.Nodes[0], nodes.Nodes[1]
	o := options(nodes)
	o.Endpoint.Password = "s3cret"
	o.AddressMap = route.AddressMap{"localhost": "127.0.0.2"}
	o.Seeds = []string{net.JoinHostPort("localhost", strconv.Itoa(a.Port))}
	t.Run("announced", func(t *testing.T) { sendMoved(t, nodes, o, a, b, 1, 2, 3) })
	t.Run("another name for all", func(t *testing.T) {
		o := o
		o.Endpoint.TLS = o.Endpoint.TLS.Clone()
		o.Endpoint.TLS.ServerName = "127.0.0.1"
		sendMoved(t, nodes, o, a, b, 4)
	})
	t.Run("a name that the certificate does not bear", func(t *testing.T) {
		o := o
		o.Endpoint.TLS = o.Endpoint.TLS.Clone()
		o.Endpoint.TLS.ServerName = "redis.example"
		finds(t, o, "target_unreachable", "redis.example")
	})
}
