package notify_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/slotferry/slotferry/importer/choice"
	"github.com/slotferry/slotferry/importer/endpoint"
	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/importer/source/notify"
	"github.com/slotferry/slotferry/importer/source/scan"
	"github.com/slotferry/slotferry/internal/sandbox"
	"github.com/slotferry/slotferry/internal/sandbox/sandboxtest"
)

// databases are those that the tests write to.
var databases = []int{0, 2}

// client is one of a database.
func client(t *testing.T, server *sandbox.Server, db int) *redis.Client {
	t.Helper()
	o := *server.Client().Options()
	o.DB = db
	c := redis.NewClient(&o)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// run listens to a server until the test ends.
func run(t *testing.T, o notify.Options) *notify.Listener {
	t.Helper()
	l := notify.New(o)
	background(t, func(ctx context.Context) error { return l.Run(ctx) })
	t.Cleanup(func() { _ = l.Close() })
	if err := l.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	return l
}

var errEnd = errors.New("the test ends")

// background runs something until the test ends, and sees that nothing else
// ends it.
func background(t *testing.T, do func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(t.Context()))
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := do(ctx); !errors.Is(err, errEnd) {
			t.Errorf("it ended by itself: %v", err)
		}
	}()
	t.Cleanup(func() {
		cancel(errEnd)
		<-done
	})
}

// settled waits until everything that happened on the source so far is done with.
func settled(t *testing.T, l *notify.Listener) {
	t.Helper()
	for {
		ok, err := l.Settled(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// mirror is a second server that is to become like the first.
type mirror struct {
	t    *testing.T
	to   map[int]*redis.Client
	scan *scan.Source
	anew int // all keys were read anew
}

func (m *mirror) Record(r *record.Record) error {
	ctx, key := m.t.Context(), string(r.Key)
	switch r.Fate {
	case record.Gone:
		return m.to[r.DB].Del(ctx, key).Err()
	case record.Refused:
		return errors.New(r.Reason)
	}
	payload := append(append([]byte{r.Type}, r.Value...), r.Footer...)
	return m.to[r.DB].Do(ctx, "RESTORE", key, r.ExpireAt, payload, "REPLACE", "ABSTTL").Err()
}
func (m *mirror) Program(record.Program) error { return nil }
func (m *mirror) Mark(record.Position) error   { return nil }

func (m *mirror) all(ctx context.Context, _ error) error {
	m.anew++
	if err := m.to[0].FlushAll(ctx).Err(); err != nil {
		return err
	}
	if _, found := m.scan.Inspect(ctx); len(found.Blockers()) > 0 {
		return fmt.Errorf("%+v", found)
	}
	return m.scan.Stream(ctx, record.Position{}, m)
}

// versions runs a test with the installed server, and with each other version at
// hand.
func versions(t *testing.T, test func(t *testing.T, binary string)) {
	binaries := map[string]string{"installed": ""}
	if dir := os.Getenv("SLOTFERRY_SERVERS"); dir != "" {
		paths, _ := filepath.Glob(filepath.Join(dir, "*", "bin", "redis-server")) // the pattern is sound
		for _, path := range paths {
			binaries[filepath.Base(filepath.Dir(filepath.Dir(path)))] = path
		}
	}
	for name, binary := range binaries {
		t.Run(name, func(t *testing.T) { test(t, binary) })
	}
}

// TestMirror has writers change keys of all types in two databases, with what
// causes gaps among it. Afterwards the mirror is as the source is.
func TestMirror(t *testing.T) { versions(t, mirrored) }

func mirrored(t *testing.T, binary string) {
	ctx := t.Context()
	server, sink := sandboxtest.Server(t, sandbox.Options{Binary: binary}), sandboxtest.Server(t, sandbox.Options{Binary: binary})
	in := endpoint.Endpoint{Addr: server.Addr}
	everything, err := choice.New(choice.Options{})
	if err != nil {
		t.Fatal(err)
	}
	m := &mirror{t: t, to: map[int]*redis.Client{}, scan: scan.New(scan.Options{Endpoint: in, Choice: everything})}
	t.Cleanup(func() { _ = m.scan.Close() })
	from := map[int]*redis.Client{}
	for _, db := range databases {
		m.to[db], from[db] = client(t, sink, db), client(t, server, db)
	}
	for _, db := range databases {
		write(t, from[db], 500, uint64(db))
	}
	l := run(t, notify.Options{Endpoint: in, Enable: true})
	if err := m.all(ctx, nil); err != nil {
		t.Fatal(err)
	}
	background(t, func(ctx context.Context) error {
		return l.Follow(ctx, notify.FollowOptions{Read: m.scan.Records, Send: m.Record, Anew: m.all, Batch: 50})
	})
	for round, disturb := range []func() error{
		func() error { return nil },
		func() error { return from[0].Do(ctx, "CLIENT", "KILL", "TYPE", "pubsub").Err() },
		func() error { return from[2].FlushDB(ctx).Err() },
		func() error { return from[0].Do(ctx, "SWAPDB", 0, 2).Err() },
	} {
		var writers sync.WaitGroup
		for w := range 4 {
			writers.Go(func() { write(t, from[databases[w%2]], 500, uint64(10*round+w)) })
		}
		if err := disturb(); err != nil {
			t.Error(err)
		}
		writers.Wait()
		if round > 0 {
			for l.Counts().Gaps < int64(round) {
				if _, err := l.Settled(ctx); err != nil {
					t.Fatal(err)
				}
			}
		}
		equal(t, l, from, m.to)
	}
	c := l.Counts()
	if c.Gaps != 3 || m.anew != 4 {
		t.Errorf("%d gaps, %d times anew", c.Gaps, m.anew)
	}
	if l.Pending() != 0 || l.Lag() != 0 || c.Deleted == 0 || c.Read < c.Deleted || c.Touched < c.Read || c.Events < c.Touched/2 {
		t.Errorf("%d pending for %s, counted %+v", l.Pending(), l.Lag(), c)
	}
}

// shortest is how long keys last that expire in the test.
const shortest = 30 * time.Millisecond

// write runs random commands. Many of them fail, for want of keys or because
// they are of another type.
func write(t *testing.T, c *redis.Client, commands int, seed uint64) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 1))
	key := func() string { return fmt.Sprintf("k\x00\xff\r\n*:%d", r.IntN(120)) }
	word := func() string { return fmt.Sprintf("w%d", r.IntN(1000)) }
	kinds := []func() []any{
		func() []any { return []any{"SET", key(), word()} },
		func() []any { return []any{"SET", key(), word(), "PX", 1 + r.IntN(int(shortest.Milliseconds()))} },
		func() []any { return []any{"INCR", key() + "n"} },
		func() []any { return []any{"APPEND", key(), word()} },
		func() []any { return []any{"SETBIT", key(), r.IntN(200), 1} },
		func() []any { return []any{"MSET", key(), word(), key(), word()} },
		func() []any { return []any{"HSET", key() + "h", word(), word(), word(), word()} },
		func() []any { return []any{"HDEL", key() + "h", word()} },
		func() []any { return []any{"LPUSH", key() + "l", word()} },
		func() []any { return []any{"RPOPLPUSH", key() + "l", key() + "l"} },
		func() []any { return []any{"SADD", key() + "s", word(), word()} },
		func() []any { return []any{"SMOVE", key() + "s", key() + "s", word()} },
		func() []any { return []any{"SUNIONSTORE", key() + "s", key() + "s", key() + "s"} },
		func() []any { return []any{"ZADD", key() + "z", r.IntN(100), word()} },
		func() []any { return []any{"ZREMRANGEBYRANK", key() + "z", 0, 0} },
		func() []any { return []any{"XADD", key() + "x", "MAXLEN", 20, "*", "f", word()} },
		func() []any { return []any{"XGROUP", "CREATE", key() + "x", "g", "0", "MKSTREAM"} },
		func() []any { return []any{"XREADGROUP", "GROUP", "g", "c", "COUNT", 2, "STREAMS", key() + "x", ">"} },
		func() []any { return []any{"XACK", key() + "x", "g", "1-1"} },
		func() []any { return []any{"PFADD", key() + "p", word()} },
		func() []any { return []any{"DEL", key(), key() + "h"} },
		func() []any { return []any{"RENAME", key(), key()} },
		func() []any { return []any{"MOVE", key(), 2 - c.Options().DB} },
		func() []any { return []any{"PEXPIRE", key() + "s", 1 + r.IntN(int(shortest.Milliseconds()))} },
		func() []any { return []any{"EXPIRE", key(), 100_000 + r.IntN(1000)} },
		func() []any { return []any{"PERSIST", key()} },
		func() []any {
			return []any{"EVAL", "redis.call('set',KEYS[1],ARGV[1]); return redis.call('del',KEYS[2])", 2, key(), key(), word()}
		},
	}
	for done := 0; done < commands; done += 10 {
		p := c.Pipeline()
		if r.IntN(4) == 0 {
			p = c.TxPipeline()
		}
		for range 10 {
			p.Do(t.Context(), kinds[r.IntN(len(kinds))]()...)
		}
		_, err := p.Exec(t.Context())
		var reply redis.Error
		if err != nil && !errors.As(err, &reply) {
			t.Error(err)
			return
		}
	}
}

// equal compares the databases, key by key, once all is settled.
func equal(t *testing.T, l *notify.Listener, from, to map[int]*redis.Client) {
	t.Helper()
	for _, c := range from { // until what has expired, or will soon, is removed
		for !lasting(t, c) {
			time.Sleep(time.Millisecond)
		}
	}
	settled(t, l)
	for _, db := range databases {
		want, got := contents(t, from[db]), contents(t, to[db])
		if len(want) == 0 {
			t.Errorf("db %d: nothing was compared", db)
		}
		for key, w := range want {
			if got[key] != w {
				t.Errorf("db %d: %q is\n%s, want\n%s", db, key, got[key], w)
			}
			delete(got, key)
		}
		if len(got) > 0 {
			t.Errorf("db %d: left over are %q", db, got)
		}
	}
}

// lasting reports whether all keys will be there for a while.
func lasting(t *testing.T, c *redis.Client) bool {
	t.Helper()
	ctx := t.Context()
	keys, err := c.Keys(ctx, "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range keys {
		if left := c.PTTL(ctx, key).Val(); left > 0 && left < time.Minute || left == -2 {
			return false
		}
	}
	return int64(len(keys)) == c.DBSize(ctx).Val()
}

// contents returns the value of each key of a database as a text.
func contents(t *testing.T, c *redis.Client) map[string]string {
	t.Helper()
	ctx := t.Context()
	keys, err := c.Keys(ctx, "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(keys)
	p := c.Pipeline()
	var answers [][]*redis.Cmd
	for _, key := range keys {
		answers = append(answers, []*redis.Cmd{
			p.Do(ctx, "DEBUG", "DIGEST-VALUE", key), p.Do(ctx, "PTTL", key), p.Do(ctx, "XINFO", "STREAM", key, "FULL"),
		})
	}
	_, _ = p.Exec(ctx) // XINFO fails for most
	all := map[string]string{}
	for i, a := range answers {
		if err := a[0].Err(); err != nil {
			t.Fatal(err)
		}
		all[keys[i]] = fmt.Sprint(a[0].Val(), " expires: ", a[1].Val().(int64) > 0, " ", a[2].Val())
	}
	return all
}
