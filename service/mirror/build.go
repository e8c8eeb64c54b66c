package mirror

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
)

// builder writes a table: entries come in the order of their hashes.
type builder struct {
	head   head
	files  [2]*os.File
	pages  pageWriter
	names  *bufio.Writer
	block  []byte
	last   uint64
	digest uint64 // of the entries, whatever their order
}

// newBuilder begins the two files of a table.
func newBuilder(pages, names *os.File, h head) *builder {
	return &builder{
		head: h, files: [2]*os.File{pages, names},
		pages: newPageWriter(pages, h.ID), names: bufio.NewWriterSize(names, 256<<10),
	}
}

func (b *builder) add(e entry, name []byte) error {
	if e.name <= b.last && b.head.Keys > 0 {
		return fmt.Errorf("%016x after %016x: entries out of order; this is a fault of slotferry", e.name, b.last)
	}
	b.last = e.name
	b.digest += e.digest()
	b.block = binary.AppendUvarint(b.block, uint64(len(name)))
	b.block = append(b.block, name...)
	b.head.Keys++
	if e.mark == 0 {
		b.head.Permanent++
	}
	if b.pages.add(e) {
		return b.flush()
	}
	return nil
}

// flush writes the page that was filled, and its names.
func (b *builder) flush() error {
	err := b.pages.write(b.head.NamesBytes, b.block)
	if err == nil {
		_, err = b.names.Write(b.block)
	}
	b.head.NamesBytes += int64(len(b.block))
	b.block = b.block[:0]
	return err
}

// finish makes the table durable.
func (b *builder) finish() (head, error) {
	err := b.flush()
	err = errors.Join(err, b.pages.out.Flush(), b.names.Flush())
	for _, f := range b.files {
		if err == nil {
			err = f.Sync()
		}
	}
	return b.head, err
}

// pageWriter fills pages.
type pageWriter struct {
	out    *bufio.Writer
	id     uint64
	page   page
	count  int
	number uint64
}

func newPageWriter(f *os.File, id uint64) pageWriter {
	return pageWriter{out: bufio.NewWriterSize(f, 256<<10), id: id, page: make(page, pageBytes)}
}

// add reports whether the page is full now, and is to be written.
func (w *pageWriter) add(e entry) bool {
	e.append(w.page[:w.count*entryBytes])
	w.count++
	return w.count == pageEntries
}

// write writes the page, and where its names are, unless it is empty.
func (w *pageWriter) write(offset int64, names []byte) error {
	if w.count == 0 {
		return nil
	}
	p := w.page
	clear(p[w.count*entryBytes : atOffset])
	binary.LittleEndian.PutUint64(p[atOffset:], uint64(offset))
	binary.LittleEndian.PutUint32(p[atLength:], uint32(len(names)))
	binary.LittleEndian.PutUint32(p[atNames:], crc32.Checksum(names, castagnoli))
	binary.LittleEndian.PutUint32(p[atCount:], uint32(w.count))
	binary.LittleEndian.PutUint64(p[atPage:], w.number)
	binary.LittleEndian.PutUint64(p[atID:], w.id)
	binary.LittleEndian.PutUint32(p[atSum:], crc32.Checksum(p[:atSum], castagnoli))
	_, err := w.out.Write(p)
	w.count = 0
	w.number++
	return err
}
