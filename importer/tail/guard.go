package tail

import (
	"math/bits"

	"github.com/cespare/xxhash/v2"

	"github.com/slotferry/slotferry/importer/effect"
	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/resp"
)

// A key expires on the target by the target's clock, but the commands that the
// source ran before that come a moment later: one that makes a key where there
// is none would begin it anew, without what it held. A replica of a server does
// not expire keys by itself; a master does. So a command that could do that to a
// key which ever had an expiry goes behind a question, in one transaction with
// it: is the key there? If not, it is read again from the source.

// expiring remembers which keys may have had an expiry: a Bloom filter, so that
// it may say so of others, too.
type expiring struct {
	words []uint64
	all   bool // nothing is known: any may
}

// expiringHashes is how many bits stand for a key; with ten bits a key in all,
// one in a hundred others is taken for one.
const expiringHashes = 4

func newExpiring(bytes int64) expiring {
	n := uint64(1) << (63 - bits.LeadingZeros64(uint64(max(bytes, 1<<16))/8))
	return expiring{words: make([]uint64, n)}
}

func (x *expiring) add(name []byte) {
	h := xxhash.Sum64(name)
	for i := range uint64(expiringHashes) {
		at := (h>>32*i + h) % uint64(64*len(x.words))
		x.words[at/64] |= 1 << (at % 64)
	}
}

func (x *expiring) may(name []byte) bool {
	if x.all {
		return true
	}
	h := xxhash.Sum64(name)
	for i := range uint64(expiringHashes) {
		at := (h>>32*i + h) % uint64(64*len(x.words))
		if x.words[at/64]&(1<<(at%64)) == 0 {
			return false
		}
	}
	return true
}

// Expires says that the full copy gave a key an expiry. It goes before Begin,
// which without a fresh copy takes all keys for such.
func (a *Applier) Expires(r *record.Record) {
	if r.ExpireAt != 0 && a.opts.Reread != nil {
		a.expiring.add(a.opts.Choice.Name(nil, r.DB, r.Key))
	}
}

// makesNone are commands that make no key where there is none: they do nothing
// there, or fail, which is noticed.
var makesNone = map[string]bool{
	"EXPIRE": true, "EXPIREAT": true, "PEXPIRE": true, "PEXPIREAT": true, "PERSIST": true, "GETEX": true, "GETDEL": true,
	"DELEX": true, "DELIFEQ": true, "PFCOUNT": true,
	"HDEL": true, "HGETDEL": true, "HGETEX": true, "HPERSIST": true, "HEXPIRE": true, "HEXPIREAT": true, "HPEXPIRE": true, "HPEXPIREAT": true,
	"LPOP": true, "RPOP": true, "LREM": true, "LTRIM": true, "LSET": true, "LINSERT": true, "LPUSHX": true, "RPUSHX": true,
	"SREM": true, "SPOP": true, "ZREM": true, "ZPOPMIN": true, "ZPOPMAX": true, "ZREMRANGEBYLEX": true, "ZREMRANGEBYRANK": true, "ZREMRANGEBYSCORE": true,
	"XACK": true, "XACKDEL": true, "XAUTOCLAIM": true, "XCLAIM": true, "XDEL": true, "XDELEX": true, "XSETID": true, "XTRIM": true,
	"VREM": true, "VSETATTR": true,
}

// noteExpiry notes keys that get an expiry.
func (a *Applier) noteExpiry(e *effect.Effect) {
	if e.ExpireAt == 0 || a.opts.Reread == nil {
		return
	}
	for i := range a.keys[:len(e.Keys)] {
		a.expiring.add(a.keys[i].name)
	}
}

// ask puts the question in front of a command, if it needs that. They stay
// together until the command follows.
func (a *Applier) ask(c *record.Command, e *effect.Effect, keys []key) error {
	if a.opts.Reread == nil || e.Blind || makesNone[e.Name] {
		return nil
	}
	a.question = a.question[:0]
	asked := 0
	for i := range keys {
		if a.expiring.may(keys[i].name) {
			a.question = resp.AppendArray(a.question, 2)
			a.question = resp.AppendBulk(a.question, existsName)
			a.question = resp.AppendBulk(a.question, keys[i].name)
			asked++
		}
	}
	if asked == 0 {
		return nil
	}
	raw := c.Raw
	if raw == nil {
		raw = appendWords(nil, c.Words)
	}
	if a.group < 0 {
		a.group, a.asking = len(a.staged), true
	}
	q, err := a.stage(keys[0].slot, a.question, raw, asked)
	if err != nil {
		return err
	}
	seg := a.tracker.Load().Current()
	seg.Add()
	q.segment, q.db, q.lives, q.joined, q.question = seg, int32(c.DB), true, true, true
	return nil
}

// asked ends what ask has begun.
func (a *Applier) asked() {
	if a.asking {
		a.group, a.asking = -1, false
	}
}

var existsName = []byte("EXISTS")
