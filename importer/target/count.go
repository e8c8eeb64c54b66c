package target

import (
	"context"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/slotferry/slotferry/checkpoint"
	"github.com/slotferry/slotferry/importer/preflight"
	"github.com/slotferry/slotferry/importer/route"
)

// CountOnly has Inspect and Keys count keys in the chosen slots alone: what else
// the target holds is others' business. It is called before Inspect.
func (c *Cluster) CountOnly(chosen func(slot uint16) bool) {
	for slot := range uint16(route.Slots) {
		if chosen(slot) {
			c.counted = append(c.counted, slot)
		}
	}
}

// countRights are what counting the keys of some slots needs.
const countRights = "+cluster|countkeysinslot +cluster|getkeysinslot"

// data returns how many of a node's keys count, all being how many it has. Every
// node is asked for every slot: of one that is on its way to another, both hold
// some.
func (c *Cluster) data(ctx context.Context, client *redis.Client, all int64) (int64, error) {
	if len(c.counted) == 0 || all == 0 || !c.writes() {
		return all - c.ownKeys(ctx, client, all), nil
	}
	pipe := client.Pipeline()
	counts := make([]*redis.IntCmd, len(c.counted))
	for i, slot := range c.counted {
		counts[i] = pipe.ClusterCountKeysInSlot(ctx, int(slot))
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return 0, fmt.Errorf("count the keys of the chosen slots: %w", err)
	}
	var n int64
	for _, count := range counts {
		n += count.Val()
	}
	if n > fewKeys {
		return n, nil
	}
	for i, count := range counts {
		if count.Val() == 0 {
			continue
		}
		names, err := client.ClusterGetKeysInSlot(ctx, int(c.counted[i]), int(count.Val())).Result()
		if err != nil {
			return 0, fmt.Errorf("look at the few keys of the chosen slots: %w", err)
		}
		for _, name := range names {
			if checkpoint.OwnKey(name) {
				n--
			}
		}
	}
	return n, nil
}

// uncounted says why a master's keys are not known.
func uncounted(err error, addr string, found *preflight.Findings) {
	if strings.Contains(err.Error(), "NOPERM") {
		found.Block("target_rights", "ACL SETUSER <user> "+countRights+", on every node", "on %s the user may not %v", addr, err)
		return
	}
	found.Block("master_unreachable", "see that the address can be reached from here", "%s: %v", addr, err)
}
