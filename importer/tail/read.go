package tail

import (
	"errors"
	"fmt"
	"strings"

	"github.com/slotferry/slotferry/importer/target"
	"github.com/slotferry/slotferry/resp"
)

const (
	landAtOnce = 128 // answered blocks that are accounted for in one go
	maxNesting = 8   // deeper than any answer to a command that writes
)

// read matches answers with the blocks in flight until the connection ends.
func (p *pipe) read(r *resp.Reader) (err error) {
	var sent, done []*flight // sent: in flight, and not read yet
	defer func() {
		if settled := p.settle(done); err == nil || settled != nil {
			err = errors.Join(settled, err)
		}
	}()
	for {
		if len(done) >= landAtOnce || len(done) > 0 && r.Buffered() == 0 {
			if err := p.settle(done); err != nil {
				done = nil
				return err
			}
			done = done[:0]
		}
		var head *resp.Head
		if len(sent) == 0 {
			if sent = p.unread(sent, len(done)); len(sent) == 0 {
				h, err := r.Head()
				if err != nil {
					return lost(err)
				}
				head = &h
				if sent = p.unread(sent, len(done)); len(sent) == 0 {
					return fmt.Errorf("an answer that nothing was asked for: %q", h.Line)
				}
			}
		}
		f := sent[0]
		if err := p.answer(f, r, head); err != nil {
			return err
		}
		sent = sent[1:]
		done = append(done, f)
	}
}

// unread returns the blocks in flight but for the first ones, which are read.
func (p *pipe) unread(into []*flight, read int) []*flight {
	p.a.mu.Lock()
	defer p.a.mu.Unlock()
	return append(into[:0], p.inflight[read:min(len(p.inflight), read+landAtOnce)]...)
}

// answer reads all that a node says to a block. The head of the first answer may
// have been read.
func (p *pipe) answer(f *flight, r *resp.Reader, first *resp.Head) error {
	h, err := headOf(r, first)
	if err != nil {
		return err
	}
	if f.last == nil {
		return p.sight(f, r, h)
	}
	if h.Kind != '+' { // what comes next was no transaction
		if h.Kind == '-' && target.Refusing(h.Line) {
			return fmt.Errorf("%w: %s answered %q to MULTI", target.ErrDenied, p.addr, h.Line)
		}
		return fmt.Errorf("%w: %s answered a %q to MULTI, so that what followed may have taken effect in parts", ErrResync, p.addr, h.Kind)
	}
	f.reason, f.at, f.applied = "", -1, false
	for i := range f.words {
		h, err := r.Head()
		if err != nil {
			return lost(err)
		}
		switch {
		case h.Kind == '-' && f.reason == "":
			f.reason, f.at = string(h.Line), i
		case h.Kind != '-' && h.Kind != '+':
			return fmt.Errorf("%w: a %q in a transaction", resp.ErrProtocol, h.Kind)
		}
	}
	if h, err = r.Head(); err != nil {
		return lost(err)
	}
	switch {
	case h.Kind == '*' && h.N == int64(f.words):
		f.applied = true
		return p.results(f, r)
	case h.Kind == '-':
		if f.reason == "" {
			f.reason = strings.TrimPrefix(string(h.Line), "EXECABORT Transaction discarded because of: ")
		}
		return nil
	}
	return fmt.Errorf("%w: a %q as the answer to EXEC", resp.ErrProtocol, h.Kind)
}

func headOf(r *resp.Reader, first *resp.Head) (resp.Head, error) {
	if first != nil {
		return *first, nil
	}
	h, err := r.Head()
	if err != nil {
		return h, lost(err)
	}
	return h, nil
}

// results reads what the commands of a block answered.
func (p *pipe) results(f *flight, r *resp.Reader) error {
	f.wrong = f.wrong[:0]
	for i := range f.words {
		h, err := r.Head()
		if err != nil {
			return lost(err)
		}
		switch {
		case h.Kind == '-':
			f.wrong = append(f.wrong, wrong{at: i, reason: string(h.Line)})
		case h.Kind == ':' && h.N == 0: // which commands ask for more, their entries know
			f.wrong = append(f.wrong, wrong{at: i})
		default:
			if err := pass(r, h, 0); err != nil {
				return err
			}
		}
	}
	return nil
}

// sight reads what a mark holds.
func (p *pipe) sight(f *flight, r *resp.Reader, h resp.Head) error {
	f.applied, f.seen = true, mark{}
	switch {
	case h.Kind == '-':
		f.applied, f.reason = false, string(h.Line)
		return nil
	case h.Kind != '$' || h.N > 256:
		return fmt.Errorf("%w: a %q as the answer to HGET", resp.ErrProtocol, h.Kind)
	case h.N < 0:
		return nil
	}
	body, _, err := r.Body(h.N)
	if err != nil {
		return lost(err)
	}
	if m, ok := parseMark(string(body)); ok && m.era == p.a.era {
		f.seen = m
	}
	return nil
}

// pass reads and forgets what follows a head.
func pass(r *resp.Reader, h resp.Head, depth int) error {
	switch {
	case depth > maxNesting:
		return fmt.Errorf("%w: arrays in arrays without end", resp.ErrProtocol)
	case h.Kind == '$':
		if err := r.Discard(h.N); err != nil {
			return lost(err)
		}
	case h.Kind == '*':
		for range max(h.N, 0) {
			e, err := r.Head()
			if err != nil {
				return lost(err)
			}
			if err := pass(r, e, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}
