package main

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/slotferry/slotferry/internal/dataset"
)

// writtenPrefix begins the keys that change while a source is followed.
const writtenPrefix = "written:"

const (
	writesPerSecond = 4000
	writtenNames    = 30 // of each type
)

// writer changes keys of a source until it is stopped.
type writer struct {
	cancel  context.CancelFunc
	running sync.WaitGroup
}

// startWriter begins with the commands that only some versions know.
func startWriter(ctx context.Context, s *source) *writer {
	ctx, cancel := context.WithCancel(ctx)
	w := &writer{cancel: cancel}
	c := s.server.Client()
	w.running.Go(func() {
		_, _ = dataset.Churn(ctx, c, dataset.ChurnOptions{Seed: 1, Rate: writesPerSecond, Keys: writtenNames, Prefix: writtenPrefix, NoShort: true}, nil)
	})
	w.running.Go(func() {
		for n := 0; ctx.Err() == nil; n++ {
			writeNews(ctx, c, n)
			_ = pause(ctx, 2*pollEvery)
		}
	})
	return w
}

func (w *writer) stop() {
	w.cancel()
	w.running.Wait()
}

// writeNews runs commands that came with newer versions; older servers refuse
// them, which is well.
func writeNews(ctx context.Context, c *redis.Client, n int) {
	key := func(kind string) string { return fmt.Sprintf("%s{news}:%s:%d", writtenPrefix, kind, n%5) }
	pipe := c.Pipeline()
	for _, words := range [][]any{
		{"SET", key("text"), n},
		{"SET", key("text"), n + 1, "IFEQ", n}, // Valkey 8.1, Redis 8.4
		{"HSET", key("hash"), "plain", n, "read", n, "gone", n},
		{"HSETEX", key("hash"), "FIELDS", 1, "set", n}, // Redis 8.0, Valkey 9.0
		{"HGETDEL", key("hash"), "FIELDS", 1, "gone"},  // Redis 8.0
		{"HINCRBYFLOAT", key("hash"), "float", "0.25"},
		{"MSETEX", 2, key("first"), n, key("second"), n, "EX", 1000}, // Redis 8.4
		{"SET", key("short"), n},
		{"DELEX", key("short"), "IFEQ", n}, // Redis 8.4
		{"SET", key("brief"), n},
		{"DELIFEQ", key("brief"), n}, // Valkey 9.0
		{"XADD", key("stream"), "*", "n", n},
		{"XADD", key("stream"), "*", "n", n},
		{"XDELEX", key("stream"), "KEEPREF", "IDS", 1, "0-1"}, // Redis 8.2
		{"XTRIM", key("stream"), "MAXLEN", 3, "DELREF"},       // Redis 8.2
		{"LPUSH", key("list"), n, n + 1},
		{"LMPOP", 1, key("list"), "LEFT"}, // Redis 7.0
		{"ZADD", key("zset"), n, "a", n, "b"},
		{"ZMPOP", 1, key("zset"), "MIN"},                   // Redis 7.0
		{"ZRANGESTORE", key("ranked"), key("zset"), 0, -1}, // Redis 6.2
	} {
		pipe.Do(ctx, words...)
	}
	_, _ = pipe.Exec(context.WithoutCancel(ctx))
}

// writtenKeys are those that changed.
func (s *source) writtenKeys(ctx context.Context) ([]string, error) {
	return s.server.Client().Keys(ctx, writtenPrefix+"*").Result()
}

// readWritten reads them.
func (s *source) readWritten(ctx context.Context) (map[string]value, error) {
	c := s.server.Client()
	names, err := s.writtenKeys(ctx)
	if err != nil {
		return nil, err
	}
	all := map[string]value{}
	for _, name := range names {
		v, err := read(ctx, c, name)
		if err != nil {
			return nil, err
		}
		if v.expireAt, err = s.expiry(ctx, c, name); err != nil {
			return nil, fmt.Errorf("expiry of %q: %w", name, err)
		}
		all[name] = v
	}
	return all, nil
}

// forgetWritten removes them again.
func (s *source) forgetWritten(ctx context.Context) error {
	names, err := s.writtenKeys(context.WithoutCancel(ctx))
	if err != nil || len(names) == 0 {
		return err
	}
	return s.server.Client().Unlink(context.WithoutCancel(ctx), names...).Err()
}

// tailCounts are what the tool says of the commands that it followed.
type tailCounts struct {
	Commands, Reread, Refused, Failed int64
}

func (a tailCounts) plus(b tailCounts) tailCounts {
	return tailCounts{a.Commands + b.Commands, a.Reread + b.Reread, a.Refused + b.Refused, a.Failed + b.Failed}
}

// text is the cell of the table: equal, since all else is a problem, with how
// much was followed.
func (a tailCounts) text() string {
	var parts []string
	parts = append(parts, fmt.Sprint(a.Commands), fmt.Sprint(a.Reread))
	if a.Refused > 0 {
		parts = append(parts, fmt.Sprint(a.Refused))
	}
	return strings.Join(parts, " / ")
}
