package target

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/slotferry/slotferry/checkpoint"
	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/importer/route"
	"github.com/slotferry/slotferry/rdbparse"
	"github.com/slotferry/slotferry/resp"
)

// sink is a connection that only keeps what is written.
type sink struct {
	net.Conn
	sent bytes.Buffer
}

func (s *sink) Write(p []byte) (int, error) { return s.sent.Write(p) }

// written returns the commands that a write of the chunk sends.
func written(t *testing.T, c *chunk) [][]string {
	t.Helper()
	var s sink
	c.from, c.size = c.unanswered()
	if err := c.write(&s, func() {}); err != nil {
		t.Fatal(err)
	}
	r := resp.NewReader(&s.sent, 0, nil)
	var commands [][]string
	for {
		h, err := r.Head()
		if errors.Is(err, io.EOF) {
			return commands
		}
		if err != nil || h.Kind != '*' {
			t.Fatalf("%q, %v", h.Kind, err)
		}
		var words []string
		for range h.N {
			w, err := r.Head()
			if err != nil || w.Kind != '$' {
				t.Fatalf("%q, %v", w.Kind, err)
			}
			body, _, err := r.Body(w.N)
			if err != nil {
				t.Fatal(err)
			}
			words = append(words, string(body))
		}
		commands = append(commands, words)
	}
}

func TestEncode(t *testing.T) {
	value := rdbString("value")
	payload := string(rdbparse.AppendPayload(nil, 0, value, 6))
	own := []byte("01234567AB")
	large := io.NewSectionReader(bytes.NewReader(append([]byte("??"), value...)), 2, int64(len(value)))
	for _, tc := range []struct {
		name string
		e    encoding
		r    record.Record
		want []string
	}{
		{"skip", encoding{}, record.Record{Value: value, Version: 6}, []string{"0", payload}},
		{"replace", encoding{replace: true}, record.Record{Value: value, Version: 6}, []string{"0", payload, "REPLACE"}},
		{"expiry", encoding{replace: true}, record.Record{Value: value, Version: 6, ExpireAt: 1234567890123}, []string{"1234567890123", payload, "REPLACE", "ABSTTL"}},
		{"skip with expiry", encoding{}, record.Record{Value: value, Version: 6, ExpireAt: 5}, []string{"5", payload, "ABSTTL"}},
		{"past expiry, relative", encoding{relative: true}, record.Record{Value: value, Version: 6, ExpireAt: 5}, []string{"1", payload}},
		{"own footer", encoding{}, record.Record{Value: value, Footer: own}, []string{"0", "\x00" + string(value) + string(own)}},
		{"owned", encoding{}, record.Record{Value: value, Owned: true, Version: 6}, []string{"0", payload}},
		{"owned with own footer", encoding{replace: true}, record.Record{Value: value, Owned: true, Footer: own}, []string{"0", "\x00" + string(value) + string(own), "REPLACE"}},
		{"from the file", encoding{replace: true}, record.Record{Large: large, Version: 6, ExpireAt: 7}, []string{"7", payload, "REPLACE", "ABSTTL"}},
		{"empty value", encoding{}, record.Record{Version: 6}, []string{"0", string(rdbparse.AppendPayload(nil, 0, nil, 6))}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := &chunk{buf: make([]byte, 0, chunkBytes)}
			name := []byte("a\r\nname")
			tc.e.add(c, &tc.r, name, 1, nil)
			if size := tc.e.size(&tc.r, name); len(c.buf) > size {
				t.Errorf("%d bytes, promised were %d", len(c.buf), size)
			}
			want := append([]string{"RESTORE", string(name)}, tc.want...)
			if got := written(t, c); len(got) != 1 || fmt.Sprintf("%q", got[0]) != fmt.Sprintf("%q", want) {
				t.Errorf("sent %q\nwant %q", got, want)
			}
			if x := c.entries[0]; string(x.key.of(c.buf)) != string(name) {
				t.Errorf("key is %q", x.key.of(c.buf))
			}
		})
	}
}

func TestEncodeRelative(t *testing.T) {
	c := &chunk{}
	encoding{relative: true}.add(c, &record.Record{Version: 6, ExpireAt: time.Now().Add(time.Hour).UnixMilli()}, nil, 0, nil)
	left, err := strconv.Atoi(written(t, c)[0][2])
	if err != nil || left <= 0 || left > 3600_000 {
		t.Errorf("TTL is %d ms", left)
	}
}

// Entries pass through chunks for other lanes in any order, with ASKING and
// without, with a body or without, and are lowered on the way: what is sent at
// the end is what was encoded, once each.
func TestTake(t *testing.T) {
	e := encoding{replace: true}
	rng := rand.New(rand.NewPCG(1, 2))
	for round := range 200 {
		var chunks []*chunk
		want := map[string]string{}
		plain := &chunk{buf: make([]byte, 0, chunkBytes)}
		for i := range 1 + rng.IntN(20) {
			p := numbered(round*100 + i)
			r := p.footed(12)
			into := plain
			switch rng.IntN(6) {
			case 0:
				r.Owned, into = true, &chunk{}
			case 1:
				*r = *p.record()
				r.Owned, into = true, &chunk{}
			case 2:
				*r = *p.record()
				r.Large = io.NewSectionReader(bytes.NewReader(r.Value), 0, int64(len(r.Value)))
				r.Value, into = nil, &chunk{}
			}
			e.add(into, r, r.Key, uint16(i), nil)
			if into != plain {
				chunks = append(chunks, into)
			}
			want[p.key] = string(rdbparse.AppendPayload(nil, 0, rdbString(p.value), 6))
		}
		chunks = append(chunks, plain)
		for range rng.IntN(4) {
			var next []*chunk
			shared := [2]*chunk{{buf: make([]byte, 0, chunkBytes)}, {buf: make([]byte, 0, chunkBytes), asking: true}}
			for _, c := range chunks {
				for ; c.next < len(c.entries); c.next++ {
					asking := rng.IntN(2)
					to := shared[asking]
					if c.body != nil || !to.room(c, c.next) {
						to = &chunk{asking: asking == 1}
						next = append(next, to)
					}
					to.take(c, c.next)
					if rng.IntN(3) == 0 && to.restampable(len(to.entries)-1) {
						if !to.sound(len(to.entries) - 1) {
							t.Fatal("a sound payload is not taken for one")
						}
						to.restampLast()
					}
				}
			}
			chunks = append(next, shared[:]...)
		}
		for _, c := range chunks {
			for c.next < len(c.entries) && c.restampable(c.next) { // what is left, one by one
				to := &chunk{asking: c.asking}
				to.take(c, c.next)
				to.restampLast()
				check(t, to, want)
				c.next++
			}
			if c.next < len(c.entries) {
				check(t, c, want)
			}
		}
		if len(want) > 0 {
			t.Fatalf("round %d: not sent: %d", round, len(want))
		}
	}
}

// check takes what a chunk sends off what is wanted.
func check(t *testing.T, c *chunk, want map[string]string) {
	t.Helper()
	var keys []string
	for i := c.next; i < len(c.entries); i++ {
		keys = append(keys, string(c.entries[i].key.of(c.buf)))
	}
	commands := written(t, c)
	if c.asking {
		for i := 0; i < len(commands); i++ {
			if len(commands[i]) != 1 || commands[i][0] != "ASKING" {
				t.Fatalf("%q where ASKING should be", commands[i])
			}
			commands = append(commands[:i], commands[i+1:]...)
		}
	}
	if len(commands) != len(keys) {
		t.Fatalf("%d commands for %d entries", len(commands), len(keys))
	}
	for i, words := range commands {
		payload, ok := want[words[1]]
		typ, value, _, err := rdbparse.SplitPayload([]byte(words[3]))
		if !ok || words[1] != keys[i] || err != nil || string(rdbparse.AppendPayload(nil, typ, value, 6)) != payload {
			t.Fatalf("%.200q is not what was encoded: %v", words, err)
		}
		delete(want, words[1])
	}
}

func TestSound(t *testing.T) {
	for _, owned := range []bool{false, true} {
		for _, harm := range []string{"none", "value", "version", "checksum", "type", "no checksum"} {
			r := pair{key: "k", value: strings.Repeat("v", 100)}.footed(12)
			r.Owned = owned
			switch harm {
			case "value":
				r.Value[50]++
			case "version":
				r.Footer[0]++
			case "checksum":
				r.Footer[9]++
			case "type":
				r.Type = 4
			case "no checksum":
				clear(r.Footer[2:])
			}
			c := &chunk{}
			encoding{}.add(c, r, r.Key, 0, nil)
			if want := harm == "none" || harm == "no checksum"; c.sound(0) != want {
				t.Errorf("owned %t, harm to %s: sound is %t", owned, harm, !want)
			}
		}
	}
}

// The path of a usual key takes no memory of its own.
func TestNoAllocations(t *testing.T) {
	run := encodingRun(t)
	run()
	if n := testing.AllocsPerRun(20, run) / encodedKeys; n >= 0.05 {
		t.Errorf("%.3f allocations for each key", n)
	}
}

const encodedKeys = 10_000

// encodingRun returns a function that sends keys into the lanes of a cluster and
// takes the answers to them, without connections.
func encodingRun(t testing.TB) func() {
	t.Helper()
	c := New(Options{Seeds: []string{"127.0.0.1:1"}})
	table := route.NewTable()
	for i := range 3 {
		table.Assign(route.Master{Addr: "127.0.0.1:" + strconv.Itoa(i+1)}, route.Range{Start: uint16(i * 5462), End: uint16(min(i*5462+5461, route.Slots-1))})
	}
	c.adopt(table)
	tracker := checkpoint.NewTracker(checkpoint.State{})
	r := numbered(1).record()
	answers := bytes.Repeat([]byte("+OK\r\n"), encodedKeys)
	source := bytes.NewReader(nil)
	reader := resp.NewReader(source, readBytes, nil)
	out := c.newOutbox()
	ctx := t.Context()
	key := make([]byte, 0, 32)
	return func() {
		for i := range encodedKeys {
			key = strconv.AppendInt(append(key[:0], "key:"...), int64(i), 10)
			seg := tracker.Current()
			seg.Add()
			if err := c.Send(ctx, r, key, route.Slot(key), seg); err != nil {
				t.Fatal(err)
			}
		}
		c.Flush()
		tracker.Mark(record.Position{})
		for _, l := range c.Table().Masters() {
			lane := c.lanes[l.Addr]
			for len(lane.queue) > 0 {
				ch, err := lane.next(ctx)
				if err != nil {
					t.Fatal(err)
				}
				lane.wrote(ch)
				source.Reset(answers[:5*len(ch.entries)])
				for ch.next < len(ch.entries) {
					if err := lane.answers(ch, reader, out); err != nil {
						t.Fatal(err)
					}
				}
				lane.retire(ch)
			}
		}
		if c.used() != 0 {
			t.Fatal("the budget is not whole")
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	e, r := encoding{replace: true}, numbered(1).record()
	key := []byte("user:{1234}:cart")
	tracker := checkpoint.NewTracker(checkpoint.State{})
	c := &chunk{buf: make([]byte, 0, chunkBytes)}
	b.ReportAllocs()
	b.SetBytes(int64(len(r.Value)))
	for b.Loop() {
		if len(c.buf)+e.size(r, key) > cap(c.buf) {
			c.buf, c.entries = c.buf[:0], c.entries[:0]
		}
		e.add(c, r, key, 7, tracker.Current())
	}
}

func BenchmarkSendAndAnswer(b *testing.B) {
	run := encodingRun(b)
	b.ReportAllocs()
	for b.Loop() {
		run()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/encodedKeys, "ns/key")
}
