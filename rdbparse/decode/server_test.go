package decode

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/slotferry/slotferry/internal/dataset"
	"github.com/slotferry/slotferry/internal/sandbox"
	"github.com/slotferry/slotferry/internal/sandbox/sandboxtest"
	"github.com/slotferry/slotferry/rdbparse"
)

// serversEnv names a folder of servers: redis-8.0/bin/redis-server, …
const serversEnv = "SLOTFERRY_SERVERS"

// otherServers are those that are at hand besides the system's.
func otherServers(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	if dir := os.Getenv(serversEnv); dir != "" {
		for _, name := range fixtures {
			path := filepath.Join(dir, name, "bin", "redis-server")
			if _, err := os.Stat(path); err == nil {
				found[name] = path
			}
		}
		if len(found) == 0 {
			t.Fatalf("no servers in %s", dir)
		}
	}
	return found
}

func start(t *testing.T, binary string) *redis.Client {
	t.Helper()
	return database(t, sandboxtest.Server(t, sandbox.Options{Binary: binary}).ClientOptions(), 0)
}

// database is a client whose replies come in the shapes of RESP2.
func database(t *testing.T, o *redis.Options, db int) *redis.Client {
	o.Protocol, o.DB = 2, db
	c := redis.NewClient(o)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func fill(t *testing.T, c *redis.Client, keys int) {
	t.Helper()
	o := dataset.Mixed(keys)
	o.DB = c.Options().DB
	if _, err := dataset.Fill(t.Context(), c, o); err != nil {
		t.Fatal(err)
	}
}

func dump(t *testing.T, c *redis.Client, key string) serialized {
	t.Helper()
	payload, err := c.Dump(t.Context(), key).Result()
	if err != nil {
		t.Fatalf("DUMP %q: %v", key, err)
	}
	typ, body, version, err := rdbparse.SplitPayload([]byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	s := serialized{rdbparse.Redis, typ, body}
	if version >= 80 {
		s.vendor = rdbparse.Valkey
	}
	return s
}

func dumpAll(t *testing.T, c *redis.Client) map[string]serialized {
	t.Helper()
	all := map[string]serialized{}
	for _, key := range c.Keys(t.Context(), "*").Val() {
		all[key] = dump(t, c, key)
	}
	return all
}

// TestServers fills servers of all versions at hand with the same keys and gives
// each of them all fixtures. What is decoded must be what the server's own
// commands say, the same as what another version made of the same commands, and
// for fixtures what was given.
func TestServers(t *testing.T) {
	const keys = 2000
	first := start(t, "")
	fill(t, first, keys)
	fillWidths(t, first)
	want := dumpAll(t, first)
	servers := otherServers(t)
	servers["the system's"] = ""
	for name, binary := range servers {
		t.Run(name, func(t *testing.T) {
			c := start(t, binary)
			fill(t, c, keys)
			fillWidths(t, c)
			for key, s := range dumpAll(t, c) {
				v := s.decode(t)
				sameAsNative(t, c, key, v)
				if d := timelessDifference(undying(want[key].decode(t)), undying(v)); d != "" {
					t.Errorf("%q of types %d and %d: %s", key, want[key].typ, s.typ, d)
				}
			}
			taken := 0
			for _, fixture := range fixtures {
				for key, s := range readFixture(t, fixture) {
					if !restore(t, c, key, s, rdbparse.LowestVersion(s.typ)) {
						continue
					}
					taken++
					back := dump(t, c, key)
					v := back.decode(t)
					sameAsNative(t, c, key, v)
					if d := Difference(s.decode(t), v); d != "" {
						t.Errorf("%s: %q of type %d comes back as type %d: %s", fixture, key, s.typ, back.typ, d)
					}
				}
			}
			for _, tc := range oldValues {
				if tc.name == "zset with what is no number" {
					continue // which servers refuse
				}
				version := rdbparse.LowestVersion(tc.typ)
				if tc.typ >= rdbparse.TypeHashTTLRC {
					if !strings.HasPrefix(name, "redis-8") {
						continue
					}
					version = 12
				}
				if !restore(t, c, tc.name, serialized{typ: tc.typ, body: []byte(tc.body)}, version) {
					t.Errorf("%s of type %d was not taken", tc.name, tc.typ)
					continue
				}
				kind := rdbparse.TypeName(rdbparse.Redis, tc.typ)
				if got := fmt.Sprint(native(t, c, kind, tc.name)); got != tc.want {
					t.Errorf("%s of type %d is %.300s, want %.300s", tc.name, tc.typ, got, tc.want)
				}
			}
			if taken < 50 {
				t.Errorf("only %d fixtures were taken", taken)
			}
		})
	}
}

// fillWidths adds packed values with strings and integers of every width that
// ziplists and listpacks know, and with all widths of what stands around them.
func fillWidths(t *testing.T, c *redis.Client) {
	t.Helper()
	var elements, pairs, scores []any
	add := func(e any) {
		elements = append(elements, e)
		pairs = append(pairs, fmt.Sprint("f", len(pairs)), e)
	}
	for k := range 64 {
		for _, i := range []int64{1<<k - 1, 1 << k, -(1 << k), -(1 << k) - 1} {
			add(strconv.FormatInt(i, 10))
			scores = append(scores, strconv.FormatInt(i, 10), fmt.Sprint("m", len(scores)), float64(i)/8, fmt.Sprint("m", len(scores), "/8"))
		}
	}
	for _, n := range []int{0, 63, 64, 120, 127, 128, 252, 253, 254, 4095, 4096, 16377, 16378, 16379, 16380, 16383, 16384, 65536} {
		add(strings.Repeat("x", n))
	}
	do := func(args ...any) {
		if err := c.Do(t.Context(), args...).Err(); err != nil {
			t.Fatalf("%v: %v", args[:2], err)
		}
	}
	for _, name := range []string{"hash-max-ziplist-entries", "hash-max-ziplist-value", "zset-max-ziplist-entries"} {
		do("CONFIG", "SET", name, 1<<20)
	}
	do("CONFIG", "SET", "list-max-ziplist-size", 1<<15-1)
	do("CONFIG", "SET", "list-compress-depth", 1)
	do(append([]any{"RPUSH", "widths:list"}, elements...)...)
	do(append([]any{"HSET", "widths:hash"}, pairs...)...)
	do(append([]any{"ZADD", "widths:zset"}, scores...)...)
	for _, key := range []string{"widths:hash", "widths:zset"} {
		if got := c.ObjectEncoding(t.Context(), key).Val(); got != "listpack" && got != "ziplist" {
			t.Errorf("%s is a %s", key, got)
		}
	}
}

// undying is v without expiries, which not every server has.
func undying(v *Value) *Value {
	for i := range v.Hash {
		v.Hash[i].ExpireAt = 0
	}
	return v
}

func sameAsNative(t *testing.T, c *redis.Client, key string, v *Value) {
	t.Helper()
	got, want := lines(v), native(t, c, v.Type, key)
	if i, ok := firstDifferent(want, got); ok {
		t.Errorf("%q, a %s, line %d of %d:\n got %.200s\nwant %.200s", key, v.Type, i, len(want), at(got, i), at(want, i))
	}
}

func firstDifferent(a, b []string) (int, bool) {
	for i := range max(len(a), len(b)) {
		if at(a, i) != at(b, i) {
			return i, true
		}
	}
	return 0, false
}

func at(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return "nothing"
}

// restore gives a value to a server, which may be too old for it.
func restore(t *testing.T, c *redis.Client, key string, s serialized, version uint16) bool {
	t.Helper()
	payload := rdbparse.AppendPayload(nil, s.typ, s.body, version)
	err := c.Do(t.Context(), "RESTORE", key, 0, payload, "REPLACE").Err()
	if err != nil && err.Error() != "ERR Bad data format" && err.Error() != "ERR DUMP payload version or checksum are wrong" {
		t.Fatalf("RESTORE %q of type %d: %v", key, s.typ, err)
	}
	return err == nil
}

// TestEncodings fills two databases with the same keys, of which the second
// knows no compact encodings and small nodes only.
func TestEncodings(t *testing.T) {
	s := sandboxtest.Server(t, sandbox.Options{})
	compact, loose := database(t, s.ClientOptions(), 0), database(t, s.ClientOptions(), 1)
	fill(t, compact, 2000)
	if err := compact.ConfigSet(t.Context(), "rdbcompression", "yes").Err(); err != nil {
		t.Fatal(err)
	}
	before := dumpAll(t, compact)
	for name, value := range map[string]string{
		"hash-max-ziplist-entries": "0", "zset-max-ziplist-entries": "0", "set-max-intset-entries": "0",
		"set-max-listpack-entries": "0", "list-max-ziplist-size": "3", "stream-node-max-entries": "3", "rdbcompression": "no",
	} {
		err := loose.ConfigSet(t.Context(), name, value).Err()
		if err != nil && (name != "set-max-listpack-entries" || s.Version.AtLeast(7, 2)) {
			t.Fatal(err)
		}
	}
	fill(t, loose, 2000)
	others := map[string]int{}
	got := dumpAll(t, loose)
	for key, a := range before {
		b := got[key]
		want, got := a.decode(t), b.decode(t)
		if a.typ != b.typ || len(a.body) != len(b.body) {
			others[want.Type]++
		}
		if d := timelessDifference(want, got); d != "" {
			t.Errorf("%q of types %d and %d: %s", key, a.typ, b.typ, d)
		}
	}
	kinds := slices.Sorted(maps.Keys(others))
	if want := []string{"hash", "list", "set", "stream", "string", "zset"}; !slices.Equal(kinds, want) {
		t.Errorf("stored in other ways: %v", others)
	}
}

// timelessDifference leaves out when consumers did what they did.
func timelessDifference(want, got *Value) string {
	for _, v := range []*Value{want, got} {
		if v.Stream == nil {
			continue
		}
		for _, g := range v.Stream.Groups {
			for i := range g.Pending {
				g.Pending[i].DeliveredAt = 0
			}
			for i := range g.Consumers {
				g.Consumers[i].SeenAt, g.Consumers[i].ActiveAt = 0, 0
			}
		}
	}
	return Difference(want, got)
}
