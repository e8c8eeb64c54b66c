package tail

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/slotferry/slotferry/checkpoint"
	"github.com/slotferry/slotferry/importer/choice"
	"github.com/slotferry/slotferry/importer/endpoint"
	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/importer/source/scan"
	"github.com/slotferry/slotferry/importer/target"
	"github.com/slotferry/slotferry/internal/dataset"
	"github.com/slotferry/slotferry/internal/sandbox"
	"github.com/slotferry/slotferry/internal/sandbox/sandboxtest"
	"github.com/slotferry/slotferry/resp"
)

func init() { redis.SetLogger(silence{}) }

type silence struct{}

func (silence) Printf(context.Context, string, ...any) {}

// rig is a source whose replication stream is kept as a whole, so that it can be
// applied from any position, and a cluster.
type rig struct {
	source *sandbox.Server
	nodes  *sandbox.Cluster
	scan   *scan.Source

	mu      sync.Mutex
	more    *sync.Cond
	history []command
	err     error
}

// command is one of the stream, in memory of its own.
type command struct {
	db    int
	words [][]byte
	raw   []byte
	end   int64
}

func newRig(t *testing.T, replicas int) *rig {
	t.Helper()
	r := &rig{
		source: sandboxtest.Server(t, sandbox.Options{}),
		nodes:  sandboxtest.Cluster(t, sandbox.ClusterOptions{Replicas: replicas, NodeTimeout: 2 * time.Second}),
	}
	r.more = sync.NewCond(&r.mu)
	r.scan = scan.New(scan.Options{Endpoint: endpoint.Endpoint{Addr: r.source.Addr}, Choice: all(t)})
	t.Cleanup(func() { _ = r.scan.Close() })
	if _, findings := r.scan.Inspect(t.Context()); len(findings.Blockers()) > 0 {
		t.Fatal(findings)
	}
	r.follow(t)
	return r
}

func all(t testing.TB) *choice.Choice {
	t.Helper()
	return chosen(t, choice.Options{})
}

func chosen(t testing.TB, o choice.Options) *choice.Choice {
	t.Helper()
	c, err := choice.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// follow reads the source's stream as a replica.
func (r *rig) follow(t *testing.T) {
	conn, err := net.Dial("tcp", r.source.Addr)
	if err != nil {
		t.Fatal(err)
	}
	var over sync.WaitGroup
	t.Cleanup(func() { _ = conn.Close(); over.Wait() })
	if _, err := conn.Write(resp.AppendCommand(nil, "PSYNC", "?", "-1")); err != nil {
		t.Fatal(err)
	}
	first := line(t, conn)
	words := strings.Fields(first)
	if len(words) != 3 || words[0] != "+FULLRESYNC" {
		t.Fatalf("the source answered %q to PSYNC", first)
	}
	offset, err := strconv.ParseInt(words[2], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	head := ""
	for head == "" {
		head = line(t, conn)
	}
	n, err := strconv.ParseInt(strings.TrimPrefix(head, "$"), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(io.Discard, conn, n); err != nil {
		t.Fatal(err)
	}
	over.Go(func() { r.keep(resp.NewCommandReader(conn, 64<<20), offset) })
	// Without an acknowledgement now and then the source would hang up.
	over.Go(func() {
		for range time.Tick(time.Second) {
			if _, err := conn.Write(resp.AppendCommand(nil, "REPLCONF", "ACK", fmt.Sprint(r.end()))); err != nil {
				return
			}
		}
	})
}

func line(t *testing.T, conn net.Conn) string {
	t.Helper()
	var text []byte
	for b := make([]byte, 1); ; {
		if _, err := io.ReadFull(conn, b); err != nil {
			t.Fatal(err)
		}
		if b[0] == '\n' {
			return strings.TrimSuffix(string(text), "\r")
		}
		text = append(text, b[0])
	}
}

func (r *rig) keep(stream *resp.CommandReader, offset int64) {
	db := 0
	for {
		words, raw, err := stream.Next()
		if err != nil {
			r.mu.Lock()
			r.err = err
			r.more.Broadcast()
			r.mu.Unlock()
			return
		}
		c := command{raw: append([]byte(nil), raw...), end: offset + stream.Offset()}
		c.words = split(c.raw)
		if strings.EqualFold(string(words[0]), "SELECT") {
			db, _ = strconv.Atoi(string(words[1]))
		}
		c.db = db
		r.mu.Lock()
		r.history = append(r.history, c)
		r.more.Broadcast()
		r.mu.Unlock()
	}
}

// end returns how far the stream was read.
func (r *rig) end() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.history); n > 0 {
		return r.history[n-1].end
	}
	return 0
}

// reach waits until the stream was read as far as the source has written it, and
// returns how far that is.
func (r *rig) reach(t *testing.T) int64 {
	t.Helper()
	info := r.source.Client().InfoMap(t.Context(), "replication").Val()["Replication"]
	want, err := strconv.ParseInt(info["master_repl_offset"], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the stream at its end", func() bool { return r.end() >= want })
	return r.end()
}

// from returns the commands behind a position.
func (r *rig) from(serial int64) []command {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.history {
		if r.history[i].end > serial {
			return r.history[i:]
		}
	}
	return nil
}

// clean empties both sides and returns the position behind that.
func (r *rig) clean(t *testing.T, era string) record.Position {
	t.Helper()
	ctx := t.Context()
	if err := r.source.Client().FlushAll(ctx).Err(); err != nil {
		t.Fatal(err)
	}
	if err := r.nodes.Client().ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error { return c.FlushAll(ctx).Err() }); err != nil {
		t.Fatal(err)
	}
	return record.Position{Stream: "history", Era: era, Serial: r.reach(t)}
}

// run is an Applier at work, with the target that it needs.
type run struct {
	*Applier
	rig     *rig
	cluster *target.Cluster
	stop    context.CancelFunc
	ended   chan error
	at      int64 // given up to here
}

// options are those of the job that most tests run.
func (r *rig) options(t *testing.T) Options {
	return Options{Choice: all(t), Job: "tail", Reread: r.scan.At, ReplyTimeout: 2 * time.Second, RetryFor: time.Minute}
}

func (r *rig) begin(t *testing.T, o Options, from record.Position, fresh bool) *run {
	t.Helper()
	c := target.New(target.Options{Seeds: r.nodes.Seeds(), Job: o.Job, ReplyTimeout: 2 * time.Second})
	if _, findings := c.Inspect(t.Context()); len(findings.Blockers()) > 0 {
		t.Fatal(findings)
	}
	o.Cluster = c
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	u := &run{Applier: New(o), rig: r, cluster: c, stop: stop, ended: make(chan error, 2), at: from.Serial}
	go func() { u.ended <- c.Run(ctx) }()
	go func() { u.ended <- u.Run(ctx) }()
	t.Cleanup(u.crash)
	if err := u.Begin(ctx, from, fresh); err != nil {
		t.Fatal(err)
	}
	return u
}

// crash ends it as a crash does: nothing is waited for.
func (u *run) crash() {
	u.stop()
	for range cap(u.ended) {
		<-u.ended
	}
	u.ended = make(chan error)
	u.cluster.Close()
}

// give gives commands of the stream up to a serial.
func (u *run) give(to int64) error {
	for _, c := range u.rig.from(u.at) {
		if c.end > to {
			break
		}
		words := append([][]byte(nil), c.words...)
		if err := u.Command(&record.Command{DB: c.db, Words: words, Raw: c.raw, End: record.Position{Stream: "history", Era: u.era, DB: c.db, Serial: c.end}}); err != nil {
			return err
		}
		u.at = c.end
	}
	return nil
}

// follow gives everything that the source has written, and waits for it.
func (u *run) follow(t *testing.T) {
	t.Helper()
	if err := u.give(u.rig.reach(t)); err != nil {
		t.Fatal(err)
	}
	u.drain(t)
}

func (u *run) drain(t *testing.T) {
	t.Helper()
	if err := u.Drain(t.Context()); err != nil {
		select {
		case why := <-u.ended:
			t.Fatalf("%v; it ended with %v", err, why)
		default:
			t.Fatal(err)
		}
	}
	if safe := u.Safe(); safe.Serial != u.at {
		t.Fatalf("all is answered, and the safe position is %d of %d", safe.Serial, u.at)
	}
	if n := u.Behind(); n != 0 {
		t.Fatalf("all is answered, and %d bytes are behind", n)
	}
}

// finish ends it in order, and looks that nothing remains of it.
func (u *run) finish(t *testing.T) {
	t.Helper()
	if err := u.Clear(t.Context()); err != nil {
		t.Fatal(err)
	}
	u.Finish()
	u.cluster.Finish()
	for range cap(u.ended) {
		if err := <-u.ended; err != nil {
			t.Fatal(err)
		}
	}
	u.ended = make(chan error)
	u.cluster.Close()
	err := u.rig.nodes.Client().ForEachMaster(t.Context(), func(ctx context.Context, c *redis.Client) error {
		names, err := c.Keys(ctx, checkpoint.MarkPrefix+"*").Result()
		if err == nil && len(names) > 0 {
			err = fmt.Errorf("%d marks remain, such as %s", len(names), names[0])
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// equal compares source and cluster.
func (r *rig) equal(t *testing.T) {
	t.Helper()
	r.equalBut(t, dataset.CompareOptions{})
}

func (r *rig) equalBut(t *testing.T, o dataset.CompareOptions) {
	t.Helper()
	o.Ignore = checkpoint.OwnKey
	sandboxtest.Equal(t, r.source.Client(), r.nodes.Client(), o)
}

func (r *rig) do(t *testing.T, words ...any) {
	t.Helper()
	if err := r.source.Client().Do(t.Context(), words...).Err(); err != nil && !errors.Is(err, redis.Nil) {
		t.Fatalf("%v: %v", words, err)
	}
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
