package mirror

import (
	"bufio"
	"errors"
	"io"
	"os"
)

// arrivals is what the keys of a run were, in the order of their arrival: a trail
// is made of it. It begins in memory, and goes on in a file.
type arrivals struct {
	create func() (*os.File, error)
	file   *os.File
	buf    []byte
	err    error // there will be no trail
}

const recordBytes = 8192 * entryBytes

func (a *arrivals) add(e entry) {
	if len(a.buf)+entryBytes > recordBytes {
		a.spill()
	}
	a.buf = e.append(a.buf)
}

func (a *arrivals) spill() {
	if a.file == nil && a.err == nil {
		a.file, a.err = a.create()
	}
	if a.err == nil {
		_, a.err = a.file.Write(a.buf)
	}
	a.buf = a.buf[:0]
}

// each goes through all that was recorded.
func (a *arrivals) each(f func(e entry) error) error {
	if a.err != nil {
		return a.err
	}
	if a.file != nil {
		if _, err := a.file.Seek(0, io.SeekStart); err != nil {
			return err
		}
		in := bufio.NewReaderSize(a.file, recordBytes)
		for {
			b, err := in.Peek(entryBytes)
			if errors.Is(err, io.EOF) && len(b) == 0 {
				break
			}
			if err != nil {
				return err
			}
			if err := f(decodeEntry(b)); err != nil {
				return err
			}
			_, _ = in.Discard(entryBytes)
		}
	}
	for b := a.buf; len(b) > 0; b = b[entryBytes:] {
		if err := f(decodeEntry(b)); err != nil {
			return err
		}
	}
	return nil
}

func (a *arrivals) close() error {
	if a.file == nil {
		return nil
	}
	return a.file.Close()
}
