package aof

import (
	"encoding/binary"
	"hash/maphash"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/slotferry/slotferry/importer/effect"
)

const (
	// hazardWithin is how soon an expiry is a hazard: the target must have all
	// commands on the key before that.
	hazardWithin = time.Hour
	maxHazards   = 1 << 20
)

// hazards are keys whose expiry is past or near. A server that loads a file does
// not expire them, but a target that is sent the commands does: what later
// commands on such a key do there is another thing, unless they overwrite it.
// Keys are held as hashes of 64 bits.
type hazards struct {
	seed maphash.Seed
	keys map[uint64]int64 // 1 + place of a command that found less than it should; 0 for none
	name []byte
	full bool
}

func newHazards() *hazards {
	return &hazards{seed: maphash.MakeSeed(), keys: map[uint64]int64{}}
}

func (h *hazards) of(db int, key []byte) uint64 {
	h.name = append(binary.AppendVarint(h.name[:0], int64(db)), key...)
	return maphash.Bytes(h.seed, h.name)
}

// expires notes a key that is about to expire, or fields of it.
func (h *hazards) expires(db int, key []byte) { h.note(h.of(db, key)) }

func (h *hazards) note(id uint64) {
	if len(h.keys) >= maxHazards {
		h.full = true
		return
	}
	h.keys[id] = 0
}

// has tells whether a key is one of them.
func (h *hazards) has(db int, key []byte) bool {
	if len(h.keys) == 0 {
		return false
	}
	_, ok := h.keys[h.of(db, key)]
	return ok
}

// write notes what a command on one key at a place does to it. It returns false
// if the command might fail on the target, where the key is gone already.
func (h *hazards) write(db int, key []byte, e *effect.Effect, now, place int64) bool {
	near := e.ExpireAt != 0 && e.ExpireAt <= now+hazardWithin.Milliseconds()
	if len(h.keys) == 0 && !near {
		return true
	}
	id := h.of(db, key)
	fields := strings.HasPrefix(e.Name, "H") // the expiry is that of fields
	if e.Blind || near && !fields && e.ExpireAt <= now {
		// Whatever it was: the value is a new one, or gone.
		if near {
			h.note(id)
		} else {
			delete(h.keys, id)
		}
		return true
	}
	first, known := h.keys[id]
	switch {
	case !known && near:
		h.note(id)
	case !known:
	case !gentle[e.Name]:
		return false
	case first == 0:
		h.keys[id] = place + 1
	}
	return true
}

// wrong returns places of commands after which the target has other values than
// it should, the first ones first.
func (h *hazards) wrong() []int64 {
	var places []int64
	for _, p := range slices.Sorted(maps.Values(h.keys)) {
		if p > 0 {
			places = append(places, p-1)
		}
	}
	return places
}

// gentle are commands that do not fail where the key is not there.
var gentle = func() map[string]bool {
	m := map[string]bool{}
	for name := range strings.FieldsSeq(`APPEND DECR DECRBY GETDEL GETEX GETSET INCR INCRBY INCRBYFLOAT PERSIST SET SETBIT SETNX SETRANGE
		EXPIRE EXPIREAT PEXPIRE PEXPIREAT TOUCH PFADD BITFIELD
		HDEL HINCRBY HINCRBYFLOAT HMSET HSET HSETNX HEXPIRE HEXPIREAT HPEXPIRE HPEXPIREAT HPERSIST HGETDEL
		LPOP LPUSH LPUSHX LREM LTRIM RPOP RPUSH RPUSHX LINSERT SADD SPOP SREM
		ZADD ZINCRBY ZPOPMAX ZPOPMIN ZREM ZREMRANGEBYLEX ZREMRANGEBYRANK ZREMRANGEBYSCORE GEOADD XADD XDEL XTRIM`) {
		m[name] = true
	}
	return m
}()
