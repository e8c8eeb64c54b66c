package scan_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/slotferry/slotferry/importer/endpoint"
	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/importer/source/scan"
	"github.com/slotferry/slotferry/internal/sandbox"
	"github.com/slotferry/slotferry/internal/sandbox/sandboxtest"
	"github.com/slotferry/slotferry/resp"
)

// TestAt reads keys of every kind, cut off in the middle: they come as Stream
// gives them.
func TestAt(t *testing.T) {
	server, _ := fill(t)
	ctx := t.Context()
	s, _, _ := open(t, scan.Options{Endpoint: endpoint.Endpoint{Addr: server.Addr}, MaxValue: 1 << 20})
	c := server.Client()
	if err := errors.Join(c.ConfigSet(ctx, "rdbcompression", "no").Err(), c.Set(ctx, "too large", strings.Repeat("x", 2<<20), 0).Err()); err != nil {
		t.Fatal(err)
	}
	want := streamed(t, s)
	for _, db := range []int{0, 3, 15} {
		keys := [][]byte{[]byte("nowhere"), {}}
		for _, r := range want {
			if r.DB == db {
				keys = append(keys, r.Key)
			}
		}
		next := 0
		each := func(i int, r *record.Record) error {
			if i != next {
				t.Fatalf("value %d came as the %d-th", i, next)
			}
			if next++; next%150 == 10 {
				cut(t, server)
			}
			w, there := want[fmt.Sprintf("%d/%s", db, keys[i])]
			if r.DB != db || !bytes.Equal(r.Key, keys[i]) {
				t.Errorf("%q in db %d came as %q in db %d", keys[i], db, r.Key, r.DB)
			}
			switch {
			case !there:
				if r.Fate != record.Gone {
					t.Errorf("%q: %+v", keys[i], r)
				}
			case r.Type != w.Type && w.Build == nil, r.ExpireAt != w.ExpireAt, r.Fate != record.Copy, !bytes.Equal(r.Value, w.Value), !bytes.Equal(r.Footer, w.Footer), (r.Build != nil) != (w.Build != nil):
				t.Errorf("%q in db %d: %d bytes of type %d until %d, fate %d %s", keys[i], db, len(r.Value), r.Type, r.ExpireAt, r.Fate, r.Reason)
			}
			return nil
		}
		if err := s.Records(ctx, db, keys, each); err != nil || next != len(keys) {
			t.Errorf("db %d: %d of %d keys, %v", db, next, len(keys), err)
		}
		next = 0
		err := s.At(ctx, db, keys, func(i int, _ int64, r *record.Record) error {
			if string(keys[i]) == "too large" {
				if next++; r.Fate != record.Refused || !strings.Contains(r.Reason, "memory") {
					t.Errorf("too large: %+v", r)
				}
				return nil
			}
			return each(i, r)
		})
		if err != nil || next != len(keys) {
			t.Errorf("db %d at one instant: %d of %d keys, %v", db, next, len(keys), err)
		}
	}
	key := [][]byte{[]byte("too large")}
	if err := s.At(ctx, 0, key, func(int, int64, *record.Record) error { return io.ErrShortWrite }); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("the receiver's error came as %v", err)
	}
	err := s.Records(ctx, 0, key, func(_ int, r *record.Record) error {
		at, err := built(t, *r, c, "rebuilt")
		if err != nil || at != 0 || c.Get(ctx, "rebuilt").Val() != c.Get(ctx, "too large").Val() {
			t.Errorf("rebuilt until %d, %v", at, err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// history is what a replica sees: how often each key was counted up, by offset.
type history struct {
	mu   sync.Mutex
	ends map[string][]int64 // of its commands
	seen atomic.Int64       // offset
}

// TestAtInstant compares values with the replication stream up to their offset.
func TestAtInstant(t *testing.T) {
	versions(t, func(t *testing.T, server *sandbox.Server) {
		ctx := t.Context()
		s, _, _ := open(t, scan.Options{Endpoint: endpoint.Endpoint{Addr: server.Addr}})
		h := follow(t, server.Addr)
		c := server.Client()
		var keys [][]byte
		for i := range 100 {
			keys = append(keys, fmt.Appendf(nil, "counter:%d", i))
		}
		stop := make(chan struct{})
		var writers sync.WaitGroup
		for range 4 {
			writers.Go(func() {
				for i := 0; ; i++ {
					select {
					case <-stop:
						return
					default:
					}
					p := c.Pipeline()
					for k := range 20 {
						p.Incr(ctx, string(keys[(i*20+k)*7%len(keys)]))
					}
					if _, err := p.Exec(ctx); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		type reading struct {
			key           string
			value, offset int64
		}
		var got []reading
		for round := 0; round < 20 || len(got) > 0 && got[len(got)-1].value < 5; round++ {
			err := s.At(ctx, 0, keys, func(i int, offset int64, r *record.Record) error {
				got = append(got, reading{string(keys[i]), number(t, r), offset})
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		close(stop)
		writers.Wait()
		last := got[len(got)-1].offset
		for h.seen.Load() < last {
			time.Sleep(time.Millisecond)
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		for _, g := range got {
			n := int64(0)
			for _, end := range h.ends[g.key] {
				if end <= g.offset {
					n++
				}
			}
			if n != g.value {
				t.Fatalf("%s is %d at %d, where the stream has counted %d", g.key, g.value, g.offset, n)
			}
		}
		if got[0].offset == last {
			t.Error("nothing was written meanwhile")
		}
	})
}

// number reads a small number as it is serialized.
func number(t *testing.T, r *record.Record) int64 {
	t.Helper()
	switch v := r.Value; {
	case r.Fate == record.Gone:
		return 0
	case len(v) == 2 && v[0] == 0xc0:
		return int64(int8(v[1]))
	case len(v) == 3 && v[0] == 0xc1:
		return int64(int16(uint16(v[1]) | uint16(v[2])<<8))
	case len(v) == 5 && v[0] == 0xc2:
		return int64(v[1]) | int64(v[2])<<8 | int64(v[3])<<16 | int64(v[4])<<24
	}
	t.Fatalf("no number: %x", r.Value)
	return 0
}

// follow is a replica that only counts.
func follow(t *testing.T, addr string) *history {
	t.Helper()
	conn, err := endpoint.Endpoint{Addr: addr}.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(conn)
	h := &history{ends: map[string][]int64{}}
	if err := h.begin(conn, in); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.read(in)
	}()
	t.Cleanup(func() {
		_ = conn.Close()
		<-done
	})
	return h
}

// begin asks for a full copy and throws it away.
func (h *history) begin(conn io.Writer, in *bufio.Reader) error {
	if _, err := conn.Write(resp.AppendCommand(nil, "PSYNC", "?", "-1")); err != nil {
		return err
	}
	var offset, length int64
	for length == 0 {
		line, err := in.ReadString('\n')
		if err != nil {
			return err
		}
		if words := strings.Fields(line); len(words) == 3 && words[0] == "+FULLRESYNC" {
			offset, err = strconv.ParseInt(words[2], 10, 64)
		} else if digits, ok := strings.CutPrefix(line, "$"); ok {
			length, err = strconv.ParseInt(strings.TrimSpace(digits), 10, 64)
		}
		if err != nil {
			return err
		}
	}
	if _, err := io.CopyN(io.Discard, in, length); err != nil {
		return err
	}
	h.seen.Store(offset)
	_, err := conn.Write(resp.AppendCommand(nil, "REPLCONF", "ACK", strconv.FormatInt(offset, 10)))
	return err
}

// read counts commands until the connection ends.
func (h *history) read(in *bufio.Reader) {
	var words []string
	left := 0 // words of the command
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		n := int64(len(line))
		switch length, err := strconv.Atoi(strings.TrimSpace(line[1:])); {
		case err != nil:
			return
		case line[0] == '*':
			words, left = nil, length
		case line[0] == '$':
			word := make([]byte, length+2)
			if _, err := io.ReadFull(in, word); err != nil {
				return
			}
			words, left, n = append(words, string(word[:length])), left-1, n+int64(len(word))
		}
		end := h.seen.Load() + n
		if left == 0 && len(words) == 2 && strings.EqualFold(words[0], "INCR") {
			h.mu.Lock()
			h.ends[words[1]] = append(h.ends[words[1]], end)
			h.mu.Unlock()
		}
		h.seen.Store(end)
	}
}

// TestAtRights has a user who may read some keys only, and then less.
func TestAtRights(t *testing.T) {
	server := sandboxtest.Server(t, sandbox.Options{})
	ctx := t.Context()
	if err := server.Client().MSet(ctx, "mine", "1", "yours", "2").Err(); err != nil {
		t.Fatal(err)
	}
	in := user(t, server, "somebody", "~m*", "+scan", "+dump", "+pexpiretime", "+select", "+time", "+info", "+multi", "+exec")
	s, _, _ := open(t, scan.Options{Endpoint: in})
	if found := s.AtRights(ctx); len(found) != 0 {
		t.Errorf("found %+v", found)
	}
	keys := [][]byte{[]byte("yours"), []byte("mine"), []byte("missing"), []byte("nowhere")}
	for range 2 { // the second time on the same connection
		var told []string
		err := s.At(ctx, 0, keys, func(_ int, _ int64, r *record.Record) error {
			told = append(told, fmt.Sprintf("%d %x %t", r.Fate, r.Value, strings.Contains(r.Reason, "NOPERM")))
			return nil
		})
		if err != nil || fmt.Sprintf("%q", told) != fmt.Sprintf(`["%d  true" "%d c001 false" "%d  false" "%d  true"]`, record.Refused, record.Copy, record.Gone, record.Refused) {
			t.Errorf("%q, %v", told, err)
		}
	}
	for _, tc := range []struct{ rule, missing string }{
		{"-multi", "+multi"}, {"-exec", "+multi +exec"}, {"-dump", "+multi +dump +exec"},
	} {
		user(t, server, "somebody", tc.rule)
		found := s.AtRights(ctx)
		if len(found) != 1 || !found[0].Blocks || found[0].Remedy != "ACL SETUSER <user> "+tc.missing {
			t.Errorf("%s: %+v", tc.rule, found)
		}
		if err := s.At(ctx, 0, keys, nil); !errors.Is(err, scan.ErrDenied) {
			t.Errorf("%s: %v", tc.rule, err)
		}
	}
}
