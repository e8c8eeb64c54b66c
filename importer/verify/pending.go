package verify

import (
	"sync"
	"sync/atomic"

	"go.uber.org/zap"

	"github.com/slotferry/slotferry/checkpoint"
	"github.com/slotferry/slotferry/importer/route"
)

const (
	pendingKeys  = 100_000  // kept for Settle at most
	pendingBytes = 32 << 20 // of their names and details
)

// doubt is a key that differed from a living source when it was last looked at.
type doubt struct {
	db      int
	key     []byte
	name    []byte
	slot    uint16
	was     verdict // how it differed
	verdict verdict // the latest
	mended  bool    // the source's value was written since was
}

func newDoubt(ch *chunk, e *entry, v verdict) *doubt {
	return &doubt{db: int(e.db), key: clone(ch.key(e)), name: clone(ch.name(e)), slot: e.slot, was: v, verdict: v}
}

// repaired tells that writing the value has helped.
func (d *doubt) repaired() bool {
	return d.mended && (d.verdict.outcome == same || d.verdict.outcome == gone)
}

func (d *doubt) difference() Difference {
	out := Difference{DB: d.db, Key: d.key, Name: d.name, Kind: d.verdict.kind, Detail: d.verdict.detail, Repaired: d.repaired()}
	switch {
	case out.Repaired:
		out.Kind, out.Detail = d.was.kind, d.was.detail
	case d.mended:
		out.Kind, out.Detail = d.was.kind, unmended(d.was, d.verdict)
	}
	return out
}

func (d *doubt) failure(why string) checkpoint.Failure {
	return checkpoint.Failure{Key: d.key, DB: d.db, Slot: d.slot, Reason: why}
}

// pending keeps what differs from a living source until it is looked at again.
type pending struct {
	mu     sync.Mutex
	doubts []*doubt
	bytes  int
	keys   atomic.Int64
	most   int // doubts
	said   sync.Once
}

// add reports whether there was room.
func (p *pending) add(d *doubt) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	size := len(d.key) + len(d.name) + len(d.was.detail)
	if len(p.doubts) >= p.most || p.bytes+size > pendingBytes {
		return false
	}
	p.doubts = append(p.doubts, d)
	p.bytes += size
	p.keys.Add(1)
	return true
}

// replace keeps only what is still in doubt.
func (p *pending) replace(doubts []*doubt) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.doubts = doubts
	p.keys.Store(int64(len(doubts)))
}

func (p *pending) all() []*doubt {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.doubts
}

func (p *pending) sayFull(log *zap.Logger) {
	p.said.Do(func() {
		log.Warn("very many keys differ; further ones are looked at again at once and only once", zap.Int("kept", p.most))
	})
}

// Resume takes what an earlier run found and had not settled, as it stands in
// the tracker's failures: a living source is asked again, what differed from a
// file is reported as it was. It comes before the first Send.
func (c *Comparer) Resume(failures []checkpoint.Failure) {
	for _, f := range failures {
		if f.Skipped {
			c.incomparable(f)
			continue
		}
		kind, detail := parseReason(f.Reason)
		name := clone(c.opts.Name(nil, f.DB, f.Key))
		v := verdict{outcome: differs, kind: kind, detail: detail}
		d := &doubt{db: f.DB, key: f.Key, name: name, slot: route.Slot(name), was: v, verdict: v}
		if c.opts.Live == nil || !c.pending.add(d) {
			c.final(d.difference())
		}
	}
}
