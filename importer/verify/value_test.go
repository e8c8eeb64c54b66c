package verify

import (
	"hash/maphash"
	"strings"
	"testing"
	"time"

	"github.com/slotferry/slotferry/importer/target"
	"github.com/slotferry/slotferry/rdbparse"
)

// ttlHash is a hash of Valkey's with one field that expires (RDB type 22).
func ttlHash(field string, at time.Time) []byte {
	b := []byte{1, byte(len(field))}
	b = append(b, field...)
	b = append(b, 1, 'v')
	for ms := at.UnixMilli(); len(b) < len(field)+2+2+8; ms >>= 8 {
		b = append(b, byte(ms))
	}
	return b
}

func TestWeigh(t *testing.T) {
	c := &Comparer{opts: Options{Vendor: rdbparse.Valkey}, vendor: rdbparse.Valkey, moment: time.Second, seed: maphash.MakeSeed()}
	past, future := time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	for name, tc := range map[string]struct {
		wantType byte
		want     []byte
		gotType  byte
		got      []byte
		outcome  outcome
		says     string
	}{
		"packed or not":       {0, []byte{3, 'a', 'a', 'a'}, 0, []byte{0x40, 3, 'a', 'a', 'a'}, same, ""},
		"another string":      {0, []byte{1, 'a'}, 0, []byte{1, 'b'}, differs, ""},
		"another order":       {2, []byte{2, 1, 'a', 1, 'b'}, 2, []byte{2, 1, 'b', 1, 'a'}, same, ""},
		"a module's":          {7, []byte{1}, 7, []byte{2}, skip, "module"},
		"a module's, not":     {7, []byte{1}, 0, []byte{1, 'a'}, differs, "string, not module"},
		"damaged here":        {1, []byte{9, 1}, 1, []byte{1, 1, 'a'}, skip, "the source"},
		"damaged there":       {1, []byte{1, 1, 'a'}, 1, []byte{9, 1}, skip, "the target"},
		"unknown here":        {99, []byte{1}, 0, []byte{1, 'a'}, skip, "99"},
		"unknown there":       {0, []byte{1, 'a'}, 24, []byte{1}, skip, "24"},
		"fields that expired": {22, ttlHash("a", past), 22, ttlHash("b", past), same, ""},
		"fields that expire":  {22, ttlHash("a", future), 22, ttlHash("a", future.Add(time.Millisecond)), differs, "expires"},
	} {
		v := c.weigh(tc.wantType, tc.want, tc.gotType, tc.got)
		if v.outcome != tc.outcome || !strings.Contains(v.detail, tc.says) {
			t.Errorf("%s: %+v", name, v)
		}
	}
	for at, want := range map[time.Time]bool{past: true, future: false} {
		ch := &chunk{}
		ch.entries = append(ch.entries, entry{typ: 22, value: ch.keep(ttlHash("a", at))})
		if got := c.empty(ch, &ch.entries[0]); got != want {
			t.Errorf("a hash whose only field expires at %s is empty: %v", at, got)
		}
	}
}

func TestRefused(t *testing.T) {
	c := &Comparer{opts: Options{Target: target.New(target.Options{})}}
	for line, want := range map[string]verdict{
		"MOVED 1 10.0.0.1:7":                    {outcome: later, addr: "10.0.0.1:7"},
		"ASK 1 :7":                              {outcome: later, addr: "node:7", asking: true},
		"MOVED nonsense":                        {outcome: later},
		"TRYAGAIN Multiple keys":                {outcome: later},
		"CLUSTERDOWN The cluster is down":       {outcome: later},
		"LOADING Redis is loading":              {outcome: later},
		"ERR max number of clients reached":     {outcome: later},
		"NOPERM No permissions to access a key": {outcome: skip},
		"ERR something else":                    {outcome: skip},
	} {
		v, err := c.refused([]byte(line), "node:6379")
		if v.detail = ""; err != nil || v != want {
			t.Errorf("%s: %+v, %v", line, v, err)
		}
	}
	for _, line := range []string{
		"NOPERM User x has no permissions to run the 'dump' command", "NOAUTH Authentication required.", "WRONGPASS no", "ERR unknown command 'DUMP'",
	} {
		if _, err := c.refused([]byte(line), "node:6379"); !final(err) {
			t.Errorf("%s: %v", line, err)
		}
	}
}
