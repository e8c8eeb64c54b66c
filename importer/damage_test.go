package importer_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/slotferry/slotferry/checkpoint"
	"github.com/slotferry/slotferry/importer"
	"github.com/slotferry/slotferry/importer/choice"
	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/importer/source/rdb"
	"github.com/slotferry/slotferry/internal/dataset"
	"github.com/slotferry/slotferry/rdbparse"
)

// rdbText builds RDB files by hand.
type rdbText struct{ bytes.Buffer }

func newRDB() *rdbText {
	b := &rdbText{}
	b.WriteString("REDIS0010\xfe\x00")
	return b
}

// str appends a string: a length of 32 bits and its bytes.
func (b *rdbText) str(s string) *rdbText {
	b.WriteByte(0x80)
	_ = binary.Write(b, binary.BigEndian, uint32(len(s)))
	b.WriteString(s)
	return b
}

func (b *rdbText) key(name, value string) *rdbText {
	b.WriteByte(0)
	return b.str(name).str(value)
}

func (b *rdbText) raw(s string) *rdbText {
	b.WriteString(s)
	return b
}

// end appends the end and the checksum.
func (b *rdbText) end() []byte {
	b.WriteByte(0xff)
	return binary.LittleEndian.AppendUint64(b.Bytes(), rdbparse.CRC64(0, b.Bytes()))
}

// TestDamagedFile reads files that break in the middle: what came before is
// written and counted, and the error tells where it broke.
func TestDamagedFile(t *testing.T) {
	c := emptyCluster(t)
	good := func() *rdbText {
		b := newRDB()
		for i := range 100 {
			b.key(fmt.Sprintf("good:%d", i), "value")
		}
		return b
	}
	at := good().Len()
	whole := good().key("last", "value").end()
	crc := bytes.Clone(whole)
	crc[len(crc)-1] ^= 0x40
	flipped := bytes.Clone(whole)
	flipped[at-1] ^= 1 // in a value: seen by the checksum alone
	for name, tc := range map[string]struct {
		data  []byte
		keys  int64
		cause error
		at    int    // where the error must say it broke, 0 for anywhere
		key   string // that the error must name
	}{
		"cut in a value":          {good().raw("\x00").str("cut").raw("\x80\x00\x00\x00\x40half").Bytes(), 100, rdbparse.ErrTruncated, at, "cut"},
		"cut in a name":           {good().raw("\x00\x80\x00\x00\x00\x40half").Bytes(), 100, rdbparse.ErrTruncated, at, ""},
		"cut between entries":     {good().Bytes(), 100, rdbparse.ErrTruncated, at, ""},
		"cut in the checksum":     {whole[:len(whole)-3], 101, rdbparse.ErrTruncated, 0, ""},
		"wrong checksum":          {crc, 101, rdbparse.ErrChecksum, 0, ""},
		"flipped bit in a value":  {flipped, 101, rdbparse.ErrChecksum, 0, ""},
		"unknown type":            {good().raw("\x28").str("alien").str("x").end(), 100, rdbparse.ErrUnknownType, at, "alien"},
		"absurd length of a name": {good().raw("\x00\x81\xff\xff\xff\xff\xff\xff\xff\xff").end(), 100, rdbparse.ErrTooLong, at, ""},
		"absurd length of a value": {good().raw("\x00").str("huge").raw("\x81\x7f\xff\xff\xff\xff\xff\xff\xff").end(),
			100, rdbparse.ErrTooLong, at, "huge"},
		"absurd number of elements": {good().raw("\x01").str("long list").raw("\x81\x7f\xff\xff\xff\xff\xff\xff\xff").end(),
			100, nil, at, "long list"},
		"value longer than the file": {good().raw("\x00").str("longer").raw("\x80\x10\x00\x00\x00only this").end(), 100, rdbparse.ErrTruncated, at, "longer"},
		"many elements that are not there": {good().raw("\x04").str("hash").raw("\x80\x7f\xff\xff\xff").end(),
			100, nil, at, "hash"},
	} {
		path := file(t, "damaged.rdb", tc.data)
		for how, from := range map[string]func(*bench) importer.Source{"file": fromFile(path), "stream": fromBytes(tc.data, 1<<20)} {
			t.Run(name+", "+how, func(t *testing.T) {
				empty(t, c)
				dir := t.TempDir()
				out := run{from: from, dir: dir}.do(t)
				var broken *rdbparse.Error
				if !errors.As(out.err, &broken) || out.Status != importer.Failed {
					t.Fatalf("%s, %v", out.Status, out.err)
				}
				if tc.cause != nil && !errors.Is(out.err, tc.cause) {
					t.Errorf("got %v, want %v", out.err, tc.cause)
				}
				if tc.at > 0 && broken.Offset != int64(tc.at) {
					t.Errorf("broken at %d, want %d", broken.Offset, tc.at)
				}
				where := map[string]string{"file": path, "stream": "standard input"}[how]
				if text := out.err.Error(); !strings.Contains(text, where) || !strings.Contains(text, tc.key) || string(broken.Key) != tc.key {
					t.Errorf("key %q, want %q: %s", broken.Key, tc.key, text)
				}
				out.wantCounts(t, checkpoint.Counts{Read: tc.keys, Written: tc.keys})
				if n := held(t); n != tc.keys {
					t.Errorf("%d keys are there, want %d", n, tc.keys)
				}
				if how == "file" && !out.warnings.Has("source_damaged") && tc.cause != rdbparse.ErrChecksum && name != "cut in the checksum" {
					t.Errorf("no warning beforehand: %+v", out.warnings)
				}
				if got := kept(t, dir); got.Done || got.State.Counts != out.Counts {
					t.Errorf("the checkpoint says %+v", got.State)
				}
				// Again it fails at the same place, and counts nothing twice.
				again := run{from: from, dir: dir}.do(t)
				if !errors.As(again.err, &broken) || again.Counts != out.Counts || !again.Resumed {
					t.Errorf("again: %+v, %v", again.Counts, again.err)
				}
			})
		}
	}
}

func TestNoRDB(t *testing.T) {
	emptyCluster(t)
	for name, tc := range map[string]struct {
		data string
		code string
	}{
		"empty": {"", "source_not_rdb"}, "text": {"set a b\n", "source_not_rdb"}, "cut in the header": {"REDIS00", "source_not_rdb"},
		"AOF": {"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n", "source_not_rdb"}, "other version": {"REDIS9999", "source_not_rdb"},
	} {
		path := file(t, "no.rdb", []byte(tc.data))
		for how, from := range map[string]func(*bench) importer.Source{"file": fromFile(path), "stream": fromBytes([]byte(tc.data), 1<<20)} {
			t.Run(name+", "+how, func(t *testing.T) {
				if text := (run{from: from}).do(t).wantBlocked(t, tc.code); how == "file" && !strings.Contains(text, path) {
					t.Errorf("the error does not name the file: %s", text)
				}
			})
		}
	}
	run{from: fromFile("/no/such/file.rdb")}.do(t).wantBlocked(t, "source_unreadable")
	run{from: fromFile(t.TempDir())}.do(t).wantBlocked(t, "source_unreadable")
}

// TestNoKeys imports what has no key.
func TestNoKeys(t *testing.T) {
	emptyCluster(t)
	src, path := mixed(t, 0)
	for how, from := range sources(t, src, path) {
		out := run{from: from, dir: t.TempDir()}.do(t)
		out.wantDone(t)
		if out.Read != 0 {
			t.Errorf("%s: %+v", how, out.Counts)
		}
	}
}

// TestTrailing has something behind the end, as an AOF with an RDB in front.
func TestTrailing(t *testing.T) {
	emptyCluster(t)
	src, path := mixed(t, 100)
	data, err := os.ReadFile(path)
	must(t, err)
	data = append(data, "*1\r\n$4\r\nPING\r\n"...)
	out := run{from: fromFile(file(t, "trailing.rdb", data))}.do(t)
	out.wantDone(t)
	if !strings.Contains(out.log, "something follows the end of the RDB") {
		t.Errorf("no warning\n%s", out.log)
	}
	wantSame(t, src, dataset.CompareOptions{})
}

// TestFlippedBits flips one bit anywhere in a real file: the import must tell,
// and never say that all is well with other data than the file's.
func TestFlippedBits(t *testing.T) {
	c := emptyCluster(t)
	for _, n := range c.Nodes {
		// A value that was damaged goes out before the file's checksum is reached.
		if err := n.Client().ConfigSet(t.Context(), "sanitize-dump-payload", "yes").Err(); err != nil {
			t.Skipf("this server would not look at the values that it is given: %v", err)
		}
		defer n.Client().ConfigSet(t.Context(), "sanitize-dump-payload", "no")
	}
	_, path := mixed(t, 300)
	data, err := os.ReadFile(path)
	must(t, err)
	for i := range 60 {
		empty(t, c)
		altered := bytes.Clone(data)
		at := 9 + (i*7919*31+i)%(len(data)-9)
		altered[at] ^= 1 << (i % 8)
		out := run{from: fromBytes(altered, 1<<20), dir: t.TempDir()}.do(t)
		if out.err == nil {
			t.Fatalf("bit %d of byte %d of %d flipped: %s", i%8, at, len(data), out.Status)
		}
	}
}

// collected is a sink that keeps what a source yields.
type collected struct {
	records []string
	marks   []record.Position
}

func (c *collected) Record(r *record.Record) error {
	value := r.Value
	if r.Large != nil {
		var err error
		if value, err = io.ReadAll(r.Large); err != nil {
			return err
		}
	}
	c.records = append(c.records, fmt.Sprintf("%d %q %d %d %d %x", r.DB, r.Key, r.Type, r.ExpireAt, r.Fate, value))
	return nil
}

func (c *collected) Program(p record.Program) error {
	c.records = append(c.records, p.Code)
	return nil
}

func (c *collected) Mark(pos record.Position) error {
	c.marks = append(c.marks, pos)
	return nil
}

// smallOf returns the short entries of a file, as a file, and where each of
// them ends.
func smallOf(t *testing.T, path string) (data []byte, ends []int) {
	t.Helper()
	whole, err := os.ReadFile(path)
	must(t, err)
	w, err := rdbparse.NewWalker(bytes.NewReader(whole), rdbparse.Options{})
	must(t, err)
	data = append(data, whole[:9]...)
	for had := map[string]bool{}; ; {
		before := w.State().Offset
		e, err := w.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		must(t, err)
		kind := fmt.Sprint(e.Kind, e.Type, e.ExpireAt != 0, e.DB)
		if after := w.State().Offset; after-before < 200 && (e.Kind != rdbparse.KindKey || !had[kind]) {
			had[kind] = true
			data = append(data, whole[before:after]...)
			if e.Kind == rdbparse.KindKey || e.Kind == rdbparse.KindFunction {
				ends = append(ends, len(data))
			}
		}
	}
	data = append(data, 0xff)
	return binary.LittleEndian.AppendUint64(data, rdbparse.CRC64(0, data)), ends
}

// readAs reads a file as an import does, from a place on: what would be sent,
// and how it ended.
func readAs(t *testing.T, o rdb.Options, from record.Position) (got collected, err error) {
	t.Helper()
	all, err := choice.New(choice.Options{})
	must(t, err)
	o.Choice, o.MaxValue = all, 1<<20
	source := rdb.New(o)
	defer source.Close()
	_, found := source.Inspect(t.Context())
	if blockers := found.Blockers(); len(blockers) > 0 {
		return got, errors.New(blockers[0].Message)
	}
	return got, source.Stream(t.Context(), from, &got)
}

// TestDamageAnywhere damages every byte of small files, and cuts them
// everywhere: what is before the damage is yielded as it is, the source ends
// with an error that names the file and the place, and never says that it
// reached the end; nor does it when it goes on from where it stopped.
func TestDamageAnywhere(t *testing.T) {
	for _, name := range []string{"redis-8.6", "valkey-9.1"} {
		data, ends := smallOf(t, "../rdbparse/testdata/"+name+".rdb")
		path := file(t, name+".rdb", data)
		want, err := readAs(t, rdb.Options{Path: path}, record.Position{})
		must(t, err)
		if len(want.records) < 10 || len(want.records) != len(ends) || !want.marks[len(want.marks)-1].End {
			t.Fatalf("%s: %d records, %+v", name, len(want.records), want.marks)
		}
		check := func(what string, damaged []byte, at int, o rdb.Options) {
			where := "standard input"
			if o.Stream == nil {
				must(t, os.WriteFile(path, damaged, 0o600))
				o.Path, where = path, path
			}
			got, err := readAs(t, o, record.Position{})
			if err == nil && at < 9 && slices.Equal(got.records, want.records) {
				return // a version before checksums
			}
			if err == nil || !strings.Contains(err.Error(), where) {
				t.Fatalf("%s, %s: %d records, %v", name, what, len(got.records), err)
			}
			sound := 0
			for sound < len(ends) && ends[sound] <= at {
				sound++
			}
			if len(got.records) < sound || !slices.Equal(got.records[:sound], want.records[:sound]) {
				t.Fatalf("%s, %s: %q, want the first %d of %q", name, what, got.records, sound, want.records)
			}
			if slices.ContainsFunc(got.marks, func(p record.Position) bool { return p.End }) {
				t.Fatalf("%s, %s: it says that it reached the end", name, what)
			}
			if o.Stream != nil || len(got.marks) == 0 {
				return
			}
			again, err := readAs(t, o, got.marks[len(got.marks)-1])
			if err == nil || len(again.records) > 0 {
				t.Fatalf("%s, %s: resumed, it gives %d records more, %v", name, what, len(again.records), err)
			}
		}
		step := 1
		if testing.Short() {
			step = 11
		}
		for at := 0; at < len(data); at += step {
			altered := bytes.Clone(data)
			altered[at] ^= []byte{0x01, 0x80, 0xff}[at%3]
			flip, cut := fmt.Sprintf("byte %d of %d altered", at, len(data)), fmt.Sprintf("cut to %d of %d", at, len(data))
			if at%2 == 0 {
				check(flip, altered, at, rdb.Options{})
				check(cut, data[:at], at, rdb.Options{Stream: bytes.NewReader(data[:at])})
			} else {
				check(flip, altered, at, rdb.Options{Stream: bytes.NewReader(altered)})
				check(cut, data[:at], at, rdb.Options{})
			}
		}
	}
}
