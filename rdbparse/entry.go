package rdbparse

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
)

const (
	// keyMemory is how much memory for keys is kept from one key to the next.
	keyMemory = 1 << 20
	// maxMeta bounds the metadata of one key; they come from modules and are
	// a few numbers each.
	maxMeta = 1 << 20
)

// next reads up to the end of one entry.
func (w *Walker) next(e *Entry) error {
	e.Offset = w.offset()
	attributes := false // of a key that is still to come
	for {
		if err := w.need(1); err != nil {
			return err
		}
		op := w.buf[w.pos]
		w.pos++
		if op < firstOpcode {
			return w.key(e, op)
		}
		var err error
		switch op {
		case opExpireMs:
			attributes = true
			err = w.expireMs(e)
		case opExpireSeconds:
			attributes = true
			err = w.expireSeconds(e)
		case opIdle:
			attributes = true
			_, err = w.length()
		case opFreq:
			attributes = true
			err = w.skip(1)
		case opSlotInfo:
			err = w.lengths(3)
		case opKeyMeta: // or opSlotImport
			if w.header.Vendor == Valkey {
				err = w.slotImport()
			} else {
				attributes = true
				err = w.keyMeta(e)
			}
		case opAux:
			if err = w.aux(e); err == nil && !attributes {
				return nil
			}
			// KeyDB writes one between a key's expiry and the key.
			*e = Entry{DB: e.DB, Offset: e.Offset, ExpireAt: e.ExpireAt, Meta: e.Meta}
		default:
			if attributes {
				return fmt.Errorf("%w: opcode %d where a key should be", ErrCorrupt, op)
			}
			return w.section(e, op)
		}
		if err != nil {
			return err
		}
		if !attributes { // what was passed over is of no use to who resumes
			w.setMark()
			e.Offset = w.offset()
		}
	}
}

// section reads what follows an opcode that makes an entry of its own.
func (w *Walker) section(e *Entry, op byte) error {
	switch op {
	case opEOF:
		return w.finish()
	case opSelectDB:
		db, err := w.length()
		if err != nil {
			return err
		}
		if db > math.MaxInt32 {
			return fmt.Errorf("%w: database %d", ErrCorrupt, db)
		}
		w.db = int(db)
		e.Kind, e.DB = KindSelectDB, w.db
		return nil
	case opResizeDB:
		keys, err := w.length()
		if err != nil {
			return err
		}
		expires, err := w.length()
		if err != nil {
			return err
		}
		e.Kind, e.Keys, e.Expires = KindResize, int64(min(keys, math.MaxInt64)), int64(min(expires, math.MaxInt64))
		return nil
	case opFunction:
		var err error
		w.text, err = w.readString(w.text)
		e.Kind, e.Text = KindFunction, w.text
		return err
	case opModuleAux:
		e.Kind = KindModuleAux
		id, err := w.length()
		if err != nil {
			return err
		}
		e.Module = ModuleName(id)
		kind, err := w.length() // of the number that follows: when it was saved
		if err != nil {
			return err
		}
		if kind != moduleUint {
			return fmt.Errorf("%w: module data of %q begin with kind %d", ErrCorrupt, e.Module, kind)
		}
		if err := w.lengths(1); err != nil {
			return err
		}
		return w.moduleItems()
	case opFunctionPreGA:
		return fmt.Errorf("%w: opcode %d, functions of the 7.0 release candidates", ErrUnknownType, op)
	}
	return fmt.Errorf("%w: opcode %d", ErrUnknownType, op)
}

// key reads a key and its value.
func (w *Walker) key(e *Entry, typ byte) error {
	e.Type = typ
	if w.opt.SkipKeys {
		if err := w.nStrings(1, 0); err != nil {
			return err
		}
	} else {
		if cap(w.keyBuf) > keyMemory {
			w.keyBuf = nil
		}
		var err error
		if w.keyBuf, err = w.readString(w.keyBuf); err != nil {
			return err
		}
		e.Key = w.keyBuf
		if e.Key == nil {
			e.Key = []byte{}
		}
	}
	e.ValueOffset = w.offset()
	w.anchor = w.pos
	if typ == TypeModule2 {
		id, err := w.length()
		if err != nil {
			return err
		}
		e.Module = ModuleName(id)
		if err := w.moduleItems(); err != nil {
			return err
		}
	} else if err := w.value(w.header.Vendor, typ); err != nil {
		return err
	}
	e.ValueLen = w.offset() - e.ValueOffset
	if e.ValueLen <= w.inlineMax {
		e.Value = w.buf[w.anchor:w.pos:w.pos]
	} else {
		w.long(e)
	}
	w.anchor = none
	return nil
}

// long settles where a value is that is longer than inlineMax.
func (w *Walker) long(e *Entry) {
	if w.own == nil {
		e.Large = true
		return
	}
	if w.anchor != none { // the window had room for it all
		w.own.expect(e.ValueLen)
		w.letGo()
	}
	w.collect(w.pos)
	w.ownFrom = none
	e.Value, e.Dropped = w.own.take()
	e.Owned = !e.Dropped
}

func (w *Walker) expireMs(e *Entry) error {
	if err := w.need(8); err != nil {
		return err
	}
	at := int64(binary.LittleEndian.Uint64(w.buf[w.pos:]))
	w.pos += 8
	switch at {
	case -1: // the servers' own word for none
		at = 0
	case 0: // long ago, which must not look like never
		at = 1
	}
	e.ExpireAt = at
	return nil
}

func (w *Walker) expireSeconds(e *Entry) error {
	if err := w.need(4); err != nil {
		return err
	}
	at := int64(int32(binary.LittleEndian.Uint32(w.buf[w.pos:]))) * 1000
	w.pos += 4
	if at == 0 {
		at = 1
	}
	e.ExpireAt = at
	return nil
}

func (w *Walker) aux(e *Entry) error {
	e.Kind = KindAux
	var err error
	if w.name, err = w.readString(w.name); err != nil {
		return err
	}
	if w.text, err = w.readString(w.text); err != nil {
		return err
	}
	e.Name, e.Text = w.name, w.text
	return nil
}

// slotImport passes over S, L n, n × (L first slot, L last slot).
func (w *Walker) slotImport() error {
	if err := w.nStrings(1, 0); err != nil {
		return err
	}
	n, err := w.count(2)
	for ; err == nil && n > 0; n-- {
		err = w.lengths(1)
	}
	return err
}

// keyMeta reads L n, n × (4 bytes class, the module's items), which stand in
// front of a key in the file and in front of the type in a DUMP payload
// (rdbSaveKeyMetadata in src/keymeta.c of Redis 8.6).
func (w *Walker) keyMeta(e *Entry) error {
	start := w.offset() - 1
	w.anchor = w.pos - 1
	n, err := w.count(1)
	for ; err == nil && n > 0; n-- {
		if err = w.skip(4); err == nil {
			err = w.moduleItems()
		}
	}
	if err == nil && (w.anchor == none || w.offset()-start > maxMeta) {
		err = fmt.Errorf("%w: %d bytes of metadata", ErrTooLong, w.offset()-start)
	}
	if err == nil {
		w.meta = append(w.meta[:0], w.buf[w.anchor:w.pos]...)
		e.Meta = w.meta
	}
	w.anchor, w.ownFrom = none, none
	return err
}

// finish reads the end of the file and compares the checksum.
func (w *Walker) finish() error {
	if w.header.Version < 5 {
		w.noCheck = true
		return io.EOF
	}
	if err := w.need(8); err != nil {
		return err
	}
	sum := binary.LittleEndian.Uint64(w.buf[w.pos:])
	w.markOffset, w.markCRC = w.marked()
	w.mark = none
	w.sumTo(w.pos)
	w.pos += 8
	w.noCheck = sum == 0
	if sum != 0 && !w.noCRC && sum != w.crc {
		return fmt.Errorf("%w: the file says %016x, its bytes give %016x", ErrChecksum, sum, w.crc)
	}
	return io.EOF
}
