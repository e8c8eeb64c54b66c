package commands

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

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
var targets = []struct {
	name string
	Target
}{
	{"redis-8.6", everything},
	{"valkey-9.1", Target{FieldExpiry: true, CreateConsumer: true, StreamCounters: true}},
	{"redis-8.0", Target{FieldExpiry: true, CreateConsumer: true, StreamCounters: true}},
	{"redis-6.0", Target{}},
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
	return dumpBytes(t, c, key).decode(t)
}

func dumpBytes(t *testing.T, c *redis.Client, key string) serialized {
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
	return s
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

// oddKeys fills a server with what the fixtures lack.
func oddKeys(t *testing.T, c *redis.Client, target Target) map[string]serialized {
	t.Helper()
	do := func(args ...any) {
		t.Helper()
		if err := c.Do(t.Context(), args...).Err(); err != nil && err != redis.Nil {
			t.Fatalf("%v: %v", args, err)
		}
	}
	do("CONFIG", "SET", "stream-node-max-entries", 4)
	for i := range 40 {
		do("XADD", "stream:odd", fmt.Sprintf("%d-1", 100+i), "a", i, fmt.Sprint("b", i%3), strings.Repeat("x", i*7), "", "")
	}
	for _, g := range []string{"one", "two", ""} {
		do("XGROUP", "CREATE", "stream:odd", g, 0)
		for i, n := range []int{3, 12, 5} {
			do("XREADGROUP", "GROUP", g, fmt.Sprint("consumer", i), "COUNT", n, "STREAMS", "stream:odd", ">")
		}
		do("XCLAIM", "stream:odd", g, "consumer1", 0, "101-1", "102-1", "110-1", "TIME", 5000, "RETRYCOUNT", 9)
	}
	do("XGROUP", "CREATE", "stream:odd", "first", "100-1")
	do("XGROUP", "CREATE", "stream:odd", "middle", "107-1")
	do("XGROUP", "CREATE", "stream:odd", "beyond", "999-999")
	do("XGROUP", "DESTROY", "stream:odd", "two")
	do("XACK", "stream:odd", "one", "103-1")
	dump := func(copy string) {
		do("EVAL", "return redis.call('RESTORE', KEYS[2], 0, redis.call('DUMP', KEYS[1]))", 2, "stream:odd", copy)
	}
	dump("stream:odd:whole")
	do("XDEL", "stream:odd", "101-1", "104-1", "105-1", "120-1", "139-1") // of which some are pending
	dump("stream:odd:deleted")
	do("XTRIM", "stream:odd", "MAXLEN", 10)
	dump("stream:odd:trimmed")
	do("XTRIM", "stream:odd", "MAXLEN", 0)
	do("SET", "string:long", strings.Repeat("0123456789abcdef", 20000)+"end")
	do("ZADD", "zset:scores", 0.1, "a", "1e-320", "b", "-1.7976931348623157e308", "c", "9007199254740993", "d", "-0", "e", "123456789.123456789", "f")
	if target.Idempotence {
		do("XADD", "stream:idmp", "1-1", "a", "b")
		do("XCFGSET", "stream:idmp", "IDMP-DURATION", 5000, "IDMP-MAXSIZE", 33)
		for i := range 50 {
			id, err := c.Do(t.Context(), "XADD", "stream:idmp", "IDMP", fmt.Sprint("p", i%2), i, "*", "f", i).Text()
			if err != nil {
				t.Fatal(err)
			}
			if i%7 == 0 {
				do("XDEL", "stream:idmp", id)
			}
		}
	}
	values := map[string]serialized{}
	for _, key := range c.Keys(t.Context(), "*").Val() {
		values[key] = dumpBytes(t, c, key)
	}
	return values
}

// TestServers writes all fixtures to servers of several versions, in large and
// in tiny commands. What comes of it must be the value, and what the server
// makes of the value's bytes where it takes them.
func TestServers(t *testing.T) {
	values := map[string]serialized{}
	for name, s := range rareValues {
		values["rare/"+name] = s
	}
	for _, fixture := range fixtures {
		for key, s := range readFixture(t, fixture) {
			values[fixture+"/"+key] = s
		}
	}
	type server struct {
		name string
		*redis.Client
		Target
	}
	var servers []server
	add := func(name, binary string, target Target) {
		c := start(t, binary)
		for key, s := range oddKeys(t, c, target) {
			values[name+"/"+key] = s
		}
		servers = append(servers, server{name, c, target})
	}
	add("the system's", "", system)
	if dir := os.Getenv(serversEnv); dir != "" {
		for _, s := range targets {
			add(s.name, filepath.Join(dir, s.name, "bin", "redis-server"), s.Target)
		}
	}
	for _, server := range servers {
		c, target := server.Client, server.Target
		t.Run(server.name, func(t *testing.T) {
			compared, taken := 0, 0
			for name, s := range values {
				key := name[strings.LastIndexByte(name, '/')+1:]
				want := s.decode(t)
				want.DropExpired(time.Now().UnixMilli())
				if want.Type == "hash" && !target.FieldExpiry && slices.ContainsFunc(want.Hash, func(f decode.Field) bool { return f.ExpireAt != 0 }) {
					continue
				}
				report := func(what, difference string) {
					if difference != "" {
						t.Errorf("%s of type %d, %s: %s", name, s.typ, what, difference)
					}
				}
				c.FlushAll(t.Context())
				native(t, c, key, s, Options{Target: target})
				large := dump(t, c, key)
				c.FlushAll(t.Context())
				native(t, c, key, s, Options{Target: target, MaxBytes: 50 + len(s.body)/20, MaxElements: 3})
				small := dump(t, c, key)
				c.FlushAll(t.Context())
				report("in tiny commands", decode.Difference(sayable(large, target), sayable(small, target)))
				report("against its bytes", decode.Difference(sayable(want, target), sayable(large, target)))
				if restored := restore(t, c, key, s); restored != nil {
					taken++
					restored.DropExpired(time.Now().UnixMilli())
					report("against RESTORE", decode.Difference(sayable(restored, target), sayable(large, target)))
				}
				compared++
			}
			t.Logf("%d values, of which the server also took %d as they are", compared, taken)
			if compared < 400 || taken < 100 {
				t.Errorf("only %d values and %d restored ones were compared", compared, taken)
			}
		})
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
		g.EntriesRead = max(g.EntriesRead, unknownRead)
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
