package scan

import (
	"errors"
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

// appendKey asks for the value of one key, or its measure, and its expiry.
func (p *pipe) appendKey(key []byte) {
	if p.memory {
		p.appendMeasure(key)
	} else {
		p.out = append(p.out, "*2\r\n$4\r\nDUMP\r\n"...)
		p.out = resp.AppendBulk(p.out, key)
	}
	p.appendExpiry(key)
}

func (p *pipe) appendExpiry(key []byte) {
	if p.pttl {
		p.out = append(p.out, "*1\r\n$4\r\nTIME\r\n*2\r\n$4\r\nPTTL\r\n"...)
	} else {
		p.out = append(p.out, "*2\r\n$11\r\nPEXPIRETIME\r\n"...)
	}
	p.out = resp.AppendBulk(p.out, key)
}

// readKey reads into p.record what appendKey asked for.
func (p *pipe) readKey(key []byte) error {
	r := &p.record
	*r = record.Record{DB: r.DB, Key: key}
	if p.memory {
		p.flight.value(0)
		if err := p.readMeasure(); err != nil {
			return err
		}
		return p.readExpiry()
	}
	if err := p.readValue(); err != nil {
		return err
	}
	if r.Fate == record.Copy && !r.Owned {
		// The value lies in the read buffer, which reading the expiry may move.
		p.value = append(p.value[:0], r.Value...)
		r.Value = p.value
	}
	return p.readExpiry()
}

// settle leaves the record's value out where it is only to be measured, and
// the record where its type is not chosen.
func (p *pipe) settle() {
	r := &p.record
	if r.Fate != record.Copy {
		return
	}
	name := r.Measure.Type
	if name == "" {
		name = typeName(r)
	}
	if p.source.opts.Measure && r.Measure.Bytes == 0 {
		r.Measure = record.Measure{Bytes: r.Len(), Type: name, Encoding: rdbparse.EncodingName(p.source.Vendor(), r.Type)}
		r.Value, r.Owned, r.Footer = nil, false, nil
	}
	if !p.source.opts.Choice.Type(name) {
		r.Fate = record.Filtered
	}
}

// readValue reads the answer to DUMP.
func (p *pipe) readValue() error {
	r := &p.record
	h, err := p.r.Head()
	if err != nil {
		return p.wire(err)
	}
	p.flight.value(max(0, h.N))
	switch {
	case h.Kind == '-':
		if err := refused(h.Line, "DUMP"); !keyOnly(h.Line) {
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
	if h.N > p.source.opts.MaxValue {
		if err := p.r.Discard(h.N); err != nil {
			return p.wire(err)
		}
		return p.tooLong(h.N)
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
	return strings.HasPrefix(string(line), "ERR ") || keyDenied(string(line))
}

// keyDenied reports whether the user may not use a key of that name.
func keyDenied(reply string) bool {
	return strings.Contains(reply, "access a key") || strings.Contains(reply, "access one of the keys")
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
		if err := refused(h.Line, "PEXPIRETIME"); !keyOnly(h.Line) {
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

var errNoFooter = errors.New("a DUMP shorter than its footer")

// split cuts a DUMP payload into what a record needs.
func (p *pipe) split(payload []byte, owned bool) error {
	if len(payload) < 1+len(p.footer) {
		return p.wire(fmt.Errorf("%w: %w", resp.ErrProtocol, errNoFooter))
	}
	r := &p.record
	end := len(payload) - len(p.footer)
	r.Type, r.Value, r.Owned = payload[0], payload[1:end:end], owned
	copy(p.footer[:], payload[end:])
	r.Footer = p.footer[:]
	return nil
}

// moduleName returns the type's name of a module value, whose id is the length
// that follows the type byte.
func moduleName(value []byte) string {
	const sixtyFourBit = 0x81
	if len(value) < 9 || value[0] != sixtyFourBit {
		return ""
	}
	var id uint64
	for _, b := range value[1:9] {
		id = id<<8 | uint64(b)
	}
	return rdbparse.ModuleName(id)
}
