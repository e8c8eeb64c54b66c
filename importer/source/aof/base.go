package aof

import (
	"context"
	"encoding/binary"
	"errors"
	"io"

	"github.com/slotferry/slotferry/rdbparse"
)

// base looks at the RDB in front of the commands: where it ends, and what of it
// they may meet.
func (v *review) base(ctx context.Context) error {
	p := v.source.files.parts[0]
	input := io.NewSectionReader(p.file, 0, p.size)
	w, err := rdbparse.NewWalker(input, rdbparse.Options{Name: p.path, Seekable: true, SkipCRC: true})
	if err != nil {
		return err
	}
	defer v.source.pulse.End(v.source.pulse.Begin(owes(p.path)))
	for n := 0; ; n++ {
		if n%checkEvery == 0 {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			v.source.pulse.Move(checkEvery)
		}
		e, err := w.Next()
		if errors.Is(err, io.EOF) {
			v.sum.baseEnd, v.sum.checksum = w.State().Offset, w.ChecksumPresent()
			return nil
		}
		if err != nil {
			return err
		}
		switch e.Kind {
		case rdbparse.KindFunction:
			v.sum.functions = true
		case rdbparse.KindKey:
			v.key(w.Header().Vendor, e)
		}
	}
}

func (v *review) key(vendor rdbparse.Vendor, e *rdbparse.Entry) {
	v.sum.maxDB = max(v.sum.maxDB, e.DB)
	if !v.choice.DB(e.DB) {
		return
	}
	v.touch(e.DB)
	if !v.choice.Key(e.DB, e.Key) {
		return
	}
	v.sum.names.Note(e.DB, e.Key)
	horizon := v.now + hazardWithin.Milliseconds()
	if e.ExpireAt != 0 && e.ExpireAt <= horizon || fieldsExpire(vendor, e, horizon) {
		v.sum.hazards.expires(e.DB, e.Key)
	}
}

// fieldsExpire tells whether fields of a hash may expire before a time. Redis
// writes the earliest one in front; of others it is not looked for.
func fieldsExpire(vendor rdbparse.Vendor, e *rdbparse.Entry, before int64) bool {
	if vendor == rdbparse.Redis && (e.Type == rdbparse.TypeHashTTL || e.Type == rdbparse.TypeHashListpackEx) {
		return len(e.Value) < 8 || int64(binary.LittleEndian.Uint64(e.Value)) <= before
	}
	return hasFieldTTL(e.Type)
}

// hasFieldTTL tells whether fields of values of an RDB type can expire.
func hasFieldTTL(typ byte) bool {
	return typ >= rdbparse.TypeHashTTLRC && typ <= rdbparse.TypeHashListpackEx
}
