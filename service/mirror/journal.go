package mirror

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
)

// A journal is what a run does to the target, written before it is done. It
// begins with a line of JSON; then each change has a checksum of what follows, a
// kind, a value's hash, a mark, and a name behind its length.
//
// What another process would find after this one was killed is what was handed to
// the system; nothing is synced but the beginning. So a journal from before the
// last start of the machine is incomplete.

// origin is the first line of a journal.
type origin struct {
	Base    uint64  `json:"base"` // ID of the table that it is about, 0 for none
	Boot    string  `json:"boot"` // of the machine; "" for not known
	Binding binding `json:"binding"`
}

type kind byte

const (
	put  kind = iota // written under the name, or about to be
	gone             // removed, or about to be
	all              // from here on anything may have been written under any name
	kinds
)

const changeHead = 4 + 1 + 8 + 8 // bytes before the name's length

// change is one line of a journal.
type change struct {
	kind  kind
	value uint64
	mark  uint64
	name  []byte
}

func (c change) append(b []byte) []byte {
	at := len(b)
	b = append(b, 0, 0, 0, 0, byte(c.kind))
	b = binary.LittleEndian.AppendUint64(b, c.value)
	b = binary.LittleEndian.AppendUint64(b, c.mark)
	b = binary.AppendUvarint(b, uint64(len(c.name)))
	b = append(b, c.name...)
	binary.LittleEndian.PutUint32(b[at:], crc32.Checksum(b[at+4:], castagnoli))
	return b
}

// decodeChange reads the change at the beginning of b, and tells its length.
func decodeChange(b []byte) (c change, n int, err error) {
	if len(b) < changeHead {
		return c, 0, io.ErrUnexpectedEOF
	}
	length, used := binary.Uvarint(b[changeHead:])
	if used <= 0 || length > maxName || length > uint64(len(b)-changeHead-used) {
		return c, 0, fmt.Errorf("%w: a name that is not whole", errDamaged)
	}
	n = changeHead + used + int(length)
	if crc32.Checksum(b[4:n], castagnoli) != binary.LittleEndian.Uint32(b) {
		return c, 0, fmt.Errorf("%w: a change's checksum is wrong", errDamaged)
	}
	c = change{kind(b[4]), binary.LittleEndian.Uint64(b[5:]), binary.LittleEndian.Uint64(b[13:]), b[n-int(length) : n]}
	if c.kind >= kinds {
		return c, 0, fmt.Errorf("%w: a change of kind %d", errDamaged, c.kind)
	}
	return c, n, nil
}

// journal is written by one run.
type journal struct {
	file  *os.File
	buf   []byte
	held  int   // bytes that buf may hold back: none while the table's word counts
	count int64 // changes
}

// buffered is how much is held back where a crash makes everything be written
// again anyway.
const buffered = 4 << 10

func newJournal(f *os.File, o origin) (*journal, error) {
	line, err := seal(o)
	if err == nil {
		_, err = f.Write(line)
	}
	if err == nil {
		err = f.Sync()
	}
	return &journal{file: f}, err
}

func (j *journal) add(c change) error {
	j.buf = c.append(j.buf)
	j.count++
	if len(j.buf) > j.held {
		return j.flush()
	}
	return nil
}

func (j *journal) flush() error {
	_, err := j.file.Write(j.buf)
	j.buf = j.buf[:0]
	return err
}

// readJournal visits what a journal says. The error is errDamaged where it ends
// other than it was written.
func readJournal(f io.Reader, visit func(c change) error) (o origin, err error) {
	r := bufio.NewReaderSize(f, 2*maxName)
	line, err := readLine(r)
	if err == nil {
		err = unseal(line, &o)
	}
	if err != nil {
		return o, err
	}
	for {
		c, n, err := peekChange(r)
		if errors.Is(err, io.EOF) {
			return o, nil
		}
		if err != nil {
			return o, err
		}
		if err := visit(c); err != nil {
			return o, err
		}
		_, _ = r.Discard(n)
	}
}

// peekChange reads the next change, which is valid until the reader moves. io.EOF
// means that there is none.
func peekChange(r *bufio.Reader) (change, int, error) {
	b, err := r.Peek(changeHead + binary.MaxVarintLen32)
	if len(b) == 0 && err != nil {
		return change{}, 0, err
	}
	if len(b) > changeHead {
		length, used := binary.Uvarint(b[changeHead:])
		if used > 0 && length <= maxName {
			if b, err = r.Peek(changeHead + used + int(length)); err != nil && !errors.Is(err, io.EOF) {
				return change{}, 0, err
			}
		}
	}
	c, n, err := decodeChange(b)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("%w: it ends within a change", errDamaged)
	}
	return c, n, err
}

func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for len(line) <= maxHead {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case err == nil:
			return line, nil
		case errors.Is(err, io.EOF):
			return nil, fmt.Errorf("%w: it has no first line", errDamaged)
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		}
	}
	return nil, fmt.Errorf("%w: its first line is too long", errDamaged)
}
