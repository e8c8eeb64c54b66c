package target

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/slotferry/slotferry/importer/preflight"
)

// Offsets are how far the replication stream of each master reaches, in bytes,
// by address.
type Offsets map[string]int64

// replication is what a master says of its stream
// (https://redis.io/docs/latest/commands/info/, section replication).
type replication struct {
	offset   int64
	replicas []int64 // how far each that is online has acknowledged it
}

// Offsets returns how far the streams of all masters with slots reach now.
// Whatever they have answered before lies behind that.
func (c *Cluster) Offsets(ctx context.Context) (Offsets, error) {
	all, err := c.replication(ctx)
	offsets := Offsets{}
	for addr, r := range all {
		offsets[addr] = r.offset
	}
	return offsets, err
}

// Behind tells of each master that has fewer than n replicas which have
// acknowledged its stream up to an offset; nothing means that all have. Of a
// master that has no slots any more nothing is asked: those that took them over
// are watched for what they may have lost.
func (c *Cluster) Behind(ctx context.Context, n int, at Offsets) ([]string, error) {
	all, err := c.replication(ctx)
	if err != nil {
		return nil, err
	}
	var behind []string
	for addr, r := range all {
		have := 0
		for _, acknowledged := range r.replicas {
			if acknowledged >= at[addr] {
				have++
			}
		}
		if have < n {
			behind = append(behind, fmt.Sprintf("%s: %d of its %d replicas that are online have what it answered", addr, have, len(r.replicas)))
		}
	}
	slices.Sort(behind)
	return behind, nil
}

// FewReplicas blocks for each master that has fewer than n replicas online.
func (c *Cluster) FewReplicas(ctx context.Context, n int) (found preflight.Findings) {
	const remedy = "start its replicas or add some (redis-cli --cluster add-node --cluster-slave), or lower --wait-replicas"
	all, err := c.replication(ctx)
	if err != nil {
		found.Block("replicas", remedy, "how many replicas the masters have can't be told: %v", err)
		return found
	}
	for _, m := range c.Table().Masters() {
		if r, ok := all[m.Addr]; ok && len(r.replicas) < n {
			found.Block("replicas", remedy, "master %s has %d replicas online, fewer than --wait-replicas %d", m.Addr, len(r.replicas), n)
		}
	}
	return found
}

// replication asks every master with slots.
func (c *Cluster) replication(ctx context.Context) (map[string]replication, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	table := c.Table()
	counts := table.Counts()
	all := map[string]replication{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	var failed error
	for i, m := range table.Masters() {
		if counts[i] == 0 {
			continue
		}
		wg.Go(func() {
			info, err := c.client(m.Addr).Info(ctx, "replication").Result()
			r, ok := parseReplication(info)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				failed = fmt.Errorf("%s: %w", m.Addr, err)
			case !ok:
				failed = fmt.Errorf("%s is no master or does not tell its offset", m.Addr)
			default:
				all[m.Addr] = r
			}
		})
	}
	wg.Wait()
	return all, failed
}

// parseReplication reads INFO replication of a master; its lines for replicas
// are `slave0:ip=…,port=…,state=online,offset=…,lag=…`.
func parseReplication(info string) (r replication, ok bool) {
	if infoField(info, "role") != "master" {
		return r, false
	}
	var err error
	if r.offset, err = strconv.ParseInt(infoField(info, "master_repl_offset"), 10, 64); err != nil {
		return r, false
	}
	for i := 0; ; i++ {
		fields := infoField(info, "slave"+strconv.Itoa(i))
		if fields == "" {
			return r, true
		}
		online, offset := false, int64(0)
		for field := range strings.SplitSeq(fields, ",") {
			name, value, _ := strings.Cut(field, "=")
			switch name {
			case "state":
				online = value == "online"
			case "offset":
				offset, _ = strconv.ParseInt(value, 10, 64)
			}
		}
		if online {
			r.replicas = append(r.replicas, offset)
		}
	}
}
