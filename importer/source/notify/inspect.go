package notify

import (
	"context"
	"errors"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/slotferry/slotferry/importer/endpoint"
	"github.com/slotferry/slotferry/importer/preflight"
)

// Inspect says what stands in the way of following the source. It changes
// nothing.
func (l *Listener) Inspect(ctx context.Context) (found preflight.Findings) {
	server, err := preflight.Look(ctx, l.client)
	if err != nil {
		l.unreachable(&found, err)
		return found
	}
	if server.Role == "slave" {
		found.Warn("notify_replica", "name its master instead, or see that the replica keeps its connection to it",
			"the source %s is a replica: when it gets all its keys anew from its master, that is found out only if the connection between them was down for a second", l.opts.Endpoint)
	}
	flags, unknown, err := l.flags(ctx)
	switch {
	case err != nil:
		l.unreachable(&found, err)
		return found
	case unknown && l.opts.Assume:
		found.Warn("notify_unknown", "", "whether keyspace notifications are on is taken for granted, because the user may not ask; with some of them off the copy is wrong")
	case unknown:
		found.Block("notify_unknown", "ACL SETUSER <user> +config|get; where there is no CONFIG, set "+parameter+" to AE by the provider's own means and say so here",
			"the user may not ask the source whether keyspace notifications are on")
	case lacking(flags) != "":
		l.off(ctx, &found, flags)
	}
	if err := l.try(ctx, patterns(flags, unknown)); hasReply(err, "NOPERM") {
		found.Block("notify_rights", rule(err, unknown, l.opts.Enable),
			"the user may not subscribe to keyspace notifications of the source: %v", err)
	} else if err != nil {
		l.unreachable(&found, err)
	}
	return found
}

// off tells what to do about notifications that are off.
func (l *Listener) off(ctx context.Context, found *preflight.Findings, flags string) {
	if !l.opts.Enable {
		found.Block("notify_off", command(flags)+", or let it be done for the run",
			"keyspace notifications of the source are off, at least some of them (%s is %q)", parameter, flags)
		return
	}
	// To set what is set changes nothing.
	if err := l.client.ConfigSet(ctx, parameter, flags).Err(); err != nil {
		found.Block("notify_off", "ACL SETUSER <user> +config|set, or have somebody run "+command(flags),
			"keyspace notifications of the source are off (%s is %q), and the user may not switch them on: %v", parameter, flags, err)
	}
}

// try subscribes for a moment.
func (l *Listener) try(ctx context.Context, patterns []string) error {
	conn, err := l.opts.Endpoint.Dial(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	n, r := &line{conn: conn}, l.reader(conn)
	for _, words := range [][]string{append([]string{"PSUBSCRIBE"}, patterns...), {"PING"}} {
		if err := n.send(words, l.opts.Timeout); err != nil {
			return err
		}
	}
	for {
		m, err := r.next()
		if err != nil || m.kind == pong {
			return err
		}
	}
}

// rule is what gives a user the rights to follow, after a refusal.
func rule(refused error, unknown, enable bool) string {
	var b strings.Builder
	b.WriteString("ACL SETUSER <user> +psubscribe +ping +info")
	if strings.Contains(refused.Error(), "channel") { // else a rule with channels may be refused itself
		b.WriteString(" &" + keyevent + " &" + keyspace)
	}
	if !unknown {
		b.WriteString(" +config|get")
	}
	if enable {
		b.WriteString(" +config|set")
	}
	return b.String()
}

// unreachable tells why the source does not answer as it should.
func (l *Listener) unreachable(found *preflight.Findings, err error) {
	var reply redis.Error
	switch {
	case errors.Is(err, endpoint.ErrAuth):
		found.Block("source_auth", "see --source-password-file, --source-askpass, SLOTFERRY_SOURCE_USERNAME and SLOTFERRY_SOURCE_PASSWORD", "the source %s refuses user or password: %v", l.opts.Endpoint, err)
	case errors.As(err, &reply) && strings.HasPrefix(err.Error(), "NOPERM"):
		found.Block("notify_rights", "ACL SETUSER <user> +info +time +psubscribe +ping +config|get", "the source %s: %v", l.opts.Endpoint, err)
	default:
		found.Block("source_unreachable", "see that the server answers there (redis-cli -h … -p … ping), with or without TLS as it should be", "the source %s does not answer: %v", l.opts.Endpoint, err)
	}
}
