package scan

import (
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/resp"
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
	if err := p.sizeFirst(); err != nil {
		return err
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

// sizeFirst makes the scan ask how long values are before it asks for them, if
// the user may.
func (p *pipe) sizeFirst() error {
	s := p.source
	if s.sized || s.opts.Measure {
		return nil
	}
	missing, err := s.lacking(p.ctx, sizes)
	if err != nil {
		return err
	}
	if len(missing) > 0 {
		if !s.blind {
			s.log.Warn("huge values block the source while it serializes them for nothing, because the user may not ask how long they are",
				zap.Stringer("source", s.opts.Endpoint), zap.String("remedy", s.rule(missing)))
		}
		s.blind = true
		return nil
	}
	s.sized = true
	for _, g := range p.pages {
		p.appendSizes(g)
	}
	return nil
}

// appendSizes asks how long the values of a page are that were not asked for.
func (p *pipe) appendSizes(g *page) {
	n := len(g.keys) - g.asked
	if !p.source.sized || n == 0 {
		return
	}
	for i := g.asked; i < len(g.keys); i++ {
		p.out = append(p.out, "*3\r\n$6\r\nMEMORY\r\n$5\r\nUSAGE\r\n"...)
		p.out = resp.AppendBulk(p.out, g.key(i))
	}
	g.sizing = true
	p.owed = append(p.owed, debt{page: g, n: n, sent: time.Now(), sizes: true})
}

// readSizes notes which values of a page are huge. What a key takes in memory is
// more than its serialized length, as a rule.
func (p *pipe) readSizes(d debt) error {
	g := d.page
	for i := len(g.keys) - d.n; i < len(g.keys); i++ {
		h, err := p.r.Head()
		switch {
		case err != nil:
			return p.wire(err)
		case h.Kind == '-':
			if err := refused(h.Line, "MEMORY USAGE"); !keyOnly(h.Line) {
				return err
			}
		case h.Kind == '$' && h.N < 0: // gone
		case h.Kind != ':':
			return p.wire(fmt.Errorf("%w: answer to MEMORY USAGE", resp.ErrProtocol))
		case h.N > p.source.opts.MaxValue:
			if g.huge == nil {
				g.huge = map[int]int64{}
			}
			g.huge[i] = h.N
		}
	}
	g.sizing = false
	return nil
}

// appendHuge asks for what is needed of a key that is read in parts later.
func (p *pipe) appendHuge(key []byte) {
	p.out = append(p.out, "*2\r\n$4\r\nTYPE\r\n"...)
	p.out = resp.AppendBulk(p.out, key)
	p.appendExpiry(key)
}

// readHuge reads into p.record what appendHuge asked for.
func (p *pipe) readHuge(key []byte, bytes int64) error {
	r := &p.record
	*r = record.Record{DB: r.DB, Key: key}
	h, err := p.answer('+', "TYPE")
	if err != nil {
		return err
	}
	if h.Kind == '+' {
		kind := string(h.Line[:min(len(h.Line), wordMax)])
		if err := p.inParts(kind, bytes); err != nil {
			return err
		}
	}
	return p.readExpiry()
}
