package history

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slotferry/slotferry/checkpoint"
	"github.com/slotferry/slotferry/service"
)

func open1(t testing.TB, folder string, o Options) *Store {
	t.Helper()
	s, err := Open(folder, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// add stores runs of a job that have ended.
func add(t testing.TB, s *Store, job string, begun time.Time, n int) {
	t.Helper()
	for range n {
		r := service.Run{Job: job, Started: begun}
		put(t, s, &r)
		r.Status, r.Ended, r.Counts = service.Done, begun.Add(time.Minute), checkpoint.Counts{Read: 5, Written: 5}
		put(t, s, &r)
	}
}

func put(t testing.TB, s *Store, r *service.Run) {
	t.Helper()
	if err := s.Put(r, service.Mark{Job: r.Job, Failures: 3, Due: r.Started}); err != nil {
		t.Fatal(err)
	}
}

func ids(t testing.TB, s *Store, job string, limit int, before uint64) (out []uint64) {
	t.Helper()
	runs, err := s.Runs(job, limit, before)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range runs {
		if job != "" && r.Job != job {
			t.Errorf("a run of %q among those of %q", r.Job, job)
		}
		out = append(out, r.ID)
	}
	return out
}

func TestRuns(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	s := open1(t, dir, Options{})
	now := time.Now()
	for range 3 {
		add(t, s, "ab", now, 1)
		add(t, s, "a", now, 1)
	}
	put(t, s, &service.Run{Job: "a", Started: now}) // 7, going on
	for _, tc := range []struct {
		job    string
		limit  int
		before uint64
		want   []uint64
	}{
		{"", 100, 0, []uint64{6, 5, 4, 3, 2, 1}},
		{"", 2, 5, []uint64{4, 3}},
		{"", 100, 1, nil},
		{"a", 100, 0, []uint64{6, 4, 2}},
		{"ab", 100, 0, []uint64{5, 3, 1}},
		{"a", 1, 5, []uint64{4}},
		{"a", 5, 99, []uint64{6, 4, 2}},
		{"b", 5, 0, nil},
		{"ac", 5, 0, nil},
		{"", 0, 0, []uint64{6, 5, 4, 3, 2, 1}},
	} {
		if got := ids(t, s, tc.job, tc.limit, tc.before); !slices.Equal(got, tc.want) {
			t.Errorf("%+v gives %v", tc, got)
		}
	}
	if _, err := Open(dir, Options{}); !errors.Is(err, ErrLocked) {
		t.Errorf("opened twice: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	s = open1(t, dir, Options{}) // the process of run 7 died
	runs, err := s.Runs("a", 1, 0)
	if err != nil || len(runs) != 1 || runs[0].ID != 7 || runs[0].Status != service.Interrupted || runs[0].Error == "" {
		t.Errorf("%+v, %v", runs, err)
	}
	if m, err := s.Mark("a"); err != nil || m.Failures != 3 || !m.Due.Equal(now) {
		t.Errorf("%+v, %v", m, err)
	}
	if m, err := s.Mark("nobody"); err != nil || m != (service.Mark{}) {
		t.Errorf("%+v, %v", m, err)
	}
	add(t, s, "a", now, 1)
	if got := ids(t, s, "a", 1, 0); !slices.Equal(got, []uint64{8}) {
		t.Errorf("the next run has the ID %v", got)
	}
}

func TestPrune(t *testing.T) {
	now := time.Now()
	s := open1(t, t.TempDir(), Options{Keep: time.Hour, Now: func() time.Time { return now }})
	add(t, s, "seldom", now.Add(-30*time.Minute), 1) // 1
	add(t, s, "often", now, 3)                       // 2 to 4
	now = now.Add(2 * time.Hour)
	add(t, s, "often", now, 1) // 5
	if got := ids(t, s, "", 10, 0); !slices.Equal(got, []uint64{5, 1}) {
		t.Errorf("left are %v, want the new one, and the last one of a job that has no newer", got)
	}
	if got := ids(t, s, "often", 10, 0); !slices.Equal(got, []uint64{5}) {
		t.Errorf("of the job: %v", got)
	}
}

func TestRead(t *testing.T) {
	dir := t.TempDir()
	if _, err := Read(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no history: %v", err)
	}
	s := open1(t, dir, Options{})
	add(t, s, "a", time.Now(), 2)
	put(t, s, &service.Run{Job: "a", Started: time.Now()})
	if err := s.Put(nil, service.Mark{}); err != nil {
		t.Fatal(err)
	}
	check := func(serving bool) {
		t.Helper()
		got, err := Read(dir)
		if err != nil || got.Serving != serving || len(got.Jobs) != 1 {
			t.Fatalf("%+v, %v", got, err)
		}
		if j := got.Jobs[0]; j.Mark.Job != "a" || j.Last.ID != 2 || j.Current == nil || j.Current.ID != 3 {
			t.Errorf("%+v", j)
		}
	}
	check(true)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	check(false)
	add(t, open1(t, dir, Options{}), "a", time.Now(), 1) // it could be opened and written
}

// TestReadWhileWriting never sees half of what is being written.
func TestReadWhileWriting(t *testing.T) {
	dir := t.TempDir()
	s := open1(t, dir, Options{})
	add(t, s, "a", time.Now(), 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 20 {
			add(t, s, "a", time.Now(), 1)
		}
	}()
	for reading := true; reading; {
		select {
		case <-done:
			reading = false
		default:
		}
		got, err := Read(dir)
		if errors.Is(err, errMoving) && reading {
			continue
		}
		if err != nil || len(got.Jobs) != 1 || got.Jobs[0].Last == nil {
			t.Fatalf("%+v, %v", got, err)
		}
	}
}

// folderOf is one with such a history.
func folderOf(t *testing.T, content []byte) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, FileName), content, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestDamaged begins anew whatever a file looks like, and keeps what was there.
func TestDamaged(t *testing.T) {
	whole := t.TempDir()
	s := open1(t, whole, Options{})
	for i := range 6 {
		add(t, s, fmt.Sprint("job", i%3), time.Now(), 1)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(filepath.Join(whole, FileName))
	if err != nil {
		t.Fatal(err)
	}
	for name, damage := range map[string]func([]byte) []byte{
		"no history at all": func([]byte) []byte { return []byte("hello") },
		"of zeros":          func(b []byte) []byte { clear(b); return b },
		"cut off":           func(b []byte) []byte { return b[:3*4096] },
		"cut off early":     func(b []byte) []byte { return b[:8192] },
		"both heads wrong":  func(b []byte) []byte { b[100] ^= 1; b[4096+20] ^= 0xff; b[30] ^= 1; b[4096+100] ^= 1; return b },
	} {
		t.Run(name, func(t *testing.T) {
			bad := damage(slices.Clone(good))
			if _, err := Read(folderOf(t, bad)); err == nil {
				t.Error("it was read")
			}
			dir := folderOf(t, bad)
			s := open1(t, dir, Options{})
			add(t, s, "new", time.Now(), 1)
			if got := ids(t, s, "", 10, 0); !slices.Equal(got, []uint64{1}) {
				t.Errorf("runs %v", got)
			}
			kept, err := filepath.Glob(filepath.Join(dir, FileName+".damaged-*"))
			if err != nil || len(kept) != 1 {
				t.Errorf("kept: %v", kept)
			}
		})
	}
}

// FuzzDamaged turns over bytes of a history: it can be used, or begins anew, and
// nothing ends the process.
func FuzzDamaged(f *testing.F) {
	dir := f.TempDir()
	s := open1(f, dir, Options{})
	for i := range 6 {
		add(f, s, strings.Repeat("j", i%3+1), time.Now(), 1)
	}
	if err := s.Close(); err != nil {
		f.Fatal(err)
	}
	good, err := os.ReadFile(filepath.Join(dir, FileName))
	if err != nil {
		f.Fatal(err)
	}
	for seed := range uint64(12) {
		f.Add(seed, uint8(5*seed), uint16(0))
	}
	f.Add(uint64(1), uint8(0), uint16(3))
	f.Fuzz(func(t *testing.T, seed uint64, flips uint8, pages uint16) {
		r := rand.New(rand.NewPCG(seed, 1))
		bad := slices.Clone(good)
		for range int(flips) {
			bad[r.IntN(len(bad))] = byte(r.Uint32())
		}
		if n := int(pages) * 4096; n > 0 && n < len(bad) {
			bad = bad[:n]
		}
		_, _ = Read(folderOf(t, bad))
		s, err := Open(folderOf(t, bad), Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = s.Close() }()
		_, _ = s.Runs("jj", 10, 0)
		_, _ = s.Mark("jj")
		_ = s.Put(&service.Run{Job: "j", Started: time.Now(), Status: service.Done}, service.Mark{Job: "j"})
	})
}

// TestManyRuns reads a file again that has grown over many pages, and shrunk.
func TestManyRuns(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	clock := func() time.Time { return now }
	for round, want := range []int{500, 300, 1} {
		s := open1(t, dir, Options{Keep: time.Hour, Now: clock})
		s.db.NoSync = true
		now = now.Add(2 * time.Hour)
		for i := range want {
			r := service.Run{Job: fmt.Sprint("job", i%7), Started: now, Status: service.Failed, Error: strings.Repeat("x", i%100*200)}
			put(t, s, &r)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if aside, _ := filepath.Glob(filepath.Join(dir, "*damaged*")); len(aside) != 0 {
			t.Fatalf("round %d: a whole file was set aside", round)
		}
	}
	s := open1(t, dir, Options{Keep: time.Hour, Now: clock})
	// The last one, and of each other job the last of its own.
	if got := ids(t, s, "", 100, 0); len(got) != 7 || got[0] != 801 {
		t.Errorf("left are %v", got)
	}
	info, err := os.Stat(filepath.Join(dir, FileName))
	if err != nil || info.Size() < 1<<20 {
		t.Errorf("it never grew: %v", info)
	}
}
