package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/slotferry/slotferry/internal/sandbox"
	"github.com/slotferry/slotferry/internal/sandbox/sandboxtest"
)

// TestLiveUsage gives flags that don't go together.
func TestLiveUsage(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "dump.rdb")
	if err := os.WriteFile(file, []byte("REDIS0011\xff"), 0o600); err != nil {
		t.Fatal(err)
	}
	const server = "redis://127.0.0.1:1"
	for _, tc := range []struct {
		name, source, flags, says string
	}{
		{"a cutover of a scan", server, "--cutover", "--cutover: it is for a running source that is followed"},
		{"once without following", server, "--once", "--once: it is for a running source that is followed"},
		{"once and a cutover", server, "--via sync --once --cutover", "leave one of them out"},
		{"a command without a cutover", server, "--via sync --on-cutover true", "--on-cutover: it is run by --cutover, which is not given"},
		{"a pause too short", server, "--via sync --cutover --pause-timeout 10ms", "is too short to finish anything"},
		{"following a file", file, "--follow", "--follow: it is for a running source"},
		{"a cutover of a file", file, "--cutover", "--cutover: it is for a running source"},
		{"a time for a server", server, "--via sync --until 2026-03-01T13:30:00Z", "--until: it is for an append-only file"},
		{"a spool too small", server, "--via sync --spool-max 1MiB", "--spool-max: \"1MiB\" is too small"},
		{"another policy for a flush", server, "--via sync --on-flush perhaps", "choose stop or apply"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			slotferry(t, dir, append([]string{"import", "--source", tc.source, "--target", server}, strings.Fields(tc.flags)...)...).want(t, 2, tc.says)
		})
	}
}

// TestLiveBlocked follows what can't be followed.
func TestLiveBlocked(t *testing.T) {
	src, dst, dir := source(t, 20), emptyCluster(t), t.TempDir()
	orphan := sandboxtest.Server(t, sandbox.Options{Password: sourcePassword})
	host, port, _ := strings.Cut(nobody(t), ":")
	if err := orphan.Client().Do(t.Context(), "REPLICAOF", host, port).Err(); err != nil {
		t.Fatal(err)
	}
	if err := src.Client().Do(t.Context(), "ACL", "SETUSER", "reader", "on", ">"+sourcePassword, "~*", "+@all", "-psync").Err(); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, source, user, password, code string
	}{
		{"a wrong password", src.Addr, "", "wrong", "source_auth"},
		{"a node of a cluster", dst.Seeds()[0], "", targetPassword, "source_is_cluster"},
		{"a replica without its master", orphan.Addr, "", sourcePassword, "source_link_down"},
		{"no right to replicate", src.Addr, "reader", sourcePassword, "source_rights"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cmd := command(t, dir, "import", "--via", "sync", "--once", "--source", "redis://"+tc.source, "--target", dst.url, "--retry-for", "1s")
			cmd.Env = append(cmd.Env, "SLOTFERRY_SOURCE_USERNAME="+tc.user, "SLOTFERRY_SOURCE_PASSWORD="+tc.password)
			finish(t, cmd, nil).want(t, 4, tc.code+": ")
		})
	}
	if n := dst.keys(t); n != 0 {
		t.Errorf("%d keys were written", n)
	}
}

// TestLiveFlushed empties the source of a live copy.
func TestLiveFlushed(t *testing.T) {
	for _, policy := range []string{"stop", "apply"} {
		t.Run(policy, func(t *testing.T) {
			src, dst := source(t, 50), emptyCluster(t)
			cmd := command(t, t.TempDir(), "import", "--via", "sync", "--source", "redis://"+src.Addr, "--target", dst.url, "--on-flush", policy)
			var stdout, stderr bytes.Buffer
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			waitFor(t, "the first command behind the copy", func() bool {
				set(t, src.Client(), "behind", "1")
				return dst.Client().Get(t.Context(), "behind").Val() == "1"
			})
			before := dst.keys(t)
			if err := src.Client().FlushAll(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
			set(t, src.Client(), "after", strconv.FormatInt(before, 10))
			if policy == "apply" {
				waitFor(t, "what was written after the flush", func() bool { return dst.Client().Get(t.Context(), "after").Err() == nil })
				if dst.Client().Exists(t.Context(), "behind").Val() != 0 {
					t.Error("a key from before the flush is still there")
				}
				_ = cmd.Process.Signal(os.Interrupt)
			}
			_ = cmd.Wait()
			r := result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
			switch policy {
			case "apply":
				r.want(t, 75)
			default:
				r.want(t, 1, "FLUSHALL", "--on-flush apply")
				if n := dst.keys(t); n < 50 {
					t.Errorf("%d keys are left in the target", n)
				}
			}
		})
	}
}
