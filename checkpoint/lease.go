package checkpoint

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Lease is how long a lock in the target outlives a run that died. A living
// run renews it every few seconds.
const Lease = 30 * time.Second

// renewals are tried so often within the time of a lease.
const renewals = 15

// ErrUnsure means that the lock was not renewed for so long that another run
// may have it.
var ErrUnsure = errors.New("the checkpoint's lock in the target could not be renewed in time")

// lease is a lock in the target that ends by itself unless it is renewed. Its
// value is the holder's token and a number that grows, so that others see
// whether the holder lives.
type lease struct {
	client     redis.UniversalClient
	lock, kept string // keys: the lock's own, and that of what is kept under it
	token      string
	term       time.Duration
	stop       context.CancelFunc
	ended      chan struct{}

	mu     sync.Mutex
	number int
	before string    // who saved what was there when the lease was taken, "" for nobody
	since  time.Time // when the last renewal that was granted was asked for
	lost   bool
}

// takeLease takes the lock and keeps it until close. It waits for the end of a
// lease whose holder is dead; ErrLocked means that the holder lives.
func takeLease(ctx context.Context, client redis.UniversalClient, lock, kept string, term time.Duration) (*lease, error) {
	l := &lease{client: client, lock: lock, kept: kept, token: rand.Text(), term: term, ended: make(chan struct{})}
	if err := l.take(ctx); err != nil {
		return nil, err
	}
	ctx, l.stop = context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		defer close(l.ended)
		l.keep(ctx)
	}()
	return l, nil
}

func (l *lease) take(ctx context.Context) error {
	held := ""
	for begun := time.Now(); ; {
		asked := time.Now()
		err := l.client.SetArgs(ctx, l.lock, l.value(), redis.SetArgs{Mode: "NX", TTL: l.term}).Err()
		if err == nil {
			l.since = asked
			return nil
		}
		if !errors.Is(err, redis.Nil) {
			return fmt.Errorf("take the checkpoint's lock in the target: %w", err)
		}
		now, err := l.client.Get(ctx, l.lock).Result()
		switch {
		case errors.Is(err, redis.Nil):
			continue // it ended between both questions
		case err != nil:
			return fmt.Errorf("look at the checkpoint's lock in the target: %w", err)
		case held != "" && now != held, sinceThen(begun) > l.term+l.term/5:
			return fmt.Errorf("%s: %w", l.lock, ErrLocked)
		}
		held = now
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(l.term / renewals / 2):
		}
	}
}

// value is a new one for the lock. The caller holds mu, or has the lease alone.
func (l *lease) value() string {
	l.number++
	return l.token + ":" + strconv.Itoa(l.number)
}

// keep renews the lease until ctx ends or another run has it.
func (l *lease) keep(ctx context.Context) {
	tick := time.NewTicker(l.term / renewals)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		asking, cancel := context.WithTimeout(ctx, l.term/3)
		err := l.renew(asking, renewOnly, nil)
		cancel()
		if errors.Is(err, ErrLost) {
			return
		}
	}
}

// What a renewal does besides.
const (
	renewOnly   = "renew"
	renewSave   = "save"
	renewDelete = "delete"
)

// renewal does what only the holder may, in one step. A lock that is gone is
// taken again unless another run may have had it meanwhile: what is kept was
// saved by another one, or it is gone, and so was the lease's time.
// KEYS lock, kept. ARGV the lock's value, milliseconds, token, who saved what was
// there before ("" for nobody), whether the lease can't have ended ("1"), what to
// do, and what to keep.
var renewal = redis.NewScript(`
local holder = redis.call('GET', KEYS[1])
if holder and string.sub(holder, 1, #ARGV[3]) ~= ARGV[3] then return 0 end
if not holder then
  local kept = redis.call('GET', KEYS[2])
  local mine = kept and (string.find(kept, ARGV[3], 1, true) or ARGV[4] ~= '' and string.find(kept, ARGV[4], 1, true))
  if kept and not mine or not kept and ARGV[5] ~= '1' then return 0 end
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
if ARGV[6] == 'save' then redis.call('SET', KEYS[2], ARGV[7]) end
if ARGV[6] == 'delete' then redis.call('DEL', KEYS[2]) end
return 1`)

// renew renews the lease, and saves or deletes what is kept. ErrLost means that
// nothing was done, as another run has the lock or has had it.
func (l *lease) renew(ctx context.Context, do string, data []byte) error {
	asked := time.Now()
	l.mu.Lock()
	value, before, fresh := l.value(), l.before, "0"
	if sinceThen(l.since) < l.term {
		fresh = "1"
	}
	lost := l.lost
	l.mu.Unlock()
	if lost {
		return fmt.Errorf("%s: %w", l.lock, ErrLost)
	}
	held, err := renewal.Run(ctx, l.client, []string{l.lock, l.kept},
		value, l.term.Milliseconds(), l.token, before, fresh, do, data).Int()
	if err != nil {
		// A replica may have taken over from the lock's master; by itself the client
		// would look for it once a minute only, and nothing is written meanwhile.
		if c, ok := l.client.(*redis.ClusterClient); ok {
			c.ReloadState(ctx)
		}
		return fmt.Errorf("renew the checkpoint's lock in the target: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if held == 0 {
		l.lost = true
		return fmt.Errorf("%s: %w", l.lock, ErrLost)
	}
	if asked.After(l.since) {
		l.since = asked
	}
	return nil
}

// Held tells whether this run may write: nil while no other can have the lock,
// ErrUnsure when that is not known, ErrLost when another has it or has had it.
func (l *lease) Held() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.lost:
		return fmt.Errorf("%s: %w", l.lock, ErrLost)
	case sinceThen(l.since) > l.term-l.term/10: // clocks don't run alike
		return fmt.Errorf("%s: %w", l.lock, ErrUnsure)
	}
	return nil
}

// release deletes a lock that is still this run's.
var release = redis.NewScript(`
local holder = redis.call('GET', KEYS[1])
if holder and string.sub(holder, 1, #ARGV[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0`)

// close gives the lease back.
func (l *lease) close(ctx context.Context) error {
	l.stop()
	<-l.ended
	if err := release.Run(ctx, l.client, []string{l.lock}, l.token).Err(); err != nil {
		return fmt.Errorf("release the checkpoint's lock in the target: %w", err)
	}
	return nil
}

// sinceThen is how long ago t was, by the clock on the wall or by the one that
// can't be set, whichever says more: while a machine is suspended one of them
// may stand still.
func sinceThen(t time.Time) time.Duration {
	now := time.Now()
	return max(now.Sub(t), now.Round(0).Sub(t.Round(0)))
}

// withHolder puts the token of who saves into the stored form of a checkpoint,
// beside what its checksum is over.
func withHolder(data []byte, token string) []byte {
	return []byte(strings.Replace(string(data), "{", `{"holder":"`+token+`",`, 1))
}

// holderOf returns the token of who saved, "" if there is none.
func holderOf(data []byte) string {
	rest, ok := strings.CutPrefix(string(data[:min(len(data), 100)]), `{"holder":"`)
	token, _, end := strings.Cut(rest, `"`)
	if !ok || !end {
		return ""
	}
	return token
}
