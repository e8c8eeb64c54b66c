package tail

import (
	"strings"

	"github.com/slotferry/slotferry/importer/effect"
	"github.com/slotferry/slotferry/importer/record"
)

// sturdy are commands that every target takes as its source did: their arguments
// have meant the same since Redis 5.0, and no answer of theirs is looked at.
// Those that had options added only count without them.
var sturdy = func() map[string]bool {
	all := map[string]bool{}
	for _, name := range strings.Fields(`APPEND DECR DECRBY DEL GETSET HDEL HINCRBY HINCRBYFLOAT HMSET HSET HSETNX
		INCR INCRBY INCRBYFLOAT LINSERT LPUSH LPUSHX LREM LSET LTRIM MSET PERSIST PFADD RPUSH RPUSHX SADD SET SETBIT SETNX
		SETRANGE SREM UNLINK XACK XDEL ZADD ZINCRBY ZREM ZREMRANGEBYLEX ZREMRANGEBYRANK ZREMRANGEBYSCORE`) {
		all[name] = true
	}
	return all
}()

const plainSet = 3 // words: its name, a key, a value

// isSturdy tells whether a command that is in was surely taken as the source
// took it. Of others the answer has to be known: a target may refuse them for
// their options, with the rest of their block applied.
func isSturdy(name string, words []word) bool {
	switch {
	case !sturdy[name]:
		return false
	case name == "SET":
		return len(words) == plainSet
	case name == "ZADD": // a score begins with none of the letters of its options
		return len(words) > 2 && len(words[2]) > 0 && strings.IndexByte("+-.0123456789iI", words[2][0]) >= 0 && !strings.EqualFold(string(words[2]), "INCR")
	}
	return true
}

// checkIn has the keys of a command read again that is in by its mark, if what it
// answered had to be known: that was told to a run that has ended, maybe before
// it could do anything about it.
func (a *Applier) checkIn(c *record.Command, e *effect.Effect, keys []key) error {
	if a.opts.Reread == nil {
		return nil
	}
	plain := isSturdy(e.Name, c.Words)
	for i := range keys {
		k := &keys[i]
		if !k.chosen || k.fate != in || plain && (e.Blind || makesNone[e.Name] || !a.expiring.may(k.name)) {
			continue
		}
		if err := a.want(c.DB, c.Words[k.at]); err != nil {
			return err
		}
	}
	return nil
}

// unheardOf is the reason to read keys again of a command that took effect, but
// whose answer was lost.
const unheardOf = "its answer was lost with the connection"

// isFrail tells whether the answer to an entry has to be known.
func (a *Applier) isFrail(e *entry) bool {
	if a.opts.Reread == nil || e.segment == nil {
		return false
	}
	words := split(e.source())
	return len(words) > 0 && !isSturdy(strings.ToUpper(string(words[0])), words)
}
