package main

import (
	"slices"
	"testing"
)

// TestExpected holds the facts about servers against what RESTORE answered on
// some of them: which RDB types of one are refused by another even under the
// lowest RDB version that has them, and whether any payload is taken as it is.
func TestExpected(t *testing.T) {
	byName := map[string]*version{}
	for i := range versions {
		byName[versions[i].name] = &versions[i]
	}
	stored := map[string][]byte{ // what each writes: string, hash, list, sets, sorted sets, stream, field TTLs
		"redis-6.0":  {0, 13, 4, 14, 11, 2, 12, 5, 15},
		"redis-7.0":  {0, 16, 4, 18, 11, 2, 17, 5, 19},
		"redict-7.3": {0, 16, 4, 18, 11, 20, 2, 17, 5, 21},
		"redis-8.0":  {0, 16, 4, 18, 11, 20, 2, 17, 5, 21, 24, 25},
		"redis-8.6":  {0, 16, 4, 18, 11, 20, 2, 17, 5, 26, 24, 25},
		"valkey-9.1": {0, 16, 4, 18, 11, 20, 2, 17, 5, 21, 22},
	}
	for _, tc := range []struct {
		from, to string
		asIs     bool
		refused  []byte
	}{
		{"redis-8.6", "redis-8.0", false, []byte{26}},
		{"redis-8.0", "redis-7.0", false, []byte{20, 21, 24, 25}},
		{"redis-8.0", "valkey-9.1", false, []byte{24, 25}},
		{"redis-8.6", "valkey-8.1", false, []byte{26, 24, 25}},
		{"valkey-9.1", "redis-8.6", false, []byte{22}},
		{"valkey-9.1", "redis-7.0", false, []byte{20, 21, 22}},
		{"redict-7.3", "redis-7.0", false, []byte{20, 21}},
		{"redis-7.0", "redis-6.0", false, []byte{16, 18, 17, 19}},
		{"redis-8.0", "redis-6.0", false, []byte{16, 18, 20, 17, 21, 24, 25}},
		{"redis-6.0", "redis-8.6", true, nil},
		{"redis-6.0", "valkey-9.1", true, nil},
		{"redis-7.0", "valkey-9.1", true, nil},
	} {
		t.Run(tc.from+" to "+tc.to, func(t *testing.T) {
			var refusedTypes []byte
			for _, typ := range stored[tc.from] {
				taken := stampWay
				if tc.asIs {
					taken = bytesWay
				}
				v := value{typ: typ, rdb: byName[tc.from].dump}
				switch got := expected(byName[tc.to], viaScan, v, false); got {
				case taken:
				case refused:
					refusedTypes = append(refusedTypes, typ)
				default:
					t.Errorf("type %d: %s", typ, got)
				}
			}
			if !slices.Equal(refusedTypes, tc.refused) {
				t.Errorf("%v are refused, want %v", refusedTypes, tc.refused)
			}
		})
	}
}
