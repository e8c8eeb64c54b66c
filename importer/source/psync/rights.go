package psync

import (
	"context"
	"strings"

	"github.com/slotferry/slotferry/importer/preflight"
)

// probeID stands for a replication ID when PSYNC is tried: it shows in the
// source's log.
const probeID = "slotferry-tries-its-rights-only"

// rights tries the commands of a replica. PSYNC asks for a failover that no
// server makes for such an ID: a master refuses it as a master, a replica for
// the ID, and a server before 6.2 for the number of words.
func (s *Source) rights(ctx context.Context, found *preflight.Findings) {
	remedy := "ACL SETUSER <user> +psync +replconf +ping"
	probes := [][]any{{"REPLCONF", "capa", "eof"}, {"PSYNC", probeID, "-1", "FAILOVER"}}
	pipe := s.client.Pipeline()
	for _, words := range probes {
		pipe.Do(ctx, words...)
	}
	answers, _ := pipe.Exec(ctx) // each command's own error counts
	var denied, unknown []string
	for i, answer := range answers {
		err := answer.Err()
		if err == nil {
			continue
		}
		command := probes[i][0].(string)
		switch text := strings.ToLower(err.Error()); {
		case noPerm(err), strings.Contains(text, "wrong number of arguments") && s.queuedDenied(ctx):
			denied = append(denied, command)
		case strings.HasPrefix(text, "err unknown command"):
			unknown = append(unknown, command)
		case strings.HasPrefix(text, "loading"):
			found.Block("source_loading", "wait until INFO says loading:0", "the source %s is still loading its data", s.opts.Endpoint)
		case !strings.HasPrefix(text, "err "):
			s.unreachable(found, err)
			return
		}
	}
	if len(denied) > 0 {
		found.Block("source_rights", remedy, "the user may not run %s on the source", strings.Join(denied, ", "))
	}
	if len(unknown) > 0 {
		found.Block("source_no_replication", "undo rename-command for it in the source's configuration; or copy with --via scan",
			"the source %s does not know %s: it is renamed, or a service that hides replication", s.opts.Endpoint, strings.Join(unknown, ", "))
	}
}

// queuedDenied tells whether a server before 6.2 refuses PSYNC to the user: it
// is queued, if it is allowed, and never run.
func (s *Source) queuedDenied(ctx context.Context) bool {
	conn, err := s.opts.Endpoint.Dial(ctx)
	if err != nil {
		return false
	}
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	l := &link{conn: conn, timeout: s.opts.Timeout}
	l.in = newInput(l, func() {})
	if reply, err := l.ask("MULTI"); err != nil || reply != "+OK" {
		return false // not to be learnt without harm
	}
	reply, err := l.ask("PSYNC", "?", "-1")
	return err == nil && strings.HasPrefix(reply, "-NOPERM")
}
