package psync_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/importer/source/psync"
	"github.com/slotferry/slotferry/internal/dataset"
	"github.com/slotferry/slotferry/internal/sandbox"
	"github.com/slotferry/slotferry/internal/sandbox/sandboxtest"
	"github.com/slotferry/slotferry/rdbparse"
	"github.com/slotferry/slotferry/resp"
)

func must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// writers change the source until stop is called: by commands that show when
// they are done twice, in two databases, some of them in transactions.
func writers(t testing.TB, s *sandbox.Server) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for w := range 2 {
		o := s.ClientOptions()
		o.DB = 3 * w
		c := redis.NewClient(o)
		wg.Go(func() {
			defer c.Close()
			for n := 0; ctx.Err() == nil; n++ {
				some(ctx, c, w, n)
			}
		})
	}
	return func() { cancel(); wg.Wait() }
}

func some(ctx context.Context, c *redis.Client, w, n int) {
	p := c.Pipeline()
	key := func(kind string) string { return fmt.Sprintf("%s:%d:%d", kind, w, n%50) }
	p.Incr(ctx, key("n"))
	p.Append(ctx, key("text"), fmt.Sprint(n))
	p.RPush(ctx, key("list"), n)
	if n%3 == 0 {
		p.LPop(ctx, key("list"))
		p.Expire(ctx, key("text"), time.Hour)
	}
	if n%100 == 0 {
		p.Set(ctx, key("large"), strings.Repeat("x", 300_000), 0)
	}
	_, _ = p.Exec(ctx) // the source may be away
	_, _ = c.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.HIncrBy(ctx, key("hash"), "f", 1)
		p.SAdd(ctx, key("set"), n)
		return nil
	})
}

func fill(t testing.TB, s *sandbox.Server) {
	t.Helper()
	for _, db := range []int{0, 3} {
		if _, err := dataset.Fill(t.Context(), s.Client(), dataset.Options{Keys: 400, DB: db, BinaryKeys: true}); err != nil {
			t.Fatal(err)
		}
	}
}

// cut ends the connections of all replicas.
func cut(t testing.TB, s *sandbox.Server) {
	t.Helper()
	must(t, s.Client().Do(t.Context(), "CLIENT", "KILL", "TYPE", "SLAVE").Err())
}

// binaries are the system's server and those of the folder SLOTFERRY_SERVERS.
func binaries() map[string]string {
	found := map[string]string{"the system's": ""}
	if dir := os.Getenv("SLOTFERRY_SERVERS"); dir != "" {
		paths, _ := filepath.Glob(filepath.Join(dir, "*", "bin", "redis-server")) // the pattern is sound
		for _, path := range paths {
			found[filepath.Base(filepath.Dir(filepath.Dir(path)))] = path
		}
	}
	return found
}

// TestFollow copies a server that is written to, with and without a disk on its
// side, while the connection is cut again and again, and goes on from the last
// position once.
func TestFollow(t *testing.T) {
	for name, binary := range binaries() {
		t.Run(name, func(t *testing.T) {
			s := sandboxtest.Server(t, sandbox.Options{Binary: binary})
			fill(t, s)
			must(t, s.Client().ConfigSet(t.Context(), "repl-backlog-size", "67108864").Err())
			m := newMirror(t, s)
			for _, diskless := range []string{"no", "yes"} {
				must(t, s.Client().ConfigSet(t.Context(), "repl-diskless-sync", diskless).Err())
				m.forget()
				stop := writers(t, s)
				defer stop()
				f := follow(t, record.Position{}, m, at(s))
				f.until("commands", func() bool { return m.count(&m.commands) > 500 })
				if want := rdbparse.Valkey; strings.HasPrefix(name, "valkey-9") && f.source.Vendor() != want {
					t.Errorf("the copy is %s's, want %s's own", f.source.Vendor(), want)
				}
				for range 3 {
					before := m.count(&m.commands)
					cut(t, s)
					f.until("commands behind a cut", func() bool { return m.count(&m.commands) > before+500 })
				}
				f.stop()
				stop()
				f = follow(t, m.position(), m, at(s))
				f.caughtUp(m)
				f.until("an acknowledgement of all", func() bool { return acknowledged(t, s) >= m.position().Serial })
				f.until("idle calls", func() bool { return m.count(&m.idle) > 2 })
				f.stop()
				m.wantSame(s)
				if m.copies != 1 || m.names["MULTI"] == 0 || m.names["EXEC"] != m.names["MULTI"] {
					t.Errorf("%d copies, commands %v", m.copies, m.names)
				}
			}
		})
	}
}

// acknowledged is the offset that the source shows for its only replica.
func acknowledged(t *testing.T, s *sandbox.Server) (offset int64) {
	t.Helper()
	info, err := s.Client().Info(t.Context(), "replication").Result()
	must(t, err)
	_, text, _ := strings.Cut(info, "slave0:")
	if _, text, ok := strings.Cut(text, ",offset="); ok {
		_, _ = fmt.Sscan(strings.TrimRight(strings.SplitN(text, ",", 2)[0], "\r\n"), &offset)
	}
	return offset
}

// TestHistoryLost comes back when the source has thrown away what came since,
// and stays while it takes another name.
func TestHistoryLost(t *testing.T) {
	s := sandboxtest.Server(t, sandbox.Options{})
	fill(t, s)
	ctx := t.Context()
	must(t, s.Client().ConfigSet(ctx, "repl-backlog-size", "16384").Err())
	m := newMirror(t, s)
	f := follow(t, record.Position{}, m, at(s))
	f.caughtUp(m)
	f.stop()
	for range 100 {
		must(t, s.Client().Set(ctx, "filler", strings.Repeat("x", 1000), 0).Err())
	}
	silent := &mirror{t: t, before: func(c *record.Command) error {
		t.Errorf("it yields %q", c.Words)
		return nil
	}}
	f = follow(t, m.position(), silent, at(s))
	if err := <-f.end; !errors.Is(err, psync.ErrHistoryLost) || silent.copies+silent.records > 0 {
		t.Errorf("%v, after %d records", err, silent.records)
	}
	m.forget()
	f = follow(t, record.Position{}, m, at(s))
	f.caughtUp(m)
	m.wantSame(s)
	must(t, s.Client().Do(ctx, "DEBUG", "CHANGE-REPL-ID").Err())
	cut(t, s)
	if err := <-f.end; !errors.Is(err, psync.ErrHistoryLost) {
		t.Error(err)
	}
}

// TestFewRights has a user that may do nothing but replicate.
func TestFewRights(t *testing.T) {
	s := sandboxtest.Server(t, sandbox.Options{})
	fill(t, s)
	ctx := t.Context()
	must(t, s.Client().Do(ctx, "ACL", "SETUSER", "replica", "on", ">pw", "+psync", "+replconf", "+ping").Err())
	o := at(s)
	o.Endpoint.Username, o.Endpoint.Password = "replica", "pw"
	m := newMirror(t, s)
	f := follow(t, record.Position{}, m, o)
	f.until("the copy", func() bool { return m.count(&m.copies) == 1 })
	must(t, s.Client().Set(ctx, "another", "x", 0).Err())
	f.until("a command", func() bool { return m.named("SET") == 1 })
	if offset, err := f.source.Offset(ctx); err != nil || offset != f.source.Received() || offset == 0 {
		t.Error(offset, err)
	}
	if _, _, err := f.source.SourceBuffer(ctx); !errors.Is(err, psync.ErrUnknown) {
		t.Error(err)
	}
	f.stop()
	m.wantSame(s)

	o.Endpoint.Password = "wrong"
	if _, found := psync.New(o).Inspect(ctx); !found.Blockers().Has("source_auth") {
		t.Errorf("found %+v", found)
	}
	if err := psync.New(o).Stream(ctx, record.Position{}, m); !errors.Is(err, psync.ErrDenied) {
		t.Error(err)
	}
}

// TestNoRights has users that may not replicate.
func TestNoRights(t *testing.T) {
	for name, binary := range binaries() {
		t.Run(name, func(t *testing.T) {
			s := sandboxtest.Server(t, sandbox.Options{Binary: binary})
			ctx := t.Context()
			for user, missing := range map[string]string{"neither": "REPLCONF, PSYNC", "half": "PSYNC"} {
				rule := []any{"ACL", "SETUSER", user, "on", ">pw", "+ping", "+info", "+time", "+multi"}
				if user == "half" {
					rule = append(rule, "+replconf")
				}
				must(t, s.Client().Do(ctx, rule...).Err())
				o := at(s)
				o.Endpoint.Username, o.Endpoint.Password = user, "pw"
				p := psync.New(o)
				defer p.Close()
				if _, found := p.Inspect(ctx); !found.Blockers().Has("source_rights") || !strings.HasSuffix(strings.Split(found.Blockers()[0].Message, " on the source")[0], "run "+missing) {
					t.Errorf("%s: found %+v", user, found)
				}
				if err := p.Stream(ctx, record.Position{}, &mirror{t: t}); !errors.Is(err, psync.ErrDenied) {
					t.Errorf("%s: %v", user, err)
				}
				if strings.Contains(s.Log(), "BGSAVE") {
					t.Error("a copy was made")
				}
			}
		})
	}
}

// TestRestart shuts the source down in good order. From 7.0 on it knows its
// history afterwards.
func TestRestart(t *testing.T) {
	s := sandboxtest.Server(t, sandbox.Options{Args: []string{"--repl-backlog-size", "64mb"}})
	fill(t, s)
	m := newMirror(t, s)
	f := follow(t, record.Position{}, m, at(s))
	f.caughtUp(m)
	must(t, s.Client().Incr(t.Context(), "first").Err()) // no history of no bytes is kept
	f.caughtUp(m)
	must(t, s.Restart(t.Context()))
	stop := writers(t, s)
	defer stop()
	before := m.position()
	if !s.Version.AtLeast(7, 0) {
		if err := <-f.end; !errors.Is(err, psync.ErrHistoryLost) {
			t.Error(err)
		}
		return
	}
	f.until("commands of the new life", func() bool { return m.position().Serial > before.Serial+10_000 })
	stop()
	f.caughtUp(m)
	m.wantSame(s)
	s.Stop()
}

// TestPatience has a source that does not come back.
func TestPatience(t *testing.T) {
	s := sandboxtest.Server(t, sandbox.Options{})
	m := newMirror(t, s)
	o := at(s)
	o.RetryFor = 300 * time.Millisecond
	f := follow(t, record.Position{}, m, o)
	f.caughtUp(m)
	must(t, s.Kill())
	if err := <-f.end; !errors.Is(err, record.ErrPatience) {
		t.Error(err)
	}
	if len(f.source.Pulse().Waits()) != 0 {
		t.Error("it waits still")
	}
}

// TestFailover follows a replica, which becomes a master: the same stream goes
// on under another name.
func TestFailover(t *testing.T) {
	master, s := sandboxtest.Server(t, sandbox.Options{}), sandboxtest.Server(t, sandbox.Options{})
	fill(t, master)
	ctx := t.Context()
	must(t, s.Client().ConfigSet(ctx, "repl-backlog-size", "67108864").Err())
	must(t, s.Client().ReplicaOf(ctx, master.Host, fmt.Sprint(master.Port)).Err())
	for s.Client().Info(ctx, "replication").Val(); !strings.Contains(s.Client().Info(ctx, "replication").Val(), "master_link_status:up"); {
		time.Sleep(10 * time.Millisecond)
	}
	// The stream's database is selected before the copy begins.
	three := redis.NewClient(&redis.Options{Addr: master.Addr, DB: 3, Protocol: 2, DisableIdentity: true})
	defer three.Close()
	must(t, three.Set(ctx, "first", "x", 0).Err())
	m := newMirror(t, s)
	f := follow(t, record.Position{}, m, at(s))
	f.caughtUp(m)
	if _, found := f.source.Inspect(ctx); !found.Has("source_is_replica") || len(found.Blockers()) > 0 {
		t.Errorf("found %+v", found)
	}
	must(t, three.Incr(ctx, "second").Err())
	f.until("a command of the master", func() bool { return m.position().DB == 3 && m.count(&m.commands) > 0 })
	f.caughtUp(m)
	before := m.position()
	must(t, s.Client().ReplicaOf(ctx, "NO", "ONE").Err())
	stop := writers(t, s)
	f.until("commands of the new master", func() bool { return m.position().Serial > before.Serial+10_000 })
	stop()
	f.caughtUp(m)
	after := m.position()
	if after.Stream == before.Stream || after.Era != before.Era || m.copies != 1 {
		t.Errorf("%+v, then %+v", before, after)
	}
	f.stop()
	f = follow(t, after, m, at(s))
	must(t, s.Client().Incr(ctx, "last").Err())
	f.caughtUp(m)
	f.stop()
	m.wantSame(s)
	// A replica that has lost its master makes no copies, until it is a master.
	must(t, s.Client().ReplicaOf(ctx, "127.0.0.1", "1").Err())
	if _, found := f.source.Inspect(ctx); !found.Blockers().Has("source_link_down") {
		t.Errorf("found %+v", found)
	}
	m.forget()
	again, cancel := context.WithCancel(ctx)
	f.cancel = cancel
	go func() { f.end <- f.source.Stream(again, record.Position{}, m) }()
	f.until("a wait for the source", func() bool {
		waits := f.source.Pulse().Waits()
		return len(waits) == 1 && waits[0].What == "a replication stream that lasts"
	})
	must(t, s.Client().ReplicaOf(ctx, "NO", "ONE").Err())
	f.caughtUp(m)
	f.stop()
	m.wantSame(s)
}

func TestTLS(t *testing.T) {
	s := sandboxtest.Server(t, sandbox.Options{TLS: true, Password: "secret"})
	fill(t, s)
	m := newMirror(t, s)
	f := follow(t, record.Position{}, m, at(s))
	f.caughtUp(m)
	must(t, s.Client().Incr(t.Context(), "n").Err())
	cut(t, s)
	must(t, s.Client().Incr(t.Context(), "n").Err())
	f.caughtUp(m)
	// WAIT asks for our offset within the stream.
	if n := s.Client().Wait(t.Context(), 1, time.Minute).Val(); n != 1 || m.named("REPLCONF") > 0 {
		t.Errorf("%d replicas, commands %v", n, m.names)
	}
	f.stop()
	m.wantSame(s)
}

// refusals is a sink that notes which records came as Refused.
type refusals struct {
	mirror
	reasons []string
}

func (r *refusals) Record(c *record.Record) error {
	if c.Fate == record.Refused {
		r.reasons = append(r.reasons, c.Reason)
	}
	return nil
}

func (r *refusals) Copied(record.Position) error { return errEnough }

var errEnough = errors.New("enough")

// TestTooLarge has a value in the copy, and one in a command, that may not be
// held.
func TestTooLarge(t *testing.T) {
	s := sandboxtest.Server(t, sandbox.Options{})
	ctx := t.Context()
	must(t, s.Client().ConfigSet(ctx, "rdbcompression", "no").Err(), s.Client().Set(ctx, "short", "x", 0).Err(),
		s.Client().Set(ctx, "long", strings.Repeat("x", 2<<20), 0).Err())
	o := at(s)
	o.MaxValue = 1 << 20
	r := &refusals{mirror: mirror{t: t}}
	if err := open(t, o).Stream(ctx, record.Position{}, r); !errors.Is(err, errEnough) {
		t.Error(err)
	}
	if len(r.reasons) != 1 || !strings.Contains(r.reasons[0], "--memory") {
		t.Errorf("refused for %q", r.reasons)
	}
	must(t, s.Client().Del(ctx, "long").Err())
	m := newMirror(t, s)
	f := follow(t, record.Position{}, m, o)
	f.caughtUp(m)
	must(t, s.Client().Set(ctx, "long", strings.Repeat("x", 2<<20), 0).Err())
	if err := <-f.end; !errors.Is(err, resp.ErrTooLarge) || !strings.Contains(err.Error(), "--memory") {
		t.Error(err)
	}
}

// TestSlowTarget takes nothing until the spool is full.
func TestSlowTarget(t *testing.T) {
	s := sandboxtest.Server(t, sandbox.Options{})
	ctx := t.Context()
	m := newMirror(t, s)
	gate := make(chan struct{})
	m.before = func(*record.Command) error {
		<-gate
		return nil
	}
	o := at(s)
	o.SpoolMax = 3 << 20
	f := follow(t, record.Position{}, m, o)
	f.until("the copy", func() bool { return m.count(&m.copies) == 1 })
	value := strings.Repeat("0123456789", 100_000)
	for i := range 40 {
		must(t, s.Client().Append(ctx, fmt.Sprint(i%5), value).Err())
	}
	f.until("a full spool", func() bool { return f.source.SpoolFull() != "" })
	used, limit := f.source.Spooled()
	if used != limit || limit != 11<<20 {
		t.Errorf("%d of %d bytes are spooled", used, limit)
	}
	f.until("the rest in the source's buffer", func() bool {
		used, limit, err := f.source.SourceBuffer(ctx)
		must(t, err)
		return used > 10<<20 && limit == 64<<20
	})
	close(gate)
	f.caughtUp(m)
	f.stop()
	m.wantSame(s)
}
