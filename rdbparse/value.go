package rdbparse

import "fmt"

// value passes over one value of type typ, but not a module's: it finds where it
// ends.
func (w *window) value(v Vendor, typ byte) error {
	switch typ {
	case TypeString, TypeHashZipmap, TypeListZiplist, TypeSetIntset, TypeZsetZiplist, TypeHashZiplist,
		TypeHashListpack, TypeZsetListpack, TypeSetListpack:
		return w.onlyString()
	case TypeList, TypeSet, TypeQuicklist:
		return w.strings(1, 0)
	case TypeHash:
		return w.strings(2, 0)
	case TypeZset2:
		return w.strings(1, 8)
	case TypeZset:
		return w.textZset()
	case TypeQuicklist2:
		return w.quicklist2()
	case TypeStream:
		return w.stream(1)
	case TypeStream2:
		return w.stream(2)
	case TypeStream3:
		return w.stream(3)
	}
	if v == Valkey {
		if typ == ValkeyHash2 {
			return w.valkeyHash()
		}
		return unknownType(typ)
	}
	switch typ {
	case TypeHashTTLRC:
		return w.ttlHash()
	case TypeHashTTL:
		if err := w.skip(8); err != nil {
			return err
		}
		return w.ttlHash()
	case TypeHashLPTTLRC:
		return w.onlyString()
	case TypeHashListpackEx:
		if err := w.skip(8); err != nil {
			return err
		}
		return w.onlyString()
	case TypeStream4:
		return w.stream(4)
	case TypeStream5:
		return w.stream(5)
	}
	return unknownType(typ)
}

func unknownType(typ byte) error {
	if typ == TypeModule1 {
		return fmt.Errorf("%w %d: a module's value of the 4.0 release candidates, whose end can't be found", ErrUnknownType, typ)
	}
	return fmt.Errorf("%w %d", ErrUnknownType, typ)
}

// onlyString passes over a value that is one S, perhaps with a fixed part in
// front: only there is the length of the whole known beforehand.
func (w *window) onlyString() error {
	if w.run(1, 0) == 1 {
		return nil
	}
	start := w.offset()
	if w.anchor != none {
		start = w.base + int64(w.anchor)
	}
	n, _, err := w.head(maxString)
	if err != nil {
		return err
	}
	if total := w.offset() + int64(n) - start; w.own != nil && total > w.inlineMax {
		w.own.expect(total)
	}
	return w.skip(n)
}

// strings passes over L n, n × each × (S and tail bytes).
func (w *window) strings(each uint64, tail int) error {
	n, err := w.count(each)
	if err != nil {
		return err
	}
	return w.nStrings(n, tail)
}

// textZset passes over L n, n × (S, 1 byte length and that many of text;
// 253 to 255 are not-a-number and the infinities, without text).
func (w *window) textZset() error {
	n, err := w.count(1)
	for ; err == nil && n > 0; n-- {
		if err = w.nStrings(1, 0); err != nil {
			break
		}
		if err = w.need(1); err != nil {
			break
		}
		text := w.buf[w.pos]
		w.pos++
		if text < 253 {
			err = w.skip(uint64(text))
		}
	}
	return err
}

// quicklist2 passes over L n, n × (L container, S).
func (w *window) quicklist2() error {
	n, err := w.count(1)
	for ; err == nil && n > 0; n-- {
		var container uint64
		if container, err = w.length(); err != nil {
			break
		}
		if container != 1 && container != 2 { // plain, packed
			return fmt.Errorf("%w: list container %d, at %d", ErrCorrupt, container, w.offset())
		}
		err = w.nStrings(1, 0)
	}
	return err
}

// ttlHash passes over L n, n × (L ttl, S field, S value).
func (w *window) ttlHash() error {
	n, err := w.count(1)
	for ; err == nil && n > 0; n-- {
		if err = w.lengths(1); err == nil {
			err = w.nStrings(2, 0)
		}
	}
	return err
}

// valkeyHash passes over L n, n × (S field, S value, 8 bytes of expiry).
func (w *window) valkeyHash() error {
	n, err := w.count(1)
	for ; err == nil && n > 0; n-- {
		if err = w.nStrings(1, 0); err == nil {
			err = w.nStrings(1, 8)
		}
	}
	return err
}

// moduleItems passes over what a module wrote: L kind and the item, until the
// kind says that it's the end.
func (w *window) moduleItems() error {
	for {
		kind, err := w.length()
		if err != nil {
			return err
		}
		switch kind {
		case moduleEnd:
			return nil
		case moduleInt, moduleUint:
			err = w.lengths(1)
		case moduleFloat:
			err = w.skip(4)
		case moduleDouble:
			err = w.skip(8)
		case moduleString:
			err = w.nStrings(1, 0)
		default:
			err = fmt.Errorf("%w: module item of kind %d, at %d", ErrCorrupt, kind, w.offset())
		}
		if err != nil {
			return err
		}
	}
}
