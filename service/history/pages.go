package history

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
)

// The library believes what stands on a page: lengths that lead out of the file,
// and pages that lead back to themselves. So all of them are looked through
// before it may. The layout is that of bbolt's format 2, in the machine's byte
// order (https://pkg.go.dev/go.etcd.io/bbolt, internal/common).
const (
	headBytes    = 16 // id 8, flags 2, count 2, overflow 4
	elementBytes = 16
	metaBytes    = 64

	branchPage   = 0x01
	leafPage     = 0x02
	freelistPage = 0x10
	bucketFlag   = 0x01

	metaMagic   = 0xED0CDAED
	metaVersion = 2
	noFreelist  = math.MaxUint64
	deepest     = 64
)

var order = binary.NativeEndian

// meta is the head of a file.
type meta struct {
	pageBytes            uint64
	root, freelist, high uint64
	tx                   uint64
}

// pages looks through the pages of a file.
type pages struct {
	data []byte
	meta meta
	used map[uint64]bool
}

// sound tells what is wrong with a file's pages.
func sound(data []byte) error {
	m, ok := newestMeta(data)
	if !ok {
		return errors.New("it has no valid head")
	}
	p := &pages{data, m, map[uint64]bool{0: true, 1: true}}
	if m.high > uint64(len(data))/m.pageBytes {
		return fmt.Errorf("it has %d bytes, which is too few for %d pages", len(data), m.high)
	}
	if err := p.tree(m.root, 0); err != nil {
		return err
	}
	if m.freelist == noFreelist {
		return nil
	}
	return p.free()
}

// newestMeta returns the newer one of the valid heads. The second one is a page
// behind the first, whose length is known only from itself.
func newestMeta(data []byte) (best meta, ok bool) {
	try := func(at uint64) bool {
		m, valid := readMeta(data, at)
		if valid && (!ok || m.tx > best.tx) {
			best, ok = m, true
		}
		return valid
	}
	try(0)
	if ok {
		try(best.pageBytes)
		return best, ok
	}
	for size := uint64(1024); size <= 64<<10 && !try(size); size *= 2 {
	}
	return best, ok
}

func readMeta(data []byte, at uint64) (m meta, ok bool) {
	if at+headBytes+metaBytes > uint64(len(data)) {
		return m, false
	}
	b := data[at+headBytes:][:metaBytes]
	h := fnv.New64a()
	_, _ = h.Write(b[:56])
	m = meta{
		pageBytes: uint64(order.Uint32(b[8:])), root: order.Uint64(b[16:]),
		freelist: order.Uint64(b[32:]), high: order.Uint64(b[40:]), tx: order.Uint64(b[48:]),
	}
	ok = order.Uint32(b) == metaMagic && order.Uint32(b[4:]) == metaVersion && order.Uint64(b[56:]) == h.Sum64() &&
		m.pageBytes >= 1024 && m.pageBytes <= 64<<10
	return m, ok
}

// take returns a page with those that continue it. None is taken twice.
func (p *pages) take(id uint64) ([]byte, error) {
	if id < 2 || id >= p.meta.high {
		return nil, fmt.Errorf("page %d is beyond the %d that there are", id, p.meta.high)
	}
	head := p.data[id*p.meta.pageBytes:]
	more := uint64(order.Uint32(head[12:]))
	if order.Uint64(head) != id || id+more >= p.meta.high {
		return nil, fmt.Errorf("page %d is not what it should be", id)
	}
	for i := id; i <= id+more; i++ {
		if p.used[i] {
			return nil, fmt.Errorf("page %d is used twice", i)
		}
		p.used[i] = true
	}
	return head[:(more+1)*p.meta.pageBytes], nil
}

// tree looks through a page and all below it.
func (p *pages) tree(id uint64, depth int) error {
	page, err := p.take(id)
	if err != nil {
		return err
	}
	if err := p.elements(page, depth); err != nil {
		return fmt.Errorf("page %d: %w", id, err)
	}
	return nil
}

// elements looks through what is on a page.
func (p *pages) elements(page []byte, depth int) error {
	if depth > deepest {
		return errors.New("it is too deep down")
	}
	flags, count := order.Uint16(page[8:]), int(order.Uint16(page[10:]))
	if headBytes+count*elementBytes > len(page) {
		return fmt.Errorf("there is no room for %d elements", count)
	}
	if flags != branchPage && flags != leafPage || flags == branchPage && count == 0 {
		return errors.New("it is of another kind")
	}
	var last []byte
	for i := range count {
		at := headBytes + i*elementBytes
		e := page[at:]
		var position, key, value uint64
		if flags == branchPage {
			position, key = uint64(order.Uint32(e)), uint64(order.Uint32(e[4:]))
		} else {
			position, key, value = uint64(order.Uint32(e[4:])), uint64(order.Uint32(e[8:])), uint64(order.Uint32(e[12:]))
		}
		if position < elementBytes || position+key+value > uint64(len(e)) {
			return fmt.Errorf("element %d leads out of it", i)
		}
		name, text := e[position:position+key], e[position+key:position+key+value]
		if i > 0 && bytes.Compare(last, name) >= 0 {
			return fmt.Errorf("element %d is out of order", i)
		}
		last = name
		var err error
		switch {
		case flags == branchPage:
			err = p.tree(order.Uint64(e[8:]), depth+1)
		case order.Uint32(e)&bucketFlag != 0:
			err = p.bucket(text, depth+1)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// bucket looks through one, which may be within its own entry.
func (p *pages) bucket(text []byte, depth int) error {
	const bucketBytes = 16 // root 8, sequence 8
	if len(text) < bucketBytes {
		return errors.New("a bucket is too short")
	}
	if root := order.Uint64(text); root != 0 {
		return p.tree(root, depth)
	}
	within := text[bucketBytes:]
	if len(within) < headBytes || order.Uint16(within[8:]) != leafPage {
		return errors.New("a bucket holds nothing")
	}
	return p.elements(within, depth)
}

// free looks through the list of pages that are free: none of them is used.
func (p *pages) free() error {
	page, err := p.take(p.meta.freelist)
	if err != nil {
		return err
	}
	count, at := uint64(order.Uint16(page[10:])), headBytes
	if count == math.MaxUint16 { // too many for that
		count, at = order.Uint64(page[at:]), at+8
	}
	if order.Uint16(page[8:]) != freelistPage || count > uint64(len(page)-at)/8 {
		return errors.New("the list of free pages is damaged")
	}
	for i := range count {
		id := order.Uint64(page[uint64(at)+8*i:])
		if id < 2 || id >= p.meta.high || p.used[id] {
			return fmt.Errorf("page %d is not free", id)
		}
		p.used[id] = true
	}
	return nil
}
