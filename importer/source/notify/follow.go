package notify

import (
	"context"
	"time"

	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/importer/wait"
)

// FollowOptions says how touched keys travel; zero fields take the defaults
// noted.
type FollowOptions struct {
	// Read gives keys of one database as they are now, in order, each once:
	// scan.Source's Records.
	Read func(ctx context.Context, db int, keys [][]byte, each func(i int, r *record.Record) error) error
	// Send takes a key's present value, or Gone for a key that is no more: the
	// target is to remove it. Filtered is a key of a type that is not chosen; it
	// may have been of a chosen one before. Records of one key come in order: one
	// with Build has to be written before the next one of its key is.
	Send func(r *record.Record) error
	// Anew is called after a gap: it carries all keys over once more and removes
	// what the source has no longer. What is touched meanwhile is gathered.
	Anew func(ctx context.Context, why error) error
	// Idle is called when nothing is pending, now and then as long as that lasts;
	// may be nil.
	Idle func() error

	Batch  int           // keys read at once; 256
	Linger time.Duration // waited for more before fewer are read, so that a busy key is not read all the time; 20 ms
}

// Follow has the keys that Run gathers read and sent until ctx ends, whose cause
// it returns. A key that is touched while it is being read is read again. Once
// the source is not written to any more and Settled says so, every chosen key
// was sent as it is, or was as it is when Follow began.
func (l *Listener) Follow(ctx context.Context, o FollowOptions) error {
	if o.Batch <= 0 {
		o.Batch = 256
	}
	if o.Linger <= 0 {
		o.Linger = 20 * time.Millisecond
	}
	for {
		if err := l.round(ctx, &o); err != nil {
			if cause := context.Cause(ctx); cause != nil {
				return cause
			}
			return err
		}
	}
}

// round does what there is to do, and waits if that is nothing.
func (l *Listener) round(ctx context.Context, o *FollowOptions) error {
	if why := l.beginAnew(); why != nil {
		defer l.endAnew()
		return o.Anew(ctx, why)
	}
	pending := l.Pending()
	if pending == 0 {
		if o.Idle != nil {
			if err := o.Idle(); err != nil {
				return err
			}
		}
		return l.waitForKeys(ctx)
	}
	if pending < o.Batch {
		if err := wait.For(ctx, o.Linger); err != nil {
			return err
		}
	}
	return l.again(ctx, o)
}

// again reads and sends the keys that have waited longest.
func (l *Listener) again(ctx context.Context, o *FollowOptions) error {
	l.mu.Lock()
	db, keys, since := l.touched.take(o.Batch)
	l.reading, l.held = since, len(keys)
	l.mu.Unlock()
	sent := 0
	err := o.Read(ctx, db, keys, func(i int, r *record.Record) error {
		if err := o.Send(r); err != nil {
			return err
		}
		sent = i + 1
		l.mu.Lock()
		defer l.mu.Unlock()
		l.held--
		l.counts.Read++
		if r.Fate == record.Gone {
			l.counts.Deleted++
		}
		return nil
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reading, l.held = time.Time{}, 0
	for _, key := range keys[sent:] { // not lost to whoever goes on
		l.addLocked(db, key, since)
	}
	return err
}

// beginAnew is Gap; what is done then counts as pending.
func (l *Listener) beginAnew() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.takeGap()
	l.anew = err != nil
	return err
}

func (l *Listener) endAnew() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.anew = false
}

// waitForKeys waits until there may be some, or a gap, for a while.
func (l *Listener) waitForKeys(ctx context.Context) error {
	t := time.NewTimer(checkEvery)
	defer t.Stop()
	select {
	case <-l.wake:
	case <-t.C:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}
