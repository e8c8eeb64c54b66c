package aof

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	// headBytes is how much of each file's beginning goes into its identity.
	headBytes = 4 << 10
	// onlyHead is the same for one that grows and is the only one. An RDB has told
	// its time by then.
	onlyHead = 128
)

// part is one file, as it was when it was opened.
type part struct {
	entry
	path     string
	file     *os.File
	size     int64
	modified time.Time
	start    int64 // bytes of the files before it
	preamble bool  // begins with an RDB
}

func (p *part) end() int64 { return p.start + p.size }

// files are those that are read, the base first. Places in them are counted
// over all of them, in their order.
type files struct{ parts []*part }

func (f *files) last() *part { return f.parts[len(f.parts)-1] }

func (f *files) size() int64 {
	if len(f.parts) == 0 {
		return 0
	}
	return f.last().end()
}

// at says which file a place is in, and where there.
func (f *files) at(place int64) (*part, int64) {
	for _, p := range f.parts {
		if place < p.end() || p == f.last() {
			return p, place - p.start
		}
	}
	return nil, 0
}

func (f *files) close() error {
	var errs []error
	for _, p := range f.parts {
		errs = append(errs, p.file.Close())
	}
	f.parts = nil
	return errors.Join(errs...)
}

// open finds the files that a path names, and opens all of them, so that they
// stay readable when a live server writes them anew.
func (f *files) open(path string) error {
	entries, dir, err := list(path)
	if err != nil {
		return err
	}
	start := int64(0)
	for _, e := range entries {
		p := &part{entry: e, path: filepath.Join(dir, e.name), start: start}
		if p.file, err = os.Open(p.path); err != nil {
			if len(entries) > 1 && errors.Is(err, fs.ErrNotExist) {
				err = fmt.Errorf("%s is named by the manifest but is not there", p.path)
			}
			return errors.Join(err, f.close())
		}
		f.parts = append(f.parts, p)
		info, err := p.file.Stat()
		if err == nil && !info.Mode().IsRegular() {
			err = fmt.Errorf("%s is not a regular file", p.path)
		}
		if err == nil {
			p.size, p.modified = info.Size(), info.ModTime()
			start = p.end()
			p.preamble, err = p.magic()
		}
		if err != nil {
			return errors.Join(err, f.close())
		}
	}
	return nil
}

// magic tells whether the file begins with an RDB. Only the first one of a set
// may.
func (p *part) magic() (bool, error) {
	if p.kind != kindBase {
		return false, nil
	}
	head := make([]byte, min(6, p.size))
	if _, err := p.file.ReadAt(head, 0); err != nil {
		return false, err
	}
	return strings.HasPrefix(string(head), "REDIS") || string(head) == "VALKEY", nil
}

// list says which files a path means, and in which folder they are.
func list(path string) ([]entry, string, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, "", err
	case info.IsDir():
		found, err := manifests(path)
		if err != nil {
			return nil, "", err
		}
		if len(found) != 1 {
			return nil, "", notOne(path, found)
		}
		entries, err := readManifest(found[0])
		return entries, path, err
	case strings.HasSuffix(path, ".manifest"):
		entries, err := readManifest(path)
		return entries, filepath.Dir(path), err
	}
	dir, name := filepath.Dir(path), filepath.Base(path)
	found, err := manifests(dir)
	if err != nil {
		return nil, "", err
	}
	for _, m := range found {
		entries, err := readManifest(m)
		if err != nil {
			continue // of other files, which were not named
		}
		for _, e := range entries {
			if e.name == name {
				return nil, "", fmt.Errorf("%s is one of several files that belong together; name their manifest %s", path, m)
			}
		}
	}
	return []entry{{name: name, seq: 1, kind: kindBase}}, dir, nil
}

func manifests(dir string) (found []string, err error) {
	all, err := os.ReadDir(dir)
	for _, e := range all {
		if strings.HasSuffix(e.Name(), ".manifest") {
			found = append(found, filepath.Join(dir, e.Name()))
		}
	}
	return found, err
}

// notOne says which path would do.
func notOne(dir string, found []string) error {
	if len(found) > 0 {
		return fmt.Errorf("%s holds several manifests; name one of them: %s", dir, strings.Join(found, ", "))
	}
	const usual = "appendonlydir"
	if inner, err := manifests(filepath.Join(dir, usual)); err == nil && len(inner) > 0 {
		return fmt.Errorf("%s holds no manifest, but %s does: name that", dir, filepath.Join(dir, usual))
	}
	return fmt.Errorf("%s holds no manifest (NAME.aof.manifest)", dir)
}

func readManifest(path string) ([]entry, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	text, err := io.ReadAll(io.LimitReader(file, maxManifest+1))
	if err == nil && len(text) > maxManifest {
		err = fmt.Errorf("%w: longer than %d bytes", errManifest, maxManifest)
	}
	var entries []entry
	if err == nil {
		entries, err = parseManifest(text)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return entries, nil
}

// identity is the same for the same files until something else than appending
// to the last one was done to them.
func (f *files) identity(until time.Time) (string, error) {
	sum := f.sum(until)
	for _, p := range f.parts {
		size, head := p.size, p.size
		if p == f.last() {
			size, head = 0, min(head, onlyHead)
			if len(f.parts) > 1 {
				head = 0 // it may hold next to nothing yet
			}
		}
		if err := p.sum(sum, size, head); err != nil {
			return "", err
		}
	}
	return short(sum), nil
}

// contents names what the files hold before a place.
func (f *files) contents(until time.Time, end int64) (string, error) {
	sum := f.sum(until)
	for _, p := range f.parts {
		if p.start > 0 && p.start >= end {
			break
		}
		size := min(p.size, end-p.start)
		if err := p.sum(sum, size, size); err != nil {
			return "", err
		}
	}
	return short(sum), nil
}

// touched changes when a file was written to.
func (f *files) touched() string {
	sum := sha256.New()
	for _, p := range f.parts {
		number(sum, p.size, p.modified.UnixNano())
	}
	return short(sum)
}

func (f *files) sum(until time.Time) hash.Hash {
	sum := sha256.New()
	at := int64(0)
	if !until.IsZero() {
		at = until.UnixMilli()
	}
	number(sum, at)
	return sum
}

// sum adds what a file is, and its first bytes.
func (p *part) sum(to hash.Hash, size, head int64) error {
	number(to, int64(p.kind), p.seq, size)
	if _, err := io.Copy(to, io.NewSectionReader(p.file, 0, min(head, headBytes))); err != nil {
		return fmt.Errorf("%s: %w", p.path, err)
	}
	return nil
}

func number(to hash.Hash, numbers ...int64) {
	for _, n := range numbers {
		_ = binary.Write(to, binary.LittleEndian, n)
	}
}

func short(sum hash.Hash) string { return hex.EncodeToString(sum.Sum(nil)[:12]) }
