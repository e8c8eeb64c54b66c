package checkpoint

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Lease is how long a lock in the target outlives a run that died. A living
// run renews it with every save.
const Lease = 30 * time.Second

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
	client    redis.UniversalClient
	key, lock string
	token     string
}

// OpenCluster takes the lease of a job in the target. ErrLocked means that
// another run has it, or died with it less than Lease ago.
func OpenCluster(ctx context.Context, client redis.UniversalClient, job string) (*Cluster, error) {
	tag := keyPrefix + job + "}"
	c := &Cluster{client: client, key: tag + ":checkpoint", lock: tag + ":lock", token: rand.Text()}
	err := client.SetArgs(ctx, c.lock, c.token, redis.SetArgs{Mode: "NX", TTL: Lease}).Err()
	if errors.Is(err, redis.Nil) {
		return nil, fmt.Errorf("%s: %w (or one that died holds it for at most %s more)", c.lock, ErrLocked, Lease)
	}
	if err != nil {
		return nil, fmt.Errorf("take the checkpoint's lock in the target: %w", err)
	}
	return c, nil
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
	return cp, nil
}

// renew extends a lease that is still this run's, takes one that ran out, and
// never touches another's. KEYS[1] lock, ARGV token and milliseconds.
var renew = redis.NewScript(`
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1`)

// release deletes a lease that is still this run's.
var release = redis.NewScript(`
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0`)

// Save replaces what is stored and renews the lease; ErrLost means that
// another run took it. A finished job's checkpoint is deleted instead.
func (c *Cluster) Save(ctx context.Context, cp Checkpoint) error {
	held, err := renew.Run(ctx, c.client, []string{c.lock}, c.token, Lease.Milliseconds()).Int()
	if err != nil {
		return fmt.Errorf("renew the checkpoint's lock in the target: %w", err)
	}
	if held == 0 {
		return fmt.Errorf("%s: %w", c.lock, ErrLost)
	}
	if cp.Done {
		if err := c.client.Del(ctx, c.key).Err(); err != nil {
			return fmt.Errorf("delete the finished checkpoint: %w", err)
		}
		return nil
	}
	data, err := Encode(cp)
	if err != nil {
		return err
	}
	if err := c.client.Set(ctx, c.key, data, 0).Err(); err != nil {
		return fmt.Errorf("save checkpoint: %w", err)
	}
	return nil
}

// Close gives the lease back.
func (c *Cluster) Close(ctx context.Context) error {
	if err := release.Run(ctx, c.client, []string{c.lock}, c.token).Err(); err != nil {
		return fmt.Errorf("release the checkpoint's lock in the target: %w", err)
	}
	return nil
}
