package report

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/slotferry/slotferry/importer/route"
)

var update = flag.Bool("update-json", false, "write the golden JSON anew")

// small is a plan of a few keys, all fields set.
func small() *Plan {
	table := route.NewTable()
	table.Assign(route.Master{ID: strings.Repeat("a", 40), Addr: "10.0.0.1:6379"}, route.Range{Start: 0, End: 8191})
	table.Assign(route.Master{ID: strings.Repeat("b", 40), Addr: "10.0.0.2:6379"}, route.Range{Start: 8192, End: 16383})
	c := NewCounter(CounterOptions{Table: table, Now: now})
	for _, k := range []struct {
		name, typ, encoding string
		db                  int
		bytes               int64
		left                time.Duration
	}{
		{"user:1:name", "string", "embstr", 0, 40, 0},
		{"user:{7}:cart", "hash", "listpack", 0, 300, time.Hour},
		{"user:{7}:<seen>", "zset", "skiplist", 0, 9000, 0},
		{"", "string", "int", 3, 8, 25 * time.Hour},
		{"bin:{\xff}\x00", "mymodule1", "", 3, 77, 0},
	} {
		key := Key{DB: k.db, Key: []byte(k.name), Name: []byte(k.name), Slot: route.Slot([]byte(k.name)), Type: k.typ, Encoding: k.encoding, Bytes: k.bytes}
		if k.left != 0 {
			key.ExpireAt = now.Add(k.left).UnixMilli()
		}
		c.Key(key)
	}
	p := &Plan{
		Created: now.UTC(),
		Source:  Source{Text: "dump.rdb", Kind: "rdb", Version: "7.0.15", RDB: 10, Size: 12345, Measure: MeasureSerialized, Memory: 1 << 20, Seconds: 0.25},
		Target:  Target{Text: "redis://10.0.0.1:6379", Version: "7.2.5", RDB: 11, MaxBulk: 512 << 20},
		Expired: 1, Filtered: 2, Refused: 1, Collisions: 1, CollisionsExact: true,
		Estimate: Estimate{Seconds: 1.5, Basis: "50 MB/s"},
	}
	c.Fill(p)
	p.Masters[0].Needs, p.Masters[0].Free = 1000, 2000
	for i := range p.BigKeys {
		p.BigKeys[i].Fits, p.BigKeys[i].InTime, p.BigKeys[i].Seconds = true, true, 0.5
	}
	p.PrefixesError, p.PrefixesErrorKeys, p.HashTagsError, p.HashTagsErrorKeys = 1, 2, 3, 4
	p.Blockers.Block("collision", "map the databases", "key %q", "a")
	p.Warnings.Warn("big_key", "", "it is big")
	return p
}

func TestWriteJSON(t *testing.T) {
	var out, pretty bytes.Buffer
	if err := small().WriteJSON(&out); err != nil {
		t.Fatal(err)
	}
	if bytes.Count(out.Bytes(), []byte("\n")) != 1 || !bytes.HasSuffix(out.Bytes(), []byte("}\n")) {
		t.Errorf("not one line: %q", out.Bytes())
	}
	// The golden file has line breaks, for those who read it.
	if err := json.Indent(&pretty, out.Bytes(), "", "  "); err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "plan.json")
	if *update {
		if err := os.WriteFile(golden, pretty.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(pretty.Bytes(), want) {
		t.Errorf("differs from %s (-update-json writes it):\n%s", golden, pretty.Bytes())
	}
}

func TestReadJSON(t *testing.T) {
	want := small()
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	got := &Plan{}
	if err := json.Unmarshal(text, got); err != nil {
		t.Fatal(err)
	}
	want.Blockers[0].Blocks = false // is in no JSON
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v\nwant\n%+v", got, want)
	}
	for _, wrong := range []string{`{"hash_tags":[{"tag":1}]}`, `{"big_keys":[{"key_base64":"?"}]}`, `{"prefixes":[7]}`} {
		if err := json.Unmarshal([]byte(wrong), &Plan{}); err == nil {
			t.Errorf("%s was taken", wrong)
		}
	}
}

// Nothing is never null.
func TestEmptyJSON(t *testing.T) {
	filled := &Plan{}
	NewCounter(CounterOptions{}).Fill(filled)
	for name, p := range map[string]*Plan{"zero": {}, "filled": filled} {
		text, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(text, []byte("null")) {
			t.Errorf("%s: %s", name, text)
		}
	}
}

// Whatever bytes a name is made of come back.
func FuzzName(f *testing.F) {
	for _, name := range []string{"", "user:1", "\xff\x00", "é", "\ufffd", "\u2028<&>\"\\", "null"} {
		f.Add([]byte(name))
	}
	f.Fuzz(func(t *testing.T, name []byte) {
		want := Plan{HashTags: []Tag{{Tag: name, Slot: 1}}, BigKeys: []BigKey{{Key: name, Type: "set"}}, Prefixes: []Prefix{{Prefix: name, Keys: 2}}}
		text, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var got Plan
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		tag, key, prefix := got.HashTags[0], got.BigKeys[0], got.Prefixes[0]
		if !bytes.Equal(tag.Tag, name) || tag.Slot != 1 || !bytes.Equal(key.Key, name) || key.Type != "set" || !bytes.Equal(prefix.Prefix, name) || prefix.Keys != 2 {
			t.Errorf("%q came back from %s", name, text)
		}
	})
}
