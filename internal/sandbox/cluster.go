package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
	"golang.org/x/sync/errgroup"
)

const (
	slotCount   = 16384
	clusterWait = 60 * time.Second // for a cluster to stand, unless ctx ends sooner
	nodeTimeout = 5 * time.Second
)

// SlotRange is a run of slots, both ends included.
type SlotRange struct{ First, Last int }

// ClusterOptions says how a cluster is started. Options holds for every node;
// RDB can't be used.
type ClusterOptions struct {
	Options
	Masters  int // 3
	Replicas int // of each master

	// Slots are the ranges of each master, in the order of Cluster.Nodes; a
	// master may have none. Nil spreads all slots evenly. When they don't cover
	// all slots, the cluster is up and linked, but its state is "fail".
	Slots [][]SlotRange

	NodeArgs    func(i int) []string // further settings of Nodes[i]
	NodeTimeout time.Duration        // cluster-node-timeout; 5 s
}

// Cluster is a running Redis Cluster. At the start the first Masters of its
// Nodes are the masters, the rest replicas; failovers may change that.
type Cluster struct {
	Nodes []*Server
	Dir   string // holds the nodes' folders

	opts   ClusterOptions
	client func() *redis.ClusterClient
	opened atomic.Bool
	stop   sync.Once
}

// StartCluster starts the nodes, joins them, and waits until every one of them
// reports cluster_state:ok, all slots covered and all replicas linked.
func StartCluster(ctx context.Context, o ClusterOptions) (*Cluster, error) {
	if o.Masters == 0 {
		o.Masters = max(3, len(o.Slots))
	}
	if o.NodeTimeout == 0 {
		o.NodeTimeout = nodeTimeout
	}
	if o.RDB != "" {
		return nil, errors.New("a cluster's nodes can't all start from one RDB file")
	}
	if len(o.Slots) > o.Masters {
		return nil, fmt.Errorf("slots for %d masters, but there are %d", len(o.Slots), o.Masters)
	}
	dir, err := os.MkdirTemp(o.Dir, "slotferry-cluster-")
	if err != nil {
		return nil, fmt.Errorf("making the cluster's folder: %w", err)
	}
	c := &Cluster{Dir: dir, opts: o}
	c.client = sync.OnceValue(func() *redis.ClusterClient {
		c.opened.Store(true)
		return redis.NewClusterClient(c.ClientOptions())
	})
	ctx, cancel := context.WithTimeoutCause(ctx, clusterWait,
		fmt.Errorf("the cluster did not stand within %s", clusterWait))
	defer cancel()
	err = c.startNodes(ctx)
	if err == nil {
		err = c.join(ctx)
	}
	if err == nil {
		err = c.WaitReady(ctx)
	}
	if err != nil {
		c.Stop()
		return nil, fmt.Errorf("starting a cluster of %d masters with %d replicas each: %w", o.Masters, o.Replicas, err)
	}
	return c, nil
}

func (c *Cluster) startNodes(ctx context.Context) error {
	n := &node{timeout: c.opts.NodeTimeout}
	if c.opts.TLS {
		var err error
		if n.certs, err = makeCertificates(c.Dir); err != nil {
			return fmt.Errorf("making certificates: %w", err)
		}
	}
	nodes := make([]*Server, c.opts.Masters*(1+c.opts.Replicas))
	g, gctx := errgroup.WithContext(ctx)
	for i := range nodes {
		o := c.opts.Options
		o.Dir = c.Dir
		if c.opts.NodeArgs != nil {
			o.Args = append(append([]string(nil), o.Args...), c.opts.NodeArgs(i)...)
		}
		g.Go(func() (err error) {
			nodes[i], err = start(gctx, o, n)
			return err
		})
	}
	err := g.Wait()
	for _, s := range nodes { // those that started are Stop's, also after an error
		if s != nil {
			c.Nodes = append(c.Nodes, s)
		}
	}
	return err
}

// ClientOptions returns fresh options for a client of the cluster.
func (c *Cluster) ClientOptions() *redis.ClusterOptions {
	return &redis.ClusterOptions{
		Addrs: c.Seeds(), Password: c.opts.Password, TLSConfig: c.Nodes[0].TLSConfig(),
		Protocol: 2, DisableIdentity: true, ContextTimeoutEnabled: true,
		ReadTimeout: 30 * time.Second, WriteTimeout: 30 * time.Second,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
}

// Client returns the cluster's client, the same one every time; Stop closes it.
func (c *Cluster) Client() *redis.ClusterClient { return c.client() }

// Seeds returns host:port of every node.
func (c *Cluster) Seeds() []string {
	addrs := make([]string, len(c.Nodes))
	for i, s := range c.Nodes {
		addrs[i] = s.Addr
	}
	return addrs
}

// URL names every node: redis://[:password@]host:port,host:port…
func (c *Cluster) URL() string { return buildURL(c.opts.Options, strings.Join(c.Seeds(), ",")) }

// Masters returns the masters that own slots now, in the order of Nodes, as the
// first running node sees it.
func (c *Cluster) Masters(ctx context.Context) ([]*Server, error) {
	v, err := c.view(ctx)
	if err != nil {
		return nil, err
	}
	var masters []*Server
	for _, s := range c.Nodes {
		if n, ok := v[s.Addr]; ok && n.master && !n.failed && len(n.slots) > 0 {
			masters = append(masters, s)
		}
	}
	return masters, nil
}

// Replicas returns the replicas of a master, as the first running node sees it.
func (c *Cluster) Replicas(ctx context.Context, master *Server) ([]*Server, error) {
	v, err := c.view(ctx)
	if err != nil {
		return nil, err
	}
	var replicas []*Server
	for _, s := range c.Nodes {
		if n, ok := v[s.Addr]; ok && !n.master && n.replicaOf == v[master.Addr].id {
			replicas = append(replicas, s)
		}
	}
	return replicas, nil
}

// OwnerOf returns the master that owns a slot now.
func (c *Cluster) OwnerOf(ctx context.Context, slot int) (*Server, error) {
	v, err := c.view(ctx)
	if err != nil {
		return nil, err
	}
	for _, s := range c.Nodes {
		n, ok := v[s.Addr]
		if !ok || !n.master || n.failed {
			continue
		}
		for _, r := range n.slots {
			if r.First <= slot && slot <= r.Last {
				return s, nil
			}
		}
	}
	return nil, fmt.Errorf("slot %d has no master", slot)
}

// NodeID returns the cluster's name of a node.
func (c *Cluster) NodeID(ctx context.Context, s *Server) (string, error) {
	return s.Client().Do(ctx, "CLUSTER", "MYID").Text()
}

func (c *Cluster) view(ctx context.Context) (map[string]member, error) {
	err := errors.New("no node is running")
	for _, s := range c.Nodes {
		if !s.Running() {
			continue
		}
		var v map[string]member
		if v, err = members(ctx, s); err == nil {
			return v, nil
		}
	}
	return nil, err
}

// Stop ends all nodes and removes their folders. A second call does nothing.
func (c *Cluster) Stop() {
	c.stop.Do(func() {
		if c.opened.Load() {
			_ = c.client().Close()
		}
		var wg sync.WaitGroup
		for _, s := range c.Nodes {
			wg.Go(s.Stop)
		}
		wg.Wait()
		_ = os.RemoveAll(c.Dir)
	})
}
