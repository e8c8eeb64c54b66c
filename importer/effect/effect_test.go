package effect_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/slotferry/slotferry/importer/effect"
)

const now = 1_700_000_000_000

// seen is an Effect in short: what differs from one without any effect.
func seen(e effect.Effect, words []string) string {
	var b strings.Builder
	fmt.Fprint(&b, map[effect.Kind]string{effect.Unknown: "unknown", effect.Write: "write", effect.Split: "split", effect.Begin: "begin",
		effect.Commit: "commit", effect.Select: "select", effect.Flush: "flush", effect.Swap: "swap", effect.Script: "script",
		effect.Program: "program", effect.Nothing: "nothing"}[e.Kind])
	for _, i := range e.Keys {
		fmt.Fprint(&b, " ", words[i])
	}
	if e.Step != 0 {
		fmt.Fprint(&b, " step=", e.Step)
	}
	if e.DB != 0 {
		fmt.Fprint(&b, " db=", e.DB)
	}
	if e.DB2 != -1 {
		fmt.Fprint(&b, " db2=", e.DB2)
	}
	if e.Relative {
		fmt.Fprint(&b, " in=", e.ExpireAt-now)
	} else if e.ExpireAt != 0 {
		fmt.Fprint(&b, " at=", e.ExpireAt)
	}
	if e.Blind {
		fmt.Fprint(&b, " blind")
	}
	if e.Reread {
		fmt.Fprint(&b, " reread")
	}
	return b.String()
}

func TestOf(t *testing.T) {
	for _, tc := range []struct{ line, want string }{
		{"get k", "unknown"},
		{"JSON.SET k . 1", "unknown"},
		{strings.Repeat("x", 100), "unknown"},
		{"INCR k", "write k"},
		{"inCr k", "write k"},
		{"PFCOUNT a b", "write a b"},
		{"PFDEBUG GETREG k", "write k"},

		{"SET k v", "write k blind"},
		{"set k v ex 5", "write k in=5000 blind"},
		{"SET k v PX 5", "write k in=5 blind"},
		{"SET k v EXAT 5", "write k at=5000 blind"},
		{"SET k v PXAT 5", "write k at=5 blind"},
		{"SET k v NX EX 5", "write k in=5000"},
		{"SET k v PX 5 XX", "write k in=5"},
		{"SET k v GET", "write k"},
		{"SET k v KEEPTTL", "write k"},
		{"SET k v IFEQ EX", "write k"},
		{"SET k v IFDNE 0123 PX 5", "write k in=5"},
		{"SETEX k 5 v", "write k in=5000 blind"},
		{"PSETEX k 5 v", "write k in=5 blind"},
		{"GETSET k v", "write k"},
		{"GETEX k", "write k"},
		{"GETEX k PERSIST", "write k"},
		{"GETEX k EX 5", "write k in=5000"},
		{"EXPIRE k 5", "write k in=5000"},
		{"EXPIRE k -5", "write k in=-5000"},
		{"EXPIRE k 5 GT", "write k in=5000"},
		{"PEXPIRE k 5", "write k in=5"},
		{"EXPIREAT k 5", "write k at=5000"},
		{"EXPIREAT k -5", "write k at=1"},
		{"PEXPIREAT k 0", "write k at=1"},
		{"RESTORE k 0 p", "write k"},
		{"RESTORE k 5 p", "write k in=5"},
		{"RESTORE k 5 p ABSTTL REPLACE", "write k at=5 blind"},
		{"RESTORE k 5 p REPLACE IDLETIME 7 FREQ 3", "write k in=5 blind"},
		{"HEXPIRE h 5 FIELDS 1 f", "write h in=5000"},
		{"HPEXPIRE h 5 NX FIELDS 1 f", "write h in=5"},
		{"HEXPIREAT h 5 FIELDS 1 f", "write h at=5000"},
		{"HPEXPIREAT h 5 FIELDS 1 f", "write h at=5"},
		{"HSETEX h FNX EX 5 FIELDS 1 EX v", "write h in=5000"},
		{"HSETEX h FIELDS 1 f v PXAT 5", "write h at=5"},
		{"HSETEX h KEEPTTL FIELDS 1 f v", "write h"},
		{"HGETEX h PERSIST FIELDS 1 f", "write h"},
		{"HGETEX h PX 5 FIELDS 2 EX PX", "write h in=5"},

		{"DEL a b", "split a b step=1 blind"},
		{"UNLINK a", "split a step=1 blind"},
		{"TOUCH a b", "split a b step=1"},
		{"MSET a 1 b 2", "split a b step=2 blind"},
		{"MSETNX a 1 b 2", "write a b"},
		{"MSETEX 2 a 1 b 2", "write a b blind"},
		{"MSETEX 2 a 1 b 2 NX EX 5", "write a b in=5000"},
		{"MSETEX 1 a 1 PXAT 5", "write a at=5 blind"},

		{"RENAME a b", "write a b"},
		{"COPY a b", "write a b"},
		{"COPY a b REPLACE DB 3", "write a b db2=3 reread"},
		{"MOVE a 0", "write a db2=0 reread"},
		{"BITOP NOT a b", "write a b"},
		{"PFMERGE a", "write a"},
		{"SDIFFSTORE a b c", "write a b c"},
		{"SMOVE a b m", "write a b"},
		{"BLPOP a b 0", "write a b"},
		{"BRPOPLPUSH a b 0", "write a b"},
		{"BLMOVE a b LEFT LEFT 0", "write a b"},
		{"ZUNIONSTORE a 2 b c WEIGHTS 1 2", "write a b c"},
		{"ZRANGESTORE a b 0 -1", "write a b"},
		{"LMPOP 2 a b LEFT COUNT 5", "write a b"},
		{"BZMPOP 0 1 a MIN", "write a"},
		{"SORT a", "nothing"},
		{"SORT a BY w* GET v*", "nothing"},
		{"SORT a STORE b", "write a b"},
		{"SORT STORE BY nosort LIMIT 0 5 GET # STORE STORE", "write STORE STORE"},
		{"SORT a BY w* STORE b", "write a b reread"},
		{"SORT a STORE b GET v*->f", "write a b reread"},
		{"GEORADIUS a 1 2 3 km", "nothing"},
		{"GEORADIUS a 1 2 3 km COUNT 1 STORE b", "write a b"},
		{"GEORADIUS a 1 2 3 km STORE b STOREDIST c", "write a b c"},
		{"GEORADIUSBYMEMBER a STORE 3 km STOREDIST b", "write a b"},
		{"GEOSEARCHSTORE a b FROMMEMBER m BYRADIUS 1 km", "write a b"},
		{"MIGRATE h 1 a 0 5", "write a reread"},
		{"MIGRATE h 1  0 5 COPY AUTH KEYS KEYS a b", "write a b reread"},
		{"MIGRATE h 1  0 5 AUTH2 u KEYS KEYS a", "write a reread"},

		{"XADD s * f v", "write s"},
		{"XGROUP CREATE s g $", "write s"},
		{"XGROUP HELP", "nothing"},
		{"XCLAIM s g c 0 1-1", "write s"},
		{"XREADGROUP GROUP g c COUNT 1 BLOCK 5 CLAIM 5 NOACK STREAMS a b > >", "write a b"},
		{"XREADGROUP GROUP STREAMS c STREAMS a >", "write a"},

		{"EVAL s 2 a b c", "script a b"},
		{"EVALSHA s 0 a", "script"},
		{"FCALL f 1 a", "script a"},
		{"FUNCTION LOAD code", "program"},
		{"function flush", "program"},
		{"FUNCTION LIST", "nothing"},
		{"SCRIPT LOAD s", "program"},
		{"SCRIPT EXISTS s", "nothing"},
		{"MULTI", "begin"},
		{"EXEC", "commit"},
		{"SELECT 5", "select db=5"},
		{"SELECT 0", "select"},
		{"FLUSHALL ASYNC", "flush db=-1"},
		{"FLUSHDB", "flush"},
		{"SWAPDB 1 2", "swap db=1 db2=2"},
		{"PING", "nothing"},
		{"REPLCONF GETACK *", "nothing"},
		{"PUBLISH c m", "nothing"},
		{"SPUBLISH c m", "nothing"},
	} {
		words := strings.Split(tc.line, " ")
		var e effect.Effect
		if err := effect.Of(split(words), now, &e); err != nil || seen(e, words) != tc.want {
			t.Errorf("%s: %q, %v; want %q", tc.line, seen(e, words), err, tc.want)
		}
		if e.Kind != effect.Unknown && e.Name != strings.ToUpper(words[0]) {
			t.Errorf("%s is named %q", tc.line, e.Name)
		}
	}
}

func TestMalformed(t *testing.T) {
	for _, line := range []string{
		"", "INCR", "SET k", "SET k v EX", "SET k v EX x", "SET k v EX 9223372036854775807", "SET k v PX 9223372036854775807", "SET k v SOON", "SET k v IFEQ",
		"SETEX k v 5", "SETEX k 05 v", "SETEX k +5 v", "SETEX k -0 v", "SETEX k  v", "SETEX k 99999999999999999999 v", "GETEX k SOON 5",
		"RESTORE k -1 p", "RESTORE k x p", "RESTORE k 0 p SOON", "EXPIRE k 5.5", "HSETEX h EX 5 FIELDS 1 f", "HSETEX h EX 5 EX 5 EX", "HGETEX h EX 5 FIELDS 0",
		"HGETEX h EX 5 PX 5", "MSET a", "MSET a 1 b", "MSETNX a 1 b", "MSETEX 2 a 1 b", "MSETEX 0 a 1", "MSETEX x a 1", "MSETEX 1 a 1 5",
		"RENAME a", "COPY a b DB", "COPY a b DB x", "COPY a b 5", "MOVE a x", "MOVE a -1", "ZUNIONSTORE a 3 b c", "ZUNIONSTORE a -1 b", "LMPOP 0 a LEFT",
		"BLPOP a", "SORT a LIMIT 0", "SORT a BY", "SORT a 5", "MIGRATE h 1  0 5", "MIGRATE h 1  0 5 KEYS", "XREADGROUP GROUP g c STREAMS a b >",
		"XREADGROUP GROUP g c COUNT STREAMS STREAMS", "XREADGROUP GROUP g c 5 STREAMS a >", "XGROUP CREATE s", "EVAL s", "EVAL s 2 a", "EVAL s x a",
		"SELECT x", "SELECT -1", "SELECT 99999999999", "SWAPDB 1", "SWAPDB 1 x",
	} {
		var words [][]byte
		if line != "" {
			words = split(strings.Split(line, " "))
		}
		e := effect.Effect{Keys: []int{7}}
		if err := effect.Of(words, now, &e); !errors.Is(err, effect.ErrMalformed) || len(e.Keys) != 0 {
			t.Errorf("%s: %+v, %v", line, e, err)
		}
	}
}

func TestLearn(t *testing.T) {
	table := effect.NewTable()
	table.Learn("json.set", 1, 1, 1)
	table.Learn("JSON.MSET", 1, -1, 3)
	table.Learn("FT.CREATE", 0, 0, 0)
	table.Learn("X.LAST", 2, -2, 0)
	table.Learn("INCR", 2, 2, 1)
	for _, tc := range []struct{ line, want string }{
		{"JSON.SET a . 1", "write a"},
		{"json.mset a . 1 b . 2", "write a b"},
		{"FT.CREATE i", "write"},
		{"X.LAST 0 a b 1", "write a b"},
		{"INCR a b", "write a"},
		{"JSON.DEL a", "unknown"},
	} {
		words := strings.Split(tc.line, " ")
		var e effect.Effect
		if err := table.Of(split(words), now, &e); err != nil || seen(e, words) != tc.want {
			t.Errorf("%s: %q, %v; want %q", tc.line, seen(e, words), err, tc.want)
		}
	}
	var e effect.Effect
	if err := table.Of(split([]string{"JSON.MSET", "a", "."}), now, &e); !errors.Is(err, effect.ErrMalformed) {
		t.Errorf("%+v, %v", e, err)
	}
	if err := effect.Of(split([]string{"JSON.SET", "a", ".", "1"}), now, &e); err != nil || e.Kind != effect.Unknown {
		t.Errorf("one table learnt what another was told: %+v, %v", e, err)
	}
}

func TestAbsolute(t *testing.T) {
	for _, tc := range []struct{ line, want string }{
		{"INCR k", "INCR k"},
		{"get k", "get k"},
		{"SET k", "SET k"},
		{"SET k v PXAT 5", "SET k v PXAT 5"},
		{"SET k v EX 5", "SET k v|PEXPIREAT k 1700000005000"},
		{"SET k v NX PX 5 GET", "SET k v NX GET|PEXPIREAT k 1700000000005"},
		{"setex k 5 v", "SET k v|PEXPIREAT k 1700000005000"},
		{"PSETEX k 5 v", "SET k v|PEXPIREAT k 1700000000005"},
		{"EXPIRE k 5", "PEXPIREAT k 1700000005000"},
		{"PEXPIRE k 5 GT", "PEXPIREAT k 1700000000005 GT"},
		{"EXPIRE k -1700000001", "PEXPIREAT k 1"},
		{"EXPIREAT k 5", "EXPIREAT k 5"},
		{"GETEX k EX 5", "PEXPIREAT k 1700000005000"},
		{"GETEX k PERSIST", "GETEX k PERSIST"},
		{"RESTORE k 5 p REPLACE", "RESTORE k 1700000000005 p REPLACE ABSTTL"},
		{"RESTORE k 0 p", "RESTORE k 0 p"},
		{"RESTORE k 5 p ABSTTL", "RESTORE k 5 p ABSTTL"},
		{"HEXPIRE h 5 XX FIELDS 1 f", "HPEXPIREAT h 1700000005000 XX FIELDS 1 f"},
		{"HPEXPIRE h 5 FIELDS 1 f", "HPEXPIREAT h 1700000000005 FIELDS 1 f"},
		{"HSETEX h EX 5 FIELDS 1 EX 5", "HSETEX h PXAT 1700000005000 FIELDS 1 EX 5"},
		{"HGETEX h FIELDS 1 f PX 5", "HGETEX h FIELDS 1 f PXAT 1700000000005"},
		{"MSETEX 1 k v NX EX 5", "MSETEX 1 k v NX PXAT 1700000005000"},
	} {
		words := split(strings.Split(tc.line, " "))
		var got []string
		for _, w := range effect.Absolute(words, now, nil) {
			got = append(got, string(bytes.Join(w, []byte(" "))))
		}
		if strings.Join(got, "|") != tc.want {
			t.Errorf("%s became %q, want %q", tc.line, got, tc.want)
		}
		if string(bytes.Join(words, []byte(" "))) != tc.line {
			t.Errorf("%s was changed in place", tc.line)
		}
	}
}

func TestOfAllocates(t *testing.T) {
	e := effect.Effect{Keys: make([]int, 0, 8)}
	for _, line := range []string{"set k v px 5", "Mset a 1 b 2", "ZUNIONSTORE a 2 b c", "HPEXPIREAT h 5 FIELDS 1 f"} {
		words := split(strings.Fields(line))
		if n := testing.AllocsPerRun(100, func() {
			if err := effect.Of(words, now, &e); err != nil {
				t.Error(err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", line, n)
		}
	}
}

func FuzzOf(f *testing.F) {
	for _, line := range slices.Concat(writes, movable, values) {
		f.Add([]byte(strings.ReplaceAll(strings.TrimPrefix(line, "?"), " ", "\x00")), int64(now))
	}
	f.Fuzz(func(t *testing.T, in []byte, at int64) {
		words := bytes.Split(in, []byte{0})
		var e effect.Effect
		err := effect.Of(words, at, &e)
		last := 0
		for _, i := range e.Keys {
			if i <= last || i >= len(words) {
				t.Fatalf("%q: keys %v", words, e.Keys)
			}
			last = i
		}
		if err != nil {
			return
		}
		if e.Kind == effect.Split && (e.Step < 1 || last+e.Step > len(words)) {
			t.Fatalf("%q: %+v", words, e)
		}
		if e.Relative && e.ExpireAt == 0 {
			t.Fatalf("%q: %+v", words, e)
		}
		for _, command := range effect.Absolute(words, at, nil) {
			var again effect.Effect
			if err := effect.Of(command, at, &again); err != nil || again.Relative {
				t.Fatalf("%q became %q: %+v, %v", words, command, again, err)
			}
			if again.ExpireAt != 0 && again.ExpireAt != e.ExpireAt {
				t.Fatalf("%q became %q, which expires at %d, not %d", words, command, again.ExpireAt, e.ExpireAt)
			}
		}
	})
}

func BenchmarkOf(b *testing.B) {
	e := effect.Effect{Keys: make([]int, 0, 8)}
	for _, line := range []string{"SET k v PXAT 1700000000005", "HSET k f v", "DEL a b"} {
		words := split(strings.Fields(line))
		b.Run(string(words[0]), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := effect.Of(words, now, &e); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
