package mirror

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/gofrs/flock"
)

// Names in a mirror's folder. The table's two files have the table's ID in their
// names, and the head says which ID counts: giving the head another name is what
// makes a table the one that counts.
const (
	headName    = "digest.json"
	newHeadName = ".digest.json.new"
	journalName = "journal"
	asideName   = "aside"
	lockName    = "lock"
	tablePrefix = "digest-"
	tempPrefix  = "sorting-"
)

// ErrLocked means that another run holds the mirror.
var ErrLocked = errors.New("another run is using this mirror")

// folder is where a mirror keeps its files. It follows no link out of it.
type folder struct {
	dir  string
	root *os.Root
	lock *flock.Flock
}

func openFolder(dir string) (*folder, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the mirror's folder: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open the mirror's folder: %w", err)
	}
	f := &folder{dir: dir, root: root}
	// flock would make one at the other end of a link.
	made, err := root.OpenFile(lockName, os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		err = made.Close()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock the mirror's folder: %w", err), root.Close())
	}
	f.lock = flock.New(filepath.Join(dir, lockName))
	switch ok, err := f.lock.TryLock(); {
	case err != nil:
		return nil, errors.Join(fmt.Errorf("lock the mirror's folder: %w", err), root.Close())
	case !ok:
		return nil, errors.Join(fmt.Errorf("%s: %w", dir, ErrLocked), root.Close())
	}
	return f, nil
}

func (f *folder) close() error { return errors.Join(f.lock.Close(), f.root.Close()) }

func pagesName(id uint64) string { return fmt.Sprintf("%s%016x.pages", tablePrefix, id) }
func namesName(id uint64) string { return fmt.Sprintf("%s%016x.names", tablePrefix, id) }
func trailName(id uint64) string { return fmt.Sprintf("%s%016x.trail", tablePrefix, id) }

// create makes a file that was not there, in place of one that was.
func (f *folder) create(name string) (*os.File, error) {
	if err := f.remove(name); err != nil {
		return nil, err
	}
	return f.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
}

func (f *folder) remove(name string) error {
	if err := f.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// readHead returns fs.ErrNotExist if there is none.
func (f *folder) readHead() (head, error) {
	file, err := f.root.Open(headName)
	if err != nil {
		return head{}, err
	}
	defer func() { _ = file.Close() }()
	data, err := io.ReadAll(io.LimitReader(file, maxHead+1))
	if err != nil {
		return head{}, err
	}
	h, err := decodeHead(data)
	if err != nil {
		err = fmt.Errorf("%s: %w", headName, err)
	}
	return h, err
}

// openTable opens the table that a head speaks of.
func (f *folder) openTable(h head, memory int64) (*table, error) {
	pages, err := f.root.Open(pagesName(h.ID))
	if err != nil {
		return nil, missing(err)
	}
	names, err := f.root.Open(namesName(h.ID))
	if err != nil {
		return nil, errors.Join(missing(err), pages.Close())
	}
	t, err := openTable(h, pages, names, memory)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", pagesName(h.ID), err), pages.Close(), names.Close())
	}
	return t, nil
}

func missing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", errDamaged, err)
	}
	return err
}

// commit makes a finished table the one that counts.
func (f *folder) commit(h head) error {
	data, err := seal(h)
	if err != nil {
		return err
	}
	if len(data) > maxHead {
		return fmt.Errorf("the target has too many nodes: %d bytes say which they are", len(data))
	}
	file, err := f.create(newHeadName)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	if err := f.sync(); err != nil { // the table's files have their names before they count
		return err
	}
	if err := f.root.Rename(newHeadName, headName); err != nil {
		return err
	}
	return f.sync()
}

// sync makes names durable. Windows has no such call for folders; there a rename
// itself is written through.
func (f *folder) sync() error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := f.root.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// tidy removes what crashed runs have left, but for a table that counts.
func (f *folder) tidy(keep uint64) error {
	names, err := f.list()
	for _, name := range names {
		table := strings.HasPrefix(name, tablePrefix) && name != pagesName(keep) && name != namesName(keep) && name != trailName(keep)
		if table || strings.HasPrefix(name, tempPrefix) || name == newHeadName {
			err = errors.Join(err, f.remove(name))
		}
	}
	return err
}

// aside moves all that is remembered out of the way, for somebody to look at.
// What was there from before goes.
func (f *folder) aside() error {
	if err := f.root.RemoveAll(asideName); err != nil {
		return err
	}
	if err := f.root.Mkdir(asideName, 0o700); err != nil {
		return err
	}
	names, err := f.list()
	for _, name := range names {
		if name == journalName || name == headName || strings.HasPrefix(name, tablePrefix) {
			err = errors.Join(err, f.root.Rename(name, asideName+"/"+name))
		}
	}
	return errors.Join(err, f.sync())
}

func (f *folder) list() ([]string, error) {
	d, err := f.root.Open(".")
	if err != nil {
		return nil, err
	}
	names, err := d.Readdirnames(-1)
	return names, errors.Join(err, d.Close())
}
