package dataset

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"
)

const (
	scanCount = 1000
	batchKeys = 500 // keys read from both sides in one go
	workers   = 2

	valueReads = 8 // by a worker at the same time, where DUMP says too little

	// ttlTolerance holds where a side is older than 7.0: it tells only how long
	// a key has left, not until when.
	ttlTolerance = 5 * time.Second

	movedTolerance = time.Second // of CompareOptions.Moved
)

// CompareOptions say what the target ought to hold.
type CompareOptions struct {
	DBs []int // of the source; nil: all that hold keys

	// Name returns the key's name on the target, false if it should not be
	// there; nil: the same name.
	Name func(db int, key string) (string, bool)

	// Ignore tells which further names on the target are no surprise.
	Ignore func(name string) bool

	// IgnoreConsumerTimes leaves out when stream consumers were last seen, which
	// native commands can't set.
	IgnoreConsumerTimes bool

	// IgnoreEntriesRead leaves out how many entries a stream's group has read: the
	// servers' replication does not carry it, so that their own replicas differ.
	IgnoreEntriesRead bool

	// Moved tells that slots were moved meanwhile: MIGRATE carries the time that is
	// left, so that each move shifts expiries by about a millisecond.
	Moved bool
}

// Compare reads every key of the source and its counterpart on the target, by
// DUMP and expiry, and where the bytes differ by value: the order within a hash
// or set and the encoding don't count. Then it looks for names on the target's
// masters that should not be there. Both sides ought to be quiet meanwhile.
func Compare(ctx context.Context, src *redis.Client, target *redis.ClusterClient, o CompareOptions) (Report, error) {
	// Replies come in the shapes of RESP2, whatever the caller's clients speak.
	srcOptions, targetOptions := *src.Options(), *target.Options()
	srcOptions.Protocol, targetOptions.Protocol = 2, 2
	src, target = redis.NewClient(&srcOptions), redis.NewClusterClient(&targetOptions)
	defer func() { _ = errors.Join(src.Close(), target.Close()) }()

	c := &comparison{
		target: target, o: o, seed: maphash.MakeSeed(), expected: map[uint64]uint64{}, report: &Report{},
	}
	if err := c.probe(ctx, src); err != nil {
		return Report{}, err
	}
	dbs := o.DBs
	if dbs == nil {
		var err error
		if dbs, err = usedDBs(ctx, src); err != nil {
			return Report{}, err
		}
	}
	for _, db := range dbs {
		if err := c.compareDB(ctx, src, db); err != nil {
			return Report{}, fmt.Errorf("comparing database %d: %w", db, err)
		}
	}
	if err := c.findExtra(ctx); err != nil {
		return Report{}, fmt.Errorf("looking for extra keys: %w", err)
	}
	c.report.sort()
	return *c.report, nil
}

// comparison is the state of one Compare.
type comparison struct {
	target *redis.ClusterClient
	o      CompareOptions
	pttl   bool // a side has no PEXPIRETIME
	seed   maphash.Seed

	srcAble, targetAble abilities

	// expected maps the hash of each name that the target should hold to the hash
	// of the source's database and key: SCAN may give a key twice, and two keys
	// may have been mapped to one name. 64 bits each, whatever the names' length.
	expected map[uint64]uint64

	mu     sync.Mutex // guards report
	report *Report
}

// pair is one key and its name on the target.
type pair struct {
	db        int
	key, name string
}

func (p pair) String() string {
	s := fmt.Sprintf("%q", p.key)
	if p.db != 0 {
		s += " of database " + strconv.Itoa(p.db)
	}
	if p.name != p.key {
		s += fmt.Sprintf(" as %q", p.name)
	}
	return s
}

// probe asks both sides what they know.
func (c *comparison) probe(ctx context.Context, src *redis.Client) (err error) {
	if c.srcAble, err = probe(ctx, src); err != nil {
		return fmt.Errorf("asking the source what it knows: %w", err)
	}
	if c.targetAble, err = probe(ctx, c.target); err != nil {
		return fmt.Errorf("asking the target what it knows: %w", err)
	}
	if !c.srcAble.expireTime || !c.targetAble.expireTime {
		c.pttl, c.report.TTLTolerance = true, ttlTolerance
	} else if c.o.Moved {
		c.report.TTLTolerance = movedTolerance
	}
	return nil
}

func usedDBs(ctx context.Context, src *redis.Client) ([]int, error) {
	info, err := src.Info(ctx, "keyspace").Result()
	if err != nil {
		return nil, fmt.Errorf("asking for the databases: %w", err)
	}
	dbs := []int{}
	for line := range strings.Lines(info) {
		name, _, ok := strings.Cut(line, ":keys=")
		if n, err := strconv.Atoi(strings.TrimPrefix(name, "db")); ok && err == nil {
			dbs = append(dbs, n)
		}
	}
	return dbs, nil
}

// compareDB scans one database of the source; the workers read what was found.
func (c *comparison) compareDB(ctx context.Context, src *redis.Client, db int) error {
	options := *src.Options()
	options.DB = db
	client := redis.NewClient(&options)
	defer func() { _ = client.Close() }()

	batches := make(chan []pair, workers)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(batches)
		return c.scan(ctx, client, db, batches)
	})
	for range workers {
		g.Go(func() error {
			for batch := range batches {
				if err := c.compareBatch(ctx, client, batch); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

func (c *comparison) scan(ctx context.Context, client *redis.Client, db int, batches chan<- []pair) error {
	send := func(batch []pair) error {
		select {
		case batches <- batch:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	var batch []pair
	var cursor uint64
	for {
		keys, next, err := client.Scan(ctx, cursor, "", scanCount).Result()
		if err != nil {
			return err
		}
		for _, key := range keys {
			if p := (pair{db: db, key: key}); c.expect(&p) {
				batch = append(batch, p)
			}
			if len(batch) == batchKeys {
				if err := send(batch); err != nil {
					return err
				}
				batch = nil
			}
		}
		if cursor = next; cursor == 0 {
			return send(batch)
		}
	}
}

// expect names the key's counterpart and reports whether to compare the two.
func (c *comparison) expect(p *pair) bool {
	name, wanted := p.key, true
	if c.o.Name != nil {
		name, wanted = c.o.Name(p.db, p.key)
	}
	if !wanted {
		return false
	}
	p.name = name
	hash, origin := maphash.String(c.seed, name), maphash.String(c.seed, strconv.Itoa(p.db)+":"+p.key)
	if before, ok := c.expected[hash]; ok {
		if before != origin {
			c.note(func(r *Report) { r.Different.add("%s: another key has the same name", p) })
		}
		return false
	}
	c.expected[hash] = origin
	return true
}

// note writes to the report.
func (c *comparison) note(f func(*Report)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(c.report)
}

// reading is what one side says of one key.
type reading struct {
	dump   *redis.StringCmd
	expiry *redis.DurationCmd // -1 ns: never; -2 ns: no such key
}

func (c *comparison) read(ctx context.Context, side redis.Cmdable, batch []pair, name func(pair) string) ([]reading, error) {
	pipe := side.Pipeline()
	readings := make([]reading, len(batch))
	for i, p := range batch {
		readings[i].dump = pipe.Dump(ctx, name(p))
		if c.pttl {
			readings[i].expiry = pipe.PTTL(ctx, name(p))
		} else {
			readings[i].expiry = pipe.PExpireTime(ctx, name(p))
		}
	}
	_, _ = pipe.Exec(ctx) // each reply's error counts
	for i, r := range readings {
		if err := r.dump.Err(); err != nil && !errors.Is(err, redis.Nil) {
			return nil, fmt.Errorf("DUMP %q: %w", name(batch[i]), err)
		}
		if err := r.expiry.Err(); err != nil {
			return nil, fmt.Errorf("expiry of %q: %w", name(batch[i]), err)
		}
	}
	return readings, nil
}

func (c *comparison) compareBatch(ctx context.Context, src *redis.Client, batch []pair) error {
	if len(batch) == 0 {
		return nil
	}
	want, err := c.read(ctx, src, batch, func(p pair) string { return p.key })
	if err != nil {
		return fmt.Errorf("source: %w", err)
	}
	got, err := c.read(ctx, c.target, batch, func(p pair) string { return p.name })
	if err != nil {
		return fmt.Errorf("target: %w", err)
	}
	details := make([]string, len(batch)) // how values differ
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(valueReads)
	for i, p := range batch {
		a, b := want[i].dump, got[i].dump
		if a.Err() == nil && b.Err() == nil && a.Val() != b.Val() {
			g.Go(func() (err error) {
				if details[i], err = c.compareValue(ctx, src, p); err != nil {
					err = fmt.Errorf("%s: %w", p, err)
				}
				return err
			})
		}
	}
	if err := g.Wait(); err != nil {
		return err
	}
	c.note(func(r *Report) {
		for i, p := range batch {
			c.judge(r, p, want[i], got[i], details[i])
		}
	})
	return nil
}

func (c *comparison) judge(r *Report, p pair, want, got reading, detail string) {
	if want.dump.Err() != nil { // it expired since the SCAN
		r.Vanished++
		return
	}
	r.Compared++
	if got.dump.Err() != nil {
		r.Missing.add("%s", p)
		return
	}
	if detail != "" {
		r.Different.add("%s: %s", p, detail)
	}
	if a, b := want.expiry.Val(), got.expiry.Val(); !c.sameExpiry(a, b) {
		r.TTL.add("%s: expiry %s, not %s", p, expiryText(b), expiryText(a))
	}
}

func (c *comparison) sameExpiry(a, b time.Duration) bool {
	if a < 0 || b < 0 {
		return a == b
	}
	return (a - b).Abs() <= c.report.TTLTolerance
}

func expiryText(d time.Duration) string {
	if d < 0 {
		return "never"
	}
	return strconv.FormatInt(d.Milliseconds(), 10) + " ms"
}

// findExtra scans every master: a name that is not expected, or that two masters
// hold, is extra.
func (c *comparison) findExtra(ctx context.Context) error {
	holder := make(map[uint64]string, len(c.expected)) // hash of the name → address
	return c.target.ForEachMaster(ctx, func(ctx context.Context, master *redis.Client) error {
		addr := master.Options().Addr
		var cursor uint64
		for {
			keys, next, err := master.Scan(ctx, cursor, "", scanCount).Result()
			if err != nil {
				return err
			}
			c.note(func(r *Report) {
				for _, key := range keys {
					hash := maphash.String(c.seed, key)
					first, seen := holder[hash]
					holder[hash] = addr
					switch _, ok := c.expected[hash]; {
					case seen && first == addr:
					case seen:
						r.Extra.add("%q is on %s and on %s", key, first, addr)
					case !ok && (c.o.Ignore == nil || !c.o.Ignore(key)):
						r.Extra.add("%q on %s", key, addr)
					}
				}
			})
			if cursor = next; cursor == 0 {
				return nil
			}
		}
	})
}
