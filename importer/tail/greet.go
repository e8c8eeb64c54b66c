package tail

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/slotferry/slotferry/importer/target"
	"github.com/slotferry/slotferry/resp"
)

// pingRounds is how often a node answers before an earlier connection that can't
// be ended is taken to be at its end: a server reads from all connections in
// turn, 16 KiB at a time.
const pingRounds = 256

// greet asks a node who it is, and makes sure that nothing of an earlier
// connection takes effect any more: a server that was stopped for long reads
// what lies in its sockets whoever has left meanwhile. The answer to an empty
// transaction shows that MULTI may be relied on.
func (p *pipe) greet(conn net.Conn, r *resp.Reader) error {
	_ = conn.SetDeadline(time.Now().Add(p.a.opts.ReplyTimeout)) // an error shows in the read
	out := resp.AppendCommand(nil, "CLIENT", "ID")
	out = resp.AppendCommand(out, "CLIENT", "SETNAME", p.a.connectionName())
	out = resp.AppendCommand(out, "INFO", "server")
	out = append(append(out, multi...), exec...)
	if _, err := conn.Write(out); err != nil {
		return lost(err)
	}
	number, err := answer(r)
	if err != nil {
		return err
	}
	if _, err := answer(r); err != nil { // who may not name connections can't end them by name
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
		if err := p.bury(conn, r); err != nil {
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
func (p *pipe) bury(conn net.Conn, r *resp.Reader) error {
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
	}
	return nil
}

// connectionName is what all connections of the job's appliers are called.
func (a *Applier) connectionName() string { return "slotferry-tail-" + a.jobHash }

// buryAll ends the connections that an applier before this one may have left at
// a master with commands that were not read yet, and waits until other
// connections of its job are at their end.
func (a *Applier) buryAll(ctx context.Context, client *redis.Client) error {
	list, err := client.ClientList(ctx).Result()
	if err != nil && !said(err) {
		return err
	}
	for line := range strings.Lines(list) {
		id, name := "", ""
		for word := range strings.FieldsSeq(line) {
			if v, ok := strings.CutPrefix(word, "id="); ok {
				id = v
			} else if v, ok := strings.CutPrefix(word, "name="); ok {
				name = v
			}
		}
		if name != a.connectionName() {
			continue
		}
		if err := client.ClientKillByFilter(ctx, "ID", id).Err(); err != nil && !said(err) {
			return err
		}
	}
	for range pingRounds {
		if err := client.Ping(ctx).Err(); err != nil {
			return err
		}
	}
	return nil
}

// said tells whether an error is a server's answer.
func said(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply)
}

// doubt has the marks of all slots of a pipe looked at before anything is sent.
func (a *Applier) doubt(p *pipe) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range a.slots {
		if s := &a.slots[i]; s.pipe == p && s.known {
			s.unsure, s.past = true, true
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
