package dataset_test

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/slotferry/slotferry/internal/dataset"
	"github.com/slotferry/slotferry/internal/sandbox"
	"github.com/slotferry/slotferry/internal/sandbox/sandboxtest"
)

func fill(t *testing.T, c *redis.Client, o dataset.Options) dataset.Stats {
	t.Helper()
	start := time.Now()
	stats, err := dataset.Fill(t.Context(), c, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("filled %+v in %s", stats, time.Since(start).Round(time.Millisecond))
	return stats
}

func TestFill(t *testing.T) {
	s := sandboxtest.Server(t, sandbox.Options{})
	ctx, c := t.Context(), s.Client()
	o := dataset.Mixed(5000)
	stats := fill(t, c, o)
	if n := c.DBSize(ctx).Val(); n != 5000 || stats.Keys != 5000 {
		t.Errorf("%d keys are there, %d were promised", n, stats.Keys)
	}
	want := map[string]int{"string": 3000, "hash": 1000, "list": 400, "set": 300, "zset": 250, "stream": 50}
	if !maps.Equal(stats.Types, want) {
		t.Errorf("types %v, want %v", stats.Types, want)
	}
	info := c.InfoMap(ctx, "keyspace").Val()["Keyspace"]["db0"]
	if want := "keys=5000,expires=" + strconv.Itoa(stats.Expiring); !strings.HasPrefix(info, want) || stats.Expiring < 400 {
		t.Errorf("INFO says %q, Fill %q", info, want)
	}
	if s.Version.AtLeast(7, 0) {
		if got, err := c.FCall(ctx, "slotferry_answer", nil).Int(); err != nil || got != 42 {
			t.Errorf("FCALL = %v, %v", got, err)
		}
	}
	if n, err := c.Exists(ctx, "").Result(); err != nil || n != 1 {
		t.Errorf("the key without a name: %d, %v", n, err)
	}

	seen := encodings(t, c)
	small := "listpack"
	if !s.Version.AtLeast(7, 0) {
		small = "ziplist"
	}
	for _, want := range []string{
		"string int", "string embstr", "string raw", "hash hashtable", "hash " + small, "list quicklist",
		"set intset", "set hashtable", "zset skiplist", "zset " + small, "stream stream",
	} {
		if seen[want] == 0 {
			t.Errorf("no %s among %v", want, seen)
		}
	}
}

func encodings(t *testing.T, c *redis.Client) map[string]int {
	t.Helper()
	ctx, seen := t.Context(), map[string]int{}
	it := c.Scan(ctx, 0, "", 1000).Iterator()
	for it.Next(ctx) {
		kind, err := c.Type(ctx, it.Val()).Result()
		if err != nil {
			t.Fatal(err)
		}
		seen[kind+" "+c.ObjectEncoding(ctx, it.Val()).Val()]++
	}
	if it.Err() != nil {
		t.Fatal(it.Err())
	}
	return seen
}

func TestFillIsDeterministic(t *testing.T) {
	ctx := t.Context()
	var dumps [2]map[string]string
	for i := range dumps {
		s := sandboxtest.Server(t, sandbox.Options{})
		fill(t, s.Client(), dataset.Options{Keys: 2500, Seed: 42, DB: 3, Prefix: "p:", HashTags: true, BinaryKeys: true})
		if n := s.Client().DBSize(ctx).Val(); n != 0 {
			t.Errorf("database 0 has %d keys", n)
		}
		dumps[i] = map[string]string{}
		o := s.ClientOptions()
		o.DB = 3
		c := redis.NewClient(o)
		defer func() { _ = c.Close() }()
		for _, key := range c.Keys(ctx, "*").Val() {
			if !strings.HasPrefix(key, "p:") {
				t.Errorf("%q lacks the prefix", key)
			}
			// Streams carry times of delivery, tables come in any order.
			if kind := c.Type(ctx, key).Val(); kind == "string" || kind == "list" {
				dumps[i][key] = c.Dump(ctx, key).Val() + c.PTTL(ctx, key).String()[:4]
			} else {
				dumps[i][key] = kind
			}
		}
	}
	if len(dumps[0]) != 2500 || !maps.Equal(dumps[0], dumps[1]) {
		t.Errorf("%d and %d keys, and they differ", len(dumps[0]), len(dumps[1]))
	}
}

func TestFillStringsOnly(t *testing.T) {
	s := sandboxtest.Server(t, sandbox.Options{})
	stats := fill(t, s.Client(), dataset.Options{Keys: 100, StringBytes: 64, NoExpiry: true})
	if stats.Types["string"] != 100 || stats.Expiring != 0 {
		t.Errorf("%+v", stats)
	}
	if n := s.Client().StrLen(t.Context(), "key:00000099").Val(); n != 64 {
		t.Errorf("a string of %d bytes", n)
	}
}

// carry copies everything by DUMP and RESTORE, under the name that name gives.
func carry(t *testing.T, s *sandbox.Server, db int, to *redis.ClusterClient, name func(int, string) (string, bool)) {
	t.Helper()
	ctx := t.Context()
	o := s.ClientOptions()
	o.DB = db
	from := redis.NewClient(o)
	defer func() { _ = from.Close() }()
	askExpiry := "PEXPIRETIME"
	if !s.Version.AtLeast(7, 0) {
		askExpiry = "PTTL"
	}
	for chunk := range slices.Chunk(from.Keys(ctx, "*").Val(), 500) {
		read, write := from.Pipeline(), to.Pipeline()
		dumps, expiries := make([]*redis.StringCmd, len(chunk)), make([]*redis.Cmd, len(chunk))
		for i, key := range chunk {
			dumps[i], expiries[i] = read.Dump(ctx, key), read.Do(ctx, askExpiry, key)
		}
		if _, err := read.Exec(ctx); err != nil {
			t.Fatal(err)
		}
		for i, key := range chunk {
			at, err := expiries[i].Int64()
			if err != nil {
				t.Fatal(err)
			}
			if at > 0 && askExpiry == "PTTL" {
				at += time.Now().UnixMilli()
			}
			if as, ok := name(db, key); ok {
				write.Do(ctx, "RESTORE", as, max(0, at), dumps[i].Val(), "REPLACE", "ABSTTL")
			}
		}
		if _, err := write.Exec(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

func same(_ int, key string) (string, bool) { return key, true }

func compare(t *testing.T, s *sandbox.Server, c *sandbox.Cluster, o dataset.CompareOptions) dataset.Report {
	t.Helper()
	start := time.Now()
	r, err := dataset.Compare(t.Context(), s.Client(), c.Client(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s\nin %s", r, time.Since(start).Round(time.Millisecond))
	return r
}

// tamper is one change to a true copy, and what Compare must say of it.
type tamper struct {
	name string
	key  string // as %q shows it
	do   func(ctx context.Context, c *redis.ClusterClient) error
	kind func(dataset.Report) dataset.Problems
}

func missing(r dataset.Report) dataset.Problems   { return r.Missing }
func extra(r dataset.Report) dataset.Problems     { return r.Extra }
func different(r dataset.Report) dataset.Problems { return r.Different }
func ttl(r dataset.Report) dataset.Problems       { return r.TTL }

// command changes a key by one command whose second word is the key.
func command(args ...any) func(context.Context, *redis.ClusterClient) error {
	return func(ctx context.Context, c *redis.ClusterClient) error { return c.Do(ctx, args...).Err() }
}

const far = 4102444800001

func tampers(fieldTTL, exact bool) []tamper {
	list := []tamper{
		{"deleted", "t:string", command("DEL", "t:string"), missing},
		{"added", "t:new", command("SET", "t:new", "1"), extra},
		{"added, odd name", "t:\x00\xff\r\n", command("SET", "t:\x00\xff\r\n", "1"), extra},
		{"string", "t:string", command("SET", "t:string", "other"), different},
		{"one byte", "t:string", command("SETRANGE", "t:string", 3, "\x00"), different},
		{"type", "t:string", func(ctx context.Context, c *redis.ClusterClient) error {
			c.Del(ctx, "t:string")
			return c.RPush(ctx, "t:string", "string value").Err()
		}, different},
		{"expiry gone", "t:expiring", command("PERSIST", "t:expiring"), ttl},
		{"expiry new", "t:string", command("PEXPIREAT", "t:string", far), ttl},
		{"expiry a minute late", "t:expiring", command("PEXPIREAT", "t:expiring", far+60000), ttl},
		{"hash value", "t:hash", command("HSET", "t:hash", "field:400", "x"), different},
		{"hash field more", "t:hash", command("HSET", "t:hash", "z", ""), different},
		{"hash field less", "t:hash", command("HDEL", "t:hash", "field:0"), different},
		{"list order", "t:list", command("RPOPLPUSH", "t:list", "t:list"), different},
		{"set member", "t:set", command("SREM", "t:set", "member:5"), different},
		{"zset score", "t:zset", command("ZADD", "t:zset", "inf", "m7"), different},
		{"zset small score", "t:zset", command("ZINCRBY", "t:zset", "0.001", "m3"), different},
		{"stream entry", "t:stream", command("XDEL", "t:stream", "3-0"), different},
		{"stream last id", "t:stream", command("XSETID", "t:stream", "99-0"), different},
		{"stream acknowledged", "t:stream", command("XACK", "t:stream", "g", "1-0"), different},
		{"stream group", "t:stream", command("XGROUP", "CREATE", "t:stream", "h", "$"), different},
		{"stream owner", "t:stream", command("XCLAIM", "t:stream", "g", "bob", 0, "1-0"), different},
	}
	if exact {
		list = append(list, tamper{"expiry a millisecond late", "t:expiring", command("PEXPIREAT", "t:expiring", far+1), ttl})
	}
	if fieldTTL {
		list = append(list, tamper{"field expiry", "t:hash", command("HPEXPIREAT", "t:hash", far+2, "FIELDS", 1, "field:1"), different})
	}
	return list
}

// specimens are the keys that tampers change. The large ones are tables, whose
// DUMP bytes differ after a true copy as well.
func specimens(t *testing.T, c *redis.Client) {
	t.Helper()
	ctx, pipe := t.Context(), c.Pipeline()
	pipe.Set(ctx, "t:string", "string value", 0)
	pipe.Set(ctx, "t:expiring", "string value", 0)
	pipe.Do(ctx, "PEXPIREAT", "t:expiring", far)
	for i := range 1000 {
		n := strconv.Itoa(i)
		pipe.HSet(ctx, "t:hash", "field:"+n, n)
		pipe.RPush(ctx, "t:list", n)
		pipe.SAdd(ctx, "t:set", "member:"+n)
		pipe.ZAdd(ctx, "t:zset", redis.Z{Score: float64(i) / 3, Member: "m" + n})
	}
	for i := range 10 {
		pipe.Do(ctx, "XADD", "t:stream", strconv.Itoa(i+1)+"-0", "n", i)
	}
	pipe.Do(ctx, "XGROUP", "CREATE", "t:stream", "g", "0")
	pipe.Do(ctx, "XREADGROUP", "GROUP", "g", "ann", "COUNT", 4, "STREAMS", "t:stream", ">")
	if _, err := pipe.Exec(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestCompareFindsEveryTampering(t *testing.T) {
	s := sandboxtest.Server(t, sandbox.Options{Password: "src"})
	c := sandboxtest.Cluster(t, sandbox.ClusterOptions{Options: sandbox.Options{Password: "tgt"}})
	fill(t, s.Client(), dataset.Mixed(5000))
	specimens(t, s.Client())
	carry(t, s, 0, c.Client(), same)
	if r := compare(t, s, c, dataset.CompareOptions{}); !r.OK() || r.Compared != 5007 {
		t.Fatal("the copy is true, but Compare finds differences")
	}
	fieldTTL := s.Client().Do(t.Context(), "HPEXPIRETIME", "none", "FIELDS", 1, "f").Err() == nil
	for _, tc := range tampers(fieldTTL, s.Version.AtLeast(7, 0)) {
		t.Run(tc.name, func(t *testing.T) {
			// Only the specimens are read again.
			o := dataset.CompareOptions{
				Name:   func(_ int, key string) (string, bool) { return key, strings.HasPrefix(key, "t:") },
				Ignore: func(name string) bool { return !strings.HasPrefix(name, "t:") },
			}
			if err := tc.do(t.Context(), c.Client()); err != nil {
				t.Fatal(err)
			}
			r := compare(t, s, c, o)
			p := tc.kind(r)
			total := r.Missing.Count + r.Extra.Count + r.Different.Count + r.TTL.Count
			if p.Count != 1 || total != 1 || len(p.First) != 1 || !strings.HasPrefix(p.First[0], strconv.Quote(tc.key)) {
				t.Errorf("want one difference of this kind about %q", tc.key)
			}
			if r.OK() || !strings.Contains(r.String(), strconv.Quote(tc.key)) {
				t.Error("the report hides it")
			}
			if err := c.Client().Del(t.Context(), tc.key).Err(); err != nil {
				t.Fatal(err)
			}
			carry(t, s, 0, c.Client(), func(_ int, key string) (string, bool) { return key, key == tc.key })
		})
	}
	if r := compare(t, s, c, dataset.CompareOptions{}); !r.OK() {
		t.Error("the tampering is undone, but Compare finds differences")
	}
}

func TestCompareMapsNames(t *testing.T) {
	s := sandboxtest.Server(t, sandbox.Options{})
	c := sandboxtest.Cluster(t, sandbox.ClusterOptions{})
	for _, db := range []int{0, 5} {
		fill(t, s.Client(), dataset.Options{Keys: 700, DB: db, HashTags: true, BinaryKeys: true})
	}
	name := func(db int, key string) (string, bool) {
		if db == 5 {
			return "five:" + key, !strings.HasPrefix(key, "user:")
		}
		return key, true
	}
	carry(t, s, 0, c.Client(), name)
	carry(t, s, 5, c.Client(), name)
	if r := compare(t, s, c, dataset.CompareOptions{Name: name}); !r.OK() || r.Compared <= 700 || r.Compared >= 1400 {
		t.Error("the copy is true, but Compare finds differences")
	}
	if r := compare(t, s, c, dataset.CompareOptions{DBs: []int{0}}); r.Extra.Count == 0 || r.Missing.Count > 0 {
		t.Error("the keys of database 5 should be extra")
	}
	if r := compare(t, s, c, dataset.CompareOptions{}); r.Different.Count < 700 {
		t.Error("two databases with the same names should collide")
	}
	if r := compare(t, s, c, dataset.CompareOptions{Name: func(db int, key string) (string, bool) {
		name, ok := name(db, key)
		return "x" + name, ok
	}}); r.Missing.Count != r.Compared || len(r.Missing.First) != 20 {
		t.Error("no name is right, so all should be missing")
	}
}

func TestCompareFindsKeysOnTwoMasters(t *testing.T) {
	s := sandboxtest.Server(t, sandbox.Options{})
	c := sandboxtest.Cluster(t, sandbox.ClusterOptions{})
	ctx := t.Context()
	if err := s.Client().Set(ctx, "foo", "1", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if err := c.Client().Set(ctx, "foo", "1", 0).Err(); err != nil {
		t.Fatal(err)
	}
	// foo's slot is the third master's; what comes with ASKING is taken as well
	// where the slot is being imported.
	second, third := c.Nodes[1], c.Nodes[2]
	id, err := c.NodeID(ctx, third)
	if err != nil {
		t.Fatal(err)
	}
	conn := second.Client().Conn()
	defer func() { _ = conn.Close() }()
	for _, args := range [][]any{
		{"CLUSTER", "SETSLOT", 12182, "IMPORTING", id}, {"ASKING"}, {"SET", "foo", "1"}, {"CLUSTER", "SETSLOT", 12182, "STABLE"},
	} {
		if err := conn.Do(ctx, args...).Err(); err != nil {
			t.Fatalf("%v: %v", args, err)
		}
	}
	if len(second.Client().Keys(ctx, "*").Val()) == 0 {
		t.Skip(second.Version, " hides keys of slots that it doesn't own")
	}
	if r := compare(t, s, c, dataset.CompareOptions{}); r.Extra.Count != 1 {
		t.Error("the second copy of foo should be extra")
	}
}
