package target

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/slotferry/slotferry/rdbparse"
	"github.com/slotferry/slotferry/rdbparse/commands"
)

// write emits the commands that make an entry's value. progress is told how many
// of its bytes were read.
func (b *rebuilder) write(ch *chunk, i int, name []byte, progress func(int64), emit func([][]byte) error) error {
	x := &ch.entries[i]
	if !ch.sound(i) {
		return &refusal{reason: "the value was damaged before it came here: its checksum is wrong"}
	}
	var failed error // of emit
	value := &measured{r: ch.value(i), progress: progress}
	err := commands.Write(ch.vendor(i), x.typ, value, name, b.cluster.commandOptions(), func(words [][]byte) error {
		if failed == nil {
			failed = b.cluster.shortEnough(words)
		}
		if failed == nil {
			failed = emit(words)
		}
		return failed
	})
	var damage *rdbparse.Error
	switch {
	case failed != nil:
		return failed
	case err == nil:
		return nil
	case value.err != nil || ch.body != nil && ch.body.section != nil && value.ended && value.n < ch.body.section.Size():
		return &bodyError{key: clone(x.key.of(ch.buf)), err: errors.Join(value.err, err)}
	case errors.Is(err, rdbparse.ErrTooLong):
		return &refusal{fmt.Sprintf("this %s has an element that is longer than the target takes in one word (proto-max-bulk-len %d) or --memory allows for: %v",
			typeName(x.typ), b.cluster.maxBulk, unnamed(err)), true}
	case errors.Is(err, commands.ErrUnsupported), errors.As(err, &damage), errors.Is(err, rdbparse.ErrTruncated):
		reason, refused := b.lane.notTaken(x)
		return &refusal{fmt.Sprintf("%s: %v", reason, unnamed(err)), refused || errors.Is(err, commands.ErrUnsupported)}
	}
	return err
}

// unnamed is an error without the name under which a value was to be built.
func unnamed(err error) error {
	if damage := (*rdbparse.Error)(nil); errors.As(err, &damage) {
		damage.Key = nil
	}
	return err
}

// measured counts what is read of a value, and tells its own errors from those
// of its content.
type measured struct {
	r        io.Reader
	n        int64
	ended    bool
	err      error
	progress func(int64)
}

func (m *measured) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	m.n += int64(n)
	if m.progress != nil {
		m.progress(m.n)
	}
	if m.ended = errors.Is(err, io.EOF); err != nil && !m.ended {
		m.err = err
	}
	return n, err
}

// shortEnough refuses commands with a word longer than the target takes: it would
// end the connection.
func (c *Cluster) shortEnough(words [][]byte) error {
	for _, w := range words {
		if int64(len(w)) > c.maxBulk {
			return &refusal{fmt.Sprintf("it has an element of %d bytes, which is more than the target takes in one word (proto-max-bulk-len %d)", len(w), c.maxBulk), true}
		}
	}
	return nil
}

// commandOptions bound the commands that make a value, and say what the oldest
// master understands.
func (c *Cluster) commandOptions() commands.Options {
	v := c.version
	return commands.Options{
		MaxBytes: int(min(partBytes, max(c.opts.MaxCommand, leastPart), c.maxBulk)), MaxElements: partElements,
		MaxHeld: int(min(c.maxBulk, 2*max(c.opts.Memory, 32<<20))),
		Target: commands.Target{
			FieldExpiry:    v.FieldExpiry(),
			CreateConsumer: v.AtLeast(6, 2),
			StreamCounters: v.AtLeast(7, 0),
			Idempotence:    v.Product == "redis" && (v.AtLeast(8, 7) || v.AtLeast(8, 6) && v.Patch >= 2),
		},
	}
}

// value returns what an entry's value is read from, without type and footer.
func (c *chunk) value(i int) io.Reader {
	switch b := c.body; {
	case b == nil:
		p := c.entries[i].payload.of(c.buf)
		return bytes.NewReader(p[1 : len(p)-footerBytes])
	case b.section != nil:
		return io.NewSectionReader(b.section, 0, b.section.Size())
	default:
		return bytes.NewReader(b.bytes)
	}
}

// valueBytes is the length of that, 0 if it is not known.
func (c *chunk) valueBytes(i int) int64 {
	switch b := c.body; {
	case b == nil:
		return int64(c.entries[i].payload.len - 1 - footerBytes)
	case b.build != nil:
		return c.entries[i].bytes - int64(c.entries[i].key.len) // as the source measured it
	case b.section != nil:
		return b.section.Size()
	default:
		return int64(len(b.bytes))
	}
}

// vendor says whose type numbers an entry has.
func (c *chunk) vendor(i int) rdbparse.Vendor {
	version := uint16(0)
	if footer := c.footerOf(i); footer != nil {
		version = binary.LittleEndian.Uint16(footer)
	} else if c.body != nil {
		version = c.body.version
	}
	if version >= rdbparse.FirstValkey {
		return rdbparse.Valkey
	}
	return rdbparse.Redis
}

func decimal(n int64) []byte { return strconv.AppendInt(nil, n, 10) }
