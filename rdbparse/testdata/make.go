//go:build ignore

// Make makes the fixtures again from real servers:
//
//	go run ./rdbparse/testdata/make.go SERVERS [NAME …]
//
// SERVERS is a folder that holds redis-6.0/bin/redis-server and so on. For each
// fixture it writes NAME.rdb, which the server saved, and NAME.json, which says
// what the same server answered for every key.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

type fixture struct {
	name, server string
	args         []string
	rdb          int  // version that its DUMP bears
	fieldTTL     bool // HPEXPIREAT
	vectors      bool // VADD
	producers    bool // XADD … IDMP
}

var debug = []string{"--enable-debug-command", "yes"}

var fixtures = []fixture{
	{name: "redis-6.0", server: "redis-6.0", rdb: 9, args: []string{"--maxmemory", "1gb", "--maxmemory-policy", "allkeys-lfu"}},
	{name: "redis-7.0", server: "redis-7.0", rdb: 10, args: debug},
	{name: "redis-7.0-plain", server: "redis-7.0", rdb: 10, args: append(debug, "--rdbcompression", "no", "--maxmemory", "1gb", "--maxmemory-policy", "allkeys-lru")},
	{name: "redis-7.0-nocrc", server: "redis-7.0", rdb: 10, args: append(debug, "--rdbchecksum", "no")},
	{name: "redict-7.3", server: "redict-7.3", rdb: 12, args: debug},
	{name: "redis-8.0", server: "redis-8.0", rdb: 12, args: debug, fieldTTL: true, vectors: true},
	{name: "redis-8.6", server: "redis-8.6", rdb: 13, args: debug, fieldTTL: true, vectors: true, producers: true},
	{name: "valkey-8.0", server: "valkey-8.0", rdb: 11, args: debug},
	{name: "valkey-8.1", server: "valkey-8.1", rdb: 11, args: debug},
	{name: "valkey-9.1", server: "valkey-9.1", rdb: 80, args: debug, fieldTTL: true},
}

type golden struct {
	Server    string      `json:"server"`
	Version   uint16      `json:"rdb_version"`
	Libraries []string    `json:"libraries,omitempty"`
	Keys      []goldenKey `json:"keys"`
}

type goldenKey struct {
	Key      string `json:"key"` // base64
	DB       int    `json:"db"`
	Type     string `json:"type"` // as TYPE says
	ExpireAt int64  `json:"expire_at,omitempty"`
	Dump     string `json:"dump"` // first 8 bytes of SHA-256 over what DUMP says
}

func main() {
	log.SetFlags(0)
	if len(os.Args) < 2 {
		log.Fatal("usage: go run ./rdbparse/testdata/make.go SERVERS [NAME …]")
	}
	for _, f := range fixtures {
		if len(os.Args) > 2 && !slices.Contains(os.Args[2:], f.name) {
			continue
		}
		if err := f.make(os.Args[1]); err != nil {
			log.Fatalf("%s: %v", f.name, err)
		}
	}
}

func (f fixture) make(servers string) error {
	dir, err := os.MkdirTemp("", "fixture")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	args := append([]string{"--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--dir", dir, "--save", "", "--dbfilename", "dump.rdb"}, f.args...)
	cmd := exec.Command(filepath.Join(servers, f.server, "bin", "redis-server"), args...)
	if err := cmd.Start(); err != nil {
		return err
	}
	defer func() {
		cmd.Process.Kill()
		cmd.Wait()
	}()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s := server{ctx: ctx, expiry: map[string]int64{}}
	for db := range 16 {
		c := redis.NewClient(&redis.Options{Addr: l.Addr().String(), DB: db, Protocol: 2})
		defer c.Close()
		s.clients = append(s.clients, c)
	}
	for s.clients[0].Ping(ctx).Err() != nil && ctx.Err() == nil {
		time.Sleep(20 * time.Millisecond)
	}
	f.fill(&s)
	if s.err != nil {
		return s.err
	}
	// A hash table that is being resized changes the order of its elements.
	time.Sleep(3 * time.Second)
	g, err := f.record(&s)
	if err != nil {
		return err
	}
	if err := s.clients[0].Do(ctx, "SAVE").Err(); err != nil {
		return err
	}
	rdb, err := os.ReadFile(filepath.Join(dir, "dump.rdb"))
	if err != nil {
		return err
	}
	out := "rdbparse/testdata/" + f.name
	if err := os.WriteFile(out+".rdb", rdb, 0o644); err != nil {
		return err
	}
	js, err := json.MarshalIndent(g, "", " ")
	if err != nil {
		return err
	}
	log.Printf("%s: %d keys, %d bytes", f.name, len(g.Keys), len(rdb))
	return os.WriteFile(out+".json", append(js, '\n'), 0o644)
}

type server struct {
	ctx     context.Context
	clients []*redis.Client
	db      int
	expiry  map[string]int64
	err     error
}

// do sends one command; the first error stays.
func (s *server) do(args ...any) {
	if s.err == nil {
		if err := s.clients[s.db].Do(s.ctx, args...).Err(); err != nil && err != redis.Nil {
			s.err = fmt.Errorf("%v: %w", args[:min(3, len(args))], err)
		}
	}
}

func (s *server) expire(key string, at int64) {
	s.do("PEXPIREAT", key, at)
	s.expiry[fmt.Sprint(s.db, key)] = at
}

// becomeMaster asks for a replica's copy once: 6.0 saves its scripts only
// after that.
func (s *server) becomeMaster() {
	conn, err := net.Dial("tcp", s.clients[0].Options().Addr)
	if err == nil {
		defer conn.Close()
		if _, err = io.WriteString(conn, "PSYNC ? -1\r\n"); err == nil {
			_, err = conn.Read(make([]byte, 100))
		}
	}
	if s.err == nil {
		s.err = err
	}
}

const year2100 = 4102444800000

func (f fixture) fill(s *server) {
	rng := rand.NewChaCha8([32]byte{1})
	noise := func(n int) string {
		p := make([]byte, n)
		rng.Read(p)
		return string(p)
	}
	f.strings(s, noise)
	f.collections(s, noise)
	f.streams(s)
	if f.fieldTTL {
		f.hashFieldTTL(s)
	}
	if f.vectors {
		for i := range 5 {
			s.do("VADD", "vectors", "VALUES", 3, i, 1, 2-i, fmt.Sprint("element", i))
		}
		s.expire("vectors", year2100+7)
	}
	s.db = 3
	s.do("SET", "in:three", "3")
	s.do("RPUSH", "in:three:list", "a", "1")
	s.db = 9
	s.do("SET", "in:nine", noise(100))
	s.expire("in:nine", year2100+9)
	s.do("SET", "text", "the same name as in database 0")
	s.db = 0
	if f.rdb >= 10 {
		for _, name := range []string{"one", "two"} {
			s.do("FUNCTION", "LOAD", "#!lua name="+name+"\nredis.register_function('"+name+"', function(keys, args) return redis.call('GET', keys[1]) end)\n"+strings.Repeat("-- padding\n", 20))
		}
	} else {
		s.do("SCRIPT", "LOAD", "return redis.call('GET', KEYS[1])")
		s.becomeMaster()
	}
}

func (f fixture) strings(s *server, noise func(int) string) {
	for _, v := range []string{"0", "-1", "127", "-128", "128", "32767", "-32769", "2147483647", "-2147483648", "2147483648", "9223372036854775807", "007", "1.5"} {
		s.do("SET", "number:"+v, v)
	}
	s.do("SET", "empty", "")
	s.do("SET", "text", "hello")
	s.do("SET", "text:63", strings.Repeat("x", 10)+noise(53))
	s.do("SET", "text:64", noise(64))
	s.do("SET", "text:200", noise(200))
	s.do("SETRANGE", "text:16384", 16384, "x")
	s.do("SET", "noise", noise(3000))
	s.do("SET", "compressible", strings.Repeat("abcdefghij", 300))
	s.do("SET", "12345", "a key that is an integer")
	s.do("SET", "-7", "another")
	s.do("SET", "99999", "and another of 4 bytes")
	s.do("SET", strings.Repeat("a long key that compresses ", 20), "x")
	s.do("SET", "bin\x00\r\n\xff\xfe"+noise(8), "\x00\x01")
	s.do("SET", "", "the key of no bytes")
	s.do("SET", "key:"+noise(300), "a key with a length of two bytes")
	s.do("SET", "expires", "in 2100")
	s.expire("expires", year2100)
	s.do("SET", "{tag}:1", "v")
	s.expire("{tag}:1", year2100+123)
}

func (f fixture) collections(s *server, noise func(int) string) {
	elements := func(n int, each func(i int) []any) (out []any) {
		for i := range n {
			out = append(out, each(i)...)
		}
		return out
	}
	add := func(cmd, key string, n int, each func(i int) []any) {
		s.do(append([]any{cmd, key}, elements(n, each)...)...)
	}
	add("HSET", "hash:small", 5, func(i int) []any { return []any{fmt.Sprint("field", i), i * 100000} })
	add("HSET", "hash:large", 520, func(i int) []any { return []any{fmt.Sprint("f", i), i} })
	add("HSET", "hash:longvalue", 2, func(i int) []any { return []any{fmt.Sprint("f", i), noise(100)} })
	s.expire("hash:large", year2100+1)

	add("RPUSH", "list:small", 5, func(i int) []any { return []any{fmt.Sprint("element", i)} })
	add("RPUSH", "list:numbers", 40, func(i int) []any { return []any{i * i * i * i} })
	add("RPUSH", "list:nodes", 24, func(i int) []any { return []any{strings.Repeat(fmt.Sprint("long ", i), 100)} })
	s.expire("list:nodes", year2100+2)
	if f.rdb >= 10 { // nodes of one element, which are no listpack
		s.do("DEBUG", "QUICKLIST-PACKED-THRESHOLD", "200b")
		add("RPUSH", "list:plain", 4, func(i int) []any { return []any{"small", noise(300), strings.Repeat("z", 300)} })
		s.do("DEBUG", "QUICKLIST-PACKED-THRESHOLD", "0")
	}

	add("SADD", "set:ints16", 20, func(i int) []any { return []any{i - 10} })
	add("SADD", "set:ints64", 20, func(i int) []any { return []any{int64(i) << 40} })
	add("SADD", "set:small", 20, func(i int) []any { return []any{fmt.Sprint("member", i)} })
	add("SADD", "set:large", 200, func(i int) []any { return []any{fmt.Sprint("m", i)} })
	add("SADD", "set:ints:large", 520, func(i int) []any { return []any{i * 7} })
	s.expire("set:small", year2100+3)

	scores := []any{"-inf", "inf", 0, -0.5, 3.141592653589793, 1e300, 17}
	add("ZADD", "zset:small", len(scores), func(i int) []any { return []any{scores[i], fmt.Sprint("m", i)} })
	add("ZADD", "zset:large", 200, func(i int) []any { return []any{float64(i) / 3, fmt.Sprint("member", i)} })
	s.do("ZADD", "zset:large", "-inf", "lowest", "inf", "highest")
	s.expire("zset:large", year2100+4)
	s.do("PFADD", "hyperloglog", "a", "b", "c")
	s.do("SETBIT", "bits", 1000, 1)
	s.do("GEOADD", "geo", 13.361389, 38.115556, "Palermo")
}

func (f fixture) streams(s *server) {
	for i := range 150 {
		s.do("XADD", "stream", fmt.Sprintf("%d-%d", 1700000000000+i*1000, i), "field", i, "text", fmt.Sprint("value ", i))
	}
	s.do("XDEL", "stream", "1700000005000-5", "1700000140000-140")
	s.do("XGROUP", "CREATE", "stream", "readers", "0")
	s.do("XGROUP", "CREATE", "stream", "late", "$")
	s.do("XGROUP", "CREATE", "stream", "empty", "0")
	s.do("XREADGROUP", "GROUP", "readers", "alice", "COUNT", 5, "STREAMS", "stream", ">")
	s.do("XREADGROUP", "GROUP", "readers", "bob", "COUNT", 3, "STREAMS", "stream", ">")
	s.do("XACK", "stream", "readers", "1700000001000-1", "1700000006000-6")
	if f.rdb >= 10 {
		s.do("XGROUP", "CREATECONSUMER", "stream", "late", "idle")
	}
	s.expire("stream", year2100+5)
	s.do("XADD", "stream:few", "1-1", "a", "b")
	s.do("XADD", "stream:few", "1-2", "a", "c")
	s.do("XGROUP", "CREATE", "stream:none", "g", "$", "MKSTREAM")
	s.do("XADD", "stream:emptied", "5-5", "a", "b")
	s.do("XDEL", "stream:emptied", "5-5")
	if f.producers {
		for _, id := range []string{"i1", "i2", "i1"} {
			s.do("XADD", "stream:idmp", "IDMP", "producer", id, "*", "f", id)
		}
		s.do("XADD", "stream:idmp", "IDMPAUTO", "other", "*", "f", "v")
		s.do("XGROUP", "CREATE", "stream:idmp", "g", "0")
		s.do("XREADGROUP", "GROUP", "g", "c", "COUNT", 1, "STREAMS", "stream:idmp", ">")
	}
}

func (f fixture) hashFieldTTL(s *server) {
	for _, h := range []struct {
		key string
		n   int
	}{{"hash:ttl:small", 6}, {"hash:ttl:large", 520}} {
		for i := range h.n {
			s.do("HSET", h.key, fmt.Sprint("f", i), fmt.Sprint("v", i))
		}
		s.do("HPEXPIREAT", h.key, year2100+500, "FIELDS", 2, "f1", "f3")
		s.do("HPEXPIREAT", h.key, year2100+100000, "FIELDS", 1, "f2")
	}
	s.expire("hash:ttl:small", year2100+6)
}

func (f fixture) record(s *server) (*golden, error) {
	info, err := s.clients[0].Do(s.ctx, "INFO", "server").Text()
	if err != nil {
		return nil, err
	}
	g := &golden{Server: f.server}
	for line := range strings.Lines(info) {
		if name, version, ok := strings.Cut(strings.TrimSpace(line), "_version:"); ok && !strings.Contains(name, "gcc") {
			g.Server += ", " + name + " " + version
		}
	}
	for db, c := range s.clients {
		keys, err := c.Keys(s.ctx, "*").Result()
		if err != nil {
			return nil, err
		}
		slices.Sort(keys)
		for _, key := range keys {
			dump, err := c.Dump(s.ctx, key).Result()
			if err != nil {
				return nil, err
			}
			typ, err := c.Type(s.ctx, key).Result()
			if err != nil {
				return nil, err
			}
			sum := sha256.Sum256([]byte(dump))
			g.Version = binary.LittleEndian.Uint16([]byte(dump[len(dump)-10:]))
			g.Keys = append(g.Keys, goldenKey{
				Key: base64.StdEncoding.EncodeToString([]byte(key)), DB: db, Type: typ,
				ExpireAt: s.expiry[fmt.Sprint(db, key)], Dump: hex.EncodeToString(sum[:8]),
			})
		}
	}
	if int(g.Version) != f.rdb {
		return nil, fmt.Errorf("DUMP is of version %d", g.Version)
	}
	if f.rdb >= 10 {
		list, err := s.clients[0].FunctionList(s.ctx, redis.FunctionListQuery{WithCode: true}).Result()
		if err != nil {
			return nil, err
		}
		for _, l := range list {
			g.Libraries = append(g.Libraries, l.Code)
		}
		slices.Sort(g.Libraries)
	}
	return g, nil
}
