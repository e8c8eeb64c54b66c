package rdb_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/slotferry/slotferry/importer/choice"
	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/importer/source/rdb"
	"github.com/slotferry/slotferry/internal/dataset"
	"github.com/slotferry/slotferry/internal/sandbox"
	"github.com/slotferry/slotferry/internal/sandbox/sandboxtest"
	"github.com/slotferry/slotferry/rdbparse"
)

// notes is a sink that keeps what it was given, and where the marks were.
type notes struct {
	t       *testing.T
	records []string
	marks   []mark
	each    func(n int)
}

type mark struct {
	pos     record.Position
	records int
}

func (s *notes) Record(r *record.Record) error {
	value := r.Value
	if r.Large != nil {
		var err error
		if value, err = io.ReadAll(r.Large); err != nil {
			s.t.Error(err)
		}
	}
	if int64(len(value))+1 != r.Len() {
		s.t.Errorf("%q: %d bytes, Len() is %d", r.Key, len(value), r.Len())
	}
	sum := sha256.Sum256(value)
	s.records = append(s.records, fmt.Sprintf("%d %q type %d until %d: %x %s", r.DB, r.Key, r.Type, r.ExpireAt, sum[:8], r.Reason))
	if s.each != nil {
		s.each(len(s.records))
	}
	return nil
}

func (*notes) Program(record.Program) error { return nil }

func (s *notes) Mark(pos record.Position) error {
	s.marks = append(s.marks, mark{pos, len(s.records)})
	return nil
}

// large makes an RDB file of three databases, with values that are streamed.
func large(t *testing.T) string {
	t.Helper()
	s, ctx := sandboxtest.Server(t, sandbox.Options{}), t.Context()
	for db, keys := range map[int]int{0: 1200, 1: 5000, 7: 300} {
		o := dataset.Options{Keys: keys, DB: db, BinaryKeys: true}
		if db == 1 {
			o.StringBytes = 20 // many entries in few bytes
		}
		if _, err := dataset.Fill(ctx, s.Client(), o); err != nil {
			t.Fatal(err)
		}
	}
	noise := make([]byte, 700_000)
	for i := range noise {
		noise[i] = byte(i * i >> 7)
	}
	for _, n := range []int{record.LargeBytes - 6, record.LargeBytes, 700_000} {
		if err := s.Client().Set(ctx, fmt.Sprintf("large:%d", n), noise[:n], 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	path, err := s.Save(ctx)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "dump.rdb")
	if err := os.WriteFile(copied, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return copied
}

func all(t *testing.T) *choice.Choice {
	t.Helper()
	c, err := choice.New(choice.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// read streams a file from a position: as a file, or through a pipe that
// gives few bytes at a time.
func read(ctx context.Context, t *testing.T, path string, stream bool, from record.Position, sink record.Sink) error {
	t.Helper()
	o := rdb.Options{Path: path, Choice: all(t)}
	if stream {
		in, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		o = rdb.Options{Stream: iotest.HalfReader(in), Choice: all(t), MaxValue: 1 << 20}
	}
	s := rdb.New(o)
	defer s.Close()
	if _, found := s.Inspect(t.Context()); len(found.Blockers()) > 0 {
		t.Fatal(found)
	}
	return s.Stream(ctx, from, sink)
}

// TestResumeAtEveryMark goes on from each mark: what follows is what followed.
func TestResumeAtEveryMark(t *testing.T) {
	path := large(t)
	whole := &notes{t: t}
	if err := read(t.Context(), t, path, false, record.Position{}, whole); err != nil {
		t.Fatal(err)
	}
	if len(whole.records) != 6503 || len(whole.marks) < 3 {
		t.Fatalf("%d records, %d marks", len(whole.records), len(whole.marks))
	}
	for i, m := range whole.marks[1:] {
		if last := whole.marks[i]; m.pos.Offset < last.pos.Offset || m.records-last.records > 4096 ||
			m.pos.Offset-last.pos.Offset > 256<<10+1<<20 {
			t.Errorf("mark %d is at %+v after %+v", i+1, m, last)
		}
	}
	for _, stream := range []bool{false, true} {
		for _, m := range append(whole.marks, mark{}) {
			rest := &notes{t: t}
			if err := read(t.Context(), t, path, stream, m.pos, rest); err != nil {
				t.Fatalf("stream %v, from %+v: %v", stream, m.pos, err)
			}
			if !slices.Equal(rest.records, whole.records[m.records:]) {
				t.Errorf("stream %v, from %+v: %d records, want %d", stream, m.pos, len(rest.records), len(whole.records)-m.records)
			}
			if len(rest.marks) == 0 && !m.pos.End || len(rest.marks) > 0 && rest.marks[len(rest.marks)-1].pos != whole.marks[len(whole.marks)-1].pos {
				t.Errorf("stream %v, from %+v: the last marks differ", stream, m.pos)
			}
		}
	}
}

// TestCancelMarks interrupts at some records: the mark that it leaves is where
// it stopped.
func TestCancelMarks(t *testing.T) {
	path := large(t)
	whole := &notes{t: t}
	if err := read(t.Context(), t, path, false, record.Position{}, whole); err != nil {
		t.Fatal(err)
	}
	stop := errors.New("stop")
	for _, stream := range []bool{false, true} {
		for _, at := range []int{1, 2, 1199, 1200, 1203, 1204, 4000, 6202, 6203, 6204, 6503} {
			ctx, cancel := context.WithCancelCause(t.Context())
			part := &notes{t: t, each: func(n int) {
				if n == at {
					cancel(stop)
				}
			}}
			if err := read(ctx, t, path, stream, record.Position{}, part); !errors.Is(err, stop) {
				t.Fatalf("stream %v, at %d: %v", stream, at, err)
			}
			last := part.marks[len(part.marks)-1]
			if last.records != at || len(part.records) != at {
				t.Fatalf("stream %v: stopped at %d of %d records, told to at %d", stream, last.records, len(part.records), at)
			}
			rest := &notes{t: t}
			if err := read(t.Context(), t, path, !stream, last.pos, rest); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(rest.records, whole.records[at:]) {
				t.Errorf("stream %v, at %d: %d records follow, want %d", stream, at, len(rest.records), len(whole.records)-at)
			}
		}
	}
}

// TestChecksumAfterResume damages what a resumed run does not read again: the
// checksum covers all of the file still.
func TestChecksumAfterResume(t *testing.T) {
	path := large(t)
	whole := &notes{t: t}
	if err := read(t.Context(), t, path, false, record.Position{}, whole); err != nil {
		t.Fatal(err)
	}
	m := whole.marks[len(whole.marks)/2]
	m.pos.CRC ^= 1
	var broken *rdbparse.Error
	if err := read(t.Context(), t, path, false, m.pos, &notes{t: t}); !errors.Is(err, rdbparse.ErrChecksum) || !errors.As(err, &broken) {
		t.Errorf("got %v", err)
	}
	if err := read(t.Context(), t, path, true, m.pos, &notes{t: t}); err == nil || !strings.Contains(err.Error(), "not those of the interrupted run") {
		t.Errorf("stream: got %v", err)
	}
}

// TestReadError has a stream that breaks, which is neither its end nor damage.
func TestReadError(t *testing.T) {
	data, err := os.ReadFile(large(t))
	if err != nil {
		t.Fatal(err)
	}
	lost := errors.New("the other side is gone")
	s := rdb.New(rdb.Options{
		Stream: io.MultiReader(bytes.NewReader(data[:200_000]), iotest.ErrReader(lost)), Choice: all(t), MaxValue: 1 << 20,
	})
	if _, found := look(t, s); len(found) > 0 {
		t.Fatal(found)
	}
	sink := &notes{t: t}
	if err := s.Stream(t.Context(), record.Position{}, sink); !errors.Is(err, lost) {
		t.Errorf("got %v", err)
	}
	if last := sink.marks[len(sink.marks)-1]; last.records != len(sink.records) {
		t.Errorf("%d records, the last mark is after %d", len(sink.records), last.records)
	}
	head := rdb.New(rdb.Options{Stream: iotest.ErrReader(lost), Choice: all(t)})
	if _, found := look(t, head); !found.Has("source_unreadable") {
		t.Errorf("found %+v", found)
	}
}

// TestInspect looks at the same data as a file, as a copy, and as another file.
func TestInspect(t *testing.T) {
	path := large(t)
	inspect := func(path string) (ids []string, keys map[int]int64) {
		s := rdb.New(rdb.Options{Path: path, Choice: all(t)})
		defer s.Close()
		facts, found := look(t, s)
		if len(found) > 0 {
			t.Fatal(found)
		}
		info, err := os.Stat(path)
		if err != nil || facts.Bytes != info.Size() || s.Size() != info.Size() || facts.Text != path {
			t.Errorf("facts %+v, %v", facts, err)
		}
		return facts.IDs, facts.Keys
	}
	ids, keys := inspect(path)
	if fmt.Sprint(keys) != "map[0:1203 1:5000 7:300]" {
		t.Errorf("keys %v", keys)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(t.TempDir(), "other.rdb")
	if err := os.WriteFile(other, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if again, _ := inspect(other); !slices.Equal(again, ids) {
		t.Errorf("a copy is another source: %q, %q", again, ids)
	}
	if again, _ := inspect(large(t)); slices.Equal(again, ids) {
		t.Error("another file is the same source")
	}
}
