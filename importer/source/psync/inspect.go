package psync

import (
	"context"
	"errors"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/slotferry/slotferry/importer/endpoint"
	"github.com/slotferry/slotferry/importer/preflight"
)

// Inspect connects to the server and says what it is and what stands in the way
// of following it. What the user may not ask stays empty.
func (s *Source) Inspect(ctx context.Context) (preflight.Source, preflight.Findings) {
	var found preflight.Findings
	name := s.opts.Endpoint.String()
	facts := preflight.Source{Text: name, IDs: []string{name}, Measure: preflight.MeasureSerialized}
	server, err := preflight.Look(ctx, s.client)
	switch {
	case err != nil && server.RunID == "" && !noPerm(err):
		s.unreachable(&found, err)
		return facts, found
	case server.RunID == "": // the user may not run INFO
		s.mute.Store(true)
		found.Warn("source_facts_unknown", "ACL SETUSER <user> +info +time +config|get +client|list",
			"the user may not run INFO on the source %s: how many keys it has, its version and how its replication is set up can't be checked beforehand", name)
	default:
		s.server = server
		facts.Server = &s.server
		facts.Version, facts.Memory, facts.RDB = server.Version.String(), server.Dataset, server.Version.RDB()
	}
	if server.Cluster {
		found.Block("source_is_cluster", "name a standalone server; copying from a cluster is not supported yet",
			"the source %s is itself a node of a Redis Cluster", name)
		return facts, found
	}
	if server.Loading {
		found.Block("source_loading", "wait until INFO says loading:0", "the source %s is still loading its data", name)
		return facts, found
	}
	s.rights(ctx, &found)
	if facts.Server != nil {
		facts.Keys = map[int]int64{}
		for db, keys := range server.Keys {
			if keys > 0 && s.opts.Choice.DB(db) {
				facts.Keys[db] = keys
			}
		}
		s.replication(ctx, &found)
		s.settings(ctx, &found)
	}
	return facts, found
}

// unreachable tells why the source does not answer as it should.
func (s *Source) unreachable(found *preflight.Findings, err error) {
	var reply redis.Error
	text := err.Error()
	switch {
	case errors.Is(err, endpoint.ErrAuth), errors.As(err, &reply) && (strings.Contains(text, "WRONGPASS") || strings.Contains(text, "NOAUTH")):
		found.Block("source_auth", "see --source-password-file, --source-askpass, SLOTFERRY_SOURCE_USERNAME and SLOTFERRY_SOURCE_PASSWORD", "the source %s refuses user or password: %v", s.opts.Endpoint, err)
	case strings.HasPrefix(text, "LOADING"):
		found.Block("source_loading", "wait until INFO says loading:0", "the source %s is still loading its data", s.opts.Endpoint)
	default:
		found.Block("source_unreachable", "see that the server answers there (redis-cli -h … -p … ping), with or without TLS as it should be", "the source %s does not answer: %v", s.opts.Endpoint, err)
	}
}
