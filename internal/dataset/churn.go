package dataset

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// ChurnOptions says how a server is written to.
type ChurnOptions struct {
	Seed   uint64
	Rate   int    // commands a second; 0 is as fast as one connection goes
	Keys   int    // different names of each type; 500
	Prefix string // before each name

	OneSlot bool // leave out commands over several keys
	NoShort bool // leave out keys that expire within a second, and sessions of 20
	Forever bool // leave out all expiries
}

// churnBatch is how many commands travel at a time.
const churnBatch = 50

// Churn changes keys of every type at random, until ctx ends: counters, lists
// that grow and shrink, streams, expiries that are moved on, commands over
// several keys, transactions and scripts. Most of them would leave a trace if
// they were applied twice, or not at all. It returns how many commands were
// answered; done may be nil, and counts them meanwhile. A second after the end
// all keys that expire soon have.
func Churn(ctx context.Context, client *redis.Client, o ChurnOptions, done *atomic.Int64) (int64, error) {
	if o.Keys == 0 {
		o.Keys = 500
	}
	if done == nil {
		done = new(atomic.Int64)
	}
	c := churn{rand: rand.New(rand.NewPCG(o.Seed, 7)), o: o}
	for begun := time.Now(); ctx.Err() == nil; {
		pipe := client.Pipeline()
		for range churnBatch {
			c.command(ctx, pipe)
		}
		sent := int64(pipe.Len())
		_, err := pipe.Exec(context.WithoutCancel(ctx))
		var said redis.Error
		if err != nil && !errors.As(err, &said) && !errors.Is(err, redis.Nil) {
			return done.Load(), err
		}
		done.Add(sent)
		if o.Rate > 0 {
			due := begun.Add(time.Duration(done.Load()) * time.Second / time.Duration(o.Rate))
			time.Sleep(time.Until(due))
		}
	}
	return done.Load(), nil
}

type churn struct {
	rand *rand.Rand
	o    ChurnOptions
	n    int
}

// key returns the name of a key that has values of one type only.
func (c *churn) key(kind string) string {
	return fmt.Sprintf("%s%s:%d", c.o.Prefix, kind, c.rand.IntN(c.o.Keys))
}

func (c *churn) word() string { return fmt.Sprintf("w%d", c.rand.IntN(200)) }

// command adds one or a few commands that belong together.
func (c *churn) command(ctx context.Context, p redis.Pipeliner) {
	c.n++
	do := func(words ...any) { p.Do(ctx, words...) }
	n := c.rand.IntN(1000)
	all := []func(){
		func() { do("INCR", c.key("counter")) },
		func() { do("INCRBYFLOAT", c.key("float"), "0.1") },
		func() { do("APPEND", c.key("text"), c.word()) },
		func() { do("SETRANGE", c.key("text"), n%64, c.word()) },
		func() { do("SETBIT", c.key("bits"), n, n&1) },
		func() { do("BITFIELD", c.key("bits"), "INCRBY", "u8", n%100, 3) },
		func() { do("SET", c.key("text"), c.word()) },
		func() { do("SET", c.key("text"), c.word(), "KEEPTTL") },
		func() { do("SETNX", c.key("text"), c.word()) },
		func() { do("GETSET", c.key("text"), c.word()) },
		func() { do("LPUSH", c.key("list"), c.word(), c.n) },
		func() { do("RPUSH", c.key("list"), c.n) },
		func() { do("RPOP", c.key("list")) },
		func() { do("LPOP", c.key("list")) },
		func() { do("LTRIM", c.key("list"), 0, 100) },
		func() { do("LINSERT", c.key("list"), "BEFORE", c.word(), c.n) },
		func() { do("SADD", c.key("set"), c.word(), c.word()) },
		func() { do("SPOP", c.key("set")) },
		func() { do("SPOP", c.key("set"), 3) },
		func() { do("SREM", c.key("set"), c.word()) },
		func() { do("HSET", c.key("hash"), c.word(), c.n) },
		func() { do("HINCRBY", c.key("hash"), "count", 1) },
		func() { do("HINCRBYFLOAT", c.key("hash"), "float", "0.25") },
		func() { do("HDEL", c.key("hash"), c.word()) },
		func() { do("ZADD", c.key("zset"), n, c.word()) },
		func() { do("ZINCRBY", c.key("zset"), 1.5, c.word()) },
		func() { do("ZPOPMIN", c.key("zset")) },
		func() { do("ZREMRANGEBYRANK", c.key("zset"), 50, -1) },
		func() { do("XADD", c.key("stream"), "MAXLEN", "~", 1000, "*", "f", c.n) },
		func() { do("XTRIM", c.key("stream"), "MAXLEN", 50) },
		func() {
			k := c.key("stream")
			do("XGROUP", "CREATE", k, "g", "0", "MKSTREAM")
			do("XREADGROUP", "GROUP", "g", "reader", "COUNT", 2, "STREAMS", k, ">")
		},
		func() { do("PFADD", c.key("hll"), c.word()) },
		func() { do("PERSIST", c.key("hash")) },
		func() { do("DEL", c.key("list")) },
		func() { // a session that lives as long as it is used
			if c.o.NoShort || c.o.Forever {
				return
			}
			k := c.key("session")
			do("HINCRBY", k, "visits", 1)
			do("PEXPIRE", k, 20_000+n)
		},
		func() {
			if c.o.NoShort || c.o.Forever {
				return
			}
			k := c.key("brief")
			do("RPUSH", k, c.n)
			do("PEXPIRE", k, n)
		},
	}
	if !c.o.Forever {
		all = append(all,
			func() { do("SET", c.key("text"), c.word(), "EX", 100+n) },
			func() { do("EXPIRE", c.key("hash"), 100+n) },
			func() { do("PEXPIRE", c.key("counter"), 60_000+n) },
			func() { do("GETEX", c.key("text"), "EX", 200+n) },
		)
	}
	if !c.o.OneSlot {
		all = append(all,
			func() { do("MSET", c.key("text"), c.word(), c.key("text"), c.word()) },
			func() { do("DEL", c.key("counter"), c.key("list"), c.key("set")) },
			func() { do("UNLINK", c.key("float"), c.key("bits")) },
			func() { do("RENAME", c.key("list"), c.key("list")) },
			func() { do("COPY", c.key("hash"), c.key("hash"), "REPLACE") },
			func() { do("SMOVE", c.key("set"), c.key("set"), c.word()) },
			func() { do("ZUNIONSTORE", c.key("zset"), 2, c.key("zset"), c.key("zset")) },
			func() { do("SINTERSTORE", c.key("set"), c.key("set"), c.key("set")) },
			func() { do("RPOPLPUSH", c.key("list"), c.key("list")) },
			func() { do("BITOP", "XOR", c.key("bits"), c.key("bits"), c.key("bits")) },
			func() { do("PFMERGE", c.key("hll"), c.key("hll")) },
			func() { do("SORT", c.key("list"), "ALPHA", "STORE", c.key("list")) },
			func() {
				do("EVAL", "redis.call('INCR', KEYS[1]) return redis.call('LPUSH', KEYS[2], ARGV[1])", 2, c.key("counter"), c.key("list"), c.n)
			},
			func() {
				do("MULTI")
				do("INCR", c.key("counter"))
				do("RPUSH", c.key("list"), c.n)
				do("HINCRBY", c.key("hash"), "count", 1)
				do("EXEC")
			},
		)
	}
	all[c.rand.IntN(len(all))]()
}
