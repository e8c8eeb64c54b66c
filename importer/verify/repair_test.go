package verify_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/slotferry/slotferry/importer/choice"
	"github.com/slotferry/slotferry/importer/verify"
)

func TestRepair(t *testing.T) {
	s := both(t)
	for _, how := range []string{"live", "file"} {
		t.Run(how, func(t *testing.T) {
			own := *s
			own.t = t
			own.on("FLUSHALL")
			own.everywhere("FLUSHALL")
			want := own.plant()
			x := comparison{sides: &own, extras: 1 << 20, options: verify.Options{Repair: true}}
			if how == "file" {
				x.file = own.save()
			}
			done := x.compare().finds(want)
			if n := done.c.Counts(); int(n.Repaired) != len(want) || n.Differences() != 0 {
				t.Errorf("%+v, want %d repaired", n, len(want))
			}
			for _, d := range done.found {
				if !d.Repaired {
					t.Errorf("%q: %s (%s) is not repaired", d.Key, d.Kind, d.Detail)
				}
			}
			x.options.Repair = false
			x.compare().finds(nil)
		})
	}
	t.Run("rebuilt with native commands", func(t *testing.T) {
		own := *s
		own.t = t
		own.on("FLUSHALL")
		own.everywhere("FLUSHALL")
		for i := range 100 {
			own.on("RPUSH", "list:"+strconv.Itoa(i), "a", "b", i)
			own.on("HSET", "hash:"+strconv.Itoa(i), "a", i)
		}
		own.on("SET", "string", "x", "PXAT", "4102444812345")
		x := comparison{sides: &own, options: verify.Options{Repair: true}}
		x.target.MaxCommand = 1
		if n := x.compare().c.Counts(); n.Repaired != 201 || n.Differences() != 0 {
			t.Errorf("%+v, want 201 repaired", n)
		}
		x.options.Repair = false
		x.compare().finds(nil)
	})
	t.Run("refused", func(t *testing.T) {
		own := *s
		own.t = t
		own.on("CONFIG", "SET", "rdbcompression", "no")
		defer own.on("CONFIG", "SET", "rdbcompression", "yes")
		own.on("SET", "refused", "x")
		own.on("SET", "too long", large)
		x := comparison{sides: &own, options: verify.Options{Repair: true, MaxValue: 100_000}}
		own.everywhere("ACL", "SETUSER", "ferry", "reset", "on", ">ferrys", "+@all", "%R~*", "%W~other")
		x.target.Endpoint.Username, x.target.Endpoint.Password = "ferry", "ferrys"
		x.file = own.save()
		done := x.compare().finds(map[string]verify.Kind{"refused": verify.Missing, "too long": verify.Missing})
		for key, says := range map[string]string{"refused": "NOPERM", "too long": "memory allowed"} {
			if got := done.detail(key); !strings.Contains(got, "not repaired") || !strings.Contains(got, says) {
				t.Errorf("%s says %q", key, got)
			}
		}
		if n := done.c.Counts(); n.Repaired != 0 || n.Missing != 2 {
			t.Errorf("%+v", n)
		}
	})
}

// TestExtras has extra names among those that are renamed, left out, or none of
// the job's business, with memory for all of them and for few.
func TestExtras(t *testing.T) {
	s := both(t)
	const keys = 3000
	pipe := s.source.Client().Pipeline()
	for i := range keys {
		pipe.Set(t.Context(), "old:"+strconv.Itoa(i), i, 0)
	}
	_, err := pipe.Exec(t.Context())
	s.must(err)
	s.on("SET", "skip:1", "x")
	s.on("RENAME", "old:7", "old:\x007")
	s.carry("")
	rename := s.cluster.Client().Pipeline()
	for i := range keys {
		rename.Set(t.Context(), "new:"+strconv.Itoa(i), i, 0)
		rename.Del(t.Context(), "old:"+strconv.Itoa(i))
	}
	_, err = rename.Exec(t.Context())
	s.must(err)
	s.in("SET", "new:\x007", "7")
	s.in("DEL", "old:\x007")
	s.in("SET", "new:extra", "x")               // could come from old:extra
	s.in("SET", "other", "x")                   // from other
	s.in("SET", "old:1", "x")                   // from nothing: old: becomes new:
	s.in("SET", "skip:2", "x")                  // not chosen
	s.in("SET", "slotferry:{x}:checkpoint", "") // the tool's own
	want := map[string]verify.Kind{"new:7": verify.Extra, "new:extra": verify.Extra, "other": verify.Extra}
	chosen := choice.Options{Rename: []choice.Rename{{Old: "old:", New: "new:"}}, Exclude: []string{"skip:*"}}
	ways(t, s, func(t *testing.T, x comparison) {
		x.choice = chosen
		for _, memory := range []int64{16 << 20, 1} {
			x.extras = memory
			x.compare().finds(want)
		}
	})
	x := comparison{sides: s, choice: chosen, extras: 1, options: verify.Options{Repair: true}}
	if n := x.compare().finds(want).c.Counts(); n.Repaired != 3 || n.Extra != 0 {
		t.Errorf("%+v", n)
	}
	x.compare().finds(nil)
	if n := s.cluster.Client().Exists(t.Context(), "skip:2").Val() + s.cluster.Client().Exists(t.Context(), "old:1").Val(); n != 2 {
		t.Error("what is none of the job's business was removed")
	}
}

// TestChanging compares a source that changes meanwhile, and a target that gets
// every change a moment later.
func TestChanging(t *testing.T) {
	s := both(t)
	s.numbered(5000, 0, 16)
	s.carry("")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	stop := func() { cancel(); <-ended }
	defer stop()
	changed := make(chan struct{})
	go func() {
		defer close(ended)
		for i := range 40_000 {
			if ctx.Err() != nil {
				return
			}
			key := fmt.Sprintf("%s%d", tagOf(i%16), i%5000)
			s.source.Client().Append(t.Context(), key, "x")
			s.cluster.Client().Append(t.Context(), key, "x")
			if i == 1000 {
				close(changed)
			}
		}
	}()
	<-changed
	key := tagOf(3) + "3"
	x := comparison{sides: s, extras: 1 << 20}
	x.during = func(sent int) {
		switch sent {
		case 1000:
			s.on("DEL", "{gone}")
			s.on("SET", "{late}", "x") // which SCAN may give
		case 4000:
			stop()
			s.in("SET", "{late}", "x")
		}
	}
	s.on("SET", "{gone}", "x")
	s.in("SET", "{gone}", "x")
	s.in("SET", key, "never mended")
	x.compare().finds(map[string]verify.Kind{key: verify.Value, "{gone}": verify.Extra})
}
