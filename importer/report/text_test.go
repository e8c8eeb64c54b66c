package report

import (
	"bytes"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"github.com/slotferry/slotferry/importer/route"
)

var updateText = flag.Bool("update", false, "write the golden files anew")

// unevenPlan is a data set as they are found: 100 000 keys, a few tenants with hash
// tags that fill their slots, some large keys, two databases.
var unevenPlan = sync.OnceValue(func() *Plan {
	now := time.Date(2026, 3, 14, 3, 0, 0, 0, time.UTC)
	table := route.Even(3)
	c := NewCounter(CounterOptions{Table: table, Now: now})
	r := rand.New(rand.NewPCG(1, 2))
	kinds := []struct {
		prefix, typ, encoding string
		weight, size          int
	}{
		{"session:", "string", "raw", 40, 300},
		{"user:", "hash", "listpack", 25, 500},
		{"cart:", "hash", "hashtable", 8, 3000},
		{"page:/artículo/", "string", "lzf", 10, 900},
		{"queue:", "list", "quicklist", 2, 5000},
		{"rank:", "zset", "skiplist", 5, 2500},
		{"seen:", "set", "intset", 7, 120},
		{"events:", "stream", "stream", 3, 7000},
	}
	for i := range 100_000 {
		at := r.IntN(100)
		k := kinds[0]
		for _, k = range kinds {
			if at -= k.weight; at < 0 {
				break
			}
		}
		name := fmt.Sprintf("%s%d", k.prefix, i)
		if k.prefix == "cart:" || k.prefix == "queue:" {
			tenant := int(math.Pow(float64(r.IntN(1000)), 0.5)) - 25
			name = fmt.Sprintf("%s{tenant-%d}:%d", k.prefix, max(0, tenant), i)
		}
		key := Key{Key: []byte(name), Name: []byte(name), Type: k.typ, Encoding: k.encoding, Bytes: int64(k.size/2 + r.IntN(k.size))}
		if i%50 == 0 {
			key.DB = 1
		}
		if k.prefix == "session:" {
			key.ExpireAt = now.Add(time.Duration(r.ExpFloat64() * float64(30*time.Hour))).UnixMilli()
		}
		key.Slot = route.Slot(key.Name)
		c.Key(key)
	}
	for name, mib := range map[string]int64{
		"rank:all-time": 96, "export\n2024": 41, "blob:\xff\xfe\x00": 640, "report:</script><script>alert(1)</script>": 12,
		"naïve:日本語の鍵": 9, "long:" + strings.Repeat("abcdefghij", 60): 7, "line\u2028separator": 5, `quote:"'&\`: 4,
	} {
		c.Key(Key{Key: []byte(name), Name: []byte(name), Slot: route.Slot([]byte(name)), Type: "string", Encoding: "raw", Bytes: mib << 20})
	}
	p := &Plan{
		Created: now, Expired: 12, Filtered: 340, Collisions: 3, CollisionsExact: true,
		Source: Source{Text: "dump.rdb", Kind: "rdb", Version: "7.2.4", RDB: 11, Size: 951 << 20, Measure: MeasureSerialized, Memory: 1730 << 20, Seconds: 1.9},
		Target: Target{Text: "redis://10.0.0.1:7000", Version: "7.4.1", RDB: 12, MaxBulk: 512 << 20},
	}
	c.Fill(p)
	for i := range p.Masters {
		m := &p.Masters[i]
		m.Addr, m.ID = fmt.Sprintf("10.0.0.%d:7000", i+1), strings.Repeat(string(rune('a'+i)), 40)
		m.Needs, m.Free = m.Bytes*2, 1200<<20
	}
	for i := range p.BigKeys {
		k := &p.BigKeys[i]
		owner := table.Index(uint16(k.Slot))
		k.Master = p.Masters[owner].Addr
		k.Fits = k.Bytes < p.Target.MaxBulk
		k.Seconds = float64(k.Bytes) / 2e6
		k.InTime = k.Seconds < 300
	}
	p.Blockers.Block("memory", "raise maxmemory of that master, or give it fewer slots, before the import",
		"10.0.0.2:7000 needs 1.5 GiB for its share and has 1.2 GiB free below its maxmemory")
	p.Blockers.Block("databases", "--db-map 1=prefix puts them under names of their own; --db 0 leaves them out",
		"keys in 2 databases (0 and 1), and a cluster has one")
	p.Warnings.Warn("eviction", "CONFIG SET maxmemory-policy noeviction for the time of the import",
		"10.0.0.1:7000 evicts keys when it is full (allkeys-lru)")
	p.Estimate = Estimate{Seconds: 214, Basis: "what a master took in a trial of 2 s, and the link's 100 MiB/s"}
	return p
})

func emptyPlan() *Plan {
	p := &Plan{CollisionsExact: true, Target: Target{Simulated: true}, Source: Source{Text: "empty.rdb", Kind: "rdb", RDB: 12, Measure: MeasureSerialized}}
	NewCounter(CounterOptions{Table: route.Even(1)}).Fill(p)
	return p
}

// manyMasters has a slot table of 1000 masters, and a few keys.
func manyMasters() *Plan {
	c := NewCounter(CounterOptions{Table: route.Even(1000)})
	for i := range 20_000 {
		name := fmt.Appendf(nil, "k.%d", i)
		c.Key(Key{Key: name, Name: name, Slot: route.Slot(name), Type: "string", Bytes: int64(i % 977)})
	}
	p := &Plan{Target: Target{Simulated: true}, Source: Source{Text: "redis://source:6379", Kind: "redis", Measure: MeasureMemory}}
	c.Fill(p)
	p.PrefixesExact, p.PrefixesError, p.PrefixesErrorKeys = false, 1234, 5
	return p
}

// sparse is what is known before anything was read.
func sparse() *Plan {
	return &Plan{
		Keys: 1234567, Databases: map[string]int64{"0": 1234560, "3": 7}, CollisionsExact: true,
		Source:  Source{Text: "redis://source:6379", Kind: "redis", Version: "7.0.15", RDB: 10, Memory: 3 << 30},
		Target:  Target{Text: "redis://10.0.0.1:7000", Version: "7.0.15", RDB: 10},
		Masters: []Master{{Addr: "10.0.0.1:7000", Slots: 8192, Needs: 2 << 30, Free: 9 << 30}, {Addr: "10.0.0.2:7000", Slots: 8192, Needs: 2 << 30, Free: 3 << 30}},
	}
}

func plans() map[string]*Plan {
	return map[string]*Plan{"uneven": unevenPlan(), "empty": emptyPlan(), "many": manyMasters(), "sparse": sparse(), "nothing": {}}
}

func TestTextGolden(t *testing.T) {
	for name, p := range plans() {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			if err := p.WriteText(&b, TextOptions{}); err != nil {
				t.Fatal(err)
			}
			goldenFile(t, name+".txt", b.Bytes())
			b.Reset()
			p.WriteShort(&b, 80)
			goldenFile(t, name+".short.txt", b.Bytes())
			if n := strings.Count(b.String(), "\n"); n > 10 {
				t.Errorf("short has %d lines, want 10 at most", n)
			}
		})
	}
}

func goldenFile(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *updateText {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs (go test -update writes it anew):\n%s", path, got)
	}
}

var escapes = regexp.MustCompile("\x1b\\[[0-9;]*m")

func TestTextKeepsItsWidth(t *testing.T) {
	for name, p := range plans() {
		for _, width := range []int{40, 57, 80, 81, 120, 250} {
			for _, color := range []bool{false, true} {
				var b bytes.Buffer
				if err := p.WriteText(&b, TextOptions{Width: width, Color: color}); err != nil {
					t.Fatal(err)
				}
				if colored := escapes.MatchString(b.String()); colored != color {
					t.Errorf("%s: colour codes %v, want %v", name, colored, color)
				}
				text := escapes.ReplaceAllString(b.String(), "")
				var bare bytes.Buffer
				if err := p.WriteText(&bare, TextOptions{Width: width}); err != nil {
					t.Fatal(err)
				}
				if text != bare.String() {
					t.Errorf("%s: colours change the text at width %d", name, width)
				}
				checkLines(t, fmt.Sprintf("%s at %d", name, width), text, width)
			}
			var b bytes.Buffer
			p.WriteShort(&b, width)
			checkLines(t, fmt.Sprintf("%s short at %d", name, width), b.String(), width)
		}
	}
}

func checkLines(t *testing.T, what, text string, width int) {
	t.Helper()
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if w := columns.StringWidth(line); w > width {
			t.Errorf("%s: %d columns in %q", what, w, line)
		}
		if strings.TrimRight(line, " ") != line {
			t.Errorf("%s: blanks at the end of %q", what, line)
		}
		if strings.IndexFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) >= 0 {
			t.Errorf("%s: not printable: %q", what, line)
		}
	}
}

func TestBar(t *testing.T) {
	for _, tc := range []struct {
		n, largest int64
		width      int
		want       string
	}{
		{0, 10, 4, ""},
		{1, 1 << 40, 4, "▏"},
		{5, 10, 4, "██"},
		{9, 16, 2, "█▏"},
		{10, 10, 4, "████"},
		{math.MaxInt64, math.MaxInt64, 3, "███"},
		{1, 0, 4, ""},
	} {
		if got := bar(tc.n, tc.largest, tc.width); got != tc.want {
			t.Errorf("bar(%d, %d, %d) = %q, want %q", tc.n, tc.largest, tc.width, got, tc.want)
		}
	}
}

func TestLasting(t *testing.T) {
	for seconds, want := range map[float64]string{
		0.2: "a second", 1.2: "2 s", 90: "90 s", 214: "4 min", 9000: "2.5 h",
		math.Inf(1): "longer than can be told", math.NaN(): "longer than can be told",
	} {
		if got := lasting(seconds); got != want {
			t.Errorf("lasting(%v) = %q, want %q", seconds, got, want)
		}
	}
}
