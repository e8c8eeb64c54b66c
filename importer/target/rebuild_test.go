package target

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/slotferry/slotferry/checkpoint"
	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/internal/dataset"
	"github.com/slotferry/slotferry/internal/sandbox"
	"github.com/slotferry/slotferry/internal/sandbox/sandboxtest"
)

// dumped returns a key of a server as a live source yields it.
func dumped(t *testing.T, c *redis.Client, key string) *record.Record {
	t.Helper()
	payload, err := c.Dump(t.Context(), key).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	left, err := c.PTTL(t.Context(), key).Result()
	if err != nil {
		t.Fatal(err)
	}
	at := int64(0)
	if left > 0 { // servers before 7.0 don't tell when
		at = time.Now().Add(left).UnixMilli()
		if exact, err := c.Do(t.Context(), "PEXPIRETIME", key).Int64(); err == nil {
			at = exact
		}
	}
	footer := len(payload) - footerBytes
	return &record.Record{Key: []byte(key), Type: payload[0], Value: payload[1:footer], Footer: payload[footer:], ExpireAt: at}
}

// long values of all types, each of more than one transaction.
func fillLong(t *testing.T, c *redis.Client) {
	t.Helper()
	const script = `
		local word = string.rep('w', 100)
		for i = 1, 4000 do
			redis.call('RPUSH', 'long:list', word .. i)
			redis.call('SADD', 'long:set', word .. i)
			redis.call('ZADD', 'long:zset', i / 7, word .. i)
			redis.call('HSET', 'long:hash', word .. i, i)
			redis.call('XADD', 'long:stream', i .. '-1', 'f', word .. i)
		end
		redis.call('XGROUP', 'CREATE', 'long:stream', 'g', '0')
		redis.call('XREADGROUP', 'GROUP', 'g', 'c', 'COUNT', 1000, 'STREAMS', 'long:stream', '>')
		redis.call('XGROUP', 'CREATE', 'short:stream', 'g', '7-7', 'MKSTREAM')
		redis.call('SET', 'long:string', string.rep('0123456789', 300000))
		redis.call('PEXPIREAT', 'long:set', 4102444812345)
		redis.call('PEXPIREAT', 'long:stream', 4102444812346)`
	if err := c.Eval(t.Context(), script, nil).Err(); err != nil && !errors.Is(err, redis.Nil) {
		t.Fatal(err)
	}
}

// noTemps fails if a temporary key is left.
func noTemps(t *testing.T, nodes *sandbox.Cluster) {
	t.Helper()
	masters, err := nodes.Masters(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range masters {
		names, _, err := m.Client().Scan(t.Context(), 0, checkpoint.TempPrefix+"*", 1_000_000).Result()
		if err != nil || len(names) > 0 {
			t.Errorf("%q are left on %s, %v", names, m.Addr, err)
		}
	}
}

// everyType sends all keys of a server, and compares.
func everyType(t *testing.T, source *redis.Client, nodes *sandbox.Cluster, o Options) *sending {
	t.Helper()
	keys := source.Keys(t.Context(), "*").Val()
	s := begin(t, nodes, o)
	for i, key := range keys {
		r := dumped(t, source, key)
		r.Owned = i%10 == 0
		s.must(s.record(r))
	}
	if err := s.ended(); err != nil {
		t.Fatal(err)
	}
	s.balanced()
	for _, f := range s.counts(len(keys), 0) {
		t.Errorf("%q: %s", f.Key, f.Reason)
	}
	report, err := dataset.Compare(t.Context(), source, nodes.Client(), dataset.CompareOptions{IgnoreConsumerTimes: true})
	if err != nil || !report.OK() || report.Compared != len(keys) {
		t.Errorf("%v, %v", report, err)
	}
	noTemps(t, nodes)
	return s
}

// filled returns a server with values of all types, short and long, but those
// that no command makes: pending entries of deleted ones.
func filled(t *testing.T) *redis.Client {
	t.Helper()
	source := sandboxtest.Server(t, sandbox.Options{}).Client()
	if _, err := dataset.Fill(t.Context(), source, dataset.Mixed(1500)); err != nil {
		t.Fatal(err)
	}
	for _, key := range source.Keys(t.Context(), "*").Val() {
		if source.Type(t.Context(), key).Val() == "stream" {
			source.Del(t.Context(), key)
		}
	}
	fillLong(t, source)
	return source
}

// TestRebuildAll rebuilds every value of every type.
func TestRebuildAll(t *testing.T) {
	nodes, source := sandboxtest.Cluster(t, sandbox.ClusterOptions{}), filled(t)
	keys := source.DBSize(t.Context()).Val()
	o := options(nodes)
	o.MaxCommand = 1
	needs := prepare(t, nodes, o).c.rebuildRights()
	for _, n := range nodes.Nodes {
		rule := []any{"ACL", "SETUSER", "ferry", "on", ">secret", "~*"}
		for _, right := range strings.Fields("+restore " + topologyRights + " " + needs) {
			rule = append(rule, right)
		}
		do(t, n, rule...)
	}
	o.Endpoint.Username, o.Endpoint.Password = "ferry", "secret"
	s := everyType(t, source, nodes, o)
	if n := s.c.Retries().Rebuilt; n != keys {
		t.Errorf("%d of %d values were rebuilt", n, keys)
	}

	t.Run("over what exists", func(t *testing.T) {
		s := everyType(t, source, nodes, o)
		if n := s.c.Retries().Rebuilt; n != keys {
			t.Errorf("%d of %d values were rebuilt", n, keys)
		}
	})

	t.Run("beside what exists", func(t *testing.T) {
		client := nodes.Client()
		for _, key := range []string{"long:list", "long:stream", "long:string"} {
			if err := client.Set(t.Context(), key, "older", 0).Err(); err != nil {
				t.Fatal(err)
			}
		}
		gone := []string{"long:set", "long:zset", "short:stream"}
		for _, key := range gone {
			if n, err := client.Del(t.Context(), key).Result(); n != 1 {
				t.Fatalf("%s: %d, %v", key, n, err)
			}
		}
		o := o
		o.Skip = true
		s := begin(t, nodes, o)
		for _, key := range source.Keys(t.Context(), "*").Val() {
			s.must(s.record(dumped(t, source, key)))
		}
		if err := s.ended(); err != nil {
			t.Fatal(err)
		}
		s.balanced()
		s.counts(len(gone), int(keys)-len(gone))
		for _, key := range []string{"long:list", "long:stream", "long:string"} {
			if v := client.Get(t.Context(), key).Val(); v != "older" {
				t.Errorf("%s was written over: %.20q", key, v)
			}
		}
		if n := client.SCard(t.Context(), "long:set").Val(); n != 4000 {
			t.Errorf("long:set has %d members", n)
		}
		noTemps(t, nodes)
	})
}

// TestRebuildOlder writes to a server that knows few of this machine's types.
func TestRebuildOlder(t *testing.T) {
	binary := filepath.Join(os.Getenv("SLOTFERRY_SERVERS"), "redis-6.0", "bin", "redis-server")
	if _, err := os.Stat(binary); err != nil {
		t.Skip("SLOTFERRY_SERVERS names no folder with redis-6.0")
	}
	nodes, source := sandboxtest.Cluster(t, sandbox.ClusterOptions{Options: sandbox.Options{Binary: binary}}), filled(t)
	s := everyType(t, source, nodes, options(nodes))
	n := s.c.Retries()
	if n.Rebuilt == 0 || n.Rebuilt >= s.tracker.Totals().Written {
		t.Errorf("%+v of %d keys", n, s.tracker.Totals().Written)
	}
}

// TestElements tells large collections from those stored in blocks.
func TestElements(t *testing.T) {
	count := []byte{0x80, 0, 0x1e, 0x84, 0x80} // 2 000 000
	after := append(make([]byte, 8), count...)
	for _, tc := range []struct {
		typ   byte
		value []byte
		want  int64
	}{
		{2, count, 2e6}, {4, count, 2e6}, {5, count, 2e6}, {3, count, 2e6}, {24, after, 2e6},
		{0, count, 0}, {18, count, 0}, {21, count, 0}, {5, []byte{0x80}, 0}, {24, make([]byte, 8), 0}, {2, nil, 0},
	} {
		large := io.NewSectionReader(bytes.NewReader(tc.value), 0, int64(len(tc.value)))
		for _, r := range []*record.Record{{Type: tc.typ, Value: tc.value}, {Type: tc.typ, Large: large}} {
			if n := elements(r); n != tc.want {
				t.Errorf("type %d, %x: %d elements, want %d", tc.typ, tc.value, n, tc.want)
			}
		}
	}
}

func TestStringBytes(t *testing.T) {
	for _, tc := range []struct {
		value string
		want  int64
	}{
		{"\x05hello", 5},
		{"\x41\x02", 258},
		{"\x80\x00\x01\x00\x00", 65536},
		{"\x81\x00\x00\x00\x01\x00\x00\x00\x00", 1 << 32},
		{"\xc3\x05\x80\x00\x1f\xff\xff", 0x1fffff},
		{"\xc3\x81\x00\x00\x00\x00\x00\x00\x00\x05\x81\x00\x00\x00\x01\x00\x00\x00\x00", 1 << 32},
		{"\xc0\x01", 0}, // a number
		{"\x81\x00", 0},
		{"\xc3", 0},
		{"", 0},
	} {
		for _, r := range []*record.Record{{Value: []byte(tc.value)}, {Large: io.NewSectionReader(strings.NewReader(tc.value), 0, int64(len(tc.value)))}} {
			if got := stringBytes(r); got != tc.want {
				t.Errorf("%q: %d, want %d", tc.value, got, tc.want)
			}
		}
	}
}

func FuzzStringBytes(f *testing.F) {
	f.Add([]byte("\xc3\x05\x80\x00\x1f\xff\xff"))
	f.Add([]byte("\x81\xff\xff\xff\xff\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, value []byte) {
		if n := stringBytes(&record.Record{Value: value}); n < 0 {
			t.Errorf("%q has %d bytes", value, n)
		}
	})
}
