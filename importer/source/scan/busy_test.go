package scan_test

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slotferry/slotferry/importer/endpoint"
	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/importer/source/scan"
	"github.com/slotferry/slotferry/internal/sandbox"
	"github.com/slotferry/slotferry/internal/sandbox/sandboxtest"
)

// counting is a sink that only counts.
type counting struct{ keys, bytes int64 }

func (c *counting) Record(r *record.Record) error {
	c.keys++
	c.bytes += int64(len(r.Value))
	return nil
}
func (*counting) Program(record.Program) error { return nil }
func (*counting) Mark(record.Position) error   { return nil }

// populated starts a server with many short values.
func populated(t testing.TB, keys int) *sandbox.Server {
	t.Helper()
	server := sandboxtest.Server(t, sandbox.Options{})
	if err := server.Client().Do(t.Context(), "DEBUG", "POPULATE", keys, "key", 20).Err(); err != nil {
		t.Fatal(err)
	}
	return server
}

// calls is how often a command was run.
func calls(t *testing.T, server *sandbox.Server, command string) int64 {
	t.Helper()
	stats, err := server.Client().Info(t.Context(), "commandstats").Result()
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(stats, "cmdstat_"+command+":calls=")
	number, _, _ := strings.Cut(after, ",")
	n, _ := strconv.ParseInt(number, 10, 64)
	return n
}

// TestFar makes sure that a source far away is asked for more at once, since
// every page costs a round trip.
func TestFar(t *testing.T) {
	t.Parallel()
	const keys = 60_000
	server := populated(t, keys)
	s, _, _ := open(t, scan.Options{Endpoint: endpoint.Endpoint{Addr: far(t, server.Addr, 30*time.Millisecond)}})
	before := calls(t, server, "scan")
	c := &counting{}
	if err := s.Stream(t.Context(), record.Position{}, c); err != nil || c.keys != keys {
		t.Errorf("%d keys, %v", c.keys, err)
	}
	if n := calls(t, server, "scan") - before; n > keys/1000/2 {
		t.Errorf("%d pages", n)
	}
}

// heeding is a sink that does something before some records.
type heeding struct {
	counting
	at map[int64]func()
}

func (h *heeding) Record(r *record.Record) error {
	if do := h.at[h.keys]; do != nil {
		do()
	}
	return h.counting.Record(r)
}

// TestBrake slows a server down on purpose: the scan must ask for less at once,
// and for more again when the server has recovered.
func TestBrake(t *testing.T) {
	t.Parallel()
	const keys = 20_000
	server := populated(t, keys)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s, _, _ := open(t, scan.Options{Endpoint: endpoint.Endpoint{Addr: server.Addr}, MaxLatency: 50 * time.Millisecond})
	if share, _ := s.Slowed(); share != 1 {
		t.Errorf("the scan begins with %v", share)
	}
	until := func(what string, ok func(share float64) bool) {
		for {
			share, latency := s.Slowed()
			switch {
			case ok(share):
				return
			case ctx.Err() != nil:
				t.Fatalf("the share never was %s: it is %v at %v", what, share, latency)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	h := &heeding{}
	ahead := func() int64 { return calls(t, server, "dump") - h.keys }
	slow, recover := context.WithCancel(ctx)
	defer recover()
	var burden sync.WaitGroup
	defer burden.Wait()
	h.at = map[int64]func(){
		1500: func() { // the brake must outlive its connection
			list, err := server.Client().ClientList(ctx).Result()
			if err != nil {
				t.Error(err)
			}
			for line := range strings.Lines(list) {
				if strings.Contains(line, "cmd=ping") {
					id, _, _ := strings.Cut(strings.TrimPrefix(line, "id="), " ")
					server.Client().ClientKillByFilter(ctx, "ID", id)
				}
			}
		},
		3000: func() {
			burden.Go(func() {
				for slow.Err() == nil {
					server.Client().Do(ctx, "DEBUG", "SLEEP", "0.1")
				}
			})
			until("small", func(share float64) bool { return share < 0.05 })
		},
	}
	// At the end of a page there is little on its way, whatever the speed: only
	// some looks in a row tell. What was asked for before is told by then.
	const first, last, step = 4200, 9000, 40
	few := 0
	for at := int64(first); at < last; at += step {
		h.at[at] = func() {
			if slow.Err() != nil {
				return
			}
			n := ahead()
			if few++; n > 70 {
				few = 0
			}
			if few < 3 && at+step < last {
				return
			}
			if few < 3 {
				t.Errorf("%d keys on their way from a slow source", n)
			}
			recover()
			burden.Wait()
			until("large", func(share float64) bool { return share > 0.5 })
		}
	}
	most := int64(0)
	for at := int64(12_000); at < 14_000; at += 130 {
		h.at[at] = func() { most = max(most, ahead()) }
	}
	if err := s.Stream(ctx, record.Position{}, h); err != nil || h.keys < keys {
		t.Errorf("%d keys, %v", h.keys, err)
	}
	if most < 100 {
		t.Errorf("%d keys on their way at most from a source that is quick again", most)
	}
}
