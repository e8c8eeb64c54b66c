package mirror

import (
	"bufio"
	"cmp"
	"errors"
	"io"
	"math/bits"
	"os"
	"slices"
)

// sorter brings changes into the order of the hashes of their names. Those that
// memory does not hold are divided into files by hash first, each of which it
// holds.
type sorter struct {
	temp  func(i int) (*os.File, error)
	part  int64 // bytes of changes that are sorted at a time
	most  int   // parts
	parts []*part
	buf   []byte
}

type part struct {
	file *os.File // nil: all is in held
	out  *bufio.Writer
	held []byte
	size int64
}

const (
	partBytes = 16 << 20
	mostParts = 256 // each has a file and a buffer
	partOut   = 16 << 10
)

// divide makes room for changes of so many bytes in all.
func (s *sorter) divide(size int64) error {
	n := int(min(int64(s.most), (size+size/4)/s.part+1)) // hashes are not spread so evenly
	for i := range n {
		p := &part{}
		s.parts = append(s.parts, p)
		if n == 1 {
			p.held = make([]byte, 0, size)
			continue
		}
		f, err := s.temp(i)
		if err != nil {
			return err
		}
		p.file, p.out = f, bufio.NewWriterSize(f, partOut)
	}
	return nil
}

func (s *sorter) add(c change) error {
	i, _ := bits.Mul64(hashName(c.name), uint64(len(s.parts)))
	p := s.parts[i]
	if p.file == nil {
		p.held = c.append(p.held)
		return nil
	}
	s.buf = c.append(s.buf[:0])
	p.size += int64(len(s.buf))
	_, err := p.out.Write(s.buf)
	return err
}

// each visits the last change of each name in order.
func (s *sorter) each(visit func(name uint64, c change) error) error {
	type place struct {
		name uint64
		at   int
	}
	var places []place
	for _, p := range s.parts {
		if err := p.load(&s.buf); err != nil {
			return err
		}
		places = places[:0]
		for at := 0; at < len(p.held); {
			c, n, err := decodeChange(p.held[at:])
			if err != nil {
				return err
			}
			places = append(places, place{hashName(c.name), at})
			at += n
		}
		slices.SortFunc(places, func(a, b place) int {
			return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.at, b.at))
		})
		for i, x := range places {
			if i+1 < len(places) && places[i+1].name == x.name {
				continue
			}
			c, _, err := decodeChange(p.held[x.at:])
			if err != nil {
				return err
			}
			if err := visit(x.name, c); err != nil {
				return err
			}
		}
		p.held = nil
	}
	return nil
}

// load brings a part's changes into memory, into a buffer that the parts share.
func (p *part) load(buf *[]byte) error {
	if p.file == nil {
		return nil
	}
	if err := p.out.Flush(); err != nil {
		return err
	}
	if _, err := p.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if int64(cap(*buf)) < p.size {
		*buf = make([]byte, p.size)
	}
	p.held = (*buf)[:p.size]
	_, err := io.ReadFull(p.file, p.held)
	return err
}

func (s *sorter) close() error {
	var err error
	for _, p := range s.parts {
		if p.file != nil {
			err = errors.Join(err, p.file.Close())
		}
	}
	return err
}
