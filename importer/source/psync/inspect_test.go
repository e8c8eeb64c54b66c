package psync

import (
	"slices"
	"strings"
	"testing"

	"github.com/slotferry/slotferry/importer/choice"
	"github.com/slotferry/slotferry/importer/endpoint"
	"github.com/slotferry/slotferry/importer/preflight"
	"github.com/slotferry/slotferry/internal/sandbox"
	"github.com/slotferry/slotferry/internal/sandbox/sandboxtest"
)

func TestInspect(t *testing.T) {
	for _, tc := range []struct {
		name    string
		args    []string
		found   []string
		blocked bool
	}{
		{"as it comes", nil, []string{"source_backlog"}, false},
		{"well set up", []string{"--repl-backlog-size", "64mb"}, nil, false},
		{"replicas that count", []string{"--repl-backlog-size", "64mb", "--min-replicas-to-write", "1"}, []string{"source_counts_replicas"}, false},
		{"a small buffer", []string{"--repl-backlog-size", "64mb", "--client-output-buffer-limit", "replica 1mb 0 0"}, []string{"source_output_buffer"}, false},
		{"a cluster", []string{"--cluster-enabled", "yes"}, []string{"source_is_cluster"}, true},
		{"PSYNC renamed", []string{"--repl-backlog-size", "64mb", "--rename-command", "PSYNC", "p"}, []string{"source_no_replication"}, true},
		{"a replica without its master", []string{"--repl-backlog-size", "64mb", "--replicaof", "127.0.0.1 1"}, []string{"source_link_down"}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			server := sandboxtest.Server(t, sandbox.Options{Args: tc.args})
			c, err := choice.New(choice.Options{})
			if err != nil {
				t.Fatal(err)
			}
			s := New(Options{Endpoint: endpoint.Endpoint{Addr: server.Addr}, Choice: c})
			defer s.Close()
			facts, found := s.Inspect(t.Context())
			var codes []string
			for _, f := range found {
				codes = append(codes, f.Code)
			}
			if !slices.Equal(codes, tc.found) || tc.blocked != (len(found.Blockers()) > 0) {
				t.Errorf("found %+v", found)
			}
			if facts.Server.RunID == "" || len(facts.IDs) != 1 || facts.IDs[0] != "redis://"+server.Addr {
				t.Errorf("%+v", facts)
			}
			// Trying the rights makes no copy and changes no role.
			info := server.Client().Info(t.Context(), "replication", "stats").Val()
			if strings.Contains(server.Log(), "BGSAVE") || strings.Contains(info, "role:master") != (tc.name != "a replica without its master") {
				t.Errorf("the server is disturbed: %s", info)
			}
		})
	}
}

func TestJudge(t *testing.T) {
	roomy := map[string]string{"repl-backlog-size": "1073741824"}
	for _, tc := range []struct {
		name   string
		used   int64
		perSec int64
		limits string
		want   string
	}{
		{"quiet and by default", 1 << 30, 0, "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60", ""},
		{"large and by default", 100 << 30, 0, "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60", "source_output_buffer"},
		{"busy and by default", 4 << 30, 4 << 20, "normal 0 0 0 replica 268435456 67108864 60", "source_output_buffer"},
		{"busy without a limit", 40 << 30, 4 << 20, "normal 0 0 0 slave 0 0 0", ""},
		{"too busy for the backlog", 1 << 20, 20 << 20, "slave 0 0 0", "source_backlog"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := New(Options{})
			defer s.Close()
			s.server.Used = tc.used
			config := map[string]string{"client-output-buffer-limit": tc.limits}
			for name, value := range roomy {
				config[name] = value
			}
			var found preflight.Findings
			s.judge(&found, config, tc.perSec)
			if tc.want == "" && len(found) > 0 || tc.want != "" && (len(found) != 1 || found[0].Code != tc.want || !strings.HasPrefix(found[0].Remedy, "CONFIG SET ")) {
				t.Errorf("found %+v", found)
			}
		})
	}
}
