package scan_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/slotferry/slotferry/importer/endpoint"
	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/importer/source/scan"
)

// TestSwell reads short values and long ones, and looks meanwhile how much the
// server keeps for the connection that asked.
func TestSwell(t *testing.T) {
	t.Parallel()
	const (
		short, long = 20_000, 100
		longBytes   = 1 << 20
		bound       = 24 << 20 // what is allowed, one value, and what the server's memory allocator adds
	)
	server := populated(t, short+long)
	ctx, client := t.Context(), server.Client()
	value := strings.Repeat("x", longBytes)
	if err := client.ConfigSet(ctx, "rdbcompression", "no").Err(); err != nil {
		t.Fatal(err)
	}
	var order []string // of a SCAN, which new values don't change
	for cursor := uint64(0); len(order) == 0 || cursor != 0; {
		page, next, err := client.Scan(ctx, cursor, "", 1000).Result()
		if err != nil {
			t.Fatal(err)
		}
		order, cursor = append(order, page...), next
	}
	options := server.ClientOptions()
	options.DB = 1
	other := redis.NewClient(options)
	defer func() { _ = other.Close() }()
	for name, tc := range map[string]struct {
		client *redis.Client
		key    func(i int) string // of the i-th long value
	}{
		"mixed":            {client, func(i int) string { return order[i*(short+long)/long] }},
		"long ones first":  {client, func(i int) string { return order[i] }},
		"another database": {other, func(i int) string { return order[i] }},
	} {
		t.Run(name, func(t *testing.T) {
			put := func(value string) {
				pipe := tc.client.Pipeline()
				for i := range long {
					pipe.Set(ctx, tc.key(i), value, 0)
				}
				if _, err := pipe.Exec(ctx); err != nil {
					t.Fatal(err)
				}
			}
			put(value)
			defer put("short")
			s, _, _ := open(t, scan.Options{Endpoint: endpoint.Endpoint{Addr: server.Addr}})
			ended, cancel := context.WithCancel(ctx)
			var watch sync.WaitGroup
			var peak int64
			watch.Go(func() {
				for ended.Err() == nil {
					list, err := client.ClientList(ended).Result()
					if err != nil && !errors.Is(err, context.Canceled) {
						t.Error(err)
					}
					peak = max(peak, output(list))
				}
			})
			c := &counting{}
			err := s.Stream(ctx, record.Position{}, c)
			cancel()
			watch.Wait()
			if err != nil || c.keys < short+long || c.bytes < long*longBytes {
				t.Errorf("%d keys of %d bytes, %v", c.keys, c.bytes, err)
			}
			t.Logf("%d KiB", peak>>10)
			if peak > bound {
				t.Errorf("the server kept %d bytes for a connection", peak)
			}
		})
	}
}

// output is the longest output buffer in a list of clients, in bytes.
func output(list string) (longest int64) {
	for _, word := range strings.Fields(list) {
		if v, ok := strings.CutPrefix(word, "omem="); ok {
			n, _ := strconv.ParseInt(v, 10, 64)
			longest = max(longest, n)
		}
	}
	return longest
}
