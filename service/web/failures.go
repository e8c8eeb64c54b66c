package web

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// How often a wrong token may come from one client.
const (
	freeTries  = 10
	retryAfter = 6 * time.Second // for one try more
	maxClients = 1024            // that are told apart
)

// failures counts wrong tokens by client. A client that sent too many is not
// listened to for a while, not even with the right one: that would tell which
// one is right.
type failures struct {
	mu  sync.Mutex
	by  map[netip.Prefix]*rate.Limiter
	now func() time.Time
}

func newFailures() *failures {
	return &failures{by: map[netip.Prefix]*rate.Limiter{}, now: time.Now}
}

func (f *failures) mayTry(who netip.Prefix) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	l := f.by[f.known(who)]
	return l == nil || l.TokensAt(f.now()) >= 1
}

func (f *failures) add(who netip.Prefix) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.now()
	if len(f.by) >= maxClients {
		for at, l := range f.by {
			if l.TokensAt(now) >= freeTries {
				delete(f.by, at)
			}
		}
	}
	who = f.known(who)
	l := f.by[who]
	if l == nil {
		l = rate.NewLimiter(rate.Every(retryAfter), freeTries)
		f.by[who] = l
	}
	l.AllowN(now, 1)
}

// known is the client, or what stands for all that there is no more room for.
func (f *failures) known(who netip.Prefix) netip.Prefix {
	if f.by[who] == nil && len(f.by) >= maxClients {
		return netip.Prefix{}
	}
	return who
}
