package history

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"

	"github.com/slotferry/slotferry/service"
)

// Snapshot is what a history holds at one moment.
type Snapshot struct {
	Serving bool // a service has it open
	Jobs    []JobRecord
}

// JobRecord is one job in a Snapshot.
type JobRecord struct {
	Mark    service.Mark
	Current *service.Run // going on, or cut short if nobody is serving
	Last    *service.Run // that has ended
}

// Read reads the history in a folder and changes nothing, also while a service
// has it open.
func Read(folder string) (Snapshot, error) {
	path := filepath.Join(folder, FileName)
	if _, err := os.Stat(path); err != nil {
		return Snapshot{}, err
	}
	const attempts = 5 // a service writes seldom, and shortly
	db, err := openSound(path, readOnly)
	serving := errors.Is(err, ErrLocked)
	for i := 0; i < attempts && serving && db == nil; i++ {
		db, err = openCopy(path)
	}
	if err != nil {
		return Snapshot{}, fmt.Errorf("reading %s: %w", path, err)
	}
	s := Snapshot{Serving: serving}
	err = guarded(func() error { return db.View(s.take) })
	return s, errors.Join(err, db.Close())
}

var readOnly = bbolt.Options{ReadOnly: true}

var errMoving = errors.New("it is being written all the time")

// openCopy opens a copy of a file that a service has open, if it was not written
// meanwhile. Its name is gone at once.
func openCopy(path string) (*bbolt.DB, error) {
	before, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "slotferry-status-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	to := filepath.Join(dir, FileName)
	if err := copyFile(path, to); err != nil {
		return nil, err
	}
	after, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !before.ModTime().Equal(after.ModTime()) || before.Size() != after.Size() {
		return nil, errMoving
	}
	return openSound(to, readOnly)
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

func (s *Snapshot) take(tx *bbolt.Tx) error {
	marks := tx.Bucket(marksBucket)
	if marks == nil {
		return nil // a service has only just made the file
	}
	current := map[string]*service.Run{}
	err := tx.Bucket(openBucket).ForEach(func(id, _ []byte) error {
		if r, ok := decode(tx.Bucket(runsBucket).Get(id)); ok {
			current[r.Job] = &r
		}
		return nil
	})
	if err != nil {
		return err
	}
	return marks.ForEach(func(k, text []byte) error {
		name := string(bytes.TrimPrefix(k, []byte("job ")))
		if name == "" { // of no job: written to see whether it can be
			return nil
		}
		j := JobRecord{Current: current[name]}
		if err := json.Unmarshal(text, &j.Mark); err != nil {
			return fmt.Errorf("job %q: %w", name, err)
		}
		if last := runs(tx, name, 1, 0); len(last) > 0 {
			j.Last = &last[0]
		}
		s.Jobs = append(s.Jobs, j)
		return nil
	})
}
