package target

import (
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/slotferry/slotferry/checkpoint"
	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/importer/route"
	"github.com/slotferry/slotferry/internal/dataset"
	"github.com/slotferry/slotferry/internal/sandbox"
	"github.com/slotferry/slotferry/internal/sandbox/sandboxtest"
	"github.com/slotferry/slotferry/rdbparse"
)

// footed returns the pair as a live source yields it: with its own footer.
func (p pair) footed(version uint16) *record.Record {
	r := p.record()
	r.Footer = rdbparse.AppendFooter(nil, version, rdbparse.CRC64(0, append([]byte{r.Type}, r.Value...)))
	r.Version = 0
	return r
}

// owned gives the value to the target.
func owned(r *record.Record) *record.Record {
	r.Owned = true
	return r
}

// expect sends a record and notes that the pair must be there.
func (s *sending) expect(p pair, r *record.Record) {
	s.t.Helper()
	s.must(s.record(r))
	s.want[p.key] = p
}

func long(i, bytes int) pair {
	p := numbered(i)
	p.key = "long:" + strconv.Itoa(i)
	unit := strconv.Itoa(i) + "-"
	p.value = strings.Repeat(unit, bytes/len(unit))
	return p
}

func TestValues(t *testing.T) {
	nodes := sandboxtest.Cluster(t, sandbox.ClusterOptions{})

	t.Run("keys that exist", func(t *testing.T) {
		for _, skip := range []bool{true, false} {
			t.Run("skip="+strconv.FormatBool(skip), func(t *testing.T) {
				empty(t, nodes)
				before := begin(t, nodes, options(nodes))
				for i := range 500 {
					before.must(before.pair(pair{key: numbered(4 * i).key, value: "older", expireAt: year2100 * int64(i%2)}))
				}
				before.finish()

				o := options(nodes)
				o.Skip = skip
				s := begin(t, nodes, o)
				s.must(s.numbered(2000))
				if skip {
					for key, p := range before.want {
						s.want[key] = p
					}
				}
				s.finish()
				skipped := 0
				if skip {
					skipped = 500
				}
				if failed := s.counts(2000-skipped, skipped); len(failed) > 0 {
					t.Errorf("failed: %+v", failed[0])
				}
			})
		}
	})

	t.Run("every type", func(t *testing.T) { testEveryType(t, nodes) })

	t.Run("payloads that are refused", func(t *testing.T) {
		empty(t, nodes)
		s := begin(t, nodes, options(nodes))
		s.must(s.numbered(1000))
		damaged := func(key string, size int) *record.Record {
			r := pair{key: key, value: strings.Repeat("x", size)}.footed(12)
			r.Value[len(r.Value)-1] ^= 1
			return r
		}
		lying := pair{key: "lying", value: "abc"}.record()
		lying.Value[4] += 100 // longer than there is
		for want, r := range map[string]*record.Record{
			"checksum":                 damaged("damaged", 10),
			"its checksum is wrong":    damaged("damaged 300 KB", 300_000),
			"checksum is wrong":        owned(damaged("damaged 2 MB", 2<<20)),
			"Bad data format":          lying,
			"RDB type 200":             {Key: []byte("unknown"), Type: 200, Value: []byte("?"), Version: 10},
			"stream (RDB type 27)":     {Key: []byte("later"), Type: 27, Value: []byte("?"), Version: 14},
			"before it came here":      damaged("damaged too", 1),
			"was damaged":              damaged("damaged as well", 100),
			"the target does not take": {Key: []byte("unknown too"), Type: 100, Value: []byte("?"), Version: 10},
		} {
			s.must(s.record(r))
			s.must(s.numbered(100))
			s.c.Flush()
			key := string(r.Key)
			eventually(t, "the answer", func() bool {
				for _, f := range s.tracker.Failures() {
					if string(f.Key) == key {
						if !strings.Contains(f.Reason, want) || f.Slot != route.Slot(r.Key) || f.Node == "" {
							t.Errorf("failure of %q: %+v, want %q", key, f, want)
						}
						return true
					}
				}
				return false
			})
		}
		s.finish()
		if failed := s.counts(1900, 0); len(failed) != 9 {
			t.Errorf("%d failed", len(failed))
		}
	})

	t.Run("payloads of a newer version", func(t *testing.T) {
		empty(t, nodes)
		s := begin(t, nodes, options(nodes))
		for i, size := range []int{10, 1000, 300_000, 300_001} {
			p := long(i, size)
			s.expect(p, p.footed(12))
		}
		for i, size := range []int{200_000, 5 << 20} {
			p := long(100+i, size)
			s.expect(p, owned(p.footed(80)))
		}
		unsummed := long(200, 50)
		r := unsummed.footed(12)
		clear(r.Footer[2:]) // a server may be set to make no checksums
		s.expect(unsummed, r)
		s.must(s.numbered(1000))
		s.finish()
		if n := s.c.Retries().Restamped; n != 7 {
			t.Errorf("%d were restamped, want 7", n)
		}
	})

	t.Run("unsupported values skipped", func(t *testing.T) {
		empty(t, nodes)
		o := options(nodes)
		o.SkipUnsupported, o.MaxBulk = true, 1<<20
		s := begin(t, nodes, o)
		s.must(s.numbered(100))
		s.must(s.record(&record.Record{Key: []byte("unknown"), Type: 200, Value: []byte("?"), Version: 10}))
		s.must(s.record(owned(long(1, 2<<20).record())))
		r := pair{key: "damaged", value: "x"}.footed(9)
		r.Footer[5] ^= 1
		s.must(s.record(r))
		s.finish()
		n, named := s.tracker.Totals(), s.tracker.Failures()
		if n.Written != 100 || n.Skipped != 2 || n.Failed != 1 || len(named) != 3 {
			t.Errorf("%+v, %+v", n, named)
		}
		for _, f := range named {
			if f.Skipped != (string(f.Key) != "damaged") {
				t.Errorf("%+v", f)
			}
		}
	})

	t.Run("fail fast", func(t *testing.T) {
		empty(t, nodes)
		o := options(nodes)
		o.FailFast, o.RetryFor = true, 10*patience
		s := begin(t, nodes, o)
		s.must(s.numbered(100))
		s.must(s.record(&record.Record{Key: []byte("unknown"), Type: 200, Value: []byte("?"), Version: 10}))
		var key *KeyError
		if err := s.ended(); !errors.As(err, &key) || !strings.Contains(err.Error(), `"unknown"`) {
			t.Errorf("the lanes ended with %v", err)
		}
	})

	t.Run("large values over cut connections", func(t *testing.T) {
		empty(t, nodes)
		file, big := section(t, 20<<20)
		o := options(nodes)
		o.AddressMap = route.AddressMap{}
		var cuts atomic.Int64
		for _, n := range nodes.Nodes {
			o.AddressMap[n.Addr] = proxy(t, n.Addr, func() (up, down int64) {
				if cuts.Add(-1) < 0 {
					return -1, -1
				}
				return 1 + rand.Int64N(6<<20), -1
			})
		}
		o.Memory = 8 << 20 // less than the largest
		s := begin(t, nodes, o)
		cuts.Store(6)
		for i := range 2 {
			p := long(i, 300_000)
			s.expect(p, p.record())
			p = long(10+i, 5<<20)
			s.expect(p, owned(p.footed(10)))
			p = pair{key: "file:" + strconv.Itoa(i), value: big}
			r := p.record()
			r.Value, r.Large = nil, file.SectionReader
			s.expect(p, r)
			s.must(s.numbered(200))
		}
		s.finish()
		if s.c.Retries().Lost == 0 {
			t.Errorf("%+v, but connections were cut", s.c.Retries())
		}
	})

	t.Run("a file that was cut short meanwhile", func(t *testing.T) {
		empty(t, nodes)
		file, _ := section(t, 4<<20)
		if err := os.Truncate(file.name, 1<<20); err != nil {
			t.Fatal(err)
		}
		o := options(nodes)
		o.RetryFor = 10 * patience
		s := begin(t, nodes, o)
		s.must(s.record(&record.Record{Key: []byte("cut"), Large: file.SectionReader, Version: 6}))
		if err := s.ended(); err == nil || !strings.Contains(err.Error(), `"cut"`) || !strings.Contains(err.Error(), "from the file") || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("the lanes ended with %v", err)
		}
		if n := s.tracker.Totals(); n.Written != 0 {
			t.Errorf("%+v", n)
		}
	})

	t.Run("words longer than a node takes since a moment ago", func(t *testing.T) {
		empty(t, nodes)
		s := begin(t, nodes, options(nodes))
		for _, n := range nodes.Nodes {
			do(t, n, "CONFIG", "SET", "proto-max-bulk-len", "1mb")
			defer do(t, n, "CONFIG", "SET", "proto-max-bulk-len", "512mb")
		}
		s.must(s.numbered(1000))
		s.must(s.record(owned(long(1, 30<<20).record())))
		s.must(s.numbered(1000))
		s.finish()
		if failed := s.counts(2000, 0); len(failed) != 1 || !strings.Contains(failed[0].Reason, "bulk length") {
			t.Errorf("failed: %+v", failed)
		}
	})

	t.Run("one slot and little memory", func(t *testing.T) {
		empty(t, nodes)
		o := options(nodes)
		o.Memory, o.Window = 1<<20, 64<<10
		s := begin(t, nodes, o)
		s.prefix = func(int) string { return tagOf(5) }
		s.must(s.numbered(5000))
		s.prefix = nil
		for i := range 20 {
			p := long(i, 400_000)
			s.expect(p, p.record())
			s.must(s.numbered(100))
		}
		s.finish()
	})

	t.Run("programs", func(t *testing.T) { testPrograms(t, nodes) })

	t.Run("a checkpoint in the target", func(t *testing.T) {
		empty(t, nodes)
		s := begin(t, nodes, options(nodes))
		client := s.c.Client()
		defer func() { _ = client.Close() }()
		testStore(t, client)
		s.must(s.numbered(100))
		s.finish()
	})
}

// testEveryType carries a data set with all types and odd names, as its source
// dumps it.
func testEveryType(t *testing.T, nodes *sandbox.Cluster) {
	empty(t, nodes)
	ctx, source := t.Context(), sandboxtest.Server(t, sandbox.Options{}).Client()
	if _, err := dataset.Fill(ctx, source, dataset.Mixed(3000)); err != nil {
		t.Fatal(err)
	}
	keys := source.Keys(ctx, "*").Val()
	s := begin(t, nodes, options(nodes))
	for i, key := range keys {
		payload, err := source.Dump(ctx, key).Bytes()
		if err != nil {
			t.Fatal(err)
		}
		expiry, err := source.Do(ctx, "PEXPIRETIME", key).Int64()
		if err != nil {
			t.Fatal(err)
		}
		footer := len(payload) - footerBytes
		r := &record.Record{
			Key: []byte(key), Type: payload[0], Value: payload[1:footer], Footer: payload[footer:],
			ExpireAt: max(0, expiry), Owned: i%10 == 0,
		}
		s.must(s.record(r))
	}
	if err := s.ended(); err != nil {
		t.Fatal(err)
	}
	s.balanced()
	s.counts(len(keys), 0)
	report, err := dataset.Compare(ctx, source, nodes.Client(), dataset.CompareOptions{})
	if err != nil || !report.OK() || report.Compared != len(keys) {
		t.Errorf("%v, %v", report, err)
	}
}

type openFile struct {
	*io.SectionReader
	name string
}

// section returns a string value of about that many bytes, as a section of a
// file that has other things around it, and as a string.
func section(t *testing.T, bytes int) (openFile, string) {
	t.Helper()
	value := long(77, bytes).value
	path := filepath.Join(t.TempDir(), "large.rdb")
	data := rdbString(value)
	if err := os.WriteFile(path, []byte("before"+string(data)+"after"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return openFile{io.NewSectionReader(f, 6, int64(len(data))), path}, value
}

func testPrograms(t *testing.T, nodes *sandbox.Cluster) {
	library := func(answer int) record.Program {
		return record.Program{Function: true, Code: "#!lua name=mine\nredis.register_function('answer', function() return " + strconv.Itoa(answer) + " end)"}
	}
	answer := func(t *testing.T, want int) {
		t.Helper()
		for _, n := range nodes.Nodes {
			if got, err := n.Client().FCall(t.Context(), "answer", nil).Int(); err != nil || got != want {
				t.Errorf("%s answers %d, %v; want %d", n.Addr, got, err, want)
			}
		}
	}
	load := func(t *testing.T, policy Functions, p record.Program) error {
		t.Helper()
		o := options(nodes)
		o.Functions = policy
		return prepare(t, nodes, o).c.Load(t.Context(), p)
	}
	for _, n := range nodes.Nodes {
		do(t, n, "FUNCTION", "FLUSH")
	}
	for _, step := range []struct {
		name   string
		policy Functions
		load   int
		fails  bool
		want   int
	}{
		{"new", FailFunctions, 1, false, 1},
		{"there already and the same", FailFunctions, 1, false, 1},
		{"there already", FailFunctions, 2, true, 1},
		{"left alone", SkipFunctions, 2, false, 1},
		{"replaced", ReplaceFunctions, 2, false, 2},
	} {
		t.Run(step.name, func(t *testing.T) {
			err := load(t, step.policy, library(step.load))
			if errors.Is(err, ErrProgram) != step.fails || (err != nil) != step.fails {
				t.Errorf("error is %v", err)
			}
			if step.fails && !strings.Contains(err.Error(), "mine") {
				t.Errorf("error %v does not name the library", err)
			}
			answer(t, step.want)
		})
	}
	t.Run("broken", func(t *testing.T) {
		if err := load(t, ReplaceFunctions, record.Program{Function: true, Code: "#!lua name=broken\nnonsense("}); !errors.Is(err, ErrProgram) {
			t.Errorf("error is %v", err)
		}
	})
	t.Run("script", func(t *testing.T) {
		const code = "return 'script of a test'"
		if err := load(t, FailFunctions, record.Program{Code: code}); err != nil {
			t.Fatal(err)
		}
		for _, n := range nodes.Nodes {
			if there := n.Client().ScriptExists(t.Context(), redis.NewScript(code).Hash()).Val(); len(there) != 1 || !there[0] {
				t.Errorf("%s does not have the script", n.Addr)
			}
		}
	})
	t.Run("no memory for a while", func(t *testing.T) {
		n := nodes.Nodes[2]
		do(t, n, "CONFIG", "SET", "maxmemory", "1mb")
		time.AfterFunc(300*time.Millisecond, func() { n.Client().ConfigSet(t.Context(), "maxmemory", "0") })
		if err := load(t, ReplaceFunctions, library(3)); err != nil {
			t.Fatal(err)
		}
		answer(t, 3)
	})
}

// testStore uses a store through a target's client as a job does.
func testStore(t *testing.T, client *redis.ClusterClient) {
	t.Helper()
	ctx := t.Context()
	store, err := checkpoint.OpenCluster(ctx, client, "a job")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Load(ctx); !errors.Is(err, checkpoint.ErrNone) {
		t.Errorf("Load of nothing: %v", err)
	}
	if _, err := checkpoint.OpenCluster(ctx, client, "a job"); !errors.Is(err, checkpoint.ErrLocked) {
		t.Errorf("a second run: %v", err)
	}
	cp := checkpoint.Checkpoint{Job: "a job", Runs: 3}
	if err := store.Save(ctx, cp); err != nil {
		t.Fatal(err)
	}
	if got, err := store.Load(ctx); err != nil || got.Runs != 3 {
		t.Errorf("loaded %+v, %v", got, err)
	}
	lock := store.Keys()[1]
	if err := client.Set(ctx, lock, "another run's", time.Minute).Err(); err != nil {
		t.Fatal(err)
	}
	if err := store.Save(ctx, cp); !errors.Is(err, checkpoint.ErrLost) {
		t.Errorf("saving without the lock: %v", err)
	}
	if err := store.Close(ctx); err != nil {
		t.Errorf("Close: %v", err)
	}
	if got := client.Get(ctx, lock).Val(); got != "another run's" {
		t.Errorf("the lock of another run is %q now", got)
	}
	if err := client.Del(ctx, lock).Err(); err != nil {
		t.Fatal(err)
	}
	if store, err = checkpoint.OpenCluster(ctx, client, "a job"); err != nil {
		t.Fatal(err)
	}
	cp.Done = true
	if err := errors.Join(store.Save(ctx, cp), store.Close(ctx)); err != nil {
		t.Error(err)
	}
}
