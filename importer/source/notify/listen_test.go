package notify_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/slotferry/slotferry/importer/choice"
	"github.com/slotferry/slotferry/importer/endpoint"
	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/importer/source/notify"
	"github.com/slotferry/slotferry/internal/sandbox"
	"github.com/slotferry/slotferry/internal/sandbox/sandboxtest"
)

// pending takes what is pending once all that happened was heard of.
func pending(t *testing.T, l *notify.Listener) (keys []string) {
	t.Helper()
	if _, err := l.Settled(t.Context()); err != nil {
		t.Fatal(err)
	}
	for {
		db, some := l.Take(3)
		if len(some) == 0 {
			slices.Sort(keys)
			return keys
		}
		for _, key := range some {
			keys = append(keys, fmt.Sprintf("%d/%s", db, key))
		}
	}
}

// TestEvents runs commands of every kind, and looks which keys they touch.
// Commands that a version does not know are left out.
func TestEvents(t *testing.T) {
	versions(t, func(t *testing.T, binary string) {
		ctx := t.Context()
		server := sandboxtest.Server(t, sandbox.Options{Binary: binary})
		l := run(t, notify.Options{Endpoint: endpoint.Endpoint{Addr: server.Addr}, Enable: true})
		conn := server.Client().Conn()
		defer conn.Close()
		for _, tc := range []struct {
			command string
			keys    []string
		}{
			{"SET a 1", []string{"0/a"}},
			{"GET a", nil},
			{"GET nowhere", nil},
			{"MSETEX 2 a 1 b 2 EX 1000", []string{"0/a", "0/b"}},
			{"MSET a 1 b 2", []string{"0/a", "0/b"}},
			{"GETSET a 2", []string{"0/a"}},
			{"GETEX a EX 1000", []string{"0/a"}},
			{"EXPIRE a 2000", []string{"0/a"}},
			{"PERSIST a", []string{"0/a"}},
			{"SETRANGE a 3 x", []string{"0/a"}},
			{"BITFIELD a SET u8 0 1", []string{"0/a"}},
			{"BITOP NOT c a", []string{"0/c"}},
			{"RENAME c d", []string{"0/c", "0/d"}},
			{"COPY d e", []string{"0/e"}},
			{"COPY d e DB 3", []string{"3/e"}},
			{"MOVE d 2", []string{"0/d", "2/d"}},
			{"GETDEL e", []string{"0/e"}},
			{"DEL a b", []string{"0/a", "0/b"}},
			{"LPUSH l 3 1 2", []string{"0/l"}},
			{"SORT l STORE l2", []string{"0/l2"}},
			{"RPOPLPUSH l l3", []string{"0/l", "0/l3"}},
			{"LMOVE l l3 LEFT LEFT", []string{"0/l", "0/l3"}},
			{"LPOP l", []string{"0/l"}},
			{"SADD s a b c", []string{"0/s"}},
			{"SMOVE s s2 a", []string{"0/s", "0/s2"}},
			{"SPOP s 2", []string{"0/s"}},
			{"SINTERSTORE s2 nowhere s2", []string{"0/s2"}},
			{"ZADD z 1 a 2 b", []string{"0/z"}},
			{"ZRANGESTORE z2 z 0 0", []string{"0/z2"}},
			{"ZPOPMIN z", []string{"0/z"}},
			{"GEOADD g 1 1 a", []string{"0/g"}},
			{"GEORADIUS g 1 1 1 km STORE g2", []string{"0/g2"}},
			{"PFADD p a", []string{"0/p"}},
			{"PFMERGE p2 p", []string{"0/p2"}},
			{"HSET h a 1", []string{"0/h"}},
			{"HEXPIRE h 1000 FIELDS 1 a", []string{"0/h"}},
			{"HPEXPIRE h 0 FIELDS 1 a", []string{"0/h"}},
			{"HSETEX h EX 1000 FIELDS 1 b 2", []string{"0/h"}},
			{"HGETEX h PERSIST FIELDS 1 b", []string{"0/h"}},
			{"HGETDEL h FIELDS 1 b", []string{"0/h"}},
			{"XADD x 1-1 a 1", []string{"0/x"}},
			{"XGROUP CREATE x g 0", []string{"0/x"}},
			{"XREADGROUP GROUP g c STREAMS x >", []string{"0/x"}},
			{"XCLAIM x g c 0 1-1", []string{"0/x"}},
			{"XAUTOCLAIM x g c 0 0", []string{"0/x"}},
			{"XCFGSET x IDMP-DURATION 100", []string{"0/x"}},
			{"XACK x g 1-1", []string{"0/x"}},
			{"XSETID x 5-5", []string{"0/x"}},
			{"XTRIM x MAXLEN 0", []string{"0/x"}},
			{"VADD v VALUES 2 1 2 el", []string{"0/v"}},
			{"VSETATTR v el {}", []string{"0/v"}},
			{"SET \x00\r\n\xff__:*4 v", []string{"0/\x00\r\n\xff__:*4"}},
			{"EVAL redis.call('set',KEYS[1],'v') 1 script", []string{"0/script"}},
			{"MULTI", nil}, {"SET tx 1", nil}, {"SET tx2 1", nil}, {"DEL tx", nil}, {"EXEC", []string{"0/tx", "0/tx2"}},
			{"PEXPIREAT script 1", []string{"0/script"}},
			{"SET brief v PX 1", []string{"0/brief"}},
		} {
			var words []any
			for _, w := range strings.Split(tc.command, " ") {
				words = append(words, w)
			}
			err := conn.Do(ctx, words...).Err()
			if err != nil && !errors.Is(err, redis.Nil) {
				if strings.Contains(err.Error(), "unknown command") || strings.Contains(err.Error(), "syntax error") {
					continue
				}
				t.Fatalf("%s: %v", tc.command, err)
			}
			if got := pending(t, l); !slices.Equal(got, tc.keys) {
				t.Errorf("%s touched %q, want %q", tc.command, got, tc.keys)
			}
		}
		for got := []string(nil); !slices.Equal(got, []string{"0/brief"}); got = pending(t, l) { // when it expires
			time.Sleep(time.Millisecond)
		}
		if err := conn.Set(ctx, "evicted", "v", 0).Err(); err != nil {
			t.Fatal(err)
		}
		pending(t, l)
		for _, s := range [][2]string{{"maxmemory-policy", "allkeys-random"}, {"maxmemory", "1"}} {
			if err := conn.ConfigSet(ctx, s[0], s[1]).Err(); err != nil {
				t.Fatal(err)
			}
		}
		for !slices.Contains(pending(t, l), "0/evicted") {
			_ = conn.Set(ctx, "more", "v", 0) // which makes older versions evict
		}
		if c := l.Counts(); c.Gaps != 0 || l.Gap() != nil {
			t.Errorf("counted %+v", c)
		}
		if conn.Do(ctx, "VREM", "v", "el").Err() == nil {
			if pending(t, l); !errors.Is(l.Gap(), notify.ErrSilent) {
				t.Error("a vector set went unseen")
			}
		}
	})
}

// TestChosen follows some keys only.
func TestChosen(t *testing.T) {
	ctx := t.Context()
	server := sandboxtest.Server(t, sandbox.Options{Args: []string{"--notify-keyspace-events", "KA"}})
	keys, err := choice.New(choice.Options{DBs: []int{2}, Include: []string{"k*"}, Slots: "0-8000"})
	if err != nil {
		t.Fatal(err)
	}
	l := run(t, notify.Options{Endpoint: endpoint.Endpoint{Addr: server.Addr}, Choice: keys})
	c := client(t, server, 2)
	if err := errors.Join(server.Client().MSet(ctx, "k1", 1, "k2", 2).Err(), c.MSet(ctx, "k1", 1, "k2", 2, "x2", 3, "k__:3", 4).Err()); err != nil {
		t.Fatal(err)
	}
	if got := pending(t, l); !slices.Equal(got, []string{"2/k2", "2/k__:3"}) {
		t.Errorf("touched are %q", got) // the slot of k1 is 12706
	}
}

// TestGaps does what makes a gap, and what does not.
func TestGaps(t *testing.T) {
	ctx := t.Context()
	server := sandboxtest.Server(t, sandbox.Options{Args: []string{"--notify-keyspace-events", "AE"}})
	c := server.Client()
	l := run(t, notify.Options{Endpoint: endpoint.Endpoint{Addr: server.Addr}, Enable: true, Memory: 100_000})
	for _, tc := range []struct {
		name string
		do   func() error
		want error
	}{
		{"nothing", func() error { return nil }, nil},
		{"flush", func() error { return c.FlushAll(ctx).Err() }, notify.ErrFlushed},
		{"flush in a script", func() error { return c.Eval(ctx, "return redis.call('flushdb')", nil).Err() }, notify.ErrFlushed},
		{"counts begin anew", func() error { return c.ConfigResetStat(ctx).Err() }, nil},
		{"flush", func() error { return c.FlushDB(ctx).Err() }, notify.ErrFlushed},
		{"flush and counts that begin anew", func() error { return errors.Join(c.ConfigResetStat(ctx).Err(), c.FlushDB(ctx).Err()) }, notify.ErrFlushed},
		{"swap in a transaction", func() error {
			_, err := c.TxPipelined(ctx, func(p redis.Pipeliner) error { return p.Do(ctx, "SWAPDB", 0, 1).Err() })
			return err
		}, notify.ErrFlushed},
		{"cut", func() error { return c.Do(ctx, "CLIENT", "KILL", "TYPE", "pubsub").Err() }, notify.ErrLost},
		{"switched off", func() error { return c.ConfigSet(ctx, "notify-keyspace-events", "").Err() }, notify.ErrOff},
		{"too many", func() error {
			return c.Eval(ctx, "for i=1,2000 do redis.call('set','key'..i,'v') end return 0", nil).Err()
		}, notify.ErrOverflow},
		{"too long", func() error { return c.Set(ctx, strings.Repeat("k", 300_000), "v", 0).Err() }, notify.ErrOverflow},
		{"restarted", func() error { return server.Restart(ctx) }, notify.ErrLost},
		{"a replica", func() error { return c.Do(ctx, "REPLICAOF", "127.0.0.1", "1").Err() }, notify.ErrResynced},
	} {
		if err := tc.do(); err != nil {
			t.Fatalf("%s: %v", tc.name, err)
		}
		var got error
		for {
			ok, err := l.Settled(ctx)
			if err != nil {
				t.Fatalf("%s: %v", tc.name, err)
			}
			if ok && tc.want != nil {
				t.Errorf("%s: it is settled", tc.name)
			}
			if got = l.Gap(); got != nil || tc.want == nil {
				break
			}
		}
		if !errors.Is(got, tc.want) || tc.want == nil && got != nil {
			t.Errorf("%s: the gap is %v, want %v", tc.name, got, tc.want)
		}
		if got != nil {
			if ok, err := l.Settled(ctx); err != nil || !ok || l.Gap() != nil || l.Lag() != 0 {
				t.Errorf("%s: afterwards it is settled: %t, %v", tc.name, ok, err)
			}
		}
	}
}

// TestFollow has keys touched while they are read, and ends in an error, after
// which no key is lost.
func TestFollow(t *testing.T) {
	ctx := t.Context()
	server := sandboxtest.Server(t, sandbox.Options{Args: []string{"--notify-keyspace-events", "AE"}})
	c := server.Client()
	l := run(t, notify.Options{Endpoint: endpoint.Endpoint{Addr: server.Addr}})
	if err := c.MSet(ctx, "a", 1, "b", 2, "c", 3).Err(); err != nil {
		t.Fatal(err)
	}
	settle := func() bool {
		ok, err := l.Settled(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	if settle() || l.Pending() != 3 || l.Lag() <= 0 {
		t.Errorf("%d pending for %s", l.Pending(), l.Lag())
	}
	var read []string
	o := notify.FollowOptions{
		Read: func(_ context.Context, db int, keys [][]byte, each func(int, *record.Record) error) error {
			read = append(read, fmt.Sprintf("%d %s", db, keys))
			for i, key := range keys {
				if len(read) == 1 && i == 0 {
					if err := c.Set(ctx, "a", 2, 0).Err(); err != nil {
						return err
					}
					if settle() || l.Pending() != 4 {
						t.Errorf("%d pending while a key is read", l.Pending())
					}
				}
				if err := each(i, &record.Record{DB: db, Key: key}); err != nil {
					return err
				}
			}
			return nil
		},
		Send: func(r *record.Record) error {
			if len(read) == 2 && string(r.Key) == "c" {
				return errEnd
			}
			return nil
		},
		Batch: 2,
	}
	if err := l.Follow(ctx, o); !errors.Is(err, errEnd) {
		t.Errorf("it ended with %v", err)
	}
	if got := fmt.Sprint(read); got != "[0 [a b] 0 [c a]]" || settle() {
		t.Errorf("read was %s", got)
	}
	if got := pending(t, l); !slices.Equal(got, []string{"0/a", "0/c"}) || !settle() {
		t.Errorf("left are %q", got)
	}
	o.Idle = func() error { return errEnd }
	if err := l.Follow(ctx, o); !errors.Is(err, errEnd) {
		t.Errorf("with nothing to do it ended with %v", err)
	}
}

// TestInspect meets users with too few rights and settings that are off.
func TestInspect(t *testing.T) {
	ctx := t.Context()
	server := sandboxtest.Server(t, sandbox.Options{})
	c := server.Client()
	const full = "reset on >pw +psubscribe +ping +info +time +config|get +config|set &__keyevent@*__:* &__keyspace@*__:*"
	for _, tc := range []struct {
		name, flags, rules string
		enable, assume     bool
		code, remedy       string // of what is found; "" for nothing
		blocks             bool
	}{
		{name: "all is well", flags: "AE", rules: full},
		{name: "with keys as channels, class by class", flags: "Kg$lshzxetm", rules: full},
		{name: "off", rules: full, code: "notify_off", remedy: "CONFIG SET notify-keyspace-events AE, or let it be done for the run", blocks: true},
		{name: "some", flags: "Kg$l", rules: full, code: "notify_off", remedy: "A, or", blocks: true},
		{name: "no messages", flags: "A", rules: full, code: "notify_off", remedy: "CONFIG SET notify-keyspace-events AE", blocks: true},
		{name: "to be switched on", rules: full, enable: true},
		{name: "may not be switched on", rules: full + " -config|set", enable: true, code: "notify_off", remedy: "+config|set", blocks: true},
		{name: "may not ask", flags: "AE", rules: full + " -config|get", code: "notify_unknown", remedy: "+config|get", blocks: true},
		{name: "may not ask, taken for granted", flags: "AE", rules: full + " -config|get", assume: true, code: "notify_unknown"},
		{name: "may not subscribe", flags: "AE", rules: full + " -psubscribe", code: "notify_rights", remedy: "ACL SETUSER <user> +psubscribe +ping +info +config|get", blocks: true},
		{name: "may not subscribe to that", flags: "AE", rules: full + " resetchannels &x*", code: "notify_rights", remedy: "&__keyevent@*__:*", blocks: true},
		{name: "may not PING", flags: "AE", rules: full + " -ping", code: "notify_rights", remedy: "+ping", blocks: true},
		{name: "may not INFO", flags: "AE", rules: full + " -info", code: "notify_rights", remedy: "+info", blocks: true},
		{name: "may nothing", flags: "AE", rules: "reset", code: "source_auth", remedy: "password", blocks: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			rules := []any{"ACL", "SETUSER", "somebody"}
			for _, r := range strings.Fields(tc.rules) {
				rules = append(rules, r)
			}
			if err := errors.Join(c.ConfigSet(ctx, "notify-keyspace-events", tc.flags).Err(), c.Do(ctx, rules...).Err()); err != nil {
				t.Fatal(err)
			}
			before := c.ConfigGet(ctx, "notify-keyspace-events").Val()["notify-keyspace-events"]
			o := notify.Options{Endpoint: endpoint.Endpoint{Addr: server.Addr, Username: "somebody", Password: "pw"}, Enable: tc.enable, Assume: tc.assume}
			l := notify.New(o)
			defer l.Close()
			found := l.Inspect(ctx)
			if tc.code == "" && len(found) > 0 || tc.code != "" && (len(found) != 1 || found[0].Code != tc.code || found[0].Blocks != tc.blocks || !strings.Contains(found[0].Remedy, tc.remedy)) {
				t.Errorf("found %+v", found)
			}
			ended, cancel := context.WithCancelCause(ctx)
			done := make(chan error, 1)
			go func() { done <- l.Run(ended) }()
			if tc.blocks {
				if err := <-done; !errors.Is(err, notify.ErrDenied) && !errors.Is(err, endpoint.ErrAuth) {
					t.Errorf("it ran until %v", err)
				}
			} else {
				if err := l.Ready(ctx); err != nil {
					t.Fatal(err)
				}
				if err := c.Set(ctx, "k", "v", 0).Err(); err != nil {
					t.Fatal(err)
				}
				if got := pending(t, l); !slices.Equal(got, []string{"0/k"}) {
					t.Errorf("touched are %q", got)
				}
			}
			cancel(errEnd)
			if !tc.blocks {
				if err := <-done; !errors.Is(err, errEnd) {
					t.Errorf("it ended with %v", err)
				}
			}
			if after := c.ConfigGet(ctx, "notify-keyspace-events").Val()["notify-keyspace-events"]; after != before {
				t.Errorf("the setting was %q and is %q", before, after)
			}
		})
	}
	t.Run("gone", func(t *testing.T) {
		server.Stop()
		l := notify.New(notify.Options{Endpoint: endpoint.Endpoint{Addr: server.Addr}, RetryFor: time.Millisecond})
		defer l.Close()
		if found := l.Inspect(ctx); !found.Has("source_unreachable") {
			t.Errorf("found %+v", found)
		}
		if err := l.Run(ctx); !errors.Is(err, record.ErrPatience) {
			t.Errorf("it ran until %v", err)
		}
		if ok, err := l.Settled(ctx); ok || err == nil {
			t.Errorf("settled: %t, %v", ok, err)
		}
	})
}
