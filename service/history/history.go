// Package history keeps the past runs of jobs in one file, over restarts, and
// drops them when they are old. A file that is damaged is set aside and begun
// anew: what it tells of is over, and must not keep jobs from running.
package history

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"
	"go.uber.org/zap"

	"github.com/slotferry/slotferry/service"
)

// ErrLocked means that another process has the history open.
var ErrLocked = errors.New("another slotferry serve is using this folder")

// FileName is the history's name in the service's folder.
const FileName = "history.db"

// Options is a history; zero fields take the defaults noted.
type Options struct {
	Keep time.Duration    // how long a run is kept after it began; 90 days
	Now  func() time.Time // time.Now
	Log  *zap.Logger      // none
}

// Store is an open history. Its methods may be called from any goroutine.
type Store struct {
	opts   Options
	db     *bbolt.DB
	broken atomic.Bool // it was damaged meanwhile, and is left alone
}

// The buckets. Runs are by ID, eight bytes, big end first; byJob has names of
// jobs, a zero byte and that; open has the IDs of runs that are going on.
var (
	runsBucket  = []byte("runs")
	byJobBucket = []byte("by_job")
	openBucket  = []byte("open")
	marksBucket = []byte("marks")
)

// Open opens the history in a folder, and makes both if need be. Runs that were
// going on when their process died are interrupted from now on.
func Open(folder string, o Options) (*Store, error) {
	if o.Keep == 0 {
		o.Keep = 90 * 24 * time.Hour
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("making the folder: %w", err)
	}
	path := filepath.Join(folder, FileName)
	db, err := openSound(path, bbolt.Options{})
	var damaged *damagedError
	if errors.As(err, &damaged) {
		aside := fmt.Sprintf("%s.damaged-%s", path, o.Now().UTC().Format("20060102-150405.000"))
		if err := os.Rename(path, aside); err != nil {
			return nil, fmt.Errorf("setting a damaged history aside: %w", err)
		}
		o.Log.Warn("the history is damaged; it was set aside, and begins anew", zap.String("kept_as", aside), zap.Error(err))
		db, err = openSound(path, bbolt.Options{})
	}
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	s := &Store{opts: o, db: db}
	if err := s.guarded(func() error { return s.db.Update(s.begin) }); err != nil {
		return nil, errors.Join(fmt.Errorf("opening %s: %w", path, err), s.Close())
	}
	return s, nil
}

// begin makes the buckets, and ends the runs of a process that died.
func (s *Store) begin(tx *bbolt.Tx) error {
	for _, name := range [][]byte{runsBucket, byJobBucket, openBucket, marksBucket} {
		if _, err := tx.CreateBucketIfNotExists(name); err != nil {
			return err
		}
	}
	var left []service.Run
	err := tx.Bucket(openBucket).ForEach(func(id, _ []byte) error {
		r, ok := decode(tx.Bucket(runsBucket).Get(id))
		if !ok {
			r = service.Run{ID: binary.BigEndian.Uint64(id)}
		}
		left = append(left, r)
		return nil
	})
	if err != nil {
		return err
	}
	for _, r := range left {
		r.Status, r.Error = service.Interrupted, "the process ended during the run"
		if err := putRun(tx, &r); err != nil {
			return err
		}
	}
	return s.prune(tx)
}

// Close closes the file.
func (s *Store) Close() error {
	if s.broken.Load() {
		return nil // its locks may be held forever
	}
	return s.db.Close()
}

var errBroken = errors.New("the history is damaged; a restart sets it aside and begins anew")

// guarded does something with the file, unless that was damaged meanwhile.
func (s *Store) guarded(do func() error) error {
	if s.broken.Load() {
		return errBroken
	}
	err := guarded(do)
	if damaged := new(damagedError); errors.As(err, &damaged) {
		s.broken.Store(true)
	}
	return err
}

// Put stores a mark, and a run if there is one. See service.History.
func (s *Store) Put(r *service.Run, m service.Mark) error {
	return s.guarded(func() error {
		return s.db.Update(func(tx *bbolt.Tx) error { return s.put(tx, r, m) })
	})
}

func (s *Store) put(tx *bbolt.Tx, r *service.Run, m service.Mark) error {
	mark, err := json.Marshal(m)
	if err != nil {
		return err
	}
	// A key must not be empty.
	if err := tx.Bucket(marksBucket).Put([]byte("job "+m.Job), mark); err != nil || r == nil {
		return err
	}
	if r.ID == 0 {
		if r.ID, err = tx.Bucket(runsBucket).NextSequence(); err != nil {
			return err
		}
	}
	if err := putRun(tx, r); err != nil {
		return err
	}
	return s.prune(tx)
}

// Runs returns runs that have ended. See service.History.
func (s *Store) Runs(job string, limit int, before uint64) (out []service.Run, err error) {
	err = s.guarded(func() error {
		return s.db.View(func(tx *bbolt.Tx) error {
			out = runs(tx, job, limit, before)
			return nil
		})
	})
	return out, err
}

// Mark returns what is remembered of a job. See service.History.
func (s *Store) Mark(job string) (m service.Mark, err error) {
	err = s.guarded(func() error {
		return s.db.View(func(tx *bbolt.Tx) error {
			text := tx.Bucket(marksBucket).Get([]byte("job " + job))
			if text == nil {
				return nil
			}
			return json.Unmarshal(text, &m)
		})
	})
	return m, err
}

func key(id uint64) []byte { return binary.BigEndian.AppendUint64(nil, id) }

func jobKey(job string, id uint64) []byte {
	return binary.BigEndian.AppendUint64(append([]byte(job), 0), id)
}

func decode(text []byte) (r service.Run, ok bool) {
	return r, text != nil && json.Unmarshal(text, &r) == nil
}

func putRun(tx *bbolt.Tx, r *service.Run) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	id := key(r.ID)
	mark := tx.Bucket(openBucket).Delete
	if r.Status == "" {
		mark = func(id []byte) error { return tx.Bucket(openBucket).Put(id, nil) }
	}
	return errors.Join(mark(id), tx.Bucket(runsBucket).Put(id, text), tx.Bucket(byJobBucket).Put(jobKey(r.Job, r.ID), nil))
}

// runs returns ended runs, newest first.
func runs(tx *bbolt.Tx, job string, limit int, before uint64) []service.Run {
	const most = 1000
	if limit <= 0 || limit > most {
		limit = most
	}
	bucket, prefix := tx.Bucket(runsBucket), []byte(nil)
	if job != "" {
		bucket, prefix = tx.Bucket(byJobBucket), append([]byte(job), 0)
	}
	from := append(bytes.Clone(prefix), key(before)...)
	if before == 0 {
		from = append(bytes.Clone(prefix), key(1<<64-1)...)
	}
	out := []service.Run{}
	c := bucket.Cursor()
	k, _ := c.Seek(from)
	if k == nil {
		k, _ = c.Last()
	}
	for ; k != nil && len(out) < limit; k, _ = c.Prev() {
		if bytes.Compare(k, from) >= 0 {
			continue
		}
		if !bytes.HasPrefix(k, prefix) {
			break
		}
		r, ok := decode(tx.Bucket(runsBucket).Get(k[len(prefix):]))
		if ok && r.Status != "" {
			out = append(out, r)
		}
	}
	return out
}

// prune drops old runs, but for the last one of each job.
func (s *Store) prune(tx *bbolt.Tx) error {
	const atOnce = 1000 // so that no Put takes long
	oldest := s.opts.Now().Add(-s.opts.Keep)
	var old [][]byte
	var jobs [][]byte
	c := tx.Bucket(runsBucket).Cursor()
	for k, text := c.First(); k != nil && len(old) < atOnce; k, text = c.Next() {
		r, ok := decode(text)
		if ok && (r.Status == "" || !r.Started.Before(oldest)) {
			break
		}
		index := append(append([]byte(r.Job), 0), k...)
		by := tx.Bucket(byJobBucket).Cursor()
		by.Seek(index)
		if next, _ := by.Next(); ok && !bytes.HasPrefix(next, index[:len(r.Job)+1]) {
			continue
		}
		old, jobs = append(old, bytes.Clone(k)), append(jobs, index)
	}
	for i, k := range old {
		if err := errors.Join(tx.Bucket(runsBucket).Delete(k), tx.Bucket(byJobBucket).Delete(jobs[i])); err != nil {
			return err
		}
	}
	return nil
}
