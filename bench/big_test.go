package main

import (
	"testing"

	"github.com/slotferry/slotferry/internal/sandbox"
	"github.com/slotferry/slotferry/internal/sandbox/sandboxtest"
)

// A few hundred keys hold every size in every type, and fit into memory.
func TestBigOf(t *testing.T) {
	type shape struct {
		kind  string
		bytes int
	}
	seen, sum := map[shape]bool{}, 0
	keys := bigKeys(1_000_000)
	for i := range keys {
		kind, bytes := bigOf(i)
		if bytes < 1<<20 || bytes > 64<<20 {
			t.Errorf("key %d has %d bytes", i, bytes)
		}
		seen[shape{kind, bytes}] = true
		sum += bytes
	}
	if keys < 100 || sum > 1500<<20 {
		t.Errorf("%d keys of %d bytes", keys, sum)
	}
	for _, kind := range bigKinds {
		for _, mib := range bigMiB {
			if !seen[shape{kind, mib << 20}] {
				t.Errorf("no %s of %d MiB", kind, mib)
			}
		}
	}
	fewest := map[string]bool{}
	for i := range bigKeys(1) {
		kind, _ := bigOf(i)
		fewest[kind] = true
	}
	if len(fewest) != 3 {
		t.Errorf("the fewest keys have the types %v", fewest)
	}
}

func TestSetBig(t *testing.T) {
	server := sandboxtest.Server(t, sandbox.Options{})
	ctx, c := t.Context(), server.Client()
	random := func(n int) []byte { return make([]byte, n) }
	for _, tc := range []struct {
		kind   string
		length []any // the command that tells how long it is
		want   int64
	}{
		{"string", []any{"STRLEN", "big"}, 3 << 20},
		{"hash", []any{"HLEN", "big"}, 3 << 20 / bigField},
		{"list", []any{"LLEN", "big"}, 3 << 20 / bigElement},
	} {
		t.Run(tc.kind, func(t *testing.T) {
			if err := setBig(ctx, c, "big", tc.kind, 3<<20, random); err != nil {
				t.Fatal(err)
			}
			if got, err := c.Do(ctx, tc.length...).Int64(); err != nil || got != tc.want {
				t.Errorf("length = %d, %v; want %d", got, err, tc.want)
			}
			if got := c.Type(ctx, "big").Val(); got != tc.kind {
				t.Errorf("type = %s", got)
			}
			c.Del(ctx, "big")
		})
	}
}
