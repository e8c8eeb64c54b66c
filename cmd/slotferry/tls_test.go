package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/slotferry/slotferry/internal/dataset"
	"github.com/slotferry/slotferry/internal/sandbox"
	"github.com/slotferry/slotferry/internal/sandbox/sandboxtest"
)

// TestTLSAndPasswordFiles goes into servers of a private authority, which let in
// only who shows a certificate. The passwords in the environment are wrong:
// those of the files count.
func TestTLSAndPasswordFiles(t *testing.T) {
	src := sandboxtest.Server(t, sandbox.Options{Password: sourcePassword, TLS: true})
	if _, err := dataset.Fill(t.Context(), src.Client(), dataset.Mixed(500)); err != nil {
		t.Fatal(err)
	}
	dst := sandboxtest.Cluster(t, sandbox.ClusterOptions{Options: sandbox.Options{Password: targetPassword, TLS: true}, Masters: 3})
	node := dst.Nodes[0]
	for _, s := range append([]*sandbox.Server{src}, dst.Nodes...) {
		if err := s.Client().ConfigSet(t.Context(), "tls-auth-clients", "yes").Err(); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	ways := []string{"--source", "rediss://" + src.Addr, "--target", "rediss://" + node.Addr,
		"--source-password-file", file("s", sourcePassword), "--target-password-file", file("t", targetPassword)}
	authority := []string{"--source-tls-ca", src.CA, "--target-tls-ca", node.CA}
	certificate := []string{"--source-tls-cert", src.Cert, "--source-tls-key", src.Key, "--target-tls-cert", node.Cert, "--target-tls-key", node.Key}
	named := func(name string) []string {
		return []string{"--source-tls-server-name", name, "--target-tls-server-name", name}
	}
	unchecked := []string{"--source-tls-insecure", "--target-tls-insecure"}
	for _, tc := range []struct {
		name string
		args [][]string
		code int
		says []string
	}{
		{"unknown authority", [][]string{{"import"}, certificate}, 4, []string{"source_unreachable", "target_unreachable", "name the certificate authority"}},
		{"no certificate", [][]string{{"import"}, authority}, 4, []string{"source_unreachable", "target_unreachable", "want a client certificate?"}},
		{"another name", [][]string{{"import"}, authority, certificate, named("redis.example")}, 4, []string{"source_unreachable", "target_unreachable", "set the server name"}},
		{"plan", [][]string{{"plan"}, authority, certificate}, 0, nil},
		// All ways in there are: lanes, clients of one node, and one of the whole cluster.
		{"import", [][]string{{"import", "--checkpoint=target", "--verify", "--pause=10ms"}, authority, certificate, named("localhost")}, 0, []string{"= written  500", "no difference"}},
		{"verify, unchecked", [][]string{{"verify", "--pause=10ms"}, certificate, unchecked}, 0, []string{"no difference", "the certificate of the source is not checked", "the certificate of the target is not checked"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cmd := command(t, dir, append(slices.Concat(tc.args...), ways...)...)
			cmd.Env = append(cmd.Env, "SLOTFERRY_SOURCE_PASSWORD=wrong", "SLOTFERRY_TARGET_PASSWORD=wrong")
			finish(t, cmd, nil).want(t, tc.code, tc.says...)
		})
	}
	stage{Cluster: dst}.wantEqual(t, src, dataset.CompareOptions{})
}
