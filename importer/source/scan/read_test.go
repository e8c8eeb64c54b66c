package scan_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/slotferry/slotferry/importer/choice"
	"github.com/slotferry/slotferry/importer/endpoint"
	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/importer/source/scan"
	"github.com/slotferry/slotferry/internal/sandbox"
	"github.com/slotferry/slotferry/internal/sandbox/sandboxtest"
)

// cut ends all connections to a server but its own.
func cut(t *testing.T, server *sandbox.Server) {
	t.Helper()
	if err := server.Client().ClientKillByFilter(t.Context(), "TYPE", "normal", "SKIPME", "yes").Err(); err != nil {
		t.Error(err)
	}
}

func TestNames(t *testing.T) {
	server, _ := fill(t)
	for name, tc := range map[string]struct {
		choice  choice.Options
		disturb func()
	}{
		"all":               {choice.Options{}, nil},
		"by name and slot":  {choice.Options{Exclude: []string{"*7*"}, Slots: "0-8000"}, nil},
		"one database":      {choice.Options{DBs: []int{3}}, nil},
		"types don't count": {choice.Options{Types: []string{"stream"}}, nil},
		"cut":               {choice.Options{}, func() { cut(t, server) }},
		"restarted": {choice.Options{}, func() {
			if err := server.Restart(t.Context()); err != nil {
				t.Error(err)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s, _, _ := open(t, scan.Options{Endpoint: endpoint.Endpoint{Addr: server.Addr}, Choice: choose(t, tc.choice), Count: 5})
			tc.choice.Types = nil
			want, got := expected(t, server, choose(t, tc.choice)), map[string]bool{}
			seen := 0
			err := s.Names(t.Context(), func(db int, key []byte) error {
				if seen++; seen == 100 && tc.disturb != nil {
					tc.disturb()
				}
				got[fmt.Sprintf("%d/%s", db, key)] = true
				return nil
			})
			if err != nil || len(want) == 0 || !reflect.DeepEqual(got, want) {
				t.Errorf("%d names, want %d; %v", len(got), len(want), err)
			}
			if name == "restarted" && seen < len(want)+50 {
				t.Errorf("%d names were told: a cursor outlived its server", seen)
			}
			if err := s.Names(t.Context(), func(int, []byte) error { return io.ErrShortWrite }); !errors.Is(err, io.ErrShortWrite) {
				t.Errorf("the visitor's error came as %v", err)
			}
		})
	}
}

// TestRead reads keys of every kind again, beside a stream and cut off in the
// middle.
func TestRead(t *testing.T) {
	server, _ := fill(t)
	ctx := t.Context()
	s, _, _ := open(t, scan.Options{Endpoint: endpoint.Endpoint{Addr: server.Addr}, MaxValue: 2 << 20})
	large := strings.Repeat("x1y2", 150_000)
	for key, value := range map[string]string{"large": large, "too large": strings.Repeat("x", 8<<20)} {
		if err := server.Client().Set(ctx, key, value, 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	// LZF would make them small.
	if err := server.Client().ConfigSet(ctx, "rdbcompression", "no").Err(); err != nil {
		t.Fatal(err)
	}
	if err := server.Client().Set(ctx, "expired", "v", time.Millisecond).Err(); err != nil {
		t.Fatal(err)
	}
	for server.Client().Exists(ctx, "expired").Val() > 0 {
		time.Sleep(time.Millisecond)
	}
	want := streamed(t, s)
	for _, db := range []int{0, 3, 15} {
		keys := [][]byte{[]byte("nowhere"), []byte("expired"), {}}
		for _, r := range want {
			if r.DB == db {
				keys = append(keys, r.Key)
			}
		}
		var beside sync.WaitGroup
		beside.Go(func() {
			if err := s.Stream(ctx, record.Position{}, kept{}); err != nil {
				t.Error(err)
			}
		})
		next := 0
		err := s.Read(ctx, db, keys, func(i int, v scan.Value) error {
			if i != next {
				t.Fatalf("value %d came as the %d-th", i, next)
			}
			if next++; next%150 == 10 {
				cut(t, server)
			}
			w, there := want[fmt.Sprintf("%d/%s", db, keys[i])]
			switch {
			case !there:
				if !reflect.DeepEqual(v, scan.Value{Gone: true}) {
					t.Errorf("%q: %+v", keys[i], v)
				}
			case w.Build != nil: // a comparison has no use for parts
				if !strings.Contains(v.Denied, "8388") || !strings.Contains(v.Denied, "memory") {
					t.Errorf("%q: %+v", keys[i], v)
				}
			case v.Type != w.Type || v.Version != binary.LittleEndian.Uint16(w.Footer) || v.ExpireAt != w.ExpireAt || v.Denied != "" || v.Gone || !bytes.Equal(v.Body, w.Value):
				t.Errorf("%q in db %d: %d bytes of type %d until %d, %q", keys[i], db, len(v.Body), v.Type, v.ExpireAt, v.Denied)
			}
			return nil
		})
		beside.Wait()
		if err != nil || next != len(keys) {
			t.Errorf("db %d: %d of %d keys, %v", db, next, len(keys), err)
		}
		there, err := s.Exists(ctx, db, keys)
		if err != nil || len(there) != len(keys) {
			t.Fatalf("db %d: %d keys, %v", db, len(there), err)
		}
		for i, key := range keys {
			if _, ok := want[fmt.Sprintf("%d/%s", db, key)]; there[i] != ok {
				t.Errorf("%q in db %d is there: %t", key, db, there[i])
			}
		}
	}
	if err := s.Read(ctx, 0, [][]byte{[]byte("large"), []byte("large")}, func(int, scan.Value) error { return io.ErrShortWrite }); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("the receiver's error came as %v", err)
	}
	if err := s.Read(ctx, 99, [][]byte{[]byte("large")}, nil); err == nil || !strings.Contains(err.Error(), "database 99") {
		t.Errorf("a database that isn't: %v", err)
	}
	if err := s.Read(ctx, 0, nil, nil); err != nil {
		t.Errorf("no keys: %v", err)
	}
}

// TestReadRights has a user who may read some keys only, and then none.
func TestReadRights(t *testing.T) {
	server := sandboxtest.Server(t, sandbox.Options{})
	ctx := t.Context()
	if err := server.Client().MSet(ctx, "mine", "1", "yours", "2").Err(); err != nil {
		t.Fatal(err)
	}
	in := user(t, server, "somebody", "~m*", "+scan", "+dump", "+pexpiretime", "+select", "+time", "+info")
	s, _, _ := open(t, scan.Options{Endpoint: in})
	keys := [][]byte{[]byte("yours"), []byte("mine"), []byte("missing"), []byte("nowhere")}
	var told []string
	err := s.Read(ctx, 0, keys, func(_ int, v scan.Value) error {
		switch {
		case v.Gone:
			told = append(told, "gone")
		case strings.Contains(v.Denied, "NOPERM"):
			told = append(told, "denied")
		default:
			told = append(told, string(v.Body))
		}
		return nil
	})
	if err != nil || fmt.Sprintf("%q", told) != `["denied" "\xc0\x01" "gone" "denied"]` {
		t.Errorf("%q, %v", told, err)
	}
	there, err := s.Exists(ctx, 0, keys)
	if err != nil || fmt.Sprint(there) != "[true true false true]" {
		t.Errorf("there are %v, %v", there, err)
	}
	user(t, server, "somebody", "-dump")
	if err := s.Read(ctx, 0, keys, func(int, scan.Value) error { return nil }); !errors.Is(err, scan.ErrDenied) {
		t.Errorf("without the right to DUMP: %v", err)
	}
	user(t, server, "somebody", "-scan")
	if err := s.Names(ctx, nil); !errors.Is(err, scan.ErrDenied) {
		t.Errorf("without the right to SCAN: %v", err)
	}
	user(t, server, "somebody", "resetpass")
	cut(t, server)
	if _, err := s.Exists(ctx, 0, keys); !errors.Is(err, scan.ErrDenied) {
		t.Errorf("without a password: %v", err)
	}
}

// TestReadPatience asks a server that is gone.
func TestReadPatience(t *testing.T) {
	server := sandboxtest.Server(t, sandbox.Options{})
	s, _, _ := open(t, scan.Options{Endpoint: endpoint.Endpoint{Addr: server.Addr}, RetryFor: 100 * time.Millisecond})
	keys := [][]byte{[]byte("k")}
	if _, err := s.Exists(t.Context(), 0, keys); err != nil {
		t.Fatal(err)
	}
	server.Stop()
	stop := errors.New("stop")
	ended, cancel := context.WithCancelCause(t.Context())
	cancel(stop)
	for name, ask := range map[string]func(ctx context.Context) error{
		"Exists": func(ctx context.Context) error { _, err := s.Exists(ctx, 0, keys); return err },
		"Read": func(ctx context.Context) error {
			return s.Read(ctx, 0, keys, func(int, scan.Value) error { return nil })
		},
		"Names": func(ctx context.Context) error { return s.Names(ctx, nil) },
	} {
		if err := ask(t.Context()); !errors.Is(err, record.ErrPatience) {
			t.Errorf("%s: %v", name, err)
		}
		if err := ask(ended); !errors.Is(err, stop) {
			t.Errorf("%s, interrupted: %v", name, err)
		}
	}
}

// TestReadOld reads from servers before 7.0, which tell the time that is left.
func TestReadOld(t *testing.T) {
	versions(t, func(t *testing.T, server *sandbox.Server) {
		s, _, _ := open(t, scan.Options{Endpoint: endpoint.Endpoint{Addr: server.Addr}})
		at := time.Now().Add(time.Hour)
		c := server.Client()
		if err := errors.Join(c.Set(t.Context(), "lasting", "v", 0).Err(), c.Set(t.Context(), "short", "v", redis.KeepTTL).Err(), c.PExpireAt(t.Context(), "short", at).Err()); err != nil {
			t.Fatal(err)
		}
		keys := [][]byte{[]byte("lasting"), []byte("nowhere"), []byte("short")}
		var got []scan.Value
		err := s.Read(t.Context(), 0, keys, func(_ int, v scan.Value) error {
			got = append(got, v)
			return nil
		})
		if err != nil || len(got) != 3 || got[0].ExpireAt != 0 || got[0].Gone || !got[1].Gone {
			t.Fatalf("%+v, %v", got, err)
		}
		if off := got[2].ExpireAt - at.UnixMilli(); off != 0 && (s.Exact() || off < -2 || off > 2) {
			t.Errorf("off by %d ms", off)
		}
		there, err := s.Exists(t.Context(), 0, keys)
		if err != nil || fmt.Sprint(there) != "[true false true]" {
			t.Errorf("there are %v, %v", there, err)
		}
	})
}
