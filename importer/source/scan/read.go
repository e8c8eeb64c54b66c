package scan

import (
	"context"
	"encoding/binary"
	"fmt"
	"strconv"
	"sync"

	"github.com/slotferry/slotferry/importer/record"
)

const (
	readAsked   = 64   // values asked for in one write, at most
	existsAsked = 1000 // keys
	idleKept    = 4    // connections
)

// Value is one key's value as it is now.
type Value struct {
	Gone     bool   // no such key, or no longer
	Denied   string // why the value can't be read, "" if it can
	Type     byte   // RDB value type
	Body     []byte // serialized value without its type byte and footer; valid until the next one
	Version  uint16 // RDB version in the footer
	ExpireAt int64  // Unix milliseconds; 0 means no expiry
}

// Read reads keys of one database again and gives each its value, in order, each
// once. Values are held one at a time. Connections that break are made again, as
// in Stream; what concerns one key only (the user may not read it, its value is
// longer than MaxValue) is told as Denied. It may run beside a Stream.
func (s *Source) Read(ctx context.Context, db int, keys [][]byte, each func(i int, v Value) error) error {
	told := 0
	return s.persist(ctx, &told, func() error {
		return s.on(ctx, db, func(p *pipe) error {
			for told < len(keys) {
				batch := keys[told:min(told+min(readAsked, p.flight.keys()), len(keys))]
				for _, key := range batch {
					p.appendKey(key)
				}
				if err := p.send(); err != nil {
					return err
				}
				for _, key := range batch {
					if err := p.readKey(key); err != nil {
						return err
					}
					told++
					if err := each(told-1, p.toValue()); err != nil {
						return err
					}
				}
			}
			return nil
		})
	})
}

func (p *pipe) toValue() Value {
	switch r := &p.record; r.Fate {
	case record.Gone:
		return Value{Gone: true}
	case record.Refused:
		return Value{Denied: r.Reason}
	default:
		return Value{Type: r.Type, Body: r.Value, Version: binary.LittleEndian.Uint16(r.Footer), ExpireAt: r.ExpireAt}
	}
}

// Exists tells which keys of one database are there now. It asks for their
// expiry, for which a scan needs the right anyway. A key whose name is outside
// the user's patterns counts as there: nothing tells that it is missing.
func (s *Source) Exists(ctx context.Context, db int, keys [][]byte) ([]bool, error) {
	there, told := make([]bool, len(keys)), 0
	err := s.persist(ctx, &told, func() error {
		return s.on(ctx, db, func(p *pipe) error {
			for told < len(keys) {
				batch := keys[told:min(told+existsAsked, len(keys))]
				for _, key := range batch {
					p.appendExpiry(key)
				}
				if err := p.send(); err != nil {
					return err
				}
				for range batch {
					p.record = record.Record{DB: db}
					if err := p.readExpiry(); err != nil {
						return err
					}
					there[told] = p.record.Fate != record.Gone
					told++
				}
			}
			return nil
		})
	})
	return there, err
}

// on runs do on a connection that has the database selected: one that was used
// before, if there is.
func (s *Source) on(ctx context.Context, db int, do func(p *pipe) error) (err error) {
	p := s.idle.take()
	if p == nil {
		if p, err = s.dial(ctx, s.version); err != nil {
			return err
		}
		p.record.DB = -1 // none is selected
	}
	stop := context.AfterFunc(ctx, func() { _ = p.conn.Close() })
	defer func() {
		if whole := stop(); whole && err == nil {
			s.idle.give(p)
		} else {
			_ = p.conn.Close()
		}
	}()
	p.ctx = ctx
	if p.record.DB < 0 {
		if err := p.prepare(); err != nil {
			return err
		}
	}
	if p.record.DB != db {
		if err := p.ask(false, "SELECT", strconv.Itoa(db)); err != nil {
			return fmt.Errorf("database %d: %w", db, err)
		}
		p.record.DB = db
	}
	return do(p)
}

// idle are connections of Read and Exists between two calls.
type idle struct {
	mu     sync.Mutex
	pipes  []*pipe
	closed bool
}

func (i *idle) take() *pipe {
	i.mu.Lock()
	defer i.mu.Unlock()
	n := len(i.pipes) - 1
	if n < 0 {
		return nil
	}
	p := i.pipes[n]
	i.pipes = i.pipes[:n]
	return p
}

func (i *idle) give(p *pipe) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.closed || len(i.pipes) == idleKept {
		_ = p.conn.Close()
		return
	}
	i.pipes = append(i.pipes, p)
}

func (i *idle) close() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.closed = true
	for _, p := range i.pipes {
		_ = p.conn.Close()
	}
	i.pipes = nil
}
