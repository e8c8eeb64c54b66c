package target

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"net"

	"github.com/redis/go-redis/v9"

	"github.com/slotferry/slotferry/importer/record"
)

// Dial connects to the node at an address of the slot table, or of a Redirection.
func (c *Cluster) Dial(ctx context.Context, addr string) (net.Conn, error) {
	return c.dial(ctx, addr)
}

// Node returns the go-redis client for a node, which lives until Close.
func (c *Cluster) Node(addr string) *redis.Client { return c.client(addr) }

// Refresh reads the topology again, unless that was done a moment ago. It
// reports whether any node told it.
func (c *Cluster) Refresh(ctx context.Context) bool { return c.refresh(ctx) }

// Redirection reads a MOVED or ASK that the node from has answered: where to
// dial, and whether ASKING must come first. It is no redirection if ok is false.
func (c *Cluster) Redirection(line []byte, from string) (addr string, asking, ok bool) {
	v := classify(line)
	if v != moved && v != ask {
		return "", false, false
	}
	_, addr, ok = redirection(line, from)
	return c.reach(addr, ""), v == ask, ok
}

// Lacking returns the masters that do not hold a program as it is given.
func (c *Cluster) Lacking(ctx context.Context, p record.Program) (addrs []string, err error) {
	for _, m := range c.Table().Masters() {
		holds, err := holdsProgram(ctx, c.client(m.Addr), p)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", m.Addr, err)
		}
		if !holds {
			addrs = append(addrs, m.Addr)
		}
	}
	return addrs, nil
}

func holdsProgram(ctx context.Context, client *redis.Client, p record.Program) (bool, error) {
	if p.Function {
		return sameLibrary(ctx, client, p.Code)
	}
	sum := sha1.Sum([]byte(p.Code)) // scripts go by it
	known, err := client.ScriptExists(ctx, hex.EncodeToString(sum[:])).Result()
	return len(known) == 1 && known[0], err
}
