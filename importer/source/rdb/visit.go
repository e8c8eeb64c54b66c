package rdb

import (
	"bytes"
	"fmt"
	"io"

	"go.uber.org/zap"

	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/rdbparse"
)

// visit turns entries into records and marks.
type visit struct {
	source  *Source
	walker  *rdbparse.Walker
	sink    record.Sink
	vendor  rdbparse.Vendor
	record  record.Record
	marked  record.Position
	entries int
}

func (v *visit) entry(e *rdbparse.Entry) error {
	switch e.Kind {
	case rdbparse.KindKey:
		v.fill(e)
		if err := v.sink.Record(&v.record); err != nil {
			return err
		}
	case rdbparse.KindFunction:
		if err := v.sink.Program(record.Program{Function: true, Code: string(e.Text)}); err != nil {
			return fmt.Errorf("%s at %d: %w", v.source.name, e.Offset, err)
		}
	case rdbparse.KindAux:
		// Servers before 7.0 keep the script cache for their replicas there.
		if bytes.Equal(e.Name, []byte("lua")) {
			if err := v.sink.Program(record.Program{Code: string(e.Text)}); err != nil {
				return fmt.Errorf("%s at %d: %w", v.source.name, e.Offset, err)
			}
		}
		if v.source.opts.Aux != nil {
			v.source.opts.Aux(e.Name, e.Text)
		}
	}
	v.entries++
	if v.entries >= markEntries || e.Offset-v.marked.Offset >= markBytes {
		return v.mark()
	}
	return nil
}

// fill makes a record of a key's entry.
func (v *visit) fill(e *rdbparse.Entry) {
	r := &v.record
	*r = record.Record{
		DB: e.DB, Key: e.Key, Type: e.Type, Value: e.Value, Owned: e.Owned,
		Version: rdbparse.LowestVersion(e.Type), ExpireAt: e.ExpireAt,
	}
	if e.Module != "" { // how a module writes its values does not go by the number of the type
		r.Version = uint16(v.walker.Header().Version)
	}
	c := v.source.opts.Choice
	if v.source.opts.Measure {
		r.Value = nil
		r.Measure = record.Measure{Bytes: e.ValueLen + 1, Type: typeName(v.vendor, e), Encoding: rdbparse.EncodingName(v.vendor, e.Type)}
	}
	switch {
	case !c.DB(e.DB) || !c.Key(e.DB, e.Key) || !c.Type(typeName(v.vendor, e)):
		r.Fate = record.Filtered
	case e.Meta != nil:
		r.Fate = record.Refused
		r.Reason = "it carries a module's metadata, which RESTORE of a lone value would lose"
	case e.Dropped:
		r.Fate = record.Refused
		r.Reason = fmt.Sprintf("its value of %d bytes does not fit into the memory allowed, and %s can't be read twice; import from a file, or give more --memory",
			e.ValueLen, v.source.name)
	case e.Large && !v.source.opts.Measure:
		r.Large = io.NewSectionReader(v.source.file, e.ValueOffset, e.ValueLen)
	}
}

func typeName(v rdbparse.Vendor, e *rdbparse.Entry) string {
	if e.Module != "" {
		return e.Module
	}
	return rdbparse.TypeName(v, e.Type)
}

// mark tells the sink how far the walk is.
func (v *visit) mark() error {
	s := v.walker.State()
	v.marked = record.Position{DB: s.DB, Offset: s.Offset, CRC: s.CRC}
	v.entries = 0
	return v.sink.Mark(v.marked)
}

// end is reached when the file was whole and its checksum right.
func (v *visit) end() error {
	s := v.walker.State()
	if !v.walker.ChecksumPresent() {
		v.source.log.Warn("the file has no checksum: damage that leaves it readable would go unseen", zap.String("file", v.source.name))
	}
	if more, err := v.walker.Trailing(); err == nil && more {
		v.source.log.Warn("something follows the end of the RDB and is ignored; an AOF with an RDB preamble?",
			zap.String("file", v.source.name), zap.Int64("offset", s.Offset))
	}
	return v.sink.Mark(record.Position{DB: s.DB, Offset: s.Offset, CRC: s.CRC, End: true})
}
