package rdb_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/slotferry/slotferry/importer/choice"
	"github.com/slotferry/slotferry/importer/preflight"
	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/importer/route"
	"github.com/slotferry/slotferry/importer/source/rdb"
	"github.com/slotferry/slotferry/rdbparse"
)

// measures is a sink that keeps what is told of each value, and no value.
type measures struct {
	t        *testing.T
	vendor   func() rdbparse.Vendor
	measured bool
	lines    []string
	marks    []record.Position
	programs int
	keys     map[string]int // by database and name
	survey   preflight.Survey
}

func (m *measures) Record(r *record.Record) error {
	kind := rdbparse.TypeName(m.vendor(), r.Type)
	if r.Measure != (record.Measure{}) != m.measured {
		m.t.Errorf("%q has the measure %+v", r.Key, r.Measure)
	}
	if m.measured {
		if r.Value != nil || r.Large != nil || r.Owned {
			m.t.Errorf("%q has a value", r.Key)
		}
		if r.Measure.Encoding != rdbparse.EncodingName(m.vendor(), r.Type) || r.Measure.Type != kind && kind != "module" {
			m.t.Errorf("%q of type %d is %+v", r.Key, r.Type, r.Measure)
		}
	}
	line := fmt.Sprintf("%d %q %d %d %d %d %s", r.DB, r.Key, r.Type, r.Version, r.ExpireAt, r.Fate, r.Reason)
	if r.Fate != record.Filtered {
		line += fmt.Sprintf(" %d bytes", r.Len())
	}
	m.lines = append(m.lines, line)
	m.keys[fmt.Sprintf("%d/%s", r.DB, r.Key)]++
	m.survey.Types[r.Type]++
	m.survey.Bytes += r.Len() - 1
	m.survey.Largest = max(m.survey.Largest, r.Len()-1)
	if r.ExpireAt != 0 {
		m.survey.Expiring++
	}
	return nil
}

func (m *measures) Program(record.Program) error { m.programs++; return nil }

func (m *measures) Mark(pos record.Position) error {
	m.marks = append(m.marks, pos)
	return nil
}

// stream streams a whole source into measures.
func stream(t *testing.T, o rdb.Options) (*measures, error) {
	t.Helper()
	s := rdb.New(o)
	defer s.Close()
	facts, found := s.Inspect(t.Context())
	if len(found) > 0 || facts.Measure != preflight.MeasureSerialized || !s.Exact() {
		t.Fatalf("%+v, %+v", facts, found)
	}
	m := &measures{t: t, vendor: s.Vendor, measured: o.Measure, keys: map[string]int{}, survey: preflight.Survey{Vendor: s.Vendor(), Types: map[byte]int64{}}}
	return m, s.Stream(t.Context(), record.Position{}, m)
}

// look inspects a source and all of its keys.
func look(t *testing.T, s *rdb.Source) (preflight.Source, preflight.Findings) {
	t.Helper()
	facts, found := s.Inspect(t.Context())
	if len(found.Blockers()) > 0 {
		return facts, found
	}
	return facts, append(found, s.Survey(t.Context(), &facts)...)
}

// fixtures are files of all servers, and one with large values.
func fixtures(t *testing.T) []string {
	t.Helper()
	paths, err := filepath.Glob("../../../rdbparse/testdata/*.rdb")
	if err != nil || len(paths) < 8 {
		t.Fatalf("%q, %v", paths, err)
	}
	return append(paths, large(t))
}

// TestMeasure compares what a measured stream tells with what a normal one
// does, from a file and through a pipe that may hold next to nothing.
func TestMeasure(t *testing.T) {
	some, err := choice.New(choice.Options{Exclude: []string{"*7*"}, Types: []string{"string", "list", "hash"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range fixtures(t) {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for name, c := range map[string]*choice.Choice{"all": all(t), "some": some} {
			want, err := stream(t, rdb.Options{Path: path, Choice: c})
			if err != nil || len(want.lines) == 0 {
				t.Fatal(err)
			}
			got, err := stream(t, rdb.Options{Path: path, Choice: c, Measure: true})
			if err != nil || !slices.Equal(got.lines, want.lines) || !slices.Equal(got.marks, want.marks) || got.programs != want.programs {
				t.Errorf("%s, %s: %d records, want %d; %v", path, name, len(got.lines), len(want.lines), err)
			}
			got, err = stream(t, rdb.Options{Stream: iotest.HalfReader(bytes.NewReader(data)), Choice: c, Measure: true, MaxValue: 10})
			if err != nil || !slices.Equal(got.lines, want.lines) || !slices.Equal(got.marks, want.marks) {
				t.Errorf("%s, %s: %d records through a pipe, want %d; %v", path, name, len(got.lines), len(want.lines), err)
			}
		}
	}
}

// TestMeasureFindsDamage changes a byte of a value, which leaves the file
// readable.
func TestMeasureFindsDamage(t *testing.T) {
	data, err := os.ReadFile(large(t))
	if err != nil {
		t.Fatal(err)
	}
	data[bytes.Index(data, []byte("large:700000"))+300_000] ^= 1
	for _, cut := range []int{0, 100} {
		path := filepath.Join(t.TempDir(), "damaged.rdb")
		if err := os.WriteFile(path, data[:len(data)-cut], 0o600); err != nil {
			t.Fatal(err)
		}
		want := rdbparse.ErrChecksum
		if cut > 0 {
			want = rdbparse.ErrTruncated
		}
		if _, err := stream(t, rdb.Options{Path: path, Choice: all(t), Measure: true}); !errors.Is(err, want) {
			t.Errorf("cut by %d: got %v", cut, err)
		}
	}
}

// TestSurvey compares what a walk without values finds with what the stream
// brings, and with what is known of the servers that wrote the files.
func TestSurvey(t *testing.T) {
	for _, path := range fixtures(t) {
		whole, err := stream(t, rdb.Options{Path: path, Choice: all(t)})
		if err != nil {
			t.Fatal(err)
		}
		s := rdb.New(rdb.Options{Path: path, Choice: all(t)})
		facts, found := look(t, s)
		_ = s.Close()
		if len(found) > 0 || facts.Survey == nil || !reflect.DeepEqual(*facts.Survey, whole.survey) {
			t.Errorf("%s: %+v, want %+v; %+v", path, facts.Survey, whole.survey, found)
		}
		base := filepath.Base(path) // such as valkey-9.1.rdb
		product, version, _ := strings.Cut(strings.TrimSuffix(base, ".rdb"), "-")
		version, _, _ = strings.Cut(version, "-")
		switch product {
		case "dump":
			version = "redis "
		case "redict": // calls itself Redis
			version = "redis " + version + "."
		default:
			version = product + " " + version + "."
		}
		if !strings.HasPrefix(facts.Version, version) || facts.Memory < 500_000 || facts.Written.Year() < 2025 {
			t.Errorf("%s: version %q, %d bytes of memory, written at %s", path, facts.Version, facts.Memory, facts.Written)
		}
		if wrote := facts.Survey.Vendor == rdbparse.Valkey; wrote != (facts.RDB >= rdbparse.FirstValkey) {
			t.Errorf("%s is by %s", path, facts.Survey.Vendor)
		}
	}
}

// TestInspectStream tells what can be told of a pipe.
func TestInspectStream(t *testing.T) {
	data, err := os.ReadFile("../../../rdbparse/testdata/valkey-9.1.rdb")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{len(data), 9, 30, 50, 80, 120} { // the rest doesn't come
		s := rdb.New(rdb.Options{Stream: bytes.NewReader(data[:n]), Choice: all(t)})
		facts, found := look(t, s)
		if len(found) > 0 || s.Vendor() != rdbparse.Valkey || facts.Survey != nil || !facts.Once || facts.Version != "valkey 9.1.2" && n > 30 {
			t.Errorf("%d bytes: %+v, %+v", n, facts, found)
		}
		if err := s.Names(t.Context(), nil); !errors.Is(err, rdb.ErrOnce) || !strings.Contains(err.Error(), "standard input") {
			t.Errorf("names: %v", err)
		}
	}
}

func TestNames(t *testing.T) {
	path := large(t)
	for name, o := range map[string]choice.Options{
		"all": {}, "one database": {DBs: []int{7}}, "by name": {Include: []string{"*7*"}},
		"by slot": {Slots: "0-3000"}, "types don't count": {Types: []string{"stream"}},
	} {
		c, err := choice.New(o)
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]int{}
		whole, err := stream(t, rdb.Options{Path: path, Choice: all(t)})
		if err != nil {
			t.Fatal(err)
		}
		for key := range whole.keys {
			db, k := int(key[0]-'0'), []byte(key[2:])
			if c.DB(db) && c.Key(db, k) && c.Slot(route.Slot(k)) {
				want[key] = 1
			}
		}
		s := rdb.New(rdb.Options{Path: path, Choice: c})
		if _, found := s.Inspect(t.Context()); len(found) > 0 {
			t.Fatal(found)
		}
		got := map[string]int{}
		err = s.Names(t.Context(), func(db int, key []byte) error {
			got[fmt.Sprintf("%d/%s", db, key)]++
			return nil
		})
		if err != nil || len(want) == 0 || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %d names, want %d; %v", name, len(got), len(want), err)
		}
		if err := s.Names(t.Context(), func(int, []byte) error { return io.ErrShortWrite }); !errors.Is(err, io.ErrShortWrite) {
			t.Errorf("%s: the visitor's error came as %v", name, err)
		}
		_ = s.Close()
	}
}
