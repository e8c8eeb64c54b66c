package target

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/slotferry/slotferry/checkpoint"
	"github.com/slotferry/slotferry/importer/endpoint"
	"github.com/slotferry/slotferry/importer/preflight"
)

// Inspect connects to the cluster, looks at every master, and says what stands
// in the way of writing. It changes nothing. Facts are incomplete when it finds
// blockers.
func (c *Cluster) Inspect(ctx context.Context) (preflight.Target, preflight.Findings) {
	var found preflight.Findings
	facts := preflight.Target{Text: strings.Join(c.opts.Seeds, ",")}
	if err := c.connect(ctx); err != nil {
		c.unreachable(&found, err)
		return facts, found
	}
	table := c.Table()
	if holes := table.Holes(); len(holes) > 0 {
		n := 0
		var names []string
		for _, h := range holes {
			n += int(h.End) - int(h.Start) + 1
			names = append(names, h.String())
		}
		if len(names) > 20 {
			names = append(names[:20], "…")
		}
		found.Block("slots_uncovered", "assign them (redis-cli --cluster fix), then run again",
			"%d of 16384 slots have no master: %s", n, strings.Join(names, ", "))
	}
	counts := table.Counts()
	views := make([]masterView, len(counts))
	var wg sync.WaitGroup
	for i, m := range table.Masters() {
		wg.Go(func() { views[i] = c.inspectMaster(ctx, preflight.Master{Addr: m.Addr, ID: m.ID, Slots: counts[i]}) })
	}
	wg.Go(func() { facts.IDs = c.nodeIDs(ctx) })
	wg.Wait()
	stateSaid := false
	bulk := int64(math.MaxInt64)
	for _, v := range views {
		if v.err != nil {
			found.Block("master_unreachable", "see that the address can be reached from here (--address-map translates announced addresses) and that user and password hold on every node",
				"master %s with %d slots: %v", v.Addr, v.Slots, v.err)
			continue
		}
		found = append(found, v.found...)
		if v.state != "ok" && !stateSaid {
			stateSaid = true
			found.Block("cluster_down", "see CLUSTER INFO and CLUSTER NODES; bring the missing masters back",
				"%s says cluster_state:%s", v.Addr, v.state)
		}
		bulk = min(bulk, v.maxBulk)
		facts.Keys += v.Keys
		facts.Masters = append(facts.Masters, v.Master)
	}
	if len(facts.Masters) > 0 {
		c.maxBulk = min(bulk, cmp.Or(c.opts.MaxBulk, bulk))
		c.version = facts.Oldest().Version
		c.fatal = !c.version.AtLeast(7, 0) && len(facts.Oldest().Modules) == 0
		c.encoding.relative = c.encoding.relative || !c.version.AtLeast(5, 0)
	}
	return facts, found
}

// usualBulk is the longest word that a server takes unless it is told otherwise
// (proto-max-bulk-len).
const usualBulk = 512 << 20

// masterView is what one master tells.
type masterView struct {
	preflight.Master
	state   string // cluster_state
	maxBulk int64
	found   preflight.Findings
	err     error
}

// inspectMaster looks at one master.
func (c *Cluster) inspectMaster(ctx context.Context, m preflight.Master) masterView {
	v := masterView{Master: m, maxBulk: usualBulk}
	client := c.client(m.Addr)
	pipe := client.Pipeline()
	server, keys := preflight.Ask(ctx, pipe), pipe.DBSize(ctx)
	limit, info := pipe.ConfigGet(ctx, "proto-max-bulk-len"), pipe.ClusterInfo(ctx)
	probes := c.rights()
	refused := preflight.Try(ctx, pipe, probes)
	_, _ = pipe.Exec(ctx) // each command's own error counts
	if v.Server, v.err = server(); v.err != nil {
		return v
	}
	if v.err = errors.Join(keys.Err(), info.Err()); v.err != nil {
		return v
	}
	var err error
	if v.Keys, err = c.data(ctx, client, keys.Val()); err != nil {
		uncounted(err, m.Addr, &v.found)
	}
	if n, err := strconv.ParseInt(limit.Val()["proto-max-bulk-len"], 10, 64); err == nil && n > 0 {
		v.maxBulk = n
	}
	denied, onKey, err := refused()
	if v.err = err; err != nil {
		return v
	}
	c.judgeRights(&v.Master, probes, denied, onKey, &v.found)
	if s := v.Server; c.writes() && s.MaxMemory > 0 && s.Policy != "" && s.Policy != "noeviction" {
		v.found.Warn("eviction", "CONFIG SET maxmemory-policy noeviction for the time of the import",
			"%s evicts keys when it is full (maxmemory-policy %s): what was copied could vanish", m.Addr, s.Policy)
	}
	v.state = infoField(info.Val(), "cluster_state")
	return v
}

// topologyRights are what every job needs.
const topologyRights = "+asking +cluster|slots +cluster|info +cluster|nodes +info +time +dbsize"

func (c *Cluster) writes() bool { return !c.opts.ReadOnly || c.opts.Repair }

// rights are the commands that the job needs, of the server's version or an
// older one.
func (c *Cluster) rights() (probes []preflight.Probe) {
	ask := func(word string, args ...any) {
		probes = append(probes, preflight.Probe{Command: word, Args: append([]any{word}, args...)})
	}
	if c.opts.ReadOnly {
		ask("DUMP", preflight.ProbeKey)
		ask("PEXPIRETIME", preflight.ProbeKey)
		ask("PTTL", preflight.ProbeKey)
		ask("TYPE", preflight.ProbeKey)
		ask("SCAN", "0", "COUNT", "1")
	}
	if c.writes() {
		ask("RESTORE", preflight.ProbeKey, "0", "", "REPLACE")
	}
	if c.opts.ReadOnly && c.opts.Repair {
		ask("UNLINK", preflight.ProbeKey)
	}
	return probes
}

// judgeRights says which of the probes a master refused.
func (c *Cluster) judgeRights(m *preflight.Master, probes []preflight.Probe, denied, onKey []string, found *preflight.Findings) {
	unused := "PTTL"
	if !m.Server.Version.AtLeast(7, 0) { // a server refuses a rule with commands that it does not know
		unused = "PEXPIRETIME"
	}
	needless := func(command string) bool { return command == unused }
	denied, onKey = slices.DeleteFunc(denied, needless), slices.DeleteFunc(onKey, needless)
	if len(denied) > 0 {
		words := ""
		for _, p := range probes {
			if !needless(p.Command) {
				words += " +" + strings.ToLower(p.Command)
			}
		}
		found.Block("target_rights", "ACL SETUSER <user> ~*"+words+" "+topologyRights+", on every node",
			"the user may not run %s on %s", strings.Join(denied, ", "), m.Addr)
	}
	if len(onKey) == 0 {
		return
	}
	does, remedy := "read", "a key outside the user's patterns stops the run; ~* allows all"
	if c.writes() {
		does = "write"
	}
	if c.opts.ReadOnly {
		remedy = "keys outside the user's patterns can't be compared; ~* allows all, or choose with --include"
	}
	found.Warn("target_key_rights", remedy, "the user of %s may not %s every key (tried %q)", m.Addr, does, preflight.ProbeKey)
}

// RebuildRights warns if the user may not run what rebuilding values needs, as far
// as that shows without writing.
func (c *Cluster) RebuildRights(ctx context.Context) (found preflight.Findings) {
	const key = preflight.ProbeKey // which nobody has
	probes := []preflight.Probe{
		{Command: "UNLINK", Args: []any{"UNLINK", key}}, {Command: "RENAME", Args: []any{"RENAME", key, key}},
		{Command: "PEXPIREAT", Args: []any{"PEXPIREAT", key, "4102444800000"}}, {Command: "PTTL", Args: []any{"PTTL", key}},
		{Command: "SET", Args: []any{"SET", key, "", "XX"}}, {Command: "ZADD", Args: []any{"ZADD", key, "XX", "0", ""}},
	}
	for _, m := range c.Table().Masters() {
		denied, _, err := preflight.Denied(ctx, c.client(m.Addr), probes)
		if err == nil && len(denied) > 0 {
			found.Warn("rebuild_rights", "ACL SETUSER <user> ~* "+c.rebuildRights()+", on every node; without them the import stops at the first such value",
				"some values will be rebuilt with native commands, but the user may not run %s on %s", strings.Join(denied, ", "), m.Addr)
			break
		}
	}
	return found
}

// TailRights blocks if the user may not run what applying commands exactly once
// needs beside the commands themselves. It changes nothing.
func (c *Cluster) TailRights(ctx context.Context) (found preflight.Findings) {
	const key = preflight.ProbeKey // which nobody has
	probes := []preflight.Probe{
		{Command: "MULTI", Args: []any{"MULTI"}}, {Command: "HDEL", Args: []any{"HDEL", key, ""}}, {Command: "DEL", Args: []any{"DEL", key}},
		{Command: "EXISTS", Args: []any{"EXISTS", key}}, {Command: "EXEC", Args: []any{"EXEC"}},
		{Command: "HGET", Args: []any{"HGET", key, ""}}, {Command: "HGETALL", Args: []any{"HGETALL", key}},
	}
	for _, m := range c.Table().Masters() {
		denied, _, err := preflight.Denied(ctx, c.client(m.Addr), probes)
		if err == nil && len(denied) > 0 {
			found.Block("target_rights", "ACL SETUSER <user> ~* +multi +exec +hset +hget +hdel +hgetall +exists +del +unlink +ping +info +client, beside the commands that the source's clients write with, on every node",
				"what the source's clients write is to be applied, but the user may not run %s on %s", strings.Join(denied, ", "), m.Addr)
			break
		}
	}
	return found
}

// fewKeys is up to how many keys each is looked at.
const fewKeys = 100

// ownKeys returns how many of a node's few keys are checkpoints of this tool,
// which don't count as data. With many keys it does not matter.
func (c *Cluster) ownKeys(ctx context.Context, client *redis.Client, keys int64) (n int64) {
	if keys == 0 || keys > fewKeys {
		return 0
	}
	names, _, err := client.Scan(ctx, 0, "slotferry:*", 10*fewKeys).Result()
	if err != nil {
		return 0
	}
	for _, name := range names {
		if checkpoint.OwnKey(name) {
			n++
		}
	}
	return n
}

// nodeIDs returns the names of all nodes of the cluster, sorted.
func (c *Cluster) nodeIDs(ctx context.Context) []string {
	var ids []string
	for _, m := range c.Table().Masters() {
		if m.ID != "" {
			ids = append(ids, m.ID)
		}
		nodes, err := c.client(m.Addr).ClusterNodes(ctx).Result()
		if err != nil {
			continue
		}
		for line := range strings.Lines(nodes) {
			if id, _, ok := strings.Cut(line, " "); ok && len(id) == 40 {
				ids = append(ids, id)
			}
		}
		break
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// unreachable tells why no seed gave the topology.
func (c *Cluster) unreachable(found *preflight.Findings, err error) {
	var reply redis.Error
	switch text := err.Error(); {
	case errors.Is(err, ErrNotCluster):
		found.Block("target_not_cluster", "name a node of a Redis Cluster as --target (a standalone server can be the source only)", "the target: %v", err)
	case errors.Is(err, endpoint.ErrAuth), strings.Contains(text, "WRONGPASS"), strings.Contains(text, "NOAUTH"), strings.Contains(text, "AUTH <password> called without"):
		found.Block("target_auth", "see --target-password-file, --target-askpass, SLOTFERRY_TARGET_USERNAME and SLOTFERRY_TARGET_PASSWORD", "the target refuses user or password: %v", err)
	case errors.As(err, &reply) && strings.Contains(text, "NOPERM"):
		found.Block("target_rights", "ACL SETUSER <user> +cluster|slots +cluster|info +cluster|nodes +info +time +dbsize +restore +asking", "the target: %v", err)
	default:
		found.Block("target_unreachable", "see that a node of the cluster answers there (redis-cli -h … -p … ping), with or without TLS as it should be", "no node of the target answers: %v", err)
	}
}

// each runs a call on every master, one after the other.
func (c *Cluster) each(ctx context.Context, call func(*redis.Client) error) error {
	for _, m := range c.Table().Masters() {
		if err := call(c.client(m.Addr)); err != nil {
			return fmt.Errorf("%s: %w", m.Addr, err)
		}
	}
	return nil
}

// Keys returns the number of keys that all masters hold together, of those that
// count.
func (c *Cluster) Keys(ctx context.Context) (total int64, err error) {
	err = c.each(ctx, func(client *redis.Client) error {
		n, err := client.DBSize(ctx).Result()
		if err != nil {
			return err
		}
		n, err = c.data(ctx, client, n)
		total += n
		return err
	})
	return total, err
}

// Settled reports whether a master has held its data for longer than d: it was
// not restarted since, and never took a master's place.
func (c *Cluster) Settled(ctx context.Context, addr string, d time.Duration) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	info, err := c.client(addr).Info(ctx).Result()
	if err != nil {
		return false, err
	}
	up, err := strconv.ParseInt(infoField(info, "uptime_in_seconds"), 10, 64)
	if err != nil {
		return false, fmt.Errorf("%s does not tell how long it has been up: %w", addr, err)
	}
	// Where a master took over, as a replica that was promoted; -1 for never.
	return infoField(info, "second_repl_offset") == "-1" && time.Duration(up)*time.Second > d, nil
}

// Lives asks every master for the ID of its present life, by address; one that
// does not answer is left out. masters are those of the topology, empty when no
// node tells it.
func (c *Cluster) Lives(ctx context.Context) (lives map[string]string, masters map[string]bool) {
	lives, masters = map[string]string{}, map[string]bool{}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if !c.refresh(ctx) {
		return lives, masters
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	table := c.Table()
	counts := table.Counts()
	for i, m := range table.Masters() {
		if counts[i] == 0 { // it has lost them to another one
			continue
		}
		masters[m.Addr] = true
		wg.Go(func() {
			info, err := c.client(m.Addr).Info(ctx, "server").Result()
			if id := infoField(info, "run_id"); err == nil && id != "" {
				mu.Lock()
				defer mu.Unlock()
				lives[m.Addr] = id
			}
		})
	}
	wg.Wait()
	return lives, masters
}
