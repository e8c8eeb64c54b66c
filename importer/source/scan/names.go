package scan

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/slotferry/slotferry/importer/endpoint"
	"github.com/slotferry/slotferry/importer/preflight"
	"github.com/slotferry/slotferry/importer/route"
)

// clients asks the server what is not worth a pipe: one client a database.
type clients struct {
	first  *redis.Client // of database 0
	mu     sync.Mutex
	others map[int]*redis.Client
}

func (c *clients) of(db int) *redis.Client {
	if db == 0 {
		return c.first
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.others[db] == nil {
		o := *c.first.Options()
		o.DB = db
		if c.others == nil {
			c.others = map[int]*redis.Client{}
		}
		c.others[db] = redis.NewClient(&o)
	}
	return c.others[db]
}

func (c *clients) close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	err := c.first.Close()
	for _, other := range c.others {
		err = errors.Join(err, other.Close())
	}
	return err
}

// place is how far the names have been read.
type place struct {
	db     int
	cursor uint64
	runID  string // the cursor is good for this life of the server
	pages  int
}

// Names visits all keys once more by name, some of them twice maybe, as far as
// databases, names and slots are chosen; types are not looked at, and values
// not read. Connections that break are made again, as in Stream.
func (s *Source) Names(ctx context.Context, visit func(db int, key []byte) error) error {
	var at place
	var name []byte
	c := s.opts.Choice
	chosen := func(db int, key []byte) error {
		if c.SlotsChosen() {
			if name = c.Name(name[:0], db, key); !c.Slot(route.Slot(name)) {
				return nil
			}
		}
		return visit(db, key)
	}
	return s.persist(ctx, &at.pages, func() error {
		info, err := preflight.Look(ctx, s.clients.first)
		if err != nil {
			return failed(err, "INFO")
		}
		if info.Loading {
			return &sourceError{errors.New("the source is loading its data")}
		}
		if at.runID != info.RunID {
			at = place{runID: info.RunID, pages: at.pages}
		}
		return s.names(ctx, &at, s.databases(info), chosen)
	})
}

// names visits the names of the chosen keys of some databases, ascending, from
// a place on.
func (s *Source) names(ctx context.Context, at *place, dbs []int, visit func(db int, key []byte) error) error {
	for _, db := range dbs {
		if db < at.db {
			continue
		}
		if db > at.db {
			at.db, at.cursor = db, 0
		}
		if err := s.namesOf(ctx, at, visit); err != nil {
			return err
		}
		at.db++
	}
	return nil
}

// namesOf visits the names of the database at.db, on one connection: behind
// another one could be another life of the server, which gives the cursor
// another meaning.
func (s *Source) namesOf(ctx context.Context, at *place, visit func(db int, key []byte) error) error {
	conn := s.clients.of(at.db).Conn()
	defer func() { _ = conn.Close() }()
	if at.cursor != 0 {
		info, err := conn.Info(ctx, "server").Result()
		if err != nil {
			return failed(err, "INFO")
		}
		if !strings.Contains(info, "\nrun_id:"+at.runID) {
			return &sourceError{errors.New("the source was restarted")}
		}
	}
	for {
		w := s.pulse.Begin(s.owes("an answer to SCAN"))
		keys, next, err := conn.Scan(ctx, at.cursor, "", int64(10*s.opts.Count)).Result()
		s.pulse.End(w)
		if err != nil {
			return failed(err, "SCAN")
		}
		for _, k := range keys {
			if key := []byte(k); s.opts.Choice.Key(at.db, key) {
				if err := visit(at.db, key); err != nil {
					return err
				}
			}
		}
		at.pages++
		s.pulse.Well()
		s.pulse.Move(len(keys))
		if at.cursor = next; next == 0 {
			return nil
		}
	}
}

// failed sorts an error of a client: one that another try may mend, or not.
func failed(err error, command string) error {
	var reply redis.Error
	switch {
	case errors.Is(err, endpoint.ErrAuth):
		return fmt.Errorf("%w: %w", ErrDenied, err)
	case errors.As(err, &reply):
		return refused([]byte(reply.Error()), command)
	}
	return &sourceError{err}
}
