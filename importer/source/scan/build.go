package scan

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/resp"
)

// Build is record.Record.Build for a key of one database, whose value is read in
// parts on a connection of its own. Several may run at once, beside a Stream.
// An error of the connection is for the caller to try again after;
// record.ErrRefused means that trying again is of no use.
func (s *Source) build(db int, key []byte) func(context.Context, []byte, func([][]byte) error) (int64, error) {
	key = bytes.Clone(key)
	return func(ctx context.Context, name []byte, emit func([][]byte) error) (expireAt int64, err error) {
		err = s.on(ctx, db, func(p *pipe) error {
			b := &builder{pipe: p, key: key, name: name, emit: emit}
			expireAt, err = b.build()
			return err
		})
		if cause := context.Cause(ctx); err != nil && cause != nil {
			err = cause
		}
		return expireAt, err
	}
}

// builder makes one value from its parts. WATCH before the first of them, and
// EXEC after the last, tell whether the key was written to between.
type builder struct {
	*pipe
	key, name []byte
	emit      func(words [][]byte) error

	batch batch
	after func(elements [][]byte) error // called with each batch that was emitted, if set
	mean  float64                       // bytes of an element, by the last part
	asked int                           // elements asked for last
	unit  int64                         // bytes of what can't be divided, as far as it is read
}

// readers read the value of a type.
var readers = map[string]func(b *builder) error{
	"string": (*builder).text, "list": (*builder).list, "set": (*builder).set,
	"zset": (*builder).zset, "hash": (*builder).hash, "stream": (*builder).stream,
}

func (b *builder) build() (expireAt int64, err error) {
	b.ask("WATCH", b.key)
	b.ask("TYPE", b.key)
	b.appendExpiry(b.key)
	if err := b.send(); err != nil {
		return 0, err
	}
	if err := b.done("WATCH"); err != nil {
		return 0, err
	}
	h, err := b.head('+', "TYPE")
	if err != nil {
		return 0, err
	}
	kind := string(h.Line[:min(len(h.Line), wordMax)])
	db := b.record.DB
	b.record = record.Record{DB: db}
	err = b.readExpiry()
	found := b.record
	b.record = record.Record{DB: db}
	switch {
	case err != nil:
		return 0, b.sorted(err)
	case kind == "none", found.Fate == record.Gone:
		return 0, record.ErrGone
	case found.Fate == record.Refused:
		return 0, fmt.Errorf("%w: %s", record.ErrRefused, found.Reason)
	}
	read := readers[kind]
	if read == nil {
		return 0, fmt.Errorf("%w: %s", record.ErrRefused, noParts(kind))
	}
	if err := read(b); err != nil {
		return 0, err
	}
	return found.ExpireAt, b.unchanged()
}

// unchanged makes sure that the key was not written to since WATCH.
func (b *builder) unchanged() error {
	b.ask("MULTI")
	b.ask("EXEC")
	b.ask("TYPE", b.key)
	if err := b.send(); err != nil {
		return err
	}
	if err := b.done("MULTI"); err != nil {
		return err
	}
	exec, err := b.head('*', "EXEC")
	if err != nil {
		return err
	}
	if exec.N > 0 {
		return b.odd("EXEC")
	}
	h, err := b.head('+', "TYPE")
	switch {
	case err != nil:
		return err
	case exec.N == 0:
		return nil
	case string(h.Line) == "none":
		return record.ErrGone
	}
	return record.ErrChanged
}

// ask appends a command; its words are strings, bytes or numbers.
func (b *builder) ask(command string, words ...any) {
	names := strings.Fields(command)
	b.out = resp.AppendArray(b.out, len(names)+len(words))
	for _, n := range names {
		b.out = resp.AppendBulk(b.out, []byte(n))
	}
	for _, w := range words {
		switch w := w.(type) {
		case []byte:
			b.out = resp.AppendBulk(b.out, w)
		case string:
			b.out = resp.AppendBulk(b.out, []byte(w))
		case int:
			b.out = resp.AppendInt(b.out, int64(w))
		case streamID:
			b.out = resp.AppendBulk(b.out, w.append(nil))
		}
	}
}

// head reads the first line of an answer of one kind.
func (b *builder) head(kind byte, command string) (resp.Head, error) {
	h, err := b.r.Head()
	switch {
	case err != nil:
		return h, b.wire(err)
	case h.Kind == '-':
		return h, b.sorted(refused(h.Line, command))
	case h.Kind != kind:
		return h, b.odd(command)
	}
	return h, nil
}

// done reads an answer that only says that all is well.
func (b *builder) done(command string) error {
	_, err := b.head('+', command)
	return err
}

// number reads an answer that is a number.
func (b *builder) number(command string) (int64, error) {
	h, err := b.head(':', command)
	return h.N, err
}

// small reads a word of limit bytes at most, which is good until the next read.
func (b *builder) small(command string, limit int64) ([]byte, error) {
	h, err := b.head('$', command)
	if err != nil {
		return nil, err
	}
	if h.N < 0 || h.N > limit {
		return nil, b.odd(command)
	}
	word, _, err := b.r.Body(h.N)
	return word, b.wire(err)
}

// elements reads the head of an array.
func (b *builder) elements(command string) (int64, error) {
	h, err := b.head('*', command)
	if err == nil && h.N < 0 {
		err = record.ErrChanged // there is no such key any more
	}
	return h.N, err
}

// fields reads the head of an array of n elements.
func (b *builder) fields(n int64, command string) error {
	got, err := b.elements(command)
	if err == nil && got != n {
		err = b.odd(command)
	}
	return err
}

const deepest = 8 // arrays within arrays that are skipped

// skip reads and forgets an answer, whatever it is.
func (b *builder) skip() error {
	h, err := b.r.Head()
	if err != nil {
		return b.wire(err)
	}
	return b.rest(h, 0)
}

// rest reads and forgets what follows the first line of an answer, which may be
// arrays within arrays.
func (b *builder) rest(h resp.Head, depth int) error {
	if h.Kind != '*' {
		return b.wire(b.r.Skip(h))
	}
	if depth == deepest {
		return b.odd("a command")
	}
	for range max(0, h.N) {
		e, err := b.r.Head()
		if err != nil {
			return b.wire(err)
		}
		if err := b.rest(e, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) odd(command string) error {
	return b.wire(fmt.Errorf("%w: answer to %s", resp.ErrProtocol, command))
}

// sorted says what an error reply means for the value.
func (b *builder) sorted(err error) error {
	text := err.Error()
	var again *sourceError
	switch {
	case errors.As(err, &again):
		return err
	case errors.Is(err, ErrDenied):
		return fmt.Errorf("%w: %w; a value of this length is read in parts, for which the user needs %s", record.ErrRefused, err, b.source.rule(b.source.partRights("")))
	case strings.Contains(text, "WRONGTYPE"), strings.Contains(text, "no such key"), strings.Contains(text, "NOGROUP"):
		return record.ErrChanged
	}
	return fmt.Errorf("%w: %w", record.ErrRefused, err)
}

func noParts(kind string) string {
	return fmt.Sprintf("a value of type %s can't be read in parts, and this one does not fit into the memory allowed; give more --memory, or import from an RDB file", strconv.Quote(kind))
}
