package mirror

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slotferry/slotferry/importer"
	"github.com/slotferry/slotferry/importer/record"
)

// held is a key as a source or a target has it.
type held struct {
	value  string
	expiry int64
}

// world is a source and a target, and the folder of the mirror between them.
type world struct {
	t      testing.TB
	dir    string
	source map[string]held
	target map[string]held
	run    importer.MirrorRun
	limit  Limit
	memory int64
	lives  bool // the source can be asked whether it has a key
	refuse map[string]bool
	doubt  bool            // more were refused than are told
	hidden map[string]bool // keys of a living source that the run does not come by
	order  func([]string)  // brings sorted names into the source's order; nil: another one each time
}

func newWorld(t testing.TB) *world {
	return &world{
		t: t, dir: t.TempDir(), source: map[string]held{}, target: map[string]held{}, limit: Share(100),
		run: importer.MirrorRun{Source: "source", Target: []string{"node-1", "node-2"}, Choice: "all"},
	}
}

func (w *world) fill(n int, value string) {
	for i := range n {
		w.source[fmt.Sprintf("key:%d", i)] = held{value: value}
	}
}

// result is what a run did.
type result struct {
	known     bool
	strays    bool
	written   int
	unchanged int
	deleted   int64
	err       error
}

// ending is how a run ends.
type ending int

const (
	whole  ending = iota
	closed        // interrupted: closed without an end
	killed        // without that either
)

// mirror does a run that ends after some keys, all of them if that is negative.
func (w *world) mirror(keys int, end ending) (r result) {
	w.t.Helper()
	m, err := Open(Options{Dir: w.dir, MaxDelete: w.limit, Memory: w.memory})
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() {
		if end == killed {
			if m.journal != nil {
				_ = m.journal.file.Close()
			}
			_ = m.drop()
			err = m.folder.close()
		} else {
			err = m.Close()
		}
		if err != nil {
			w.t.Error(err)
		}
	}()
	run := w.run
	run.Keys = int64(len(w.target))
	if r.known, err = m.Begin(w.t.Context(), run); err != nil {
		w.t.Fatal(err)
	}
	r.strays = m.Strays()
	var failed [][]byte
	for _, name := range w.names() {
		h := w.source[name]
		if keys == 0 {
			return r
		}
		keys--
		if w.hidden[name] {
			continue
		}
		rec := &record.Record{Key: []byte(name), Value: []byte(h.value), ExpireAt: h.expiry}
		if len(h.value) > record.LargeBytes {
			rec.Value, rec.Large = nil, io.NewSectionReader(strings.NewReader(h.value), 0, int64(len(h.value)))
		}
		same, err := m.Seen(rec, []byte(name))
		if err != nil {
			w.t.Fatal(err)
		}
		if same {
			r.unchanged++
			continue
		}
		if w.refuse[name] {
			failed = append(failed, []byte(name))
			continue
		}
		w.target[name] = h
		r.written++
	}
	if end != whole {
		return r
	}
	e := importer.MirrorEnd{Failed: failed, Doubt: w.doubt, Remove: func(_ context.Context, names [][]byte) error {
		for _, name := range names {
			delete(w.target, string(name))
		}
		return nil
	}}
	if w.lives {
		e.Exists = func(_ context.Context, names [][]byte) ([]bool, error) {
			there := make([]bool, len(names))
			for i, name := range names {
				_, there[i] = w.source[string(name)]
			}
			return there, nil
		}
	}
	r.deleted, r.err = m.Finish(w.t.Context(), e)
	return r
}

// names returns those of the source in its order.
func (w *world) names() []string {
	names := slices.Collect(maps.Keys(w.source))
	if w.order != nil {
		slices.Sort(names)
		w.order(names)
	}
	return names
}

// wants runs to the end and compares: the target must be as the source.
func (w *world) wants(written int, deleted int64) {
	w.t.Helper()
	r := w.mirror(-1, whole)
	if r.err != nil || r.written != written || r.deleted != deleted || r.unchanged != len(w.source)-written {
		w.t.Errorf("%+v; want %d written, %d deleted, of %d", r, written, deleted, len(w.source))
	}
	w.wantSame()
}

func (w *world) wantSame() {
	w.t.Helper()
	if !maps.Equal(w.source, w.target) {
		w.t.Errorf("source has %d keys, target %d, or they differ", len(w.source), len(w.target))
	}
}

func TestMirror(t *testing.T) {
	for _, memory := range []int64{0, 3 * pageBytes} { // all in memory, or a page of it
		t.Run(fmt.Sprint(memory), func(t *testing.T) {
			w := newWorld(t)
			w.memory = memory
			w.fill(2000, "a")
			w.source["huge"] = held{value: strings.Repeat("x", record.LargeBytes+1)}
			w.wants(2001, 0)
			w.wants(0, 0)
			for i := range 20 {
				w.source[fmt.Sprintf("key:%d", i)] = held{value: "b"}
			}
			w.source["key:30"] = held{"a", 4e12}
			w.source["huge"] = held{value: strings.Repeat("x", record.LargeBytes) + "y"}
			w.source["new"] = held{value: "n"}
			delete(w.source, "key:100")
			w.wants(23, 1)
			w.wants(0, 0)
			delete(w.source, "new")
			w.wants(0, 1)
			w.source["key:100"] = held{value: "a"} // was removed: to be written again
			w.wants(1, 0)
			w.run.Anew = true
			w.wants(2001, 0)
			w.run.Anew = false
			w.wants(0, 0)
			delete(w.target, "key:7") // by somebody else; one key has an expiry and does not count
			delete(w.target, "key:8")
			w.wants(2001, 0)
			w.wants(0, 0)
		})
	}
}

// TestCrashes mirrors a changing source with runs that end anywhere in any way.
// Whatever went before, a run that comes to its end leaves no difference.
func TestCrashes(t *testing.T) {
	for seed := range uint64(16) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel() // what takes its time is the disk
			w := newWorld(t)
			w.lives = seed%2 == 0
			keys := 600
			if seed >= 8 { // more than the window of a trail
				keys, w.memory, w.order = 1500, 1, func([]string) {}
			}
			crashes(t, w, keys, rand.New(rand.NewPCG(seed, 1)))
		})
	}
}

func crashes(t *testing.T, w *world, keys int, r *rand.Rand) {
	w.fill(r.IntN(keys), "a")
	w.wants(len(w.source), 0) // so that there is a word on every name
	for range 12 {
		for range r.IntN(40) {
			name := fmt.Sprintf("key:%d", r.IntN(keys+100))
			if r.IntN(3) == 0 {
				delete(w.source, name)
			} else {
				w.source[name] = held{value: string(rune('a' + r.IntN(3)))}
			}
		}
		switch r.IntN(4) {
		case 0:
			w.mirror(r.IntN(len(w.source)+1), closed)
		case 1:
			w.mirror(r.IntN(len(w.source)+1), killed)
		case 2:
			w.mirror(r.IntN(len(w.source)+1), killed)
			reboot(t, w.dir, r)
		case 3:
			if out := w.mirror(-1, whole); out.err != nil {
				t.Fatal(out.err)
			}
			if w.wantSame(); t.Failed() {
				return
			}
		}
	}
	if out := w.mirror(-1, whole); out.err != nil {
		t.Fatal(out.err)
	}
	w.wantSame()
}

// reboot makes a journal look as one from before the machine's last start. What
// was not known as a name before may be missing from it; here all of that is
// there still.
func reboot(t testing.TB, dir string, r *rand.Rand) {
	t.Helper()
	path := filepath.Join(dir, journalName)
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	first, rest, _ := bytes.Cut(data, []byte("\n"))
	var o origin
	if err := unseal(first, &o); err != nil {
		t.Fatal(err)
	}
	o.Boot = fmt.Sprint("earlier", r.Int())
	line, err := seal(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(line, rest...), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestChangedAndBack is what a digest without a journal gets wrong.
func TestChangedAndBack(t *testing.T) {
	w := newWorld(t)
	w.fill(100, "a")
	w.wants(100, 0)
	w.fill(100, "b")
	w.source["new"] = held{value: "n"}
	w.mirror(60, killed)
	w.fill(100, "a") // as the digest says
	delete(w.source, "new")
	if r := w.mirror(-1, whole); r.err != nil || r.written < 59 || r.written > 60 {
		t.Errorf("%+v; want about 60 written", r)
	}
	w.wantSame()
}

// TestSeenTwice is a key that a scan comes by twice, changed back in between.
func TestSeenTwice(t *testing.T) {
	w := newWorld(t)
	w.fill(100, "a")
	w.wants(100, 0)
	m, err := Open(Options{Dir: w.dir})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	run := w.run
	run.Keys = 100
	if _, err := m.Begin(t.Context(), run); err != nil {
		t.Fatal(err)
	}
	for i, step := range []struct {
		value     string
		unchanged bool
	}{{"a", true}, {"b", false}, {"a", false}, {"a", false}} {
		unchanged, err := m.Seen(&record.Record{Value: []byte(step.value)}, []byte("key:1"))
		if err != nil || unchanged != step.unchanged {
			t.Errorf("step %d: %v, %v", i, unchanged, err)
		}
	}
}

// TestNoWord is a value that is not known before it is sent.
func TestNoWord(t *testing.T) {
	w := newWorld(t)
	for range 2 {
		m, err := Open(Options{Dir: w.dir})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.Begin(t.Context(), w.run); err != nil {
			t.Fatal(err)
		}
		build := func(context.Context, []byte, func([][]byte) error) (int64, error) { return 0, nil }
		unchanged, err := m.Seen(&record.Record{Build: build}, []byte("built"))
		if err != nil || unchanged {
			t.Errorf("%v, %v", unchanged, err)
		}
		if n, err := m.Finish(t.Context(), importer.MirrorEnd{}); n != 0 || err != nil {
			t.Error(n, err)
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestKilledFirstRun(t *testing.T) {
	w := newWorld(t)
	w.fill(1000, "a")
	w.mirror(900, killed)
	w.lives = true
	r := w.mirror(-1, whole)
	if !r.known || r.err != nil || r.written != 1000 {
		t.Errorf("%+v; the target may hold keys, and all are to be written", r)
	}
	w.wantSame()
	w.wants(0, 0)
}

func TestExpiry(t *testing.T) {
	later := time.Now().Add(time.Hour).UnixMilli()
	w := newWorld(t)
	w.fill(1000, "a")
	w.source["noisy"] = held{"v", later}
	w.limit = Keys(0)
	w.wants(1001, 0)
	w.run.Tolerance = 10 * time.Millisecond
	for _, by := range []int64{10, -10, 0} {
		w.source["noisy"] = held{"v", later + by}
		if r := w.mirror(-1, whole); r.written != 0 || r.err != nil {
			t.Errorf("%d ms: %+v", by, r)
		}
	}
	w.source["noisy"] = held{"v", later + 11}
	if r := w.mirror(-1, whole); r.written != 1 || r.err != nil {
		t.Errorf("11 ms: %+v", r)
	}
	w.run.Tolerance = 0
	w.source["noisy"] = held{"v", later + 12}
	if r := w.mirror(-1, whole); r.written != 1 || r.err != nil {
		t.Errorf("1 ms of an exact source: %+v", r)
	}
	w.source["noisy"], w.source["short"] = held{value: "v"}, held{"v", time.Now().UnixMilli() + 50}
	if r := w.mirror(-1, whole); r.written != 2 || r.err != nil {
		t.Errorf("other expiries: %+v", r)
	}
	for time.Now().UnixMilli() <= w.source["short"].expiry {
		time.Sleep(time.Millisecond)
	}
	delete(w.source, "short") // at both sides, by itself
	delete(w.target, "short")
	if r := w.mirror(-1, whole); r.written != 0 || r.deleted != 0 || r.err != nil {
		t.Errorf("expired: %+v", r)
	}
	w.wantSame()
}

func TestMaxDelete(t *testing.T) {
	for _, tc := range []struct {
		limit   string
		gone    int
		lives   bool
		refused int64 // the limit that it is refused by
	}{
		{"", 100, false, -1}, {"", 101, false, 100}, {"", 101, true, 100}, {"", 1000, false, 100},
		{"0", 1, false, 0}, {"0", 0, false, -1}, {"300", 300, true, -1}, {"300", 301, false, 300},
		{"50%", 500, false, -1}, {"0.1%", 2, false, 1}, {"100%", 1000, true, -1},
	} {
		t.Run(fmt.Sprint(tc.limit, " ", tc.gone, " ", tc.lives), func(t *testing.T) {
			w := newWorld(t)
			w.limit, w.lives = Limit{}, tc.lives
			if tc.limit != "" {
				var err error
				if w.limit, err = ParseLimit(tc.limit); err != nil {
					t.Fatal(err)
				}
			}
			w.fill(1000, "a")
			w.wants(1000, 0)
			for i := range tc.gone {
				delete(w.source, fmt.Sprintf("key:%d", i))
			}
			w.source["new"] = held{value: "n"}
			r := w.mirror(-1, whole)
			var refused *RefusedError
			switch errors.As(r.err, &refused); {
			case tc.refused < 0:
				if r.err != nil || r.deleted != int64(tc.gone) {
					t.Fatalf("%+v", r)
				}
				w.wantSame()
			case refused == nil || *refused != RefusedError{int64(tc.gone), 1000, tc.refused} || r.deleted != 0:
				t.Fatalf("%+v, %+v", r, refused)
			default:
				if len(w.target) != 1001 {
					t.Errorf("the target has %d keys", len(w.target))
				}
				w.limit = Share(100) // as the operator then does
				w.wants(0, int64(tc.gone))
			}
		})
	}
}

// TestNotScanned is a key that a scan did not come by, though it is there.
func TestNotScanned(t *testing.T) {
	w := newWorld(t)
	w.lives = true
	w.limit = Keys(1)
	w.fill(100, "a")
	w.wants(100, 0)
	w.hidden = map[string]bool{"key:1": true, "key:2": true}
	delete(w.source, "key:3")
	if r := w.mirror(-1, whole); r.err != nil || r.deleted != 1 {
		t.Errorf("%+v", r)
	}
	w.hidden = nil
	w.wants(0, 0)
}

func TestFailedKeys(t *testing.T) {
	w := newWorld(t)
	w.fill(100, "a")
	w.source["bad"], w.source["worse"] = held{value: "x"}, held{value: "x"}
	w.refuse = map[string]bool{"bad": true, "worse": true, "key:1": true}
	if r := w.mirror(-1, whole); r.written != 99 {
		t.Errorf("%+v", r)
	}
	if r := w.mirror(-1, whole); r.written != 0 || r.unchanged != 99 {
		t.Errorf("%+v", r)
	}
	delete(w.source, "worse") // was never written, so it is nobody's to remove
	w.refuse = nil
	w.wants(2, 0)
	w.source["key:1"] = held{value: "b"}
	w.refuse = map[string]bool{"key:1": true}
	w.mirror(-1, whole)
	w.refuse = nil
	w.wants(1, 0)
	delete(w.source, "bad")
	w.wants(0, 1)
	w.source["key:2"], w.doubt = held{value: "b"}, true
	w.wants(1, 0)
	w.doubt = false
	w.wants(1, 0)
	w.wants(0, 0)
}

// TestLostJournal is a loss of power that took all of the journal that was not
// synced.
func TestLostJournal(t *testing.T) {
	w := newWorld(t)
	w.fill(100, "a")
	w.wants(100, 0)
	w.fill(100, "b")
	w.mirror(60, killed)
	reboot(t, w.dir, rand.New(rand.NewPCG(1, 1)))
	path := filepath.Join(w.dir, journalName)
	data, err := os.ReadFile(path)
	if err == nil {
		err = os.Truncate(path, int64(bytes.IndexByte(data, '\n')+1))
	}
	if err != nil {
		t.Fatal(err)
	}
	w.fill(100, "a")
	if r := w.mirror(-1, whole); r.written != 100 || !r.strays {
		t.Errorf("%+v", r)
	}
	w.wantSame()
}

// TestSentButNotThere is a crash with keys on their way: that they are not in the
// target must not look as if the target had lost them.
func TestSentButNotThere(t *testing.T) {
	w := newWorld(t)
	w.fill(100, "a")
	w.wants(100, 0)
	w.fill(130, "a")
	w.refuse = map[string]bool{}
	for i := range 30 {
		w.refuse[fmt.Sprintf("key:%d", 100+i)] = true
	}
	w.mirror(-1, killed)
	w.refuse = nil
	w.wants(30, 0)
}

// TestAnewKeepsNoWord writes all again but for a key that the scan did not come by.
func TestAnewKeepsNoWord(t *testing.T) {
	w := newWorld(t)
	w.lives = true
	w.fill(100, "a")
	w.wants(100, 0)
	w.hidden, w.run.Anew = map[string]bool{"key:1": true}, true
	if r := w.mirror(-1, whole); r.written != 99 || r.deleted != 0 || r.err != nil {
		t.Errorf("%+v", r)
	}
	w.hidden, w.run.Anew = nil, false
	w.wants(1, 0)
}

// TestRemovalFails ends a run amid the removal of keys. Some come back as they
// were.
func TestRemovalFails(t *testing.T) {
	w := newWorld(t)
	w.fill(100, "a")
	w.wants(100, 0)
	m, err := Open(Options{Dir: w.dir, MaxDelete: Share(100)})
	if err != nil {
		t.Fatal(err)
	}
	run := w.run
	run.Keys = 100
	if _, err := m.Begin(t.Context(), run); err != nil {
		t.Fatal(err)
	}
	cut := errors.New("cut")
	n, err := m.Finish(t.Context(), importer.MirrorEnd{Remove: func(_ context.Context, names [][]byte) error {
		for _, name := range names[:len(names)/2] {
			delete(w.target, string(name))
		}
		return cut
	}})
	if n != 0 || !errors.Is(err, cut) {
		t.Error(n, err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	clear(w.source)
	w.fill(10, "a")
	w.wants(10, 90)
}

func TestHash(t *testing.T) {
	var h hasher
	sums := map[uint64]string{}
	for _, tc := range []struct {
		typ         byte
		value, name string
	}{{0, "v", "n"}, {1, "v", "n"}, {0, "w", "n"}, {0, "v", "m"}, {0, "", "n"}} {
		for _, version := range []uint16{9, 12} { // no part of it
			r := record.Record{Type: tc.typ, Value: []byte(tc.value), Version: version, Footer: make([]byte, version)}
			sum, told, err := h.hash(&r, []byte(tc.name))
			if err != nil || !told {
				t.Fatal(told, err)
			}
			r.Value, r.Large = nil, io.NewSectionReader(strings.NewReader(tc.value), 0, int64(len(tc.value)))
			if large, _, err := h.hash(&r, []byte(tc.name)); large != sum || err != nil {
				t.Errorf("%v: %x from a file, %x from memory, %v", tc, large, sum, err)
			}
			if other, ok := sums[sum]; ok && other != fmt.Sprint(tc) {
				t.Errorf("%v has the sum of %s", tc, other)
			}
			sums[sum] = fmt.Sprint(tc)
		}
	}
	short := record.Record{Large: io.NewSectionReader(strings.NewReader("v"), 0, 2)}
	if _, _, err := h.hash(&short, nil); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a file that ends early: %v", err)
	}
}

func TestOtherBinding(t *testing.T) {
	for what, change := range map[string]func(*importer.MirrorRun){
		"source": func(r *importer.MirrorRun) { r.Source = "other" },
		"target": func(r *importer.MirrorRun) { r.Target = []string{"node-3"} },
		"choice": func(r *importer.MirrorRun) { r.Choice = "some" },
	} {
		for _, end := range []ending{whole, killed} {
			w := newWorld(t)
			w.fill(100, "a")
			w.mirror(-1, end)
			change(&w.run)
			r := w.mirror(-1, whole)
			if r.known || !r.strays || r.written != 100 || r.err != nil {
				t.Errorf("another %s: %+v", what, r)
			}
			w.wants(0, 0)
		}
	}
	w := newWorld(t)
	w.fill(100, "a")
	w.wants(100, 0)
	w.run.Target = []string{"node-2", "node-9"} // a node was replaced
	w.wants(0, 0)
}

// TestDamage changes and cuts each file at some places: the run is a full one,
// or says what is wrong, and the next one is as it should be.
func TestDamage(t *testing.T) {
	files := func(dir string) (list []string) {
		all, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range all {
			if f.Name() != lockName && !f.IsDir() {
				list = append(list, f.Name())
			}
		}
		return list
	}
	for _, what := range []string{headName, ".pages", ".names", ".trail", journalName} {
		for _, how := range []string{"flip", "cut", "remove", "empty"} {
			for _, at := range []float64{0, 0.3, 0.999} {
				if at > 0 && (how == "remove" || how == "empty") {
					continue
				}
				t.Run(fmt.Sprint(what, how, at), func(t *testing.T) {
					t.Parallel()
					w := newWorld(t)
					w.fill(400, "a")
					w.wants(400, 0)
					w.fill(400, "b")
					w.mirror(100, killed)
					if what != journalName {
						w.mirror(-1, whole)
					}
					i := slices.IndexFunc(files(w.dir), func(s string) bool { return strings.HasSuffix(s, what) })
					path := filepath.Join(w.dir, files(w.dir)[i])
					data, err := os.ReadFile(path)
					if err != nil {
						t.Fatal(err)
					}
					n := int(at * float64(len(data)-1))
					switch how {
					case "flip":
						data[n] ^= 4
					case "cut":
						data = data[:n]
					case "empty":
						data = nil
					}
					if err = os.WriteFile(path, data, 0o600); how == "remove" {
						err = os.Remove(path)
					}
					if err != nil {
						t.Fatal(err)
					}
					// Every value must be written, but for a removed journal, of
					// which nothing can be known.
					w.fill(400, "c")
					delete(w.source, "key:0")
					r := w.mirror(-1, whole)
					for r.err != nil {
						if !errors.Is(r.err, errDamaged) {
							t.Fatal(r.err)
						}
						r = w.mirror(-1, whole)
					}
					delete(w.target, "key:0") // a stray, where the names were lost
					w.wantSame()
					w.wants(0, 0)
				})
			}
		}
	}
}

func TestForget(t *testing.T) {
	w := newWorld(t)
	w.fill(300, "a")
	w.wants(300, 0)
	m, err := Open(Options{Dir: w.dir})
	if err != nil {
		t.Fatal(err)
	}
	run := w.run
	run.Keys = 300
	if _, err := m.Begin(t.Context(), run); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"key:5", "key:6", "not there"} {
		if err := m.Forget([]byte(name)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Open(Options{Dir: w.dir}); !errors.Is(err, ErrLocked) {
		t.Errorf("opened twice: %v", err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	w.wants(2, 0)
	w.wants(0, 0)
}

func TestManyChanges(t *testing.T) {
	w := newWorld(t)
	const keys = leastExact * 5 / 4
	w.fill(keys, "a")
	w.wants(keys, 0)
	w.fill(keys, "b")
	w.mirror(keys-100, killed)
	w.fill(keys, "a")
	w.wants(keys, 0)
	w.wants(0, 0)
}

func TestParseLimit(t *testing.T) {
	for _, bad := range []string{"", "%", "-1", "101%", "x", "1.5", "-1%", "NaN%"} {
		if l, err := ParseLimit(bad); err == nil {
			t.Errorf("%q is %+v", bad, l)
		}
	}
}
