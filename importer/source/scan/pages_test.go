package scan_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/slotferry/slotferry/importer/choice"
	"github.com/slotferry/slotferry/importer/endpoint"
	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/importer/route"
	"github.com/slotferry/slotferry/importer/source/scan"
	"github.com/slotferry/slotferry/internal/dataset"
	"github.com/slotferry/slotferry/internal/sandbox"
	"github.com/slotferry/slotferry/internal/sandbox/sandboxtest"
)

var errCut = errors.New("cut here")

// ledger is a sink that fails at a record, and knows what was read before the
// last mark.
type ledger struct {
	t        *testing.T
	pos      record.Position
	certain  map[string]int // names copied before the last mark
	filtered int            // keys left out before the last mark
	open     []string       // since then
	left     int
	cut      int // records until it fails; 0 never
	programs []string
}

func (l *ledger) Record(r *record.Record) error {
	if l.cut > 0 {
		if l.cut--; l.cut == 0 {
			return errCut
		}
	}
	switch r.Fate {
	case record.Copy:
		if r.Type > 30 || len(r.Footer) != 10 {
			l.t.Errorf("%q has type %d and a footer of %d bytes", r.Key, r.Type, len(r.Footer))
		}
		l.open = append(l.open, fmt.Sprintf("%d/%s", r.DB, r.Key))
	case record.Filtered:
		l.left++
	default:
		l.t.Errorf("%q: fate %d, %s", r.Key, r.Fate, r.Reason)
	}
	return nil
}

func (l *ledger) Program(p record.Program) error {
	l.programs = append(l.programs, p.Code)
	return nil
}

func (l *ledger) Mark(pos record.Position) error {
	for _, name := range l.open {
		l.certain[name]++
	}
	l.filtered += l.left
	l.open, l.left, l.pos = nil, 0, pos
	return nil
}

// fill starts a server with keys in three databases, loaded from a file so that
// its tables don't change and SCAN gives no key twice.
func fill(t *testing.T) (*sandbox.Server, int) {
	t.Helper()
	s, ctx := sandboxtest.Server(t, sandbox.Options{}), t.Context()
	total := 0
	for db, keys := range map[int]int{0: 700, 3: 90, 15: 1} {
		if _, err := dataset.Fill(ctx, s.Client(), dataset.Options{Keys: keys, DB: db, BinaryKeys: true, Functions: db == 0}); err != nil {
			t.Fatal(err)
		}
		total += keys
	}
	if err := s.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	return s, total
}

// TestEveryKeyOnce cuts scans at random places and goes on from the last mark:
// what lies before the marks must be every key, once, whatever is left out and
// however small the pages are.
func TestEveryKeyOnce(t *testing.T) {
	server, total := fill(t)
	for name, o := range map[string]choice.Options{
		"all":              {},
		"few by name":      {Include: []string{"*77*", "{*"}},
		"most by name":     {Exclude: []string{"*7"}},
		"none":             {Include: []string{"nothing like this"}},
		"by slot":          {Slots: "0-3000"},
		"one type":         {Types: []string{"stream"}},
		"type and name":    {Types: []string{"zset"}, Include: []string{"key:*1"}},
		"several types":    {Types: []string{"zset", "list"}},
		"one database":     {DBs: []int{3}},
		"the last of them": {DBs: []int{15, 14}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			keys, err := choice.New(o)
			if err != nil {
				t.Fatal(err)
			}
			want := expected(t, server, keys)
			distant := far(t, server.Addr, 2*time.Millisecond) // where COUNT grows
			for seed := range uint64(7) {
				r := rand.New(rand.NewPCG(seed, 5))
				l := &ledger{t: t, certain: map[string]int{}}
				runs := 0
				for ; !l.pos.End; runs++ {
					if runs > 10_000 {
						t.Fatalf("no progress beyond %+v", l.pos)
					}
					l.open, l.left, l.cut = nil, 0, 0
					if seed > 0 {
						l.cut = 1 + r.IntN(200)
					}
					addr := server.Addr
					if seed == 6 {
						addr = distant
					}
					s := scan.New(scan.Options{
						Endpoint: endpoint.Endpoint{Addr: addr}, Choice: keys, Count: []int{1000, 50, 10, 3, 1, 20, 2}[seed],
					})
					if _, found := s.Inspect(t.Context()); len(found.Blockers()) > 0 {
						t.Fatal(found)
					}
					if err := s.Stream(t.Context(), l.pos, l); err != nil && !errors.Is(err, errCut) {
						t.Fatal(err)
					}
					_ = s.Close()
				}
				if len(l.certain) != len(want) {
					t.Errorf("seed %d: %d keys, want %d", seed, len(l.certain), len(want))
				}
				for name, n := range l.certain {
					if !want[name] || n != 1 {
						t.Errorf("seed %d: %q came %d times, wanted: %v", seed, name, n, want[name])
					}
				}
				if len(o.Types) != 1 && len(o.DBs) == 0 && len(l.certain)+l.filtered != total {
					t.Errorf("seed %d: %d keys copied, %d left out, %d in all", seed, len(l.certain), l.filtered, total)
				}
				if seed == 0 && len(l.programs) != 1 {
					t.Errorf("%d function libraries", len(l.programs))
				}
				if runs > 1 && t.Failed() {
					return
				}
			}
		})
	}
}

// expected asks the server itself.
func expected(t *testing.T, server *sandbox.Server, keys *choice.Choice) map[string]bool {
	t.Helper()
	want := map[string]bool{}
	for _, db := range []int{0, 3, 15} {
		if !keys.DB(db) {
			continue
		}
		options := server.ClientOptions()
		options.DB = db
		c := redis.NewClient(options)
		names, err := c.Keys(t.Context(), "*").Result()
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if keys.Key(db, []byte(name)) && keys.Slot(route.Slot([]byte(name))) && keys.Type(c.Type(t.Context(), name).Val()) {
				want[fmt.Sprintf("%d/%s", db, name)] = true
			}
		}
		_ = c.Close()
	}
	return want
}

// TestNoTouch makes sure that reading leaves no trace in what the server knows
// of its keys' use.
func TestNoTouch(t *testing.T) {
	server := sandboxtest.Server(t, sandbox.Options{})
	ctx, client := t.Context(), server.Client()
	if err := client.ConfigSet(ctx, "maxmemory-policy", "allkeys-lfu").Err(); err != nil {
		t.Fatal(err)
	}
	if err := client.Set(ctx, "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	keys, _ := choice.New(choice.Options{})
	s := scan.New(scan.Options{Endpoint: endpoint.Endpoint{Addr: server.Addr}, Choice: keys})
	defer s.Close()
	for range 30 {
		s.Inspect(ctx)
		if err := s.Stream(ctx, record.Position{}, &ledger{t: t, certain: map[string]int{}}); err != nil {
			t.Fatal(err)
		}
	}
	freq, err := client.Do(ctx, "OBJECT", "FREQ", "k").Int()
	knows := server.Version.AtLeast(7, 2) // CLIENT NO-TOUCH
	if err != nil || knows && freq > 6 {  // LFU_INIT_VAL and the SET
		t.Errorf("OBJECT FREQ = %d, %v", freq, err)
	}
	stats, err := client.Info(ctx, "commandstats").Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []string{"set:calls=1,", "client|no-touch", "dump"} {
		if !strings.Contains(stats, c) && (knows || c != "client|no-touch") {
			t.Errorf("no %s in\n%s", c, stats)
		}
	}
}

func TestCancel(t *testing.T) {
	server, _ := fill(t)
	keys, _ := choice.New(choice.Options{})
	s := scan.New(scan.Options{Endpoint: endpoint.Endpoint{Addr: server.Addr}, Choice: keys, Count: 20})
	defer s.Close()
	s.Inspect(t.Context())
	stop := errors.New("stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	l := &ledger{t: t, certain: map[string]int{}}
	err := s.Stream(ctx, record.Position{}, &cancelling{l, func() { cancel(stop) }, 100})
	if !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}
	if n := len(l.certain); n == 0 || n > 200 {
		t.Errorf("%d keys before the last mark", n)
	}
}

// cancelling cancels at a record.
type cancelling struct {
	*ledger
	cancel func()
	at     int
}

func (c *cancelling) Record(r *record.Record) error {
	if c.at--; c.at == 0 {
		c.cancel()
	}
	return c.ledger.Record(r)
}
