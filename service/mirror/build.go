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
	pages  *bufio.Writer
	names  *bufio.Writer
	page   page
	count  int
	block  []byte
	number uint64
	last   uint64
}

// newBuilder begins the two files of a table.
func newBuilder(pages, names *os.File, h head) *builder {
	return &builder{
		head: h, files: [2]*os.File{pages, names}, page: make(page, pageBytes),
		pages: bufio.NewWriterSize(pages, 256<<10), names: bufio.NewWriterSize(names, 256<<10),
	}
}

func (b *builder) add(e entry, name []byte) error {
	if e.name <= b.last && b.head.Keys > 0 {
		return fmt.Errorf("%016x after %016x: entries out of order; this is a fault of slotferry", e.name, b.last)
	}
	b.last = e.name
	at := b.page[b.count*entryBytes:]
	binary.LittleEndian.PutUint64(at, e.name)
	binary.LittleEndian.PutUint64(at[8:], e.value)
	binary.LittleEndian.PutUint64(at[16:], e.mark)
	b.block = binary.AppendUvarint(b.block, uint64(len(name)))
	b.block = append(b.block, name...)
	b.head.Keys++
	if e.mark == 0 {
		b.head.Permanent++
	}
	if b.count++; b.count == pageEntries {
		return b.flush()
	}
	return nil
}

// flush writes the page that was filled, and its names.
func (b *builder) flush() error {
	if b.count == 0 {
		return nil
	}
	p := b.page
	clear(p[b.count*entryBytes : atOffset])
	binary.LittleEndian.PutUint64(p[atOffset:], uint64(b.head.NamesBytes))
	binary.LittleEndian.PutUint32(p[atLength:], uint32(len(b.block)))
	binary.LittleEndian.PutUint32(p[atNames:], crc32.Checksum(b.block, castagnoli))
	binary.LittleEndian.PutUint32(p[atCount:], uint32(b.count))
	binary.LittleEndian.PutUint64(p[atPage:], b.number)
	binary.LittleEndian.PutUint64(p[atID:], b.head.ID)
	binary.LittleEndian.PutUint32(p[atSum:], crc32.Checksum(p[:atSum], castagnoli))
	_, err := b.pages.Write(p)
	if err == nil {
		_, err = b.names.Write(b.block)
	}
	b.head.NamesBytes += int64(len(b.block))
	b.block, b.count = b.block[:0], 0
	b.number++
	return err
}

// finish makes the table durable.
func (b *builder) finish() (head, error) {
	err := b.flush()
	err = errors.Join(err, b.pages.Flush(), b.names.Flush())
	for _, f := range b.files {
		if err == nil {
			err = f.Sync()
		}
	}
	return b.head, err
}
