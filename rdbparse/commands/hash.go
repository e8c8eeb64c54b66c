package commands

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/slotferry/slotferry/rdbparse"
	"github.com/slotferry/slotferry/rdbparse/decode"
)

// hash sends fields with HSET, and right behind each command the expiries of
// its fields.
func (w *writer) hash(v rdbparse.Vendor, typ byte) {
	h := &hashBatch{batch: w.batch("HSET")}
	if v == rdbparse.Valkey && typ == rdbparse.ValkeyHash2 || typ >= rdbparse.TypeHashTTLRC {
		h.fixed += len("HPEXPIREAT") + len("FIELDS") + 2*longestDecimal
		h.sent = h.expire
	} else {
		h.sent = func([][]byte) { h.expiries = h.expiries[:0] }
	}
	switch {
	case v == rdbparse.Valkey && typ == rdbparse.ValkeyHash2:
		w.each(func() {
			name, value := w.held2()
			at := w.milliseconds()
			if at == -1 {
				at = 0
			}
			h.add(name, value, at)
		})
	case typ == rdbparse.TypeHash:
		w.each(func() {
			name, value := w.held2()
			h.add(name, value, 0)
		})
	case typ == rdbparse.TypeHashZipmap:
		w.check(decode.Zipmap(w.held(), func(f decode.Field) { h.add(f.Name, f.Value, 0) }))
	case typ == rdbparse.TypeHashZiplist:
		h.packed(w.ziplist(), false)
	case typ == rdbparse.TypeHashListpack:
		h.packed(w.listpack(), false)
	case typ == rdbparse.TypeHashLPTTLRC:
		h.packed(w.listpack(), true)
	case typ == rdbparse.TypeHashListpackEx:
		w.bits() // the earliest expiry, which the fields tell as well
		h.packed(w.listpack(), true)
	case typ == rdbparse.TypeHashTTL:
		h.relative(w.milliseconds())
	default: // rdbparse.TypeHashTTLRC
		h.relative(1)
	}
	h.flush()
}

// hashBatch is a batch of fields.
type hashBatch struct {
	*batch
	expiries []int64 // of the fields that are gathered
	order    []int
	command  [][]byte
	at       []byte
}

// add adds a field. An expiry of 0 is none.
func (h *hashBatch) add(name, value []byte, expireAt int64) {
	w := h.w
	switch {
	case w.err != nil:
		return
	case expireAt == 0:
	case expireAt <= w.options.Now:
		return
	case !w.options.Target.FieldExpiry:
		w.refuse(fmt.Errorf("%w: fields of the hash expire, which the target doesn't know", ErrUnsupported))
		return
	}
	words := [][]byte{name, value}
	h.makeRoom(words)
	h.expiries = append(h.expiries, expireAt)
	h.put(words)
}

// packed reads names and values in turn, each pair followed by an expiry if
// there are expiries at all.
func (h *hashBatch) packed(e *decode.Elements, expiries bool) {
	h.w.walk(e, func(name []byte) {
		value, at := e.Must(), int64(0)
		if expiries {
			at = e.Integer()
		}
		if e.Err() == nil {
			h.add(name, value, at)
		}
	})
}

// relative reads L n, n × (L expiry, S name, S value). An expiry of 0 is none,
// one of 1 is at the time first.
func (h *hashBatch) relative(first int64) {
	w := h.w
	w.each(func() {
		ttl, at := w.length(), int64(0)
		if ttl > math.MaxInt64 || first > 0 && int64(ttl) > math.MaxInt64-first {
			w.corrupt("a field that expires %d ms after %d", ttl, first)
		}
		if ttl != 0 {
			at = first + int64(ttl) - 1
		}
		name, value := w.held2()
		h.add(name, value, at)
	})
}

// expire sends HPEXPIREAT for each expiry among the fields that were sent.
func (h *hashBatch) expire(fields [][]byte) {
	h.order = h.order[:0]
	for i, at := range h.expiries {
		if at != 0 {
			h.order = append(h.order, i)
		}
	}
	slices.SortFunc(h.order, func(a, b int) int {
		return cmp.Or(cmp.Compare(h.expiries[a], h.expiries[b]), cmp.Compare(a, b))
	})
	for order := h.order; len(order) > 0; {
		at, n := h.expiries[order[0]], 1
		for n < len(order) && h.expiries[order[n]] == at {
			n++
		}
		h.at = strconv.AppendInt(h.at[:0], at, 10)
		h.command = append(h.command[:0], []byte("HPEXPIREAT"), h.w.key, h.at, []byte("FIELDS"), []byte(strconv.Itoa(n)))
		for _, i := range order[:n] {
			h.command = append(h.command, fields[2*i])
		}
		h.w.do(h.command...)
		order = order[n:]
	}
	h.expiries = h.expiries[:0]
}
