package target

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/slotferry/slotferry/importer/endpoint"
	"github.com/slotferry/slotferry/importer/route"
	"github.com/slotferry/slotferry/importer/wait"
)

const (
	askTimeout  = 3 * time.Second // for one node's view of the topology
	askAtMost   = 5               // nodes
	refreshRest = 100 * time.Millisecond
	untoldRest  = 10 * time.Second // between two warnings that no node tells it
)

// ErrNotCluster means that a seed is a server without cluster mode.
var ErrNotCluster = errors.New("not a Redis Cluster: its cluster mode is off")

// client returns the go-redis client for a node, which lives until Close.
func (c *Cluster) client(addr string) *redis.Client {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.clients[addr] == nil {
		c.clients[addr] = c.nodeLocked(addr).Client()
	}
	return c.clients[addr]
}

// reach returns where to dial a node that is known as host:port, and keeps the
// name that its certificate may bear: the one that it announces beside its
// address, or the one that the address map replaces.
func (c *Cluster) reach(known, name string) string {
	addr := c.opts.AddressMap.Dial(known)
	if host, _, err := net.SplitHostPort(known); name == "" && err == nil && addr != known && net.ParseIP(host) == nil {
		name = host
	}
	if name != "" {
		c.mu.Lock()
		c.names[addr] = name
		c.mu.Unlock()
	}
	return addr
}

// node returns the way to the node at an address.
func (c *Cluster) node(addr string) endpoint.Endpoint {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nodeLocked(addr)
}

// nodeLocked lets the certificate of a node that announces a host name bear
// that, unless one name holds for all of them.
func (c *Cluster) nodeLocked(addr string) endpoint.Endpoint {
	e := c.opts.Endpoint.With(addr)
	if host := c.names[addr]; host != "" && e.TLS != nil && e.TLS.ServerName == "" {
		e.TLS = e.TLS.Clone()
		e.TLS.ServerName = host
	}
	return e
}

// view is the topology as one node sees it.
type view struct {
	table *route.Table
	epoch int64
	holes int
}

// readTable asks nodes for the slot table and takes the view of the highest
// epoch with the fewest holes: during a failover they differ.
func (c *Cluster) readTable(ctx context.Context, nodes []string) (*route.Table, error) {
	views := make([]view, len(nodes))
	errs := make([]error, len(nodes))
	var wg sync.WaitGroup
	for i, addr := range nodes {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, askTimeout)
			defer cancel()
			if views[i], errs[i] = c.look(ctx, addr); errs[i] != nil {
				errs[i] = fmt.Errorf("%s: %w", addr, errs[i])
			}
		})
	}
	wg.Wait()
	var best *view
	for i := range views {
		v := &views[i]
		if v.table == nil {
			continue
		}
		if best == nil || v.holes < best.holes || (v.holes == best.holes && v.epoch > best.epoch) {
			best = v
		}
	}
	if best == nil {
		return nil, errors.Join(errs...)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, err := range errs {
		if err != nil && !c.silent[nodes[i]] { // once, until it answers again
			c.log.Warn("node does not tell the topology", zap.Error(err))
		}
		c.silent[nodes[i]] = err != nil
	}
	return best.table, nil
}

// look reads one node's view with CLUSTER SLOTS
// (https://redis.io/docs/latest/commands/cluster-slots/).
func (c *Cluster) look(ctx context.Context, addr string) (view, error) {
	pipe := c.client(addr).Pipeline()
	state, slots := pipe.ClusterInfo(ctx), pipe.Do(ctx, "CLUSTER", "SLOTS")
	_, _ = pipe.Exec(ctx) // each command's own error counts
	info, err := state.Result()
	if err != nil {
		if strings.Contains(err.Error(), "cluster support disabled") {
			err = ErrNotCluster
		}
		return view{}, err
	}
	v := view{}
	v.epoch, _ = strconv.ParseInt(infoField(info, "cluster_current_epoch"), 10, 64)
	ranges, err := slots.Slice()
	if err != nil {
		return view{}, err
	}
	if v.table, err = c.table(ranges, addr); err != nil {
		return view{}, err
	}
	for _, h := range v.table.Holes() {
		v.holes += int(h.End) - int(h.Start) + 1
	}
	return v, nil
}

func infoField(info, name string) string {
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// table builds a slot table from the reply to CLUSTER SLOTS of a node: for each
// range its ends, then master and replicas as [host, port, id, metadata].
func (c *Cluster) table(ranges []any, from string) (*route.Table, error) {
	bad := errors.New("CLUSTER SLOTS gave something unexpected")
	t := route.NewTable()
	for _, r := range ranges {
		fields, ok := r.([]any)
		if !ok || len(fields) < 3 {
			return nil, bad
		}
		start, ok1 := fields[0].(int64)
		end, ok2 := fields[1].(int64)
		node, ok3 := fields[2].([]any)
		if !ok1 || !ok2 || !ok3 || len(node) < 2 || start < 0 || end < start || end >= route.Slots {
			return nil, bad
		}
		t.Assign(c.master(node, from), route.Range{Start: uint16(start), End: uint16(end)})
	}
	return t, nil
}

// master reads one node of a range. The host is the one that the cluster
// prefers to announce; where it announces none, its host name, else the host
// that was asked.
func (c *Cluster) master(node []any, from string) route.Master {
	host, _ := node[0].(string)
	m := route.Master{}
	if len(node) > 2 {
		m.ID, _ = node[2].(string)
	}
	if len(node) > 3 {
		meta, _ := node[3].([]any)
		for i := 0; i+1 < len(meta); i += 2 {
			if meta[i] == "hostname" {
				m.Host, _ = meta[i+1].(string)
			}
		}
	}
	if host == "" || host == "?" {
		host = m.Host
	}
	if host == "" || host == "?" {
		host, _, _ = net.SplitHostPort(from)
	} else if net.ParseIP(host) == nil {
		m.Host = host
	}
	m.Addr = c.reach(net.JoinHostPort(host, fmt.Sprint(node[1])), m.Host)
	return m
}

// adopt makes a table the one to route by, with a lane for each master.
func (c *Cluster) adopt(t *route.Table) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.adoptLocked(t)
}

func (c *Cluster) adoptLocked(t *route.Table) {
	r := &routing{table: t}
	for _, m := range t.Masters() {
		r.lanes = append(r.lanes, c.laneLocked(m))
	}
	if len(r.lanes) == 0 { // nobody has slots: any node will say so
		for _, l := range c.lanes {
			r.lanes = append(r.lanes, l)
		}
		if len(r.lanes) == 0 {
			r.lanes = append(r.lanes, c.laneLocked(route.Master{Addr: c.opts.Seeds[0]}))
		}
	}
	c.routing.Store(r)
}

// laneLocked returns the lane of a master, a new one if need be.
func (c *Cluster) laneLocked(m route.Master) *lane {
	if l := c.lanes[m.Addr]; l != nil {
		return l
	}
	l := newLane(c, m.Addr)
	c.lanes[m.Addr] = l
	if c.start != nil {
		c.start(l)
	}
	return l
}

// redirected notes a MOVED or ASK and returns the lane of the node it names.
func (c *Cluster) redirected(slot uint16, addr string, asking bool) *lane {
	if asking {
		c.count.ask.Add(1)
	} else {
		c.count.moved.Add(1)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.routing.Load(); !asking {
		if m, err := now.table.Owner(slot); err != nil || m.Addr != addr {
			c.adoptLocked(now.table.With(slot, addr))
			c.requestRefresh()
		}
	}
	return c.laneLocked(route.Master{Addr: addr})
}

func (c *Cluster) requestRefresh() {
	select {
	case c.asked <- struct{}{}:
	default:
	}
}

// follow reads the topology again when redirections say that it has changed.
func (c *Cluster) follow(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.asked:
		}
		if wait.For(ctx, time.Second) != nil { // a reshard moves one slot after the other
			return
		}
		c.refresh(ctx)
	}
}

// refresh reads the topology again, unless that was done a moment ago. If no
// node tells it, the table stays as it is.
func (c *Cluster) refresh(ctx context.Context) bool {
	c.mu.Lock()
	if time.Since(c.refreshed) < refreshRest {
		c.mu.Unlock()
		return true
	}
	c.refreshed = time.Now()
	var nodes []string
	for _, m := range c.routing.Load().table.Masters() {
		nodes = append(nodes, m.Addr)
	}
	c.mu.Unlock()
	for _, s := range c.opts.Seeds {
		if !slices.Contains(nodes, s) {
			nodes = append(nodes, s)
		}
	}
	shuffle(nodes)
	t, err := c.readTable(ctx, nodes[:min(len(nodes), askAtMost)])
	if err != nil {
		c.mu.Lock()
		told := time.Since(c.untold) < untoldRest
		if !told {
			c.untold = time.Now()
		}
		c.mu.Unlock()
		if !told {
			c.log.Warn("no node tells the topology; trying again", zap.Error(err))
		}
		return false
	}
	c.adopt(t)
	return true
}

// owns reports whether every unanswered entry of a chunk belongs to a lane.
func (c *Cluster) owns(l *lane, ch *chunk) bool {
	for i := ch.next; i < len(ch.entries); i++ {
		if c.laneOf(ch.entries[i].slot) != l {
			return false
		}
	}
	return true
}

// laneOf returns the lane of a slot's owner, or any if it has none.
func (c *Cluster) laneOf(slot uint16) *lane {
	now := c.routing.Load()
	return now.lanes[max(0, now.table.Index(slot))]
}

// asItStands marks an address of the table for go-redis, which would otherwise
// take the host away from loopback addresses, and not know them from the
// announced ones in redirections.
const asItStands = "="

// dialled returns where to dial what go-redis asks for.
func (c *Cluster) dialled(addr string) string {
	if known, ok := strings.CutPrefix(addr, asItStands); ok {
		return known
	}
	if host, port, err := net.SplitHostPort(addr); err == nil && host == "" { // unknown-endpoint, in a redirection
		for _, m := range c.Table().Masters() {
			if strings.HasSuffix(m.Addr, ":"+port) {
				return m.Addr
			}
		}
	}
	return c.reach(addr, "")
}

// clusterSlots is the table in go-redis' terms.
func clusterSlots(t *route.Table) []redis.ClusterSlot {
	var out []redis.ClusterSlot
	for slot := 0; slot < route.Slots; slot++ {
		m, err := t.Owner(uint16(slot))
		if err != nil {
			continue
		}
		addr := asItStands + m.Addr
		if last := len(out) - 1; last >= 0 && out[last].End == slot-1 && out[last].Nodes[0].Addr == addr {
			out[last].End = slot
			continue
		}
		out = append(out, redis.ClusterSlot{Start: slot, End: slot, Nodes: []redis.ClusterNode{{ID: m.ID, Addr: addr}}})
	}
	return out
}
