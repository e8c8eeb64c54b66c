package effect_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/slotferry/slotferry/importer/effect"
)

// watchChanges runs every writing command and compares the keys whose values
// have become others with those that are known.
func watchChanges(t *testing.T, c *redis.Client, known map[string]info) {
	ctx, conn := t.Context(), c.Conn()
	defer conn.Close()
	if err := run(ctx, conn, "SET dumped v"); err != nil {
		t.Fatal(err)
	}
	dump, err := conn.Dump(ctx, "dumped").Result()
	if err != nil {
		t.Fatal(err)
	}
	before, seen := snapshot(t, ctx, conn), 0
	for _, line := range writes {
		line = strings.TrimPrefix(line, "?")
		words := strings.Split(line, " ")
		if _, ok := known[words[0]]; !ok {
			continue
		}
		var e effect.Effect
		if err := effect.Of(split(words), now, &e); err != nil {
			t.Fatal(err)
		}
		if e.Kind == effect.Begin || e.Kind == effect.Select {
			break // no single commands of one database behind it
		}
		_ = run(ctx, conn, line, "DUMP", dump) // an error changes nothing
		after := snapshot(t, ctx, conn)
		keys := keysOf(words, e.Keys)
		for _, key := range changed(before, after) {
			seen++
			if !slices.Contains(keys, key) {
				t.Errorf("%s has changed %q, which is not in %q", line, key, keys)
			}
		}
		before = after
	}
	if seen < 80 {
		t.Errorf("only %d changes were seen", seen)
	}
	if err := run(ctx, conn, "FLUSHALL"); err != nil {
		t.Fatal(err)
	}
}

// snapshot returns all values of the selected database.
func snapshot(t *testing.T, ctx context.Context, c *redis.Conn) map[string]string {
	t.Helper()
	keys, err := c.Keys(ctx, "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	pipe := c.Pipeline()
	dumps := make([]*redis.StringCmd, len(keys))
	for i, key := range keys {
		dumps[i] = pipe.Dump(ctx, key)
	}
	if _, err := pipe.Exec(ctx); err != nil && err != redis.Nil {
		t.Fatal(err)
	}
	values := make(map[string]string, len(keys))
	for i, key := range keys {
		values[key] = dumps[i].Val()
	}
	return values
}

func changed(before, after map[string]string) []string {
	var keys []string
	for key, value := range after {
		if old, ok := before[key]; !ok || old != value {
			keys = append(keys, key)
		}
	}
	for key := range before {
		if _, ok := after[key]; !ok {
			keys = append(keys, key)
		}
	}
	return keys
}
