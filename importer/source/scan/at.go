package scan

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/slotferry/slotferry/importer/preflight"
	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/resp"
)

const (
	atKeys  = 64      // in one transaction, at most: nobody else is served meanwhile
	infoMax = 1 << 20 // bytes of INFO replication, which has a line a replica
)

// At reads keys of one database as they are at one place of the replication
// stream: each gets the record that Stream would give, and the source's
// replication offset of the very instant at which it was read. Commands of the
// stream up to that offset are in the value, later ones are not. Keys come in
// order, each once, several of them with one offset. A record is valid until
// each returns. What concerns one key only, such as a value longer than
// MaxValue, comes as Refused.
//
// The offset is asked for first within a transaction: a key that turns out to
// have expired makes the source write a DEL behind it, which harms nothing.
// The offset of a source that never had a replica stands still. Connections that
// break are made again, as in Stream, which it may run beside.
func (s *Source) At(ctx context.Context, db int, keys [][]byte, each func(i int, offset int64, r *record.Record) error) error {
	told := 0
	return s.persist(ctx, &told, func() error {
		return s.on(ctx, db, func(p *pipe) error {
			for told < len(keys) {
				t := transaction{pipe: p, keys: keys[told:min(told+p.perTransaction(), len(keys))]}
				if err := t.open(); err != nil {
					return err
				}
				for i := range t.keys {
					if err := t.read(i); err != nil {
						return err
					}
					told++
					if err := each(told-1, t.offset, &p.record); err != nil {
						return err
					}
				}
			}
			return nil
		})
	})
}

// Records reads keys of one database as they are now, each at an instant of its
// own: it is At without the transaction. Values that can't be had whole are read
// in parts, if their type can be (record.Record.Build).
func (s *Source) Records(ctx context.Context, db int, keys [][]byte, each func(i int, r *record.Record) error) error {
	told := 0
	return s.persist(ctx, &told, func() error {
		return s.on(ctx, db, func(p *pipe) error {
			for told < len(keys) {
				batch := keys[told:min(told+p.perTransaction(), len(keys))]
				for _, key := range batch {
					p.appendKey(key)
				}
				if err := p.send(); err != nil {
					return err
				}
				for _, key := range batch {
					if err := p.readKey(key); err != nil {
						return err
					}
					if p.record.Fate == record.Refused {
						if err := p.partly(); err != nil {
							return err
						}
					}
					p.settle()
					told++
					if err := each(told-1, &p.record); err != nil {
						return err
					}
				}
			}
			return nil
		})
	})
}

// perTransaction is how many keys to ask for at once; of long values fewer, by
// what was seen of their lengths.
func (p *pipe) perTransaction() int {
	return min(atKeys, p.flight.keys())
}

// partly makes a record that was refused whole one that is read in parts. What
// stands in the way of that, Build tells.
func (p *pipe) partly() error {
	r, s := &p.record, p.source
	kind, err := s.clients.of(r.DB).Type(p.ctx, string(r.Key)).Result()
	if err != nil {
		if err = failed(err, "TYPE"); retry(err) {
			return err
		}
		return nil // the first reason stays
	}
	switch {
	case kind == "none":
		r.Fate, r.Reason = record.Gone, ""
	case readers[kind] != nil:
		r.Fate, r.Reason = record.Copy, ""
		r.Type = rdbType(s.version, kind, "")
		r.Measure = record.Measure{Bytes: s.opts.MaxValue + 1, Type: kind} // at least
		r.Build = s.build(r.DB, r.Key)
	}
	return nil
}

// transaction reads some keys at one instant.
type transaction struct {
	*pipe
	keys   [][]byte
	denied map[int]string // why a key was left out of it
	offset int64
}

// open runs the transaction and reads the offset; the values come next. A key
// that may not be asked for spoils a transaction as a whole, so that it is run
// again without.
func (t *transaction) open() error {
	for {
		spoilt := len(t.denied)
		if err := t.queue(); err != nil {
			return err
		}
		h, err := t.r.Head()
		switch {
		case err != nil:
			return t.wire(err)
		case h.Kind == '-' && len(t.denied) > spoilt:
			continue
		case h.Kind == '-':
			line := h.Line
			if _, cause, ok := bytes.Cut(line, []byte("because of: ")); ok { // what EXEC itself was refused for
				line = cause
			}
			return refused(line, "EXEC")
		case h.Kind != '*' || h.N != int64(1+t.answers()*(len(t.keys)-len(t.denied))):
			return t.wire(fmt.Errorf("%w: answer to EXEC", resp.ErrProtocol))
		}
		text, err := t.bulk("INFO", infoMax)
		if err != nil {
			return err
		}
		t.offset, err = replicationOffset(string(text))
		return err
	}
}

// answers is how many there are for one key.
func (t *transaction) answers() int {
	if t.pttl {
		return 3
	}
	return 2
}

// queue sends the transaction and reads all but what EXEC answers.
func (t *transaction) queue() error {
	t.out = append(t.out, "*1\r\n$5\r\nMULTI\r\n*2\r\n$4\r\nINFO\r\n$11\r\nreplication\r\n"...)
	for i, key := range t.keys {
		if _, ok := t.denied[i]; !ok {
			t.appendKey(key)
		}
	}
	t.out = append(t.out, "*1\r\n$4\r\nEXEC\r\n"...)
	if err := t.send(); err != nil {
		return err
	}
	for _, command := range []string{"MULTI", "INFO"} {
		if _, err := t.queued(command); err != nil {
			return err
		}
	}
	for i := range t.keys {
		if _, ok := t.denied[i]; ok {
			continue
		}
		for range t.answers() {
			reason, err := t.queued("DUMP")
			if err != nil {
				return err
			}
			if reason == "" {
				continue
			}
			if t.denied == nil {
				t.denied = map[int]string{}
			}
			t.denied[i] = reason
		}
	}
	return nil
}

// queued reads one answer before that to EXEC. reason is why a key may not be
// asked for.
func (t *transaction) queued(command string) (reason string, err error) {
	h, err := t.r.Head()
	switch {
	case err != nil:
		return "", t.wire(err)
	case h.Kind == '+':
		return "", nil
	case h.Kind != '-':
		return "", t.wire(fmt.Errorf("%w: answer to %s", resp.ErrProtocol, command))
	case command == "DUMP" && keyDenied(string(h.Line)):
		return fmt.Sprintf("the source answered %q when asked for it", h.Line), nil
	}
	return "", refused(h.Line, command)
}

// read reads the i-th key into the pipe's record.
func (t *transaction) read(i int) error {
	if reason, ok := t.denied[i]; ok {
		t.record = record.Record{DB: t.record.DB, Key: t.keys[i], Fate: record.Refused, Reason: reason}
		return nil
	}
	if err := t.readKey(t.keys[i]); err != nil {
		return err
	}
	t.settle()
	return nil
}

var errNoOffset = errors.New("INFO replication tells no master_repl_offset")

func replicationOffset(info string) (int64, error) {
	_, line, found := strings.Cut("\n"+info, "\nmaster_repl_offset:")
	line, _, _ = strings.Cut(line, "\n")
	offset, err := strconv.ParseInt(strings.TrimSpace(line), 10, 64)
	if !found || err != nil {
		return 0, errNoOffset
	}
	return offset, nil
}

// AtRights tries whether the user may do what At needs, once Inspect has looked.
// It changes nothing.
func (s *Source) AtRights(ctx context.Context) (found preflight.Findings) {
	commands := []string{"MULTI", "INFO", "DUMP", "PEXPIRETIME", "EXEC"}
	if !s.version.AtLeast(7, 0) {
		commands = []string{"MULTI", "INFO", "DUMP", "TIME", "PTTL", "EXEC"}
	}
	words := map[string][]any{
		"INFO": {"replication"}, "DUMP": {preflight.ProbeKey}, "PEXPIRETIME": {preflight.ProbeKey}, "PTTL": {preflight.ProbeKey},
	}
	var missing []string
	err := s.on(ctx, 0, func(p *pipe) error {
		b := &builder{pipe: p}
		for _, command := range commands {
			b.ask(command, words[command]...)
		}
		if err := b.send(); err != nil {
			return err
		}
		for _, command := range commands {
			h, err := b.r.Head()
			if err != nil {
				return b.wire(err)
			}
			if h.Kind != '-' {
				if err := b.rest(h, 0); err != nil {
					return err
				}
				continue
			}
			line := string(h.Line)
			if strings.Contains(line, "unknown command") || strings.Contains(line, "NOPERM") && !keyDenied(line) { // EXEC puts words before it
				missing = append(missing, command)
			}
		}
		return errProbed
	})
	switch {
	case !errors.Is(err, errProbed):
		s.unreachable(&found, err)
	case len(missing) > 0:
		found.Block("source_transaction_rights", s.rule(missing),
			"the user may not run %s on the source, by which keys are read together with their place in the replication stream", strings.Join(missing, ", "))
	}
	return found
}
