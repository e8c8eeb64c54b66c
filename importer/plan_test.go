package importer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/slotferry/slotferry/importer"
	"github.com/slotferry/slotferry/importer/choice"
	"github.com/slotferry/slotferry/importer/endpoint"
	"github.com/slotferry/slotferry/importer/preflight"
	"github.com/slotferry/slotferry/importer/report"
	"github.com/slotferry/slotferry/importer/route"
	"github.com/slotferry/slotferry/importer/source/rdb"
	"github.com/slotferry/slotferry/importer/source/scan"
	"github.com/slotferry/slotferry/importer/target"
	"github.com/slotferry/slotferry/internal/sandbox"
	"github.com/slotferry/slotferry/rdbparse"
)

// planned is one plan: of a file, of its bytes as a stream, or of a server.
type planned struct {
	path   string
	stream bool
	server *sandbox.Server

	choice  choice.Options
	masters int // 0: the shared cluster
	options func(*importer.Options)
	plan    importer.PlanOptions
}

func (p planned) do(t testing.TB) (*report.Plan, error) {
	t.Helper()
	keys, err := choice.New(p.choice)
	must(t, err)
	var source importer.Source
	switch {
	case p.server != nil:
		source = scan.New(scan.Options{
			Endpoint: endpoint.Endpoint{Addr: p.server.Addr, Password: p.server.Password}, Choice: keys, Measure: true, Count: 100,
		})
	case p.stream:
		data, err := os.ReadFile(p.path)
		must(t, err)
		source = rdb.New(rdb.Options{Stream: &portions{r: bytes.NewReader(data)}, Choice: keys, Measure: true})
	default:
		source = rdb.New(rdb.Options{Path: p.path, Choice: keys, Measure: true})
	}
	defer source.(io.Closer).Close()
	o := importer.Options{Source: source, Choice: keys}
	if p.masters == 0 {
		o.Target = target.New(target.Options{
			Seeds: shared.cluster.Seeds(), Endpoint: endpoint.Endpoint{Password: shared.cluster.Nodes[0].Password},
		})
		defer o.Target.Close()
	}
	p.plan.Masters = p.masters
	if p.options != nil {
		p.options(&o)
	}
	plan, err := importer.New(o).Plan(t.Context(), p.plan)
	if plan != nil {
		wantSums(t, plan)
	}
	return plan, err
}

// wantSums makes sure that every way of adding up gives the same.
func wantSums(t testing.TB, p *report.Plan) {
	t.Helper()
	sums := map[string][2]int64{}
	add := func(what string, keys, bytes int64) {
		s := sums[what]
		sums[what] = [2]int64{s[0] + keys, s[1] + bytes}
	}
	for _, s := range p.Slots {
		add("slots", s.Keys, s.Bytes)
	}
	slots := 0
	for _, m := range p.Masters {
		add("masters", m.Keys, m.Bytes)
		slots += m.Slots
	}
	for _, e := range p.Encodings {
		add("encodings", e.Keys, e.Bytes)
	}
	for _, n := range p.Types {
		add("types", n, 0)
	}
	for _, n := range p.Databases {
		add("databases", n, 0)
	}
	add("ttl", p.TTL.None+p.TTL.Hour+p.TTL.Day+p.TTL.Week+p.TTL.Mon+p.TTL.More, 0)
	if p.Keys > 0 && slots != route.Slots {
		t.Errorf("masters own %d slots", slots)
	}
	for what, s := range sums {
		if s[0] != p.Keys || s[1] != 0 && s[1] != p.Bytes {
			t.Errorf("%s give %d keys and %d bytes of %d and %d", what, s[0], s[1], p.Keys, p.Bytes)
		}
	}
}

// TestPlanIsTheImport plans a data set, imports it, and compares the plan with a
// walk of the file and with what redis-cli counts on the masters afterwards.
func TestPlanIsTheImport(t *testing.T) {
	c := emptyCluster(t)
	src, path := mixed(t, 3000)
	must(t, src.Client().Set(t.Context(), "long expired", "x", 0).Err())
	plan, err := planned{path: path}.do(t)
	must(t, err)
	if held(t) != 0 {
		t.Fatal("the plan wrote something")
	}

	var keys, size int64
	slots := map[int]report.Slot{}
	in, err := os.Open(path)
	must(t, err)
	defer in.Close()
	w, err := rdbparse.NewWalker(in, rdbparse.Options{Seekable: true})
	must(t, err)
	for {
		e, err := w.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		must(t, err)
		if e.Kind == rdbparse.KindKey {
			n := 1 + e.ValueLen + int64(len(e.Key))
			slot := int(route.Slot(e.Key))
			s := slots[slot]
			slots[slot] = report.Slot{Slot: slot, Keys: s.Keys + 1, Bytes: s.Bytes + n}
			keys, size = keys+1, size+n
		}
	}
	if plan.Keys != keys || plan.Bytes != size || len(plan.Slots) != len(slots) {
		t.Errorf("the plan has %d keys, %d bytes, %d slots; the file %d, %d, %d", plan.Keys, plan.Bytes, len(plan.Slots), keys, size, len(slots))
	}
	for _, s := range plan.Slots {
		if s != slots[s.Slot] {
			t.Errorf("%+v, in the file %+v", s, slots[s.Slot])
		}
	}

	out := run{from: fromFile(path)}.do(t)
	out.wantDone(t)
	if out.Bytes != plan.Bytes || out.Written != plan.Keys {
		t.Errorf("imported %d keys, %d bytes; planned %d, %d", out.Written, out.Bytes, plan.Keys, plan.Bytes)
	}
	cli := exec.Command("redis-cli", "--cluster", "check", c.Seeds()[0])
	cli.Env = append(os.Environ(), "REDISCLI_AUTH="+targetSecret)
	said, err := cli.CombinedOutput()
	must(t, err)
	found := 0
	for _, m := range regexp.MustCompile(`(?m)^(\S+:\d+) \(\S+\) -> (\d+) keys \| (\d+) slots`).FindAllStringSubmatch(string(said), -1) {
		for _, p := range plan.Masters {
			if p.Addr == m[1] {
				found++
				if strconv.FormatInt(p.Keys, 10) != m[2] || strconv.Itoa(p.Slots) != m[3] {
					t.Errorf("%s has %s keys in %s slots, planned %d in %d", m[1], m[2], m[3], p.Keys, p.Slots)
				}
			}
		}
	}
	if found != 3 {
		t.Errorf("redis-cli names %d of the masters:\n%s", found, said)
	}
}

// TestPlanOfEverySource plans one data set as a file, a stream and a server.
func TestPlanOfEverySource(t *testing.T) {
	src, path := mixed(t, 2000)
	plans := map[string]*report.Plan{}
	for how, p := range map[string]planned{"file": {path: path}, "stream": {path: path, stream: true}, "scan": {server: src}} {
		p.masters = 5
		plan, err := p.do(t)
		must(t, err)
		plans[how] = plan
		kind, measure := "rdb", report.MeasureSerialized
		switch how {
		case "stream":
			kind = "stdin"
		case "scan":
			kind, measure = "redis", report.MeasureMemory
		}
		if plan.Source.Kind != kind || plan.Source.Measure != measure || !plan.Target.Simulated || len(plan.Masters) != 5 || plan.Estimate.Seconds <= 0 {
			t.Errorf("%s: %+v, %+v, %d masters, %+v", how, plan.Source, plan.Target, len(plan.Masters), plan.Estimate)
		}
	}
	file := plans["file"]
	for how, p := range plans {
		if p.Keys != file.Keys || fmt.Sprint(p.Types) != fmt.Sprint(file.Types) || fmt.Sprint(p.TTL) != fmt.Sprint(file.TTL) {
			t.Errorf("%s: %d keys, %v, %v; of the file %d, %v, %v", how, p.Keys, p.Types, p.TTL, file.Keys, file.Types, file.TTL)
		}
		if how == "stream" && p.Bytes != file.Bytes {
			t.Errorf("the stream has %d bytes, the file %d", p.Bytes, file.Bytes)
		}
		for i, s := range p.Slots {
			if s.Slot != file.Slots[i].Slot || s.Keys != file.Slots[i].Keys {
				t.Fatalf("%s: %+v, in the file %+v", how, s, file.Slots[i])
			}
		}
	}
}

func TestPlanOfSeveralDatabases(t *testing.T) {
	c := source(t, sandbox.Options{})
	ctx := t.Context()
	for db := range 3 {
		conn := c.Client().Conn()
		must(t, conn.Select(ctx, db).Err())
		for i := range 50 + 10*db {
			must(t, conn.Set(ctx, fmt.Sprintf("key:%d", i), "v", 0).Err())
		}
		must(t, conn.Set(ctx, fmt.Sprintf("only:%d", db), "v", 0).Err(), conn.Close())
	}
	path := saved(t, c)
	for how, p := range map[string]planned{"file": {path: path}, "stream": {path: path, stream: true}, "scan": {server: c}} {
		p.masters = 3
		plan, err := p.do(t)
		var blocked *preflight.Error
		if !errors.As(err, &blocked) {
			t.Fatalf("%s: %v", how, err)
		}
		if plan.Keys != 183 || plan.Databases["0"] != 51 || plan.Databases["1"] != 61 || plan.Databases["2"] != 71 {
			t.Errorf("%s: %d keys in %v", how, plan.Keys, plan.Databases)
		}
		wantCodes(t, plan.Blockers, []string{"databases", "collision"})
		collisions, exact := int64(110), true // 50 names three times, 10 twice
		if how == "stream" {                  // its first database was over before there was another
			collisions, exact = 60, false
		}
		if plan.Collisions != collisions || plan.CollisionsExact != exact {
			t.Errorf("%s: %d collisions, exact %t", how, plan.Collisions, plan.CollisionsExact)
		}
		p.choice.DBMap = map[int]string{1: "one:", 2: "two:"}
		plan, err = p.do(t)
		must(t, err)
		if plan.Collisions != 0 || !plan.CollisionsExact || plan.Keys != 183 {
			t.Errorf("%s, mapped: %d keys, %d collisions, %t", how, plan.Keys, plan.Collisions, plan.CollisionsExact)
		}
		p.choice = choice.Options{DBs: []int{1}, Exclude: []string{"only*"}}
		plan, err = p.do(t)
		must(t, err)
		if plan.Keys != 60 || len(plan.Databases) != 1 {
			t.Errorf("%s, chosen: %d keys in %v", how, plan.Keys, plan.Databases)
		}
	}
}

// TestPlanNamesTheHotSlot gives one hash tag a fifth of the bytes.
func TestPlanNamesTheHotSlot(t *testing.T) {
	b := newRDB()
	for i := range 2000 {
		b.key(fmt.Sprintf("user:%d", i), strings.Repeat("x", 100))
	}
	for i := range 50 {
		b.key(fmt.Sprintf("cart:{hot}:%d", i), strings.Repeat("y", 1000))
	}
	plan, err := planned{path: file(t, "hot.rdb", b.end()), masters: 6}.do(t)
	must(t, err)
	if len(plan.HashTags) != 1 || string(plan.HashTags[0].Tag) != "hot" || plan.HashTags[0].Keys != 50 || plan.HashTags[0].Slot != int(route.Slot([]byte("hot"))) {
		t.Errorf("hash tags %+v", plan.HashTags)
	}
	wantCodes(t, plan.Warnings, []string{"hot_slot", "skew"})
	if text := plan.Warnings[0].Message; !strings.Contains(text, "{hot}") || !strings.Contains(text, "50 keys") {
		t.Error(text)
	}
	if plan.Skew.Bytes < 1.25 || math.Abs(plan.Skew.Keys-1) > 0.2 {
		t.Errorf("skew %+v", plan.Skew)
	}
}

// TestPlanBlocks plans what an import could not carry.
func TestPlanBlocks(t *testing.T) {
	c := emptyCluster(t)
	plain := func() *rdbText { return newRDB().key("a", "1").key("b", strings.Repeat("v", 5000)) }
	listpackSet := plain().raw("\x14").str("young").str("\x0d\x00\x00\x00\x02\x00\x81a\x02\x81b\x02\xff").end()
	fieldExpiry := plain().raw("\x18").str("young").raw("\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00").str("f").str("v").end()
	skip := func(o *importer.Options) { o.SkipUnsupported = true }
	for _, tc := range []struct {
		name     string
		p        planned
		blockers []string
		warnings []string
		says     string
	}{
		{"nothing", planned{path: file(t, "a.rdb", plain().end())}, nil, nil, ""},
		{"an encoding too new", planned{path: file(t, "b.rdb", listpackSet)}, nil, []string{"rebuilt_values"}, `1 key stored as listpack (RDB type 20, such as "young" of db 0)`},
		{"a hash whose fields expire", planned{path: file(t, "f.rdb", fieldExpiry)}, []string{"unsupported_values"}, nil, `1 key stored as hashtable with field expiry (RDB type 24, such as "young" of db 0)`},
		{"the same, skipped", planned{path: file(t, "f.rdb", fieldExpiry), options: skip}, nil, []string{"unsupported_values"}, "young"},
		{"a value too large for the memory", planned{path: file(t, "c.rdb", plain().end()), plan: importer.PlanOptions{MaxValue: 4000}}, []string{"value_too_large"}, nil, `key "b" of db 0 is larger`},
		{"a value too long for the target", planned{path: file(t, "d.rdb", plain().end()), masters: 3, plan: importer.PlanOptions{MaxBulk: 4000}}, []string{"value_too_long"}, nil, `key "b" of db 0 is longer`},
		{"no time for a large value", planned{path: file(t, "s.rdb", plain().end()), options: func(o *importer.Options) { o.RetryFor = time.Microsecond }}, nil, []string{"slow_keys"}, `"b" of db 0`},
		{"a damaged file", planned{path: file(t, "e.rdb", plain().end()[:4000])}, []string{"source_damaged"}, nil, "4000"},
		{"no file", planned{path: "/nowhere.rdb"}, []string{"source_unreadable"}, nil, "nowhere"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.blockers != nil && tc.blockers[0] == "unsupported_values" && rdbVersionOf(t, c.Nodes[0]) >= 11 {
				t.Skip("this server knows the encoding")
			}
			plan, err := tc.p.do(t)
			if (err != nil) != (tc.blockers != nil) {
				t.Errorf("error %v", err)
			}
			wantCodes(t, plan.Blockers, tc.blockers)
			wantCodes(t, plan.Warnings, tc.warnings)
			if text := fmt.Sprint(plan.Blockers, plan.Warnings); !strings.Contains(text, tc.says) {
				t.Errorf("it does not say %q: %s", tc.says, text)
			}
		})
	}
	t.Run("full target", func(t *testing.T) {
		must(t, c.Client().Set(t.Context(), "there already", "x", 0).Err())
		plan, err := planned{path: file(t, "a.rdb", plain().end())}.do(t)
		if err == nil {
			t.Error("no error")
		}
		wantCodes(t, plan.Blockers, []string{"target_not_empty"})
		if plan.Keys != 2 {
			t.Errorf("%d keys counted", plan.Keys)
		}
	})
}

// TestPlanComparesMemory gives one master less memory than its share takes.
func TestPlanComparesMemory(t *testing.T) {
	c := emptyCluster(t)
	src := source(t, sandbox.Options{})
	pipe := src.Client().Pipeline()
	for i := range 3000 {
		pipe.Set(t.Context(), fmt.Sprintf("key:%d", i), strings.Repeat("x", 4000), 0)
	}
	_, err := pipe.Exec(t.Context())
	must(t, err)
	node := c.Nodes[1].Client()
	info, err := node.Info(t.Context(), "memory").Result()
	must(t, err)
	used, err := strconv.ParseInt(regexp.MustCompile(`used_memory:(\d+)`).FindStringSubmatch(info)[1], 10, 64)
	must(t, err)
	must(t, node.ConfigSet(t.Context(), "maxmemory", strconv.FormatInt(used+2<<20, 10)).Err())
	defer node.ConfigSet(context.WithoutCancel(t.Context()), "maxmemory", "0")
	plan, err := planned{server: src}.do(t)
	if err == nil {
		t.Error("no error")
	}
	wantCodes(t, plan.Blockers, []string{"memory"})
	for _, m := range plan.Masters {
		if m.Addr != c.Nodes[1].Addr {
			if m.Free != 0 || m.Needs < 3<<20 {
				t.Errorf("%+v", m)
			}
		} else if m.Free < 1<<20 || m.Free > 2<<20 || m.Needs < 3<<20 || !strings.Contains(plan.Blockers[0].Message, m.Addr) {
			t.Errorf("%+v: %v", m, plan.Blockers)
		}
	}
}

func TestPlanIsInterrupted(t *testing.T) {
	_, path := mixed(t, 500)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	keys, err := choice.New(choice.Options{})
	must(t, err)
	source := rdb.New(rdb.Options{Path: path, Choice: keys, Measure: true})
	defer source.Close()
	plan, err := importer.New(importer.Options{Source: source, Choice: keys}).Plan(ctx, importer.PlanOptions{Masters: 3})
	if plan != nil || !errors.Is(err, importer.ErrInterrupted) {
		t.Errorf("%v, %v", plan, err)
	}
}

// TestForeseen looks at what an import tells before the first write.
func TestForeseen(t *testing.T) {
	emptyCluster(t)
	src, path := mixed(t, 1000)
	for how, from := range sources(t, src, path) {
		empty(t, shared.cluster)
		var told *report.Plan
		out := run{from: from, options: func(o *importer.Options) {
			o.Foresee = func(p *report.Plan) {
				told = p
				if held(t) != 0 {
					t.Error("it is told after the first write")
				}
			}
		}}.do(t)
		out.wantDone(t)
		switch {
		case how == "stream":
			if told != nil {
				t.Errorf("%s: %+v", how, told)
			}
		case told == nil || told.Keys != out.Written || len(told.Masters) != 3 || told.Databases["0"] != out.Written || told.Estimate.Seconds <= 0:
			t.Errorf("%s: %+v", how, told)
		case how == "file" && (told.Types["hash"] == 0 || told.Bytes == 0):
			t.Errorf("%s: %+v", how, told)
		}
	}
}
