package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/redis/go-redis/v9"
)

// kind is one way to hold a value: a column of the tables. The keys of a kind
// have its name and a colon in front.
type kind struct {
	name, title string
	fill        func(f *filler)
}

// functionsKind is a column without keys: the function libraries.
const functionsKind = "functions"

var kinds = []kind{
	{"string", "string", (*filler).strings},
	{"list", "list", (*filler).lists},
	{"set-int", "set of integers", (*filler).intsets},
	{"set-small", "small set", (*filler).smallSets},
	{"set-large", "large set", (*filler).largeSets},
	{"zset-small", "small sorted set", (*filler).smallZsets},
	{"zset-large", "large sorted set", (*filler).largeZsets},
	{"hash-small", "small hash", (*filler).smallHashes},
	{"hash-large", "large hash", (*filler).largeHashes},
	{"hash-ttl-small", "small hash, field TTLs", func(f *filler) { f.ttlHashes(6) }},
	{"hash-ttl-large", "large hash, field TTLs", func(f *filler) { f.ttlHashes(600) }},
	{"stream", "stream", (*filler).streams},
	{"stream-producers", "stream, idempotent producers", (*filler).producers},
	{"vectors", "vector set", (*filler).vectors},
}

// Keys that shall not arrive: one is left out by its name, one has expired. A
// file holds the expired one; SCAN does not show it.
const (
	leftOut = "left-out:1"
	expired = "expired:1"
)

// year2100 is a time in Unix milliseconds that no run lives to see.
const year2100 = 4102444800000

// filler queues the commands that make the keys of one server.
type filler struct {
	ctx    context.Context
	pipe   redis.Pipeliner
	able   *version
	kind   string
	n      int
	noise  *rand.ChaCha8
	expiry map[string]int64 // of the keys that have one, Unix milliseconds
}

// fill writes every kind of value that a version knows and returns the expiries.
func fill(ctx context.Context, c *redis.Client, able *version) (map[string]int64, error) {
	f := &filler{ctx: ctx, pipe: c.Pipeline(), able: able, noise: rand.NewChaCha8([32]byte{1}), expiry: map[string]int64{}}
	for _, k := range kinds {
		f.kind, f.n = k.name, 0
		k.fill(f)
	}
	f.do("SET", leftOut, "v")
	f.do("DEBUG", "SET-ACTIVE-EXPIRE", 0)
	f.do("SET", expired, "v", "PX", 1)
	if able.functions {
		for _, name := range []string{"one", "two"} {
			f.do("FUNCTION", "LOAD", "#!lua name="+name+"\nredis.register_function('"+name+"', function(keys, args) return redis.call('GET', keys[1]) end)\n"+strings.Repeat("-- padding\n", 20))
		}
	}
	commands, err := f.pipe.Exec(ctx)
	for _, c := range commands {
		if c.Err() != nil && c.Err() != redis.Nil {
			return nil, fmt.Errorf("%.200v: %w", c.Args(), c.Err())
		}
	}
	if err == redis.Nil {
		err = nil
	}
	return f.expiry, err
}

func (f *filler) do(args ...any) { f.pipe.Do(f.ctx, args...) }

// next names a new key of the kind.
func (f *filler) next() string {
	f.n++
	return fmt.Sprintf("%s:%d", f.kind, f.n)
}

// add makes a new key by one command of n elements.
func (f *filler) add(command string, n int, each func(i int) []any) string {
	key := f.next()
	args := []any{command, key}
	for i := range n {
		args = append(args, each(i)...)
	}
	f.do(args...)
	return key
}

// expire gives a key an expiry of its own.
func (f *filler) expire(key string) {
	at := year2100 + int64(len(f.expiry)*86_400_001)
	f.do("PEXPIREAT", key, at)
	f.expiry[key] = at
}

func (f *filler) random(n int) string {
	p := make([]byte, n)
	_, _ = f.noise.Read(p) // which never fails
	return string(p)
}

func (f *filler) strings() {
	for _, v := range []string{
		"", "0", "-128", "32767", "-2147483648", "9223372036854775807", "007", "1.5", "text",
		f.random(200), strings.Repeat("abcdefghij", 300), f.random(100_000), strings.Repeat("large and compressible ", 50_000),
	} {
		key := f.next()
		f.do("SET", key, v)
		if f.n%3 == 0 {
			f.expire(key)
		}
	}
	f.do("SETRANGE", f.next(), 16384, "x")
	f.do("PFADD", f.next(), "a", "b", "c")
	odd := f.next() + "\x00\r\n\xff" // a name that is no text
	f.do("SET", odd, "v")
	f.expire(odd)
}

func (f *filler) lists() {
	f.add("RPUSH", 5, func(i int) []any { return []any{fmt.Sprint("element", i)} })
	f.add("RPUSH", 40, func(i int) []any { return []any{i * i * i * i * (1 - i%2*2)} })
	f.expire(f.add("RPUSH", 24, func(i int) []any { return []any{strings.Repeat(fmt.Sprint("long ", i), 100)} }))
	f.add("RPUSH", 3, func(i int) []any { return []any{f.random(10_000)} }) // a node each
}

func (f *filler) intsets() {
	for width := range 3 { // of 16, 32 and 64 bits
		f.add("SADD", 20, func(i int) []any { return []any{int64(i-10) << (width * 20)} })
	}
	f.expire(f.add("SADD", 400, func(i int) []any { return []any{i * 7} }))
}

func (f *filler) smallSets() {
	f.add("SADD", 20, func(i int) []any { return []any{fmt.Sprint("member", i)} })
	f.expire(f.add("SADD", 3, func(i int) []any { return []any{f.random(10)} }))
}

func (f *filler) largeSets() {
	f.add("SADD", 700, func(i int) []any { return []any{fmt.Sprint("m", i)} })
	f.expire(f.add("SADD", 10, func(i int) []any { return []any{fmt.Sprint(i, f.random(100))} }))
}

var oddScores = []any{"-inf", "inf", "0", "-0.5", "3.141592653589793", "1e300", "5e-324", "9007199254740993"}

func (f *filler) smallZsets() {
	f.add("ZADD", len(oddScores), func(i int) []any { return []any{oddScores[i], fmt.Sprint("m", i)} })
	f.expire(f.add("ZADD", 20, func(i int) []any { return []any{i % 3, f.random(8)} }))
}

func (f *filler) largeZsets() {
	f.add("ZADD", 300, func(i int) []any { return []any{float64(i) / 3, fmt.Sprint("member", i)} })
	f.expire(f.add("ZADD", len(oddScores), func(i int) []any { return []any{oddScores[i], fmt.Sprint(i, f.random(100))} }))
}

func (f *filler) smallHashes() {
	f.add("HSET", 5, func(i int) []any { return []any{fmt.Sprint("field", i), i * 100000} })
	f.expire(f.add("HSET", 3, func(i int) []any { return []any{f.random(8), f.random(20)} }))
}

func (f *filler) largeHashes() {
	f.add("HSET", 700, func(i int) []any { return []any{fmt.Sprint("f", i), i} })
	f.expire(f.add("HSET", 2, func(i int) []any { return []any{fmt.Sprint("f", i), f.random(100)} }))
}

func (f *filler) ttlHashes(fields int) {
	if !f.able.fieldTTL {
		return
	}
	for i := range 2 {
		key := f.add("HSET", fields, func(i int) []any { return []any{fmt.Sprint("f", i), fmt.Sprint("v", i)} })
		f.do("HPEXPIREAT", key, year2100+500, "FIELDS", 2, "f1", "f3")
		f.do("HPEXPIREAT", key, year2100+100000, "FIELDS", 1, "f2")
		if i == 1 {
			f.expire(key)
		}
	}
}

func (f *filler) vectors() {
	if !f.able.vectors {
		return
	}
	for range 2 {
		key := f.next()
		for i := range 5 {
			f.do("VADD", key, "VALUES", 3, i, 1, 2-i, fmt.Sprint("element", i))
		}
		if f.n == 2 {
			f.expire(key)
		}
	}
}
