package main

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/slotferry/slotferry/internal/sandbox"
	"github.com/slotferry/slotferry/rdbparse"
	"github.com/slotferry/slotferry/rdbparse/decode"
)

const (
	never       = -1 // PEXPIRETIME of a key without an expiry
	readCount   = 500
	shownAtMost = 20 // keys of all that differ
)

// value is what a server says of a key.
type value struct {
	dump     string
	expireAt int64 // Unix milliseconds, or never
}

// truth is what the cluster ought to hold, by key. One whose expiry has passed
// ought not to be there.
type truth map[string]value

// eachKey reads every key of a server. SCAN may yield one twice.
func eachKey(ctx context.Context, c *redis.Client, each func(key string, v value)) error {
	var cursor uint64
	for {
		keys, next, err := c.Scan(ctx, cursor, "", readCount).Result()
		if err != nil {
			return err
		}
		pipe := c.Pipeline()
		dumps, expiries := make([]*redis.StringCmd, len(keys)), make([]*redis.Cmd, len(keys))
		for i, key := range keys {
			dumps[i], expiries[i] = pipe.Dump(ctx, key), pipe.Do(ctx, "PEXPIRETIME", key)
		}
		_, _ = pipe.Exec(ctx) // each reply's own error counts
		for i, key := range keys {
			dump, err := dumps[i].Result()
			if errors.Is(err, redis.Nil) { // it has expired since the SCAN
				continue
			}
			at, expiryErr := expiries[i].Int64()
			if err := errors.Join(err, expiryErr); err != nil {
				return fmt.Errorf("reading %q: %w", key, err)
			}
			each(key, value{dump, at})
		}
		if cursor = next; cursor == 0 {
			return nil
		}
	}
}

// comparison gathers how the cluster differs from the truth.
type comparison struct {
	truth  truth
	vendor rdbparse.Vendor
	now    int64             // Unix milliseconds
	slack  int64             // milliseconds by which expiries may differ
	seen   bool              // when consumers were last seen counts
	holder map[string]string // address of the master, by key
	wrong  []string
}

func newComparison(t truth, v rdbparse.Vendor, now int64) *comparison {
	return &comparison{truth: t, vendor: v, now: now, seen: true, holder: make(map[string]string, len(t))}
}

func (c *comparison) differs(format string, args ...any) {
	c.wrong = append(c.wrong, fmt.Sprintf(format, args...))
}

// found notes a key that a master holds, and reports whether that is the first
// time for this master.
func (c *comparison) found(addr, key string, got value) bool {
	if first, ok := c.holder[key]; ok {
		if first != addr {
			c.differs("%q is on %s and on %s", key, first, addr)
		}
		return first != addr
	}
	c.holder[key] = addr
	want, ok := c.truth[key]
	switch {
	case !ok:
		c.differs("%q on %s is not in the source", key, addr)
		return true
	case want.expireAt != never && want.expireAt+c.slack <= c.now:
		c.differs("%q on %s should have expired at %d; its expiry is %d", key, addr, want.expireAt, got.expireAt)
		return true
	case !c.sameExpiry(want.expireAt, got.expireAt):
		c.differs("%q on %s: expiry %d, not %d", key, addr, got.expireAt, want.expireAt)
	}
	if detail := c.valueDiffers(want.dump, got.dump); detail != "" {
		c.differs("%q on %s: %s", key, addr, detail)
	}
	return true
}

func (c *comparison) sameExpiry(want, got int64) bool {
	if want == never || got == never {
		return want == got
	}
	return max(want-got, got-want) <= c.slack
}

// valueDiffers compares two DUMP payloads of one version of server: the same
// bytes are the same value, and others may be, since the order of a hash table
// is each server's own.
func (c *comparison) valueDiffers(want, got string) string {
	if want == got {
		return ""
	}
	var values [2]*decode.Value
	for i, payload := range []string{want, got} {
		typ, body, _, err := rdbparse.SplitPayload([]byte(payload))
		if err == nil {
			values[i], err = decode.Decode(c.vendor, typ, body)
		}
		if err != nil {
			return fmt.Sprintf("the payloads differ, and one can't be decoded: %v", err)
		}
	}
	if !c.seen {
		values[0].DropConsumerTimes()
		values[1].DropConsumerTimes()
	}
	return decode.Difference(values[0], values[1])
}

// rest notes what no master has, of what ought to be there at a time in Unix
// milliseconds. It comes last.
func (c *comparison) rest(at int64) {
	for key, want := range c.truth {
		if _, ok := c.holder[key]; !ok && (want.expireAt == never || want.expireAt > at+c.slack) {
			c.differs("%q is missing", key)
		}
	}
	sort.Strings(c.wrong)
}

// compare reads every key of every master that owns slots, all else standing
// still, and returns what differs.
func (c *comparison) compare(ctx context.Context, cluster *sandbox.Cluster, libraries string) error {
	masters, err := cluster.Masters(ctx)
	if err != nil {
		return fmt.Errorf("asking for the masters: %w", err)
	}
	for _, m := range masters {
		var keys int64
		err := eachKey(ctx, m.Client(), func(key string, v value) {
			if c.found(m.Addr, key, v) {
				keys++
			}
		})
		if err != nil {
			return fmt.Errorf("reading %s: %w", m.Addr, err)
		}
		size, err := m.Client().DBSize(ctx).Result()
		if err != nil {
			return err
		}
		if size != keys {
			c.differs("%s: DBSIZE is %d, but SCAN yields %d keys", m.Addr, size, keys)
		}
		got, err := functions(ctx, m.Client())
		if err != nil {
			return err
		}
		if got != libraries {
			c.differs("%s: its function libraries are not those of the source", m.Addr)
		}
	}
	c.rest(time.Now().UnixMilli())
	return nil
}

// functions is all libraries as FUNCTION DUMP has them, nothing before 7.0.
func functions(ctx context.Context, c *redis.Client) (string, error) {
	dump, err := c.FunctionDump(ctx).Result()
	if err != nil && strings.Contains(err.Error(), "unknown command") {
		return "", nil
	}
	return dump, err
}

// differenceError says how the cluster differs from the source.
type differenceError struct{ wrong []string }

func (e *differenceError) Error() string {
	text := fmt.Sprintf("%d differences:\n  %s", len(e.wrong), strings.Join(e.wrong[:min(len(e.wrong), shownAtMost)], "\n  "))
	if more := len(e.wrong) - shownAtMost; more > 0 {
		text += fmt.Sprintf("\n  and %d more", more)
	}
	return text
}
