package commands

import (
	"fmt"
	"github.com/slotferry/slotferry/rdbparse"
	"math"
	"strconv"

	"github.com/slotferry/slotferry/rdbparse/decode"
)

// string sends SET with the first part and APPEND with each that follows.
func (w *writer) string() {
	name := []byte("SET")
	room := max(w.options.MaxBytes-len("APPEND")-len(w.key), w.options.MaxBytes/2, 1)
	part := []byte{}
	flush := func() {
		w.do(name, w.key, part)
		name, part = []byte("APPEND"), part[:0]
	}
	w.pieces(func(p []byte) {
		for len(p) > 0 && w.err == nil {
			if len(part) == room {
				flush()
			}
			n := min(len(p), room-len(part))
			part = append(part, p[:n]...)
			p = p[n:]
		}
	})
	flush()
}

// held reads S into memory that the next call uses again.
func (w *writer) held() []byte {
	w.scratch = w.append(w.scratch[:0])
	return w.scratch
}

// held2 is held for two S.
func (w *writer) held2() (first, second []byte) {
	n := len(w.held())
	w.scratch = w.append(w.scratch)
	return w.scratch[:n:n], w.scratch[n:]
}

// walk calls take with each element until there are no more.
func (w *writer) walk(e *decode.Elements, take func(element []byte)) {
	for s := e.Next(); s != nil && w.err == nil; s = e.Next() {
		take(s)
	}
	w.check(e.Err())
}

// check keeps an error that a container was found to have.
func (w *writer) check(err error) {
	if w.err == nil && err != nil {
		w.err = err
	}
}

func (w *writer) listpack() *decode.Elements { return decode.Listpack(w.held()) }
func (w *writer) ziplist() *decode.Elements  { return decode.Ziplist(w.held()) }

func (w *writer) list(typ byte) {
	b := w.batch("RPUSH")
	add := func(element []byte) { b.add(element) }
	switch typ {
	case rdbparse.TypeList:
		w.each(func() { b.add(w.held()) })
	case rdbparse.TypeListZiplist:
		w.walk(w.ziplist(), add)
	case rdbparse.TypeQuicklist:
		w.each(func() { w.walk(w.ziplist(), add) })
	case rdbparse.TypeQuicklist2:
		const plain, packed = 1, 2
		w.each(func() {
			switch container := w.length(); container {
			case plain:
				b.add(w.held())
			case packed:
				w.walk(w.listpack(), add)
			default:
				w.corrupt("list container %d", container)
			}
		})
	}
	b.flush()
}

func (w *writer) set(typ byte) {
	b := w.batch("SADD")
	add := func(member []byte) { b.add(member) }
	switch typ {
	case rdbparse.TypeSetIntset:
		w.check(decode.Intset(w.held(), add))
	case rdbparse.TypeSetListpack:
		w.walk(w.listpack(), add)
	default:
		w.each(func() { b.add(w.held()) })
	}
	b.flush()
}

func (w *writer) zset(typ byte) {
	b := w.batch("ZADD")
	var text []byte
	add := func(member []byte, score float64) {
		if math.IsNaN(score) {
			w.refuse(fmt.Errorf("%w: a score that is not a number", ErrUnsupported))
			return
		}
		text = strconv.AppendFloat(text[:0], score, 'g', -1, 64) // the shortest that is exact
		if math.IsInf(score, 0) {
			text = append(text[:0], "-inf"...)
			if score > 0 {
				text = text[1:]
			}
		}
		b.add(text, member)
	}
	packed := func(e *decode.Elements) {
		w.walk(e, func(member []byte) {
			if score := e.Score(); e.Err() == nil {
				add(member, score)
			}
		})
	}
	switch typ {
	case rdbparse.TypeZsetZiplist:
		packed(w.ziplist())
	case rdbparse.TypeZsetListpack:
		packed(w.listpack())
	case rdbparse.TypeZset2:
		w.each(func() { member := w.held(); add(member, w.double()) })
	default:
		w.each(func() { member := w.held(); add(member, w.textScore()) })
	}
	b.flush()
}
