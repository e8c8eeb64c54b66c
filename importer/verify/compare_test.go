package verify_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/slotferry/slotferry/importer/verify"
	"github.com/slotferry/slotferry/internal/dataset"
)

// save writes the source's file.
func (s *sides) save() string {
	s.t.Helper()
	path, err := s.source.Save(s.t.Context())
	s.must(err)
	return path
}

// ways runs a test with the living source and with its file.
func ways(t *testing.T, s *sides, test func(t *testing.T, x comparison)) {
	t.Helper()
	for name, file := range map[string]string{"live": "", "file": s.save()} {
		t.Run(name, func(t *testing.T) {
			own := *s
			own.t = t
			test(t, comparison{sides: &own, file: file})
		})
	}
}

func TestEqual(t *testing.T) {
	s := both(t)
	stats, err := dataset.Fill(t.Context(), s.source.Client(), dataset.Options{Keys: 3000, HashTags: true, BinaryKeys: true})
	s.must(err)
	s.on("SET", "large", strings.Repeat("large", 1<<20))
	s.carry("")
	for _, setting := range []string{"", "other encodings"} {
		if setting != "" {
			for _, name := range []string{"hash-max-listpack-entries", "set-max-intset-entries", "zset-max-listpack-entries"} {
				s.everywhere("CONFIG", "SET", name, 1)
				defer s.everywhere("CONFIG", "SET", name, map[bool]int{true: 128, false: 512}[name[0] == 'z'])
			}
			s.everywhere("CONFIG", "SET", "list-max-listpack-size", 3, "rdbcompression", "no")
			defer s.everywhere("CONFIG", "SET", "list-max-listpack-size", -2, "rdbcompression", "yes")
			s.carry("")
		}
		ways(t, s, func(t *testing.T, x comparison) {
			x.extras = 1 << 20
			x.options.MaxValue = 8 << 20
			done := x.compare().finds(nil)
			if n := done.c.Counts(); int(n.Same) != stats.Keys+1 || n.NotComparable != 0 || done.c.Tolerance() != 0 {
				t.Errorf("%+v of %d keys", n, stats.Keys+1)
			}
		})
	}
}

// plant makes both sides differ in every way and returns how.
func (s *sides) plant() map[string]verify.Kind {
	type pair struct {
		kind verify.Kind
		both [][]any // on both sides
		here [][]any // then on the source
	}
	late := int64(year2100)
	plans := map[string]pair{
		"missing":             {verify.Missing, nil, [][]any{{"SET", "missing", "x"}}},
		"type":                {verify.Type, [][]any{{"RPUSH", "type", "x"}}, [][]any{{"DEL", "type"}, {"HSET", "type", "x", "y"}}},
		"string":              {verify.Value, [][]any{{"SET", "string", "x"}}, [][]any{{"SET", "string", "y"}}},
		"packed string":       {verify.Value, [][]any{{"SET", "packed string", strings.Repeat("x", 999)}}, [][]any{{"SETRANGE", "packed string", 500, "y"}}},
		"large string":        {verify.Value, [][]any{{"SET", "large string", large}}, [][]any{{"SETRANGE", "large string", 600_000, "y"}}},
		"larger string":       {verify.Value, [][]any{{"SET", "larger string", large}}, [][]any{{"APPEND", "larger string", "y"}}},
		"hash value":          {verify.Value, [][]any{{"HSET", "hash value", "a", "1", "b", "2"}}, [][]any{{"HSET", "hash value", "b", "3"}}},
		"hash field":          {verify.Value, [][]any{{"HSET", "hash field", "a", "1", "b", "2"}}, [][]any{{"HDEL", "hash field", "b"}}},
		"set":                 {verify.Value, [][]any{{"SADD", "set", "a", "b"}}, [][]any{{"SREM", "set", "a"}, {"SADD", "set", "c"}}},
		"zset":                {verify.Value, [][]any{{"ZADD", "zset", "0.3", "a"}}, [][]any{{"ZADD", "zset", "0.30000000000000004", "a"}}},
		"list":                {verify.Value, [][]any{{"RPUSH", "list", "a", "b"}}, [][]any{{"LMOVE", "list", "list", "LEFT", "RIGHT"}}},
		"stream":              {verify.Value, [][]any{{"XADD", "stream", "1-1", "a", "1"}, {"XADD", "stream", "2-1", "a", "1"}}, [][]any{{"XDEL", "stream", "1-1"}}},
		"group":               {verify.Value, [][]any{{"XADD", "group", "1-1", "a", "1"}}, [][]any{{"XGROUP", "CREATE", "group", "g", "0"}}},
		"pending":             {verify.Value, [][]any{{"XADD", "pending", "1-1", "a", "1"}, {"XGROUP", "CREATE", "pending", "g", "0"}}, [][]any{{"XREADGROUP", "GROUP", "g", "c", "STREAMS", "pending", ">"}}},
		"expiry":              {verify.TTL, [][]any{{"SET", "expiry", "x", "PXAT", late}}, [][]any{{"PEXPIREAT", "expiry", late + 1}}},
		"no expiry":           {verify.TTL, [][]any{{"SET", "no expiry", "x", "PXAT", late}}, [][]any{{"PERSIST", "no expiry"}}},
		"expiry, large":       {verify.TTL, [][]any{{"SET", "expiry, large", large}}, [][]any{{"PEXPIREAT", "expiry, large", late}}},
		"bin\x00ary\r\n\xff{": {verify.Value, [][]any{{"SET", "bin\x00ary\r\n\xff{", "x"}}, [][]any{{"SET", "bin\x00ary\r\n\xff{", "y"}}},
		"same":                {"", [][]any{{"SET", "same", "x"}}, nil},
	}
	want := map[string]verify.Kind{}
	for key, p := range plans {
		for _, words := range p.both {
			s.on(words...)
		}
		if p.kind != "" {
			want[key] = p.kind
		}
	}
	s.carry("")
	for _, p := range plans {
		for _, words := range p.here {
			s.on(words...)
		}
	}
	s.in("SET", "extra", "x")
	want["extra"] = verify.Extra
	return want
}

var large = strings.Repeat("large", 1<<18)

func TestDifferences(t *testing.T) {
	s := both(t)
	want := s.plant()
	ways(t, s, func(t *testing.T, x comparison) {
		x.extras = 1 << 20
		done := x.compare().finds(want)
		for key, says := range map[string]string{
			"type":          "type: list, not hash",
			"larger string": "value: 1310720 bytes, want 1310721",
			"expiry":        "ttl: expires 2100-01-01 00:00:00.000 UTC, not 2100-01-01 00:00:00.001 UTC",
			"no expiry":     "ttl: expires 2100-01-01 00:00:00.000 UTC, not never",
			"missing":       "missing: string",
		} {
			if got := done.detail(key); got != says {
				t.Errorf("%s says %q, want %q", key, got, says)
			}
		}
		if n := done.c.Counts(); n.Same != 1 || n.Value != 13 || n.TTL != 3 {
			t.Errorf("%+v", n)
		}
		if failed := done.tracker.Totals().Failed; int(failed) != len(want)-1 { // the extra one was never read
			t.Errorf("%d failed, want %d", failed, len(want)-1)
		}
	})
}

func TestResume(t *testing.T) {
	s := both(t)
	want := s.plant()
	delete(want, "extra")
	first := comparison{sides: s, file: s.save()}.compare().finds(want)
	failures := first.tracker.Failures()
	s.on("FLUSHALL")
	t.Run("a file", func(t *testing.T) {
		own := *s
		own.t = t
		again := comparison{sides: &own, file: s.save(), failures: failures}.compare().finds(want)
		if a, b := again.detail("list"), first.detail("list"); a != b {
			t.Errorf("%q became %q", b, a)
		}
	})
	t.Run("a living source", func(t *testing.T) {
		own := *s
		own.t = t
		for key := range want { // by now the source has none of them
			want[key] = verify.Extra
		}
		delete(want, "missing") // gone on both sides
		x := comparison{sides: &own, failures: failures}
		x.compare().finds(want)
		want["extra"], want["same"] = verify.Extra, verify.Extra // found by their names
		x.extras = 1 << 20
		x.compare().finds(want)
		x.early = true
		x.compare().finds(want)
		x.options.Repair = true
		if n := x.compare().finds(want).c.Counts(); int(n.Repaired) != len(want) || n.Extra != 0 {
			t.Errorf("%+v, want %d removed", n, len(want))
		}
	})
}

// TestMany has more differences than are kept to be looked at again.
func TestMany(t *testing.T) {
	s := both(t)
	want := s.numbered(2000, 0, 64)
	for i := range 200 {
		s.on("SET", "many:"+strconv.Itoa(i), i)
		want["many:"+strconv.Itoa(i)] = verify.Missing
	}
	x := comparison{sides: s, made: func(c *verify.Comparer) { c.KeepPending(30) }}
	x.compare().finds(want)
	x.options.Repair = true
	if n := x.compare().finds(want).c.Counts(); int(n.Repaired) != len(want) {
		t.Errorf("%+v, want %d repaired", n, len(want))
	}
	x.compare().finds(nil)
}

// TestTolerance asks for the time left, as older servers tell only that.
func TestTolerance(t *testing.T) {
	s := both(t)
	late := int64(year2100)
	for key, at := range map[string]int64{"same": late, "nearly": late + 300, "later": late + 10_000} {
		s.on("SET", key, "x", "PXAT", at)
		s.in("SET", key, "x", "PXAT", late)
	}
	s.on("SET", "never", "x")
	s.in("SET", "never", "x", "PXAT", late)
	s.on("SET", "lacking", "x")
	ways(t, s, func(t *testing.T, x comparison) {
		x.made = func(c *verify.Comparer) { c.UsePTTL() }
		done := x.compare().finds(map[string]verify.Kind{"later": verify.TTL, "never": verify.TTL, "lacking": verify.Missing})
		if d := done.c.Tolerance(); d != time.Second {
			t.Errorf("the tolerance is %s", d)
		}
	})
}

// TestTooLong compares values that may not be decoded.
func TestTooLong(t *testing.T) {
	s := both(t)
	random := strings.Repeat("x", 300_000)
	for _, key := range []string{"same", "bytes", "length", "other type", "list"} {
		s.on("SET", key, random)
	}
	s.on("CONFIG", "SET", "rdbcompression", "no")
	defer s.on("CONFIG", "SET", "rdbcompression", "yes")
	s.on("DEL", "list")
	s.on("RPUSH", "list", random, random)
	s.carry("")
	s.everywhere("CONFIG", "SET", "rdbcompression", "no")
	defer s.everywhere("CONFIG", "SET", "rdbcompression", "yes")
	s.in("SETRANGE", "bytes", 150_000, "y")
	s.in("APPEND", "length", "y")
	s.in("DEL", "other type")
	s.in("RPUSH", "other type", random)
	s.in("LSET", "list", 0, "y")
	ways(t, s, func(t *testing.T, x comparison) {
		x.options.MaxValue = 200_000
		done := x.compare().finds(map[string]verify.Kind{"bytes": verify.Value, "length": verify.Value, "other type": verify.Type})
		if left := done.c.NotComparable(); len(left) != 1 || string(left[0].Key) != "list" || !strings.Contains(left[0].Reason, "too long") {
			t.Errorf("left out: %+v", left)
		}
	})
}

// TestGone has keys that expire on the source, the target, or both.
func TestGone(t *testing.T) {
	s := both(t)
	soon := time.Now().Add(300 * time.Millisecond).UnixMilli()
	s.on("SET", "first", "x", "PXAT", soon)
	s.on("SET", "second", "x", "PXAT", soon)
	s.in("SET", "second", "x", "PXAT", soon)
	s.on("SET", "stays", "x")
	s.in("SET", "stays", "x")
	ways(t, s, func(t *testing.T, x comparison) {
		x.compare().finds(nil)
	})
}
