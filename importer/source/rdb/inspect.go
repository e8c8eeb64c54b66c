package rdb

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/slotferry/slotferry/importer/preflight"
	"github.com/slotferry/slotferry/importer/route"
	"github.com/slotferry/slotferry/rdbparse"
)

// headBytes is how much of the beginning (and of a file's end) goes into its
// identity. The end bears the checksum of the whole file.
const headBytes = 64 << 10

// Inspect opens the source and says what it is, by its beginning.
func (s *Source) Inspect(ctx context.Context) (preflight.Source, preflight.Findings) {
	var found preflight.Findings
	facts := preflight.Source{Text: s.name, Once: s.stream != nil}
	head, err := s.open(ctx, &facts)
	if err != nil {
		found.Block("source_unreadable", "name the dump.rdb of the server (CONFIG GET dir), readable for this user", "%v", err)
		return facts, found
	}
	w, err := rdbparse.NewWalker(bytes.NewReader(head), rdbparse.Options{Name: s.name})
	if err != nil {
		remedy := "name an RDB file as SAVE or BGSAVE write it"
		if errors.Is(err, rdbparse.ErrEmpty) {
			remedy = "the file holds nothing: was the copy cut short, or the wrong file named?"
		}
		found.Block("source_not_rdb", remedy, "%v", err)
		return facts, found
	}
	s.header = w.Header()
	facts.RDB = s.header.Version
	facts.Measure = preflight.MeasureSerialized
	introduction(w, &facts)
	return facts, found
}

// introduction reads what a file begins with: facts on the server that wrote it.
// The walk is over the beginning only, which may end anywhere.
func introduction(w *rdbparse.Walker, facts *preflight.Source) {
	for {
		e, err := w.Next()
		if err != nil || e.Kind != rdbparse.KindAux {
			return
		}
		n, _ := strconv.ParseInt(string(e.Text), 10, 64)
		switch name := string(e.Name); {
		case name == "redis-ver", name == "valkey-ver":
			facts.Version = fmt.Sprintf("%s %s", strings.TrimSuffix(name, "-ver"), e.Text[:min(len(e.Text), 64)])
		case name == "ctime" && n > 0:
			facts.Written = time.Unix(n, 0)
		case name == "used-mem":
			facts.Memory = max(n, 0)
		}
	}
}

// open opens the file, if it is one, and returns the first bytes. They and the
// last ones are the identity: moving or touching the file does not change it.
func (s *Source) open(ctx context.Context, facts *preflight.Source) ([]byte, error) {
	if s.stream != nil {
		head, err := s.peek(ctx)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("%s: %w", s.name, err)
		}
		sum := sha256.Sum256(head)
		facts.IDs = []string{"rdb-stream:" + hex.EncodeToString(sum[:])}
		return head, nil
	}
	opened, err := os.Open(s.opts.Path)
	if err != nil {
		return nil, err
	}
	s.file = s.watched(opened)
	info, err := s.file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file (a pipe goes to standard input: --source -)", s.name)
	}
	s.size = info.Size()
	facts.Bytes = s.size
	hash := sha256.New()
	head := make([]byte, min(headBytes, s.size))
	if _, err := io.ReadFull(s.file, head); err != nil {
		return nil, fmt.Errorf("%s: %w", s.name, err)
	}
	hash.Write(head)
	if _, err := io.Copy(hash, io.NewSectionReader(s.file, max(0, s.size-headBytes), headBytes)); err != nil {
		return nil, fmt.Errorf("%s: %w", s.name, err)
	}
	facts.IDs = []string{fmt.Sprintf("rdb:%d:%s", s.size, hex.EncodeToString(hash.Sum(nil)))}
	return head, nil
}

// peek waits for the beginning of the stream. Reading from a terminal or pipe
// can't be interrupted, so a goroutine of its own does it.
func (s *Source) peek(ctx context.Context) (head []byte, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		head, err = s.stream.Peek(headBytes)
	}()
	select {
	case <-done:
		return head, err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Survey walks a file once without its values being read, and adds how many keys
// each database has, and of which types. Damage is told but does not block: what
// comes before it can still be imported. Of a stream it learns nothing.
func (s *Source) Survey(ctx context.Context, facts *preflight.Source) (found preflight.Findings) {
	if s.file == nil {
		return nil
	}
	c := s.opts.Choice
	keys := map[int]int64{}
	facts.ModuleTypes = map[string]int64{}
	names := c.Collisions(nil, 0)
	db, count := -1, int64(0) // of the database being walked: a map for each key would cost
	sum := &preflight.Survey{Vendor: s.header.Vendor, Types: map[byte]int64{}}
	var types [256]int64 // for the same reason
	visit := func(e *rdbparse.Entry) error {
		if e.Kind == rdbparse.KindFunction {
			facts.Libraries++
		}
		if e.Kind != rdbparse.KindKey || !c.DB(e.DB) {
			return nil
		}
		if e.DB != db {
			keys[db] += count
			db, count = e.DB, 0
		}
		count++
		types[e.Type]++
		sum.Bytes += e.ValueLen
		sum.Largest = max(sum.Largest, e.ValueLen)
		if e.ExpireAt != 0 {
			sum.Expiring++
		}
		if e.Module != "" {
			facts.ModuleTypes[e.Module]++
		}
		if names != nil && c.Key(e.DB, e.Key) {
			names.Note(e.DB, e.Key)
		}
		return nil
	}
	err := s.look(ctx, names == nil, visit)
	keys[db] += count
	delete(keys, -1)
	facts.Keys = keys
	for typ, n := range types {
		if n > 0 {
			sum.Types[byte(typ)] = n
		}
	}
	facts.Survey = sum
	if cause := context.Cause(ctx); cause != nil {
		found.Block("interrupted", "", "%v", cause)
		return found
	}
	if err != nil {
		found.Warn("source_damaged", "what comes before is imported, then the run fails; get a sound copy if there is one", "%v", err)
	}
	if names.Full() {
		found.Block("collisions_unknown", "choose a prefix that few keys begin with", "too many keys could get the same new name to look at them all")
		return found
	}
	if !names.Empty() {
		err := s.look(ctx, false, func(e *rdbparse.Entry) error {
			if e.Kind == rdbparse.KindKey && facts.Collision == "" && c.DB(e.DB) && c.Key(e.DB, e.Key) && names.Check(e.DB, e.Key) {
				facts.Collision = fmt.Sprintf("key %q of db %d", e.Key[:min(len(e.Key), 128)], e.DB)
			}
			return nil
		})
		if cause := context.Cause(ctx); cause != nil && err != nil {
			found.Block("interrupted", "", "%v", cause)
		}
	}
	return found
}

// look walks the whole file once, without checksum and values.
func (s *Source) look(ctx context.Context, skipKeys bool, visit func(*rdbparse.Entry) error) error {
	w, err := rdbparse.NewWalker(io.NewSectionReader(s.file, 0, s.size), rdbparse.Options{
		Name: s.name, Seekable: true, SkipCRC: true, SkipKeys: skipKeys,
	})
	if err != nil {
		return err
	}
	for n := 0; ; n++ {
		if n%markEntries == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		e, err := w.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := visit(e); err != nil {
			return err
		}
	}
}

// ErrOnce means that a stream can't be read a second time.
var ErrOnce = errors.New("it can be read only once; name an RDB file instead")

// Names visits all keys once more, those whose value expired too, as far as
// databases, names and slots are chosen; types are not looked at. It is for a
// file only (ErrOnce).
func (s *Source) Names(ctx context.Context, visit func(db int, key []byte) error) error {
	if s.file == nil {
		return fmt.Errorf("reading the names of keys from %s again: %w", s.name, ErrOnce)
	}
	c := s.opts.Choice
	var name []byte
	return s.look(ctx, false, func(e *rdbparse.Entry) error {
		if e.Kind != rdbparse.KindKey || !c.DB(e.DB) || !c.Key(e.DB, e.Key) {
			return nil
		}
		if c.SlotsChosen() {
			if name = c.Name(name[:0], e.DB, e.Key); !c.Slot(route.Slot(name)) {
				return nil
			}
		}
		return visit(e.DB, e.Key)
	})
}
