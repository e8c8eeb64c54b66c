package scan

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/slotferry/slotferry/importer/endpoint"
	"github.com/slotferry/slotferry/importer/preflight"
	"github.com/slotferry/slotferry/rdbparse"
)

// Inspect connects to the server and says what it is and what stands in the
// way of reading it.
func (s *Source) Inspect(ctx context.Context) (preflight.Source, preflight.Findings) {
	var found preflight.Findings
	name := s.opts.Endpoint.String()
	facts := preflight.Source{Text: name, IDs: []string{name}}
	var err error
	if s.server, err = preflight.Look(ctx, s.clients.first); err != nil {
		s.unreachable(&found, err)
		return facts, found
	}
	s.version = s.server.Version
	facts.Server = &s.server
	facts.RDB = s.version.RDB()
	facts.Version, facts.Memory = s.version.String(), s.server.Dataset
	if s.server.Cluster {
		found.Block("source_is_cluster", "name a standalone server; copying from a cluster is not supported yet",
			"the source %s is itself a node of a Redis Cluster", name)
		return facts, found
	}
	if s.server.Loading {
		found.Block("source_loading", "wait until INFO says loading:0", "the source %s is still loading its data", name)
		return facts, found
	}
	if !s.server.Version.AtLeast(5, 0) {
		found.Block("source_version", "use its dump.rdb instead: --source /path/to/dump.rdb", "the source is %s; a live source must be 5.0 or newer", s.server.Version)
	}
	if s.server.Role == "slave" {
		found.Warn("source_is_replica", "if it is behind its master, so will be the copy", "the source %s is a replica", name)
	}
	s.rights(ctx, &found)
	facts.Measure = preflight.MeasureSerialized
	if s.opts.Measure && len(found.Blockers()) == 0 {
		s.measurable(ctx, &found)
	}
	if s.memory {
		facts.Measure = preflight.MeasureMemory
	}
	s.dbs = s.databases(s.server)
	facts.Keys = map[int]int64{}
	for _, db := range s.dbs {
		facts.Keys[db] = s.server.Keys[db]
	}
	s.functions(ctx, &found)
	facts.Libraries = len(s.libs)
	return facts, found
}

// Survey reads the names of all keys if renamed ones could collide.
func (s *Source) Survey(ctx context.Context, facts *preflight.Source) (found preflight.Findings) {
	if err := s.collisions(ctx, facts, &found); err != nil {
		found.Block("source_unreachable", "", "reading the names of keys from %s: %v", facts.Text, err)
	}
	return found
}

// rights asks for every command that the scan needs.
func (s *Source) rights(ctx context.Context, found *preflight.Findings) {
	// A server refuses the whole rule for one command that it does not know.
	expiry, remedy := "PEXPIRETIME", "ACL SETUSER <user> ~* +scan +dump +pexpiretime +time +select +info +function|dump"
	if !s.server.Version.AtLeast(7, 0) {
		expiry, remedy = "PTTL", "ACL SETUSER <user> ~* +scan +dump +pttl +time +select +info"
	}
	denied, onKey, err := preflight.Denied(ctx, s.clients.first, []preflight.Probe{
		{Command: "SCAN", Args: []any{"SCAN", "0", "COUNT", "1"}},
		{Command: "DUMP", Args: []any{"DUMP", preflight.ProbeKey}},
		{Command: expiry, Args: []any{expiry, preflight.ProbeKey}},
		{Command: "SELECT", Args: []any{"SELECT", "0"}},
	})
	if err != nil {
		s.unreachable(found, err)
		return
	}
	if len(denied) > 0 {
		found.Block("source_rights", remedy,
			"the user may not run %s on the source", strings.Join(denied, ", "))
	}
	if len(onKey) > 0 {
		found.Warn("source_key_rights", "keys outside the user's patterns fail by name; ~* allows all, or choose with --include",
			"the user may not read every key of the source (tried %q)", preflight.ProbeKey)
	}
}

// functions reads the function libraries (7.0 and newer).
func (s *Source) functions(ctx context.Context, found *preflight.Findings) {
	if !s.server.Version.AtLeast(7, 0) {
		return
	}
	dump, err := s.clients.first.FunctionDump(ctx).Result()
	if err == nil {
		s.libs, err = rdbparse.FunctionLibraries([]byte(dump))
	}
	if err != nil {
		found.Warn("functions_unread", "ACL SETUSER <user> +function|dump, or bring the libraries over by hand (FUNCTION DUMP, FUNCTION RESTORE)",
			"function libraries of the source are not copied: %v", err)
	}
}

// collisions looks for two keys that would get the same name.
func (s *Source) collisions(ctx context.Context, facts *preflight.Source, found *preflight.Findings) error {
	names := s.opts.Choice.Collisions(s.dbs, 0)
	if names == nil {
		return nil
	}
	note := func(db int, key []byte) error {
		names.Note(db, key)
		return nil
	}
	if err := s.names(ctx, &place{}, s.dbs, note); err != nil {
		return err
	}
	if names.Full() {
		found.Block("collisions_unknown", "choose a prefix that few keys begin with", "too many keys could get the same new name to look at them all")
		return nil
	}
	if names.Empty() {
		return nil
	}
	return s.names(ctx, &place{}, s.dbs, func(db int, key []byte) error {
		if facts.Collision == "" && names.Check(db, key) {
			facts.Collision = fmt.Sprintf("key %q of db %d", key[:min(len(key), 128)], db)
		}
		return nil
	})
}

// unreachable tells why the source does not answer as it should.
func (s *Source) unreachable(found *preflight.Findings, err error) {
	var reply redis.Error
	text := err.Error()
	switch {
	case errors.Is(err, endpoint.ErrAuth), strings.Contains(text, "WRONGPASS"), strings.Contains(text, "NOAUTH"), strings.Contains(text, "AUTH <password> called without"):
		found.Block("source_auth", "see --source-password-file, --source-askpass, SLOTFERRY_SOURCE_USERNAME and SLOTFERRY_SOURCE_PASSWORD", "the source %s refuses user or password: %v", s.opts.Endpoint, err)
	case errors.As(err, &reply) && strings.Contains(text, "NOPERM"):
		found.Block("source_rights", "ACL SETUSER <user> ~* +scan +dump +pttl +time +select +info, and from 7.0 on +pexpiretime +function|dump", "the source %s: %v", s.opts.Endpoint, err)
	default:
		found.Block("source_unreachable", "see that the server answers there (redis-cli -h … -p … ping), with or without TLS as it should be", "the source %s does not answer: %v", s.opts.Endpoint, err)
	}
}
