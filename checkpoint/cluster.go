package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// keyPrefix begins the names of the keys that a job keeps in the target; both
// are in one slot.
const keyPrefix = "slotferry:{"

// TempPrefix begins the names of keys under which a target builds values before
// they get their own; a slot's tag, "}:" and a hash of the job's name follow.
const TempPrefix = "slotferry:tmp:{"

// MarkPrefix begins the names of keys that say which commands of a live source
// are in; a slot's tag, "}:" and a hash of the job's name follow.
const MarkPrefix = "slotferry:mark:{"

// Cluster keeps a checkpoint in the target itself, in one key, with a lease
// beside it. Both are gone when the job is done.
type Cluster struct {
	*lease
	client redis.UniversalClient
	key    string
}

// OpenCluster takes the lease of a job in the target. When a run died with it
// less than Lease ago, it waits for the end of that. ErrLocked means that
// another run has it.
func OpenCluster(ctx context.Context, client redis.UniversalClient, job string) (*Cluster, error) {
	return OpenClusterFor(ctx, client, job, Lease)
}

// OpenClusterFor is OpenCluster with a lease of another length.
func OpenClusterFor(ctx context.Context, client redis.UniversalClient, job string, term time.Duration) (*Cluster, error) {
	tag := keyPrefix + job + "}"
	l, err := takeLease(ctx, client, tag+":lock", tag+":checkpoint", term)
	if err != nil {
		return nil, err
	}
	return &Cluster{lease: l, client: client, key: tag + ":checkpoint"}, nil
}

// String names the place, for messages.
func (c *Cluster) String() string { return "key " + c.key + " in the target" }

// Keys returns the names that this store may have in the target.
func (c *Cluster) Keys() []string { return []string{c.key, c.lock} }

// OwnKey reports whether a key of the target is not data: one that a Cluster
// store made, a value that is not finished, or a mark.
func OwnKey(key string) bool {
	return (strings.HasPrefix(key, TempPrefix) || strings.HasPrefix(key, MarkPrefix)) && strings.Contains(key, "}:") || strings.HasPrefix(key, keyPrefix) && (strings.HasSuffix(key, "}:checkpoint") || strings.HasSuffix(key, "}:lock"))
}

// Load returns what is stored, ErrNone if nothing is, or ErrDamaged.
func (c *Cluster) Load(ctx context.Context) (Checkpoint, error) {
	data, err := c.client.Get(ctx, c.key).Bytes()
	if errors.Is(err, redis.Nil) {
		return Checkpoint{}, ErrNone
	}
	if err != nil {
		return Checkpoint{}, fmt.Errorf("read checkpoint: %w", err)
	}
	cp, err := Decode(data)
	if err != nil {
		return cp, fmt.Errorf("%s: %w", c, err)
	}
	c.mu.Lock()
	c.before = holderOf(data)
	c.mu.Unlock()
	return cp, nil
}

// Save replaces what is stored and renews the lease; ErrLost means that
// another run took it. A finished job's checkpoint is deleted instead.
func (c *Cluster) Save(ctx context.Context, cp Checkpoint) error {
	if cp.Done {
		return c.renew(ctx, renewDelete, nil)
	}
	data, err := Encode(cp)
	if err != nil {
		return err
	}
	return c.renew(ctx, renewSave, withHolder(data, c.token))
}

// Close gives the lease back.
func (c *Cluster) Close(ctx context.Context) error { return c.close(ctx) }
