package notify

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/slotferry/slotferry/resp"
)

// told is a message as it comes from a server.
func told(pattern, channel, text string) []byte {
	return append([]byte("*4\r\n$8\r\npmessage\r\n"), resp.AppendBulk(resp.AppendBulk(resp.AppendBulk(nil, []byte(pattern)), []byte(channel)), []byte(text))...)
}

func TestMessages(t *testing.T) {
	long := strings.Repeat("k", 2000)
	for _, tc := range []struct {
		name string
		data []byte
		want string
	}{
		{"key as message", told(keyevent, "__keyevent@12__:set", "k\r\n\x00"), `3 12 "k\r\n\x00" false`},
		{"key as channel", told(keyspace, "__keyspace@0__:a__:b", "set"), `3 0 "a__:b" false`},
		{"empty key", told(keyevent, "__keyevent@0__:set", ""), `3 0 "" false`},
		{"long key", told(keyevent, "__keyevent@1__:set", long), `3 1 "" true`},
		{"long key as channel", told(keyspace, "__keyspace@1__:"+long, "set"), `3 0 "" true`},
		{"other channel", told(keyevent, "__keyevent@x__:set", "k"), `0 0 "" false`},
		{"no channel", told(keyevent, "keyevent", "k"), `0 0 "" false`},
		{"subscribed", []byte("*3\r\n$10\r\npsubscribe\r\n$1\r\np\r\n:1\r\n"), `1 0 "" false`},
		{"pong", []byte("*2\r\n$4\r\npong\r\n$2\r\n17\r\n"), `2 0 "17" false`},
		{"something else", []byte("*3\r\n$12\r\npunsubscribe\r\n$-1\r\n:0\r\n"), `0 0 "" false`},
		{"refusal", []byte("-NOPERM no\r\n"), "refused"},
		{"no list", []byte("+OK\r\n"), "odd"},
		{"too short", []byte("*1\r\n$4\r\npong\r\n"), "odd"},
		{"no words", []byte("*4\r\n$8\r\npmessage\r\n:1\r\n:1\r\n:1\r\n"), "odd"},
		{"no word", []byte("*4\r\n$8\r\npmessage\r\n$-1\r\n$-1\r\n$-1\r\n"), "odd"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			again := told(keyevent, "__keyevent@3__:del", "next")
			r := &reader{r: resp.NewReader(iotest.OneByteReader(bytes.NewReader(append(tc.data, again...))), 0, nil), keyMax: 900}
			m, err := r.next()
			got := fmt.Sprintf("%d %d %q %t", m.kind, m.db, m.key, m.long)
			var own *refusal
			switch {
			case errors.As(err, &own):
				got = "refused"
			case errors.Is(err, resp.ErrProtocol):
				got = "odd"
			case err != nil:
				t.Fatal(err)
			default:
				if m, err := r.next(); err != nil || m.db != 3 || string(m.key) != "next" {
					t.Errorf("the next one is %+v, %v", m, err)
				}
			}
			if got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

// Any bytes are read without a panic and without more memory than a key may
// take; what a server tells is read as it was meant.
func FuzzMessages(f *testing.F) {
	f.Add(told(keyevent, "__keyevent@12__:set", "k"), 3, []byte("key"))
	f.Add([]byte("*2\r\n$4\r\npong\r\n$0\r\n\r\n-ERR no\r\n"), 0, []byte("\r\n"))
	f.Add(told(keyspace, "__keyspace@0__:a__:b", "set"), 1, []byte{})
	f.Fuzz(func(t *testing.T, data []byte, db int, key []byte) {
		const limit = 1000
		r := &reader{r: resp.NewReader(bytes.NewReader(data), 0, nil), keyMax: limit}
		for {
			m, err := r.next()
			if err != nil {
				break
			}
			if len(m.key) > limit+channelMax {
				t.Fatalf("a key of %d bytes", len(m.key))
			}
		}
		if db < 0 || len(key) > limit {
			return
		}
		both := append(told(keyevent, fmt.Sprintf("__keyevent@%d__:set", db), string(key)), told(keyspace, fmt.Sprintf("__keyspace@%d__:%s", db, key), "set")...)
		r = &reader{r: resp.NewReader(bytes.NewReader(both), 0, nil), keyMax: limit}
		for range 2 {
			if m, err := r.next(); err != nil || m.kind != keyTouched || m.db != db || m.long || !bytes.Equal(m.key, key) {
				t.Fatalf("%q in db %d came as %+v, %v", key, db, m, err)
			}
		}
		if _, err := r.next(); !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
	})
}

func TestTouched(t *testing.T) {
	set := touched{limit: 10 * (keyCost + 1)}
	start := time.Now()
	tick := 0
	add := func(db int, keys string) {
		for _, k := range keys {
			tick++
			if _, fits := set.add(db, []byte(string(k)), start.Add(time.Duration(tick))); !fits {
				t.Errorf("no room for %c", k)
			}
		}
	}
	want := func(limit, db int, keys string) {
		t.Helper()
		gotDB, got, at := set.take(limit)
		if gotDB != db || string(bytes.Join(got, nil)) != keys || at.IsZero() != (keys == "") {
			t.Errorf("taken are %q of db %d, touched %s, want %q of db %d", got, gotDB, at, keys, db)
		}
	}
	want(5, 0, "")
	add(3, "abcab")
	add(0, "a")
	add(3, "da")
	if set.n != 5 || set.oldest() != start.Add(1) {
		t.Errorf("%d keys since %s", set.n, set.oldest())
	}
	want(0, 0, "")
	want(2, 3, "ab")
	add(3, "ba")
	want(1, 3, "c")
	want(9, 0, "a") // is older than d
	want(9, 3, "dba")
	want(9, 0, "")
	if set.n != 0 || set.bytes != 0 || !set.oldest().IsZero() {
		t.Errorf("empty: %+v", set)
	}
	add(1, "0123456789")
	if _, fits := set.add(1, []byte("5"), start); !fits {
		t.Error("no room for a key that is there")
	}
	if _, fits := set.add(1, nil, start); fits {
		t.Error("room for one too many")
	}
	set.clear()
	add(2, "x")
	want(1, 2, "x")
}

func TestLacking(t *testing.T) {
	for flags, want := range map[string]string{
		"": "AE", "E": "A", "A": "E", "AE": "", "AKE": "", "AKm": "", "g$lshzxetK": "", "g$lshzxeE": "A", "Kx": "A", "xm": "AE",
	} {
		if got := lacking(flags); got != want {
			t.Errorf("%q lacks %q, want %q", flags, got, want)
		}
	}
}

func TestTally(t *testing.T) {
	got := parseTally("# Commandstats\r\ncmdstat_flushall:calls=2,usec=1,usec_per_call=1.00\r\ncmdstat_swapdb:calls=3\r\ncmdstat_xack:calls=5,usec=1\r\ncmdstat_xclaim:calls=7\r\ncmdstat_VADD:calls=4\r\n" +
		"cmdstat_set:calls=100\r\ncmdstat_flushdb:calls=x\r\n# Stats\r\ntotal_commands_processed:1000\r\n\r\nrole:slave\r\nmaster_link_status:up\r\nmaster_replid:abc\r\n")
	want := tally{commands: 1000, flushes: 5, silent: map[string]int64{"stream": 12, "vectorset": 4, anything: 0}, replica: true, history: "abc", linked: true}
	if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}
