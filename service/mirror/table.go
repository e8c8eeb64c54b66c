package mirror

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/bits"
	"os"
	"sort"
)

// A table is two files that are written once and never changed. The first has
// pages of entries, in the order of the hashes of the names, so that the page of
// a name can be told from those of the pages' first entries. The second has the
// names themselves, a block for each page: they are needed only for what is
// gone, and when a new table is made.
//
// A page: pageEntries entries of three numbers, then where its block of names
// begins, the block's length and checksum, the number of entries, the number of
// the page, the table's ID, zeroes, and a checksum of all this. A block: names,
// each behind its length.
const (
	pageBytes   = 4096
	pageEntries = 168
	tail        = pageEntries * entryBytes

	atOffset, atLength, atNames, atCount, atPage, atID, atSum = tail, tail + 8, tail + 12, tail + 16, tail + 20, tail + 28, pageBytes - 4

	maxBlock = pageEntries * (maxName + binary.MaxVarintLen32)
)

// errDamaged means that a file is not what was written.
var errDamaged = errors.New("damaged")

// page is one page's bytes, checked.
type page []byte

func (p page) entry(i int) entry {
	return decodeEntry(p[i*entryBytes:])
}

func (p page) name(i int) uint64 { return binary.LittleEndian.Uint64(p[i*entryBytes:]) }
func (p page) count() int        { return int(binary.LittleEndian.Uint32(p[atCount:])) }
func (p page) block() (offset, length int64) {
	return int64(binary.LittleEndian.Uint64(p[atOffset:])), int64(binary.LittleEndian.Uint32(p[atLength:]))
}

func (p page) check(id uint64, n int) error {
	switch {
	case crc32.Checksum(p[:atSum], castagnoli) != binary.LittleEndian.Uint32(p[atSum:]):
		return fmt.Errorf("page %d: %w: its checksum is wrong", n, errDamaged)
	case binary.LittleEndian.Uint64(p[atID:]) != id, binary.LittleEndian.Uint64(p[atPage:]) != uint64(n):
		return fmt.Errorf("page %d: %w: it is from elsewhere", n, errDamaged)
	case p.count() < 1 || p.count() > pageEntries:
		return fmt.Errorf("page %d: %w: %d entries", n, errDamaged, p.count())
	}
	return nil
}

// table reads one. It is not safe for concurrent use.
type table struct {
	head   head
	pages  *os.File
	names  *os.File
	fences []uint64 // the first name of each page
	slab   []byte   // all pages, if they fit into memory
	cache  []page   // else some of them, by their numbers
	cached []int
}

// openTable looks at every page of a table. Where the pages take no more than
// memory they stay there, else a part of them.
func openTable(h head, pages, names *os.File, memory int64) (*table, error) {
	t := &table{head: h, pages: pages, names: names}
	n := h.pages()
	if err := sized(pages, n*pageBytes); err != nil {
		return nil, err
	}
	if err := sized(names, h.NamesBytes); err != nil {
		return nil, err
	}
	t.fences = make([]uint64, 0, n)
	if n*pageBytes <= memory {
		t.slab = make([]byte, n*pageBytes)
		if _, err := pages.ReadAt(t.slab, 0); err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
	} else {
		slots := max(1, memory/pageBytes)
		t.cache, t.cached = make([]page, slots), make([]int, slots)
	}
	in := bufio.NewReaderSize(io.NewSectionReader(pages, 0, n*pageBytes), 1<<20)
	buf := make(page, pageBytes)
	var last uint64
	var keys, offset int64
	for i := range int(n) {
		p := buf
		if t.slab != nil {
			p = t.slab[i*pageBytes : (i+1)*pageBytes]
		} else if _, err := io.ReadFull(in, p); err != nil {
			return nil, err
		}
		if err := p.check(h.ID, i); err != nil {
			return nil, err
		}
		at, length := p.block()
		if at != offset || length > maxBlock {
			return nil, fmt.Errorf("page %d: %w: its names are not behind those of the last one", i, errDamaged)
		}
		offset += length
		for k := range p.count() {
			if p.name(k) <= last && (i > 0 || k > 0) {
				return nil, fmt.Errorf("page %d: %w: entries out of order", i, errDamaged)
			}
			last = p.name(k)
		}
		if p.count() != pageEntries && i < int(n)-1 {
			return nil, fmt.Errorf("page %d: %w: not full", i, errDamaged)
		}
		t.fences = append(t.fences, p.name(0))
		keys += int64(p.count())
	}
	if keys != h.Keys || offset != h.NamesBytes {
		return nil, fmt.Errorf("%w: %d keys instead of %d", errDamaged, keys, h.Keys)
	}
	return t, nil
}

func sized(f *os.File, want int64) error {
	info, err := f.Stat()
	if err == nil && info.Size() != want {
		err = fmt.Errorf("%w: it has %d bytes instead of %d", errDamaged, info.Size(), want)
	}
	return err
}

func (t *table) close() error { return errors.Join(t.pages.Close(), t.names.Close()) }

// page returns one page, valid until the next call.
func (t *table) page(n int) (page, error) {
	if t.slab != nil {
		return t.slab[n*pageBytes : (n+1)*pageBytes], nil
	}
	slot := n % len(t.cache)
	if p := t.cache[slot]; p != nil && t.cached[slot] == n {
		return p, nil
	}
	if t.cache[slot] == nil {
		t.cache[slot] = make(page, pageBytes)
	}
	t.cached[slot] = -1
	if _, err := t.pages.ReadAt(t.cache[slot], int64(n)*pageBytes); err != nil {
		return nil, err
	}
	if err := t.cache[slot].check(t.head.ID, n); err != nil {
		return nil, err
	}
	t.cached[slot] = n
	return t.cache[slot], nil
}

// find looks a name up by its hash. at is its place in the table.
func (t *table) find(name uint64) (at int64, e entry, ok bool, err error) {
	n := t.pageOf(name)
	if n < 0 {
		return 0, e, false, nil
	}
	p, err := t.page(n)
	if err != nil {
		return 0, e, false, err
	}
	// Hashes are spread evenly: the place is near the one that its part of the
	// page's range tells.
	count := t.countOf(n)
	first, span := t.fences[n], ^uint64(0)-t.fences[n]
	if n+1 < len(t.fences) {
		span = t.fences[n+1] - first
	}
	hi, lo := bits.Mul64(name-first, uint64(count))
	i := count - 1
	if hi < span {
		q, _ := bits.Div64(hi, lo, span)
		i = min(i, int(q))
	}
	for i > 0 && p.name(i) > name {
		i--
	}
	for i < count-1 && p.name(i) < name {
		i++
	}
	if p.name(i) != name {
		return 0, e, false, nil
	}
	return int64(n)*pageEntries + int64(i), p.entry(i), true, nil
}

// countOf returns the number of a page's entries. To read it from the page would
// fetch another line of memory for each name that is looked up.
func (t *table) countOf(n int) int {
	return int(min(pageEntries, t.head.Keys-int64(n)*pageEntries))
}

// pageOf returns the page that a name belongs to, -1 if it is before the first.
func (t *table) pageOf(name uint64) int {
	n := len(t.fences)
	guess, _ := bits.Mul64(name, uint64(n))
	lo, hi := int(guess), int(guess) // the page is in [lo, hi)
	for step := 1; lo > 0 && (lo >= n || t.fences[lo] > name); step *= 2 {
		lo = max(0, lo-step)
	}
	for step := 1; hi < n && t.fences[hi] <= name; step *= 2 {
		hi = min(n, hi+step)
	}
	return lo + sort.Search(hi-lo, func(i int) bool { return t.fences[lo+i] > name }) - 1
}

// blockOf reads the names of a page into a buffer.
func (t *table) blockOf(p page, buf []byte) ([]byte, error) {
	offset, length := p.block()
	if int64(cap(buf)) < length {
		buf = make([]byte, length)
	}
	buf = buf[:length]
	if _, err := t.names.ReadAt(buf, offset); err != nil && length > 0 {
		return nil, fmt.Errorf("names: %w", err)
	}
	if crc32.Checksum(buf, castagnoli) != binary.LittleEndian.Uint32(p[atNames:]) {
		return nil, fmt.Errorf("names at %d: %w: their checksum is wrong", offset, errDamaged)
	}
	return buf, nil
}

// nextName takes the first name off a block.
func nextName(block []byte) (name, rest []byte, err error) {
	n, used := binary.Uvarint(block)
	if used <= 0 || n > maxName || n > uint64(len(block)-used) {
		return nil, nil, fmt.Errorf("%w: a name that is longer than its block", errDamaged)
	}
	block = block[used:]
	return block[:n], block[n:], nil
}

// each visits all pages, or those that want picks, with each entry's name.
func (t *table) each(want func(n, count int) bool, visit func(at int64, e entry, name []byte) error) error {
	var buf []byte
	for n := range t.fences {
		if !want(n, t.countOf(n)) {
			continue
		}
		p, err := t.page(n)
		if err != nil {
			return err
		}
		if buf, err = t.blockOf(p, buf); err != nil {
			return err
		}
		rest, name := buf, []byte(nil)
		for i := range p.count() {
			if name, rest, err = nextName(rest); err != nil {
				return err
			}
			if err := visit(int64(n)*pageEntries+int64(i), p.entry(i), name); err != nil {
				return err
			}
		}
	}
	return nil
}
