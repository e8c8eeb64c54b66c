package scan

import (
	"fmt"

	"github.com/slotferry/slotferry/importer/record"
)

// tooLong makes a record of a value whose DUMP is longer than may be held: it is
// measured, to be read in parts, or refused. The key may have become another by
// now, of which Build tells.
func (p *pipe) tooLong(bytes int64) error {
	r := &p.record
	if p.sink == nil { // single keys are read whole or not at all
		r.Fate = record.Refused
		r.Reason = fmt.Sprintf("its value of %d bytes does not fit into the memory allowed", bytes)
		return nil
	}
	kind, err := p.source.clients.of(r.DB).Type(p.ctx, string(r.Key)).Result()
	if err != nil {
		err = failed(err, "TYPE")
		if retry(err) {
			return err
		}
		r.Fate, r.Reason = record.Refused, fmt.Sprintf("its value of %d bytes does not fit into the memory allowed, and can't be read in parts: %v", bytes, err)
		return nil
	}
	return p.inParts(kind, bytes)
}

// inParts makes a record of a value of so many bytes that is to be read by the
// commands of its type.
func (p *pipe) inParts(kind string, bytes int64) error {
	r := &p.record
	s := p.source
	if kind == "none" {
		r.Fate = record.Gone
		return nil
	}
	r.Measure = record.Measure{Bytes: bytes, Type: p.word([]byte(kind))}
	r.Type = rdbType(s.server.Version, kind, "")
	if s.opts.Measure || !s.opts.Choice.Type(kind) {
		return nil
	}
	if readers[kind] == nil {
		r.Fate, r.Reason = record.Refused, noParts(kind)
		return nil
	}
	missing, err := s.lacking(p.ctx, kind)
	if err != nil {
		return err
	}
	if len(missing) > 0 {
		r.Fate, r.Reason = record.Refused, fmt.Sprintf("its value of %d bytes is to be read in parts, which the user may not: %s", bytes, s.rule(missing))
		return nil
	}
	r.Build = s.build(r.DB, r.Key)
	return nil
}
