package commands

import (
	"bytes"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/slotferry/slotferry/internal/sandbox"
	"github.com/slotferry/slotferry/internal/sandbox/sandboxtest"
	"github.com/slotferry/slotferry/rdbparse"
	"github.com/slotferry/slotferry/rdbparse/decode"
)

// fixtures are what servers of all versions saved of the same keys.
var fixtures = []string{
	"redis-6.0", "redis-7.0", "redis-7.0-plain", "redict-7.3",
	"redis-8.0", "redis-8.6", "valkey-8.0", "valkey-8.1", "valkey-9.1",
}

// targets are the servers that commands are tried on, where they are at hand,
// besides the system's.
var targets = map[string]Target{
	"redis-6.0":  {},
	"redis-8.0":  {FieldExpiry: true, CreateConsumer: true, StreamCounters: true},
	"redis-8.6":  {FieldExpiry: true, CreateConsumer: true, StreamCounters: true, Idempotence: true},
	"valkey-9.1": {FieldExpiry: true, CreateConsumer: true, StreamCounters: true},
}

// system is what every server understands that tests may find installed.
var system = Target{CreateConsumer: true, StreamCounters: true}

// serversEnv names a folder of servers: redis-8.0/bin/redis-server, …
const serversEnv = "SLOTFERRY_SERVERS"

// serialized is one value as a server wrote it.
type serialized struct {
	vendor rdbparse.Vendor
	typ    byte
	body   []byte
}

func (s serialized) decode(t testing.TB) *decode.Value {
	t.Helper()
	v, err := decode.Decode(s.vendor, s.typ, s.body)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// readFixture gives the values of database 0 by key.
func readFixture(t testing.TB, name string) map[string]serialized {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "testdata", name+".rdb"))
	if err != nil {
		t.Fatal(err)
	}
	w, err := rdbparse.NewWalker(bytes.NewReader(data), rdbparse.Options{InlineMax: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]serialized{}
	for {
		e, err := w.Next()
		if err == io.EOF {
			return values
		}
		if err != nil {
			t.Fatal(err)
		}
		if e.Kind == rdbparse.KindKey && e.DB == 0 && e.Module == "" {
			values[string(e.Key)] = serialized{w.Header().Vendor, e.Type, bytes.Clone(e.Value)}
		}
	}
}

func start(t *testing.T, binary string) *redis.Client {
	t.Helper()
	o := sandboxtest.Server(t, sandbox.Options{Binary: binary}).ClientOptions()
	o.Protocol = 2
	c := redis.NewClient(o)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// native makes a value with the commands that Write gives.
func native(t *testing.T, c *redis.Client, key string, s serialized, o Options) {
	t.Helper()
	err := Write(s.vendor, s.typ, bytes.NewReader(s.body), []byte(key), o, func(words [][]byte) error {
		args := make([]any, len(words))
		for i, word := range words {
			args[i] = string(word)
		}
		if err := c.Do(t.Context(), args...).Err(); err != nil {
			t.Errorf("%.200q: %v", args, err)
		}
		return nil
	})
	if err != nil {
		t.Errorf("%q of type %d: %v", key, s.typ, err)
	}
}

func dump(t *testing.T, c *redis.Client, key string) *decode.Value {
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
	if version >= rdbparse.FirstValkey {
		s.vendor = rdbparse.Valkey
	}
	return s.decode(t)
}

// restore gives a value to a server as it is; nil means that it doesn't take it.
func restore(t *testing.T, c *redis.Client, key string, s serialized) *decode.Value {
	t.Helper()
	payload := rdbparse.AppendPayload(nil, s.typ, s.body, rdbparse.LowestVersion(s.typ))
	err := c.Do(t.Context(), "RESTORE", key, 0, payload).Err()
	if err == nil {
		return dump(t, c, key)
	}
	if err.Error() != "ERR Bad data format" && err.Error() != "ERR DUMP payload version or checksum are wrong" {
		t.Fatalf("RESTORE %q of type %d: %v", key, s.typ, err)
	}
	return nil
}

// TestServers writes all fixtures to servers of several versions, in large and
// in tiny commands. What comes of it must be the value, and what the server
// makes of the value's bytes where it takes them.
func TestServers(t *testing.T) {
	run := func(name, binary string, target Target) {
		t.Run(name, func(t *testing.T) {
			c := start(t, binary)
			compared, taken := 0, 0
			for _, fixture := range fixtures {
				values := readFixture(t, fixture)
				for _, key := range slices.Sorted(maps.Keys(values)) {
					s := values[key]
					if strings.HasPrefix(key, "hash:ttl:") && !target.FieldExpiry {
						continue
					}
					c.FlushAll(t.Context())
					native(t, c, key, s, Options{Target: target})
					large := dump(t, c, key)
					c.FlushAll(t.Context())
					native(t, c, key, s, Options{Target: target, MaxBytes: 50, MaxElements: 3})
					small := dump(t, c, key)
					c.FlushAll(t.Context())
					report := func(what, difference string) {
						if difference != "" {
							t.Errorf("%s: %q of type %d, %s: %s", fixture, key, s.typ, what, difference)
						}
					}
					report("in tiny commands", decode.Difference(sayable(large, target), sayable(small, target)))
					report("against its bytes", decode.Difference(sayable(s.decode(t), target), sayable(large, target)))
					if restored := restore(t, c, key, s); restored != nil {
						taken++
						report("against RESTORE", decode.Difference(sayable(restored, target), sayable(large, target)))
					}
					compared++
				}
			}
			t.Logf("%d values, of which the server also took %d as they are", compared, taken)
			if compared < 400 || taken < 100 {
				t.Errorf("only %d values and %d restored ones were compared", compared, taken)
			}
		})
	}
	run("the system's", "", system)
	dir := os.Getenv(serversEnv)
	for name, target := range targets {
		if binary := filepath.Join(dir, name, "bin", "redis-server"); dir != "" {
			run(name, binary, target)
		}
	}
}

// sayable is v without what commands can't say.
func sayable(v *decode.Value, target Target) *decode.Value {
	if v.Stream == nil {
		return v
	}
	live := map[decode.ID]bool{}
	for _, e := range v.Stream.Entries {
		live[e.ID] = true
	}
	for i := range v.Stream.Groups {
		g := &v.Stream.Groups[i]
		g.Pending = slices.DeleteFunc(g.Pending, func(p decode.Pending) bool { return !live[p.ID] })
		for i := range g.Consumers {
			g.Consumers[i].SeenAt, g.Consumers[i].ActiveAt = 0, 0
		}
	}
	if x := v.Stream.Idempotence; x != nil {
		x.Added, x.Duplicates = 0, 0
		for i := range x.Producers {
			p := &x.Producers[i]
			p.IDs = slices.DeleteFunc(p.IDs, func(p decode.Produced) bool { return !live[p.ID] })
		}
		x.Producers = slices.DeleteFunc(x.Producers, func(p decode.Producer) bool { return len(p.IDs) == 0 })
	}
	return v
}
