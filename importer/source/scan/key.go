package scan

import (
	"fmt"
	"strings"

	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/rdbparse"
	"github.com/slotferry/slotferry/resp"
)

// What PTTL and PEXPIRETIME give for a key without expiry, and for none
// (https://redis.io/docs/latest/commands/pexpiretime/).
const (
	noExpiry = -1
	noKey    = -2
)

// moduleType is the RDB type of a module's value.
const moduleType = 7

// readKey reads the value and the expiry of one key and tells the sink.
func (p *pipe) readKey(key []byte) error {
	r := &p.record
	*r = record.Record{DB: r.DB, Key: key}
	if err := p.readValue(); err != nil {
		return err
	}
	if r.Fate == record.Copy && !r.Owned {
		// The value lies in the read buffer, which reading the expiry may move.
		p.value = append(p.value[:0], r.Value...)
		r.Value = p.value
	}
	if err := p.readExpiry(); err != nil {
		return err
	}
	if r.Fate == record.Copy && !p.source.opts.Choice.Type(typeName(r)) {
		r.Fate = record.Filtered
	}
	return p.sink.Record(r)
}

// readValue reads the answer to DUMP.
func (p *pipe) readValue() error {
	r := &p.record
	h, err := p.r.Head()
	if err != nil {
		return p.wire(err)
	}
	switch {
	case h.Kind == '-':
		if err := p.refused(h.Line, "DUMP"); !keyOnly(h.Line) {
			return err
		}
		r.Fate, r.Reason = record.Refused, fmt.Sprintf("the source answered %q to DUMP", h.Line)
		return nil
	case h.Kind != '$':
		return p.wire(fmt.Errorf("%w: answer to DUMP", resp.ErrProtocol))
	case h.N < 0:
		r.Fate = record.Gone
		return nil
	}
	p.values++
	p.bytes += h.N
	if h.N > p.source.opts.MaxValue {
		r.Fate = record.Refused
		r.Reason = fmt.Sprintf("its value of %d bytes does not fit into the memory allowed; give more --memory, or import from an RDB file", h.N)
		return p.wire(p.r.Discard(h.N))
	}
	if h.N > record.LargeBytes {
		if err := p.source.opts.Room(p.ctx, h.N); err != nil {
			return err
		}
	}
	body, owned, err := p.r.Body(h.N)
	if err != nil {
		return p.wire(err)
	}
	return p.split(body, owned)
}

// keyOnly reports whether an error concerns one key and not the connection or
// the user.
func keyOnly(line []byte) bool {
	s := string(line)
	return strings.HasPrefix(s, "ERR ") || strings.Contains(s, "access a key") || strings.Contains(s, "access one of the keys")
}

// readExpiry reads the answer to PEXPIRETIME, or to TIME and PTTL. The expiry is
// absolute from here on.
func (p *pipe) readExpiry() error {
	r := &p.record
	var now int64
	if p.pttl {
		var err error
		if now, err = p.readTime(); err != nil {
			return err
		}
	}
	h, err := p.r.Head()
	if err != nil {
		return p.wire(err)
	}
	if h.Kind == '-' {
		if err := p.refused(h.Line, "PEXPIRETIME"); !keyOnly(h.Line) {
			return err
		}
		if r.Fate == record.Copy {
			r.Fate, r.Reason = record.Refused, fmt.Sprintf("the source answered %q when asked for its expiry", h.Line)
		}
		return nil
	}
	if h.Kind != ':' {
		return p.wire(fmt.Errorf("%w: answer to PEXPIRETIME", resp.ErrProtocol))
	}
	switch {
	case r.Fate != record.Copy, h.N == noExpiry:
	case h.N == noKey, h.N == 0:
		r.Fate = record.Gone
	default:
		r.ExpireAt = now + h.N
	}
	return nil
}

// readTime reads the answer to TIME and returns Unix milliseconds.
func (p *pipe) readTime() (int64, error) {
	if err := p.array(2, "TIME"); err != nil {
		return 0, err
	}
	var parts [2]int64
	for i := range parts {
		b, err := p.bulk("TIME", numberMax)
		if err != nil {
			return 0, err
		}
		for _, c := range b {
			parts[i] = parts[i]*10 + int64(c-'0')
		}
	}
	return parts[0]*1000 + parts[1]/1000, nil
}

func typeName(r *record.Record) string {
	if r.Type == moduleType {
		return moduleName(r.Value)
	}
	if name := rdbparse.TypeName(rdbparse.Redis, r.Type); name != "" {
		return name
	}
	return rdbparse.TypeName(rdbparse.Valkey, r.Type)
}
