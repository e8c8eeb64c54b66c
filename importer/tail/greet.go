package tail

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/slotferry/slotferry/importer/target"
	"github.com/slotferry/slotferry/importer/wait"
	"github.com/slotferry/slotferry/resp"
)

// pingRounds is how often a node answers before an earlier connection, which may
// not be ended by its number, is taken to be at its end: a server reads from all
// connections in turn.
const pingRounds = 20

// greet asks a node who it is, and makes sure that nothing of an earlier
// connection takes effect any more: a server that was stopped for long reads
// what lies in its sockets whoever has left meanwhile. The answer to an empty
// transaction shows that MULTI may be relied on.
func (p *pipe) greet(ctx context.Context, conn net.Conn, r *resp.Reader) error {
	_ = conn.SetDeadline(time.Now().Add(p.a.opts.ReplyTimeout)) // an error shows in the read
	out := resp.AppendCommand(nil, "CLIENT", "ID")
	out = resp.AppendCommand(out, "INFO", "server")
	out = append(append(out, multi...), exec...)
	if _, err := conn.Write(out); err != nil {
		return lost(err)
	}
	number, err := answer(r)
	if err != nil {
		return err
	}
	info, err := answer(r)
	if err != nil {
		return err
	}
	for range 2 {
		a, err := answer(r)
		if err != nil {
			return err
		}
		if a.kind == '-' && target.Refusing([]byte(a.text)) {
			return fmt.Errorf("%w: %s answered %q to MULTI or EXEC, which commands that follow a copy need", target.ErrDenied, p.addr, a.text)
		}
		if a.kind == '-' {
			return fmt.Errorf("%s answered %q", p.addr, a.text)
		}
	}
	life := field(info.text, "run_id")
	same := life != "" && life == p.runID
	if same {
		if err := p.bury(ctx, conn, r); err != nil {
			return err
		}
	} else { // whatever it was told before, its memory may hold less
		p.a.doubt(p)
	}
	p.zombies, p.blind = nil, false
	p.runID, p.client = life, number.n
	return conn.SetDeadline(time.Time{})
}

// bury ends earlier connections at the node.
func (p *pipe) bury(ctx context.Context, conn net.Conn, r *resp.Reader) error {
	blind := p.blind
	for _, id := range p.zombies {
		if _, err := conn.Write(resp.AppendCommand(nil, "CLIENT", "KILL", "ID", fmt.Sprint(id))); err != nil {
			return lost(err)
		}
		a, err := answer(r)
		if err != nil {
			return err
		}
		blind = blind || a.kind == '-' && !strings.HasPrefix(a.text, "ERR No such client")
	}
	for range pingRounds * int(b2i(blind)) {
		if _, err := conn.Write(resp.AppendCommand(nil, "PING")); err != nil {
			return lost(err)
		}
		if _, err := answer(r); err != nil {
			return err
		}
		if err := wait.For(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// doubt has the marks of all slots of a pipe looked at before anything is sent.
func (a *Applier) doubt(p *pipe) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range a.slots {
		if s := &a.slots[i]; s.pipe == p && s.known {
			s.unsure = true
			if s.state == idle {
				a.push(s)
			}
		}
	}
}

// reply is an answer as far as it matters in a greeting.
type reply struct {
	kind byte
	n    int64
	text string
}

func answer(r *resp.Reader) (a reply, err error) {
	h, err := r.Head()
	if err != nil {
		return a, lost(err)
	}
	a = reply{kind: h.Kind, n: h.N, text: string(h.Line)}
	if h.Kind != '$' {
		if err := r.Skip(h); err != nil {
			return a, lost(err)
		}
		return a, nil
	}
	if h.N > readBytes {
		return a, fmt.Errorf("%w: an answer of %d bytes", resp.ErrProtocol, h.N)
	}
	body, _, err := r.Body(h.N)
	if err != nil {
		return a, lost(err)
	}
	a.text = string(body)
	return a, nil
}

func field(info, name string) string {
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func b2i(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
