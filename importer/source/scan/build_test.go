package scan_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/slotferry/slotferry/importer/endpoint"
	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/importer/source/scan"
	"github.com/slotferry/slotferry/internal/sandbox"
	"github.com/slotferry/slotferry/internal/sandbox/sandboxtest"
	"github.com/slotferry/slotferry/rdbparse"
	"github.com/slotferry/slotferry/rdbparse/decode"
)

// hugeFrom makes values of some 100 KB huge.
const hugeFrom = 64 << 10

// database is a client of another database of a server, which may be slow.
func database(t *testing.T, server *sandbox.Server, db int) *redis.Client {
	t.Helper()
	o := server.ClientOptions()
	o.DB, o.ReadTimeout = db, time.Minute
	c := redis.NewClient(o)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// filling sends commands in a pipeline.
type filling struct {
	redis.Pipeliner
	t *testing.T
}

func (f *filling) do(words ...any) {
	f.t.Helper()
	f.Do(f.t.Context(), words...)
	if f.Len() >= 1000 {
		f.flush()
	}
}

func (f *filling) flush() {
	f.t.Helper()
	if _, err := f.Exec(f.t.Context()); err != nil && !errors.Is(err, redis.Nil) {
		f.t.Fatal(err)
	}
}

// fillHuge makes values that are longer than hugeFrom, of every type that can be
// read in parts, with what is hard about them. It returns how many.
func fillHuge(t *testing.T, c *redis.Client, fields bool) int {
	t.Helper()
	f := &filling{c.Pipeline(), t}
	defer f.flush()
	f.do("CONFIG", "SET", "rdbcompression", "no")
	for _, n := range []int{100_000, 2 << 20, 3<<20 + 1} {
		f.do("SET", "string "+strconv.Itoa(n), strings.Repeat("01\r\n\x00abc", n)[:n])
	}
	const parts, each = 12, 400
	for part := range parts {
		list, hash, set, zset := []any{"RPUSH", "list"}, []any{"HSET", "hash"}, []any{"SADD", "set"}, []any{"ZADD", "zset"}
		packed, integers := []any{"HSET", "packed"}, []any{"SADD", "integers"}
		for i := part * each; i < (part+1)*each; i++ {
			list = append(list, fmt.Sprintf("element %d", i*i), i, "")
			hash = append(hash, fmt.Sprintf("field %d", i), fmt.Sprintf("value\x00%d", i))
			set = append(set, fmt.Sprintf("member %d, as long as others", i))
			any := math.Float64frombits(rand.Uint64()&^(0x7ff<<52) | uint64(1+i%2046)<<52)
			zset = append(zset, strconv.FormatFloat(any, 'g', 17, 64), fmt.Sprintf("member %d", i))
			packed = append(packed, i, "packed with its neighbours")
			integers = append(integers, i, i*1_000_000_000, -i)
		}
		f.do(list...)
		f.do(hash...)
		f.do(set...)
		f.do(zset...)
		if part == 0 {
			f.do("CONFIG", "SET", "hash-max-ziplist-entries", 100_000)
			f.do("CONFIG", "SET", "set-max-intset-entries", 100_000)
		}
		f.do(packed...)
		f.do(integers...)
	}
	f.do("HSET", "hash", "long", strings.Repeat("long", 175_000)) // which is not packed any more
	f.do("LSET", "list", 7000, strings.Repeat("long", 175_000))
	f.do("ZADD", "zset", "inf", "endless", "-inf", "bottomless", "-0", "below", "0.1", "tenth", "3", "three")
	f.do("PEXPIREAT", "zset", 4102444800123)
	n := 9
	if fields {
		for i := range 3000 {
			f.do("HSET", "fields", fmt.Sprintf("field %d", i), "the value of this field")
			if i%3 == 0 {
				f.do("HPEXPIREAT", "fields", 4102444800123+i/10, "FIELDS", 1, fmt.Sprintf("field %d", i))
			}
		}
		n++
	}
	return n + fillStreams(f)
}

func fillStreams(f *filling) int {
	for i := range 3000 {
		id := fmt.Sprintf("%d-%d", 1000+i/10, i%10)
		f.do("XADD", "stream", id, "n", i, "text", "some text that takes room", "n", "")
		f.do("XADD", "trimmed", id, "n", i)
		f.do("XADD", "alone", id, "n", strings.Repeat("x", 40))
	}
	for _, key := range []string{"stream", "trimmed"} {
		f.do("XGROUP", "CREATE", key, "readers", "0-0")
		f.do("XGROUP", "CREATE", key, "idle", "1007-3")
		f.do("XGROUP", "CREATE", key, "more", "0-0")
		for i := range 10 {
			f.do("XREADGROUP", "GROUP", "readers", fmt.Sprintf("consumer %d", i%3), "COUNT", 300, "STREAMS", key, ">")
			f.do("XREADGROUP", "GROUP", "more", "c", "COUNT", 77, "STREAMS", key, ">")
		}
		f.do("XCLAIM", key, "readers", "claimer", 0, "1000-2", "1100-5", "TIME", 1234567, "RETRYCOUNT", 17)
		f.do("XACK", key, "readers", "1000-0", "1002-1")
		f.do("XREADGROUP", "GROUP", "idle", "nothing pending", "STREAMS", key, "0-0")
	}
	f.do("XDEL", "stream", "1000-1", "1000-2", "1100-4", "1100-5", "1299-9")
	f.do("XTRIM", "trimmed", "MAXLEN", 0)
	return 3
}

// builders are the records of huge values, by key.
func builders(t *testing.T, s *scan.Source) kept {
	t.Helper()
	k := kept{}
	for name, r := range streamed(t, s) {
		if r.Build != nil {
			k[name] = r
		}
	}
	return k
}

// built makes a value under a name by Build.
func built(t *testing.T, r record.Record, to *redis.Client, name string) (expireAt int64, err error) {
	t.Helper()
	f := &filling{to.Pipeline(), t}
	expireAt, err = r.Build(t.Context(), []byte(name), func(words [][]byte) error {
		args, bytes := make([]any, len(words)), 0
		for i, w := range words {
			args[i] = string(w) // it is good until we return
			bytes += len(w)
		}
		if bytes > 2<<20 || !slices.Contains(args, any(name)) {
			t.Errorf("%d bytes in %.40q", bytes, words[:min(len(words), 3)])
		}
		f.do(args...)
		return nil
	})
	f.flush()
	return expireAt, err
}

// dumped decodes what DUMP gives, without what no command can set.
func dumped(t *testing.T, c *redis.Client, vendor rdbparse.Vendor, key string) *decode.Value {
	t.Helper()
	dump, err := c.Dump(t.Context(), key).Result()
	if err != nil {
		t.Fatalf("%q: %v", key, err)
	}
	typ, body, _, err := rdbparse.SplitPayload([]byte(dump))
	if err != nil {
		t.Fatal(err)
	}
	v, err := decode.Decode(vendor, typ, body)
	if err != nil {
		t.Fatalf("%q: %v", key, err)
	}
	if v.Stream != nil {
		for i := range v.Stream.Groups {
			for j := range v.Stream.Groups[i].Consumers {
				c := &v.Stream.Groups[i].Consumers[j]
				c.SeenAt, c.ActiveAt = 0, 0
			}
		}
	}
	return v
}

// near makes times of delivery alike that are no further apart than XPENDING
// can tell.
func near(want, got *decode.Stream) {
	const most = 100 // ms, of a busy machine
	for i := range min(len(want.Groups), len(got.Groups)) {
		w, g := want.Groups[i].Pending, got.Groups[i].Pending
		for j := range min(len(w), len(g)) {
			if d := w[j].DeliveredAt - g[j].DeliveredAt; -most < d && d < most {
				g[j].DeliveredAt = w[j].DeliveredAt
			}
		}
	}
}

// TestBuild reads values of every type in parts and makes them again.
func TestBuild(t *testing.T) {
	versions(t, func(t *testing.T, server *sandbox.Server) {
		_, facts, _ := open(t, scan.Options{Endpoint: endpoint.Endpoint{Addr: server.Addr}})
		if err := server.Client().FlushAll(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		from, to := database(t, server, 7), database(t, server, 8)
		v := facts.Server.Version
		n := fillHuge(t, from, v.Product == "redis" && v.AtLeast(7, 4) || v.Product == "valkey" && v.Major >= 9)
		s, _, _ := open(t, scan.Options{Endpoint: endpoint.Endpoint{Addr: server.Addr}, MaxValue: hugeFrom})
		records := builders(t, s)
		if len(records) != n {
			t.Errorf("%d huge values, want %d", len(records), n)
		}
		for _, r := range records {
			key := string(r.Key)
			if r.DB != 7 || r.Fate != record.Copy || r.Value != nil || r.Len() <= hugeFrom || r.Measure.Type != from.Type(t.Context(), key).Val() {
				t.Errorf("%q: %+v", key, r)
			}
			// A copy that was cut off doesn't matter to the next.
			stop := errors.New("stop")
			if _, err := r.Build(t.Context(), []byte("x"), func([][]byte) error { return stop }); !errors.Is(err, stop) {
				t.Errorf("%q: the receiver's error came as %v", key, err)
			}
			expireAt, err := built(t, r, to, "copy of "+key)
			if err != nil {
				t.Errorf("%q: %v", key, err)
				continue
			}
			if off := expireAt - r.ExpireAt; (key == "zset") != (expireAt != 0) || off != 0 && (s.Exact() || off < -2 || off > 2) {
				t.Errorf("%q expires at %d, not at %d", key, expireAt, r.ExpireAt)
			}
			want, got := dumped(t, from, s.Vendor(), key), dumped(t, to, s.Vendor(), "copy of "+key)
			if want.Stream != nil && got.Stream != nil {
				near(want.Stream, got.Stream)
			}
			if d := decode.Difference(want, got); d != "" {
				t.Errorf("%q: %s", key, d)
			}
			if want.Type == "zset" && !slices.EqualFunc(want.Zset, got.Zset, func(a, b decode.Member) bool { return math.Float64bits(a.Score) == math.Float64bits(b.Score) }) {
				t.Errorf("%q: scores differ in a bit", key)
			}
		}
	})
}

// TestBuildChange writes to a key while its value is read.
func TestBuildChange(t *testing.T) {
	server := sandboxtest.Server(t, sandbox.Options{})
	c, ctx := server.Client(), t.Context()
	fillHuge(t, c, false)
	s, _, _ := open(t, scan.Options{Endpoint: endpoint.Endpoint{Addr: server.Addr}, MaxValue: hugeFrom})
	records := builders(t, s)
	copied := database(t, server, 1)
	for name, tc := range map[string]struct {
		key    string
		change func() error
		want   error // nil for none
	}{
		"another key":       {"list", func() error { return c.Set(ctx, "other", "v", 0).Err() }, nil},
		"a string":          {"string 3145729", func() error { return c.SetRange(ctx, "string 3145729", 3_000_000, "x").Err() }, record.ErrChanged},
		"a list":            {"list", func() error { return c.LPush(ctx, "list", "x").Err() }, record.ErrChanged},
		"a hash":            {"hash", func() error { return c.HDel(ctx, "hash", "field 9").Err() }, record.ErrChanged},
		"a set":             {"set", func() error { return c.SAdd(ctx, "set", "x").Err() }, record.ErrChanged},
		"a sorted set":      {"zset", func() error { return c.ZIncrBy(ctx, "zset", 1, "three").Err() }, record.ErrChanged},
		"a stream":          {"stream", func() error { return c.XAdd(ctx, &redis.XAddArgs{Stream: "stream", Values: []string{"a", "b"}}).Err() }, record.ErrChanged},
		"a group":           {"trimmed", func() error { return c.XAck(ctx, "trimmed", "readers", "1005-1").Err() }, record.ErrChanged},
		"only the expiry":   {"set", func() error { return c.Expire(ctx, "set", time.Hour).Err() }, record.ErrChanged},
		"another type":      {"packed", func() error { return c.Rename(ctx, "integers", "packed").Err() }, record.ErrChanged},
		"a stream replaced": {"alone", func() error { return c.Set(ctx, "alone", "v", 0).Err() }, record.ErrChanged},
		"deleted":           {"string 2097152", func() error { return c.Del(ctx, "string 2097152").Err() }, record.ErrGone},
		"expired": {"string 100000", func() error {
			err := c.PExpire(ctx, "string 100000", time.Millisecond).Err()
			time.Sleep(5 * time.Millisecond)
			return err
		}, record.ErrGone},
	} {
		t.Run(name, func(t *testing.T) {
			r, done := records["0/"+tc.key], false
			if r.Build == nil {
				t.Fatal("it is not huge")
			}
			emitted := 0
			_, err := r.Build(ctx, []byte("copy"), func([][]byte) error {
				emitted++
				if done {
					return nil
				}
				done = true
				return tc.change()
			})
			if !errors.Is(err, tc.want) || emitted == 0 {
				t.Errorf("%d commands, %v", emitted, err)
			}
			if errors.Is(tc.want, record.ErrGone) {
				if _, err := built(t, r, copied, "copy of "+name); !errors.Is(err, record.ErrGone) {
					t.Errorf("then %v", err)
				}
			} else if _, err := built(t, r, copied, "copy of "+name); err != nil {
				t.Errorf("then %v", err)
			} else if d := decode.Difference(dumped(t, c, s.Vendor(), tc.key), dumped(t, copied, s.Vendor(), "copy of "+name)); d != "" && !strings.Contains(d, "delivered at") {
				t.Error(d)
			}
		})
	}
	t.Run("cut", func(t *testing.T) {
		r, done := records["0/list"], false
		_, err := r.Build(ctx, []byte("copy"), func([][]byte) error {
			if !done {
				cut(t, server)
			}
			done = true
			return nil
		})
		if err == nil || errors.Is(err, record.ErrRefused) || errors.Is(err, record.ErrChanged) {
			t.Errorf("a connection that broke: %v", err)
		}
		for range 5 { // other connections may have lain idle
			if _, err = built(t, r, copied, "copy after cut"); err == nil {
				break
			}
		}
		if err != nil {
			t.Errorf("again: %v", err)
		}
	})
	t.Run("interrupted", func(t *testing.T) {
		stop := errors.New("stop")
		ctx, cancel := context.WithCancelCause(ctx)
		_, err := records["0/list"].Build(ctx, []byte("copy"), func([][]byte) error {
			cancel(stop)
			return nil
		})
		if !errors.Is(err, stop) {
			t.Errorf("%v", err)
		}
	})
}
