package aof

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slotferry/slotferry/importer/choice"
	"github.com/slotferry/slotferry/importer/preflight"
	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/resp"
)

// wire writes commands as a file has them: one a line, words between spaces, and
// lines with '#' as they are. {} in a word is a space.
func wire(lines ...string) []byte {
	var b []byte
	for _, line := range lines {
		if strings.HasPrefix(line, "#") {
			b = append(b, line+"\r\n"...)
			continue
		}
		b = resp.AppendCommand(b, strings.Fields(line)...)
	}
	return b
}

// put writes one append-only file.
func put(t testing.TB, contents []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "appendonly.aof")
	if err := os.WriteFile(path, contents, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// folder writes a base and what follows it.
func folder(t testing.TB, contents ...[]byte) string {
	t.Helper()
	dir := t.TempDir()
	var manifest strings.Builder
	for i, text := range contents {
		kind, name := "i", fmt.Sprintf("a.aof.%d.incr.aof", i)
		if i == 0 {
			kind, name = "b", "a.aof.1.base.aof"
		}
		fmt.Fprintf(&manifest, "file %s seq %d type %s\n", name, max(1, i), kind)
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "a.aof.manifest"), []byte(manifest.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func all(t testing.TB) *choice.Choice { return chosen(t, choice.Options{}) }

func chosen(t testing.TB, o choice.Options) *choice.Choice {
	t.Helper()
	c, err := choice.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// look opens a source and surveys it.
func look(t testing.TB, o Options) (*Source, preflight.Source, preflight.Findings) {
	t.Helper()
	if o.Choice == nil {
		o.Choice = all(t)
	}
	s := New(o)
	t.Cleanup(func() { _ = s.Close() })
	facts, found := s.Inspect(t.Context())
	if len(found.Blockers()) == 0 {
		found = append(found, s.Survey(t.Context(), &facts)...)
	}
	return s, facts, found
}

// well is look at what nothing stands against.
func well(t testing.TB, o Options) *Source {
	t.Helper()
	s, _, found := look(t, o)
	if b := found.Blockers(); len(b) > 0 {
		t.Fatal(b)
	}
	return s
}

// notes is a sink that keeps what it is given.
type notes struct {
	records  []string
	programs int
	commands []string // "DB: words"
	ends     []record.Position
	marks    []record.Position
	at       []int // records before each mark
	copied   []record.Position
	idle     int
	stop     func() error // asked after each record and command
}

func (n *notes) Record(r *record.Record) error {
	value := r.Value
	if r.Large != nil {
		var err error
		if value, err = io.ReadAll(r.Large); err != nil {
			return err
		}
	}
	n.records = append(n.records, fmt.Sprintf("%d %q %d %d %x", r.DB, r.Key, r.Type, r.ExpireAt, value))
	return n.asked()
}

func (n *notes) asked() error {
	if n.stop != nil {
		return n.stop()
	}
	return nil
}

func (n *notes) Program(record.Program) error { n.programs++; return nil }

func (n *notes) Mark(pos record.Position) error {
	n.marks, n.at = append(n.marks, pos), append(n.at, len(n.records))
	return nil
}

func (n *notes) Copied(pos record.Position) error { n.copied = append(n.copied, pos); return nil }

func (n *notes) Command(c *record.Command) error {
	n.commands = append(n.commands, fmt.Sprintf("%d: %s", c.DB, join(c.Words)))
	n.ends = append(n.ends, c.End)
	return n.asked()
}

func (n *notes) Idle() error { n.idle++; return nil }

func join(words [][]byte) string {
	var s []string
	for _, w := range words {
		s = append(s, string(w))
	}
	return strings.Join(s, " ")
}

// replayed returns the commands that a source yields from its beginning.
func replayed(t testing.TB, s *Source) *notes {
	t.Helper()
	n := &notes{}
	if err := s.Stream(t.Context(), record.Position{}, n); err != nil {
		t.Fatal(err)
	}
	if len(n.copied) != 1 || n.idle != 1 || !n.marks[len(n.marks)-1].End {
		t.Errorf("copied %v, idle %d, marks %v", n.copied, n.idle, n.marks)
	}
	return n
}
