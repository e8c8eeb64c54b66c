package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slotferry/slotferry/internal/dataset"
	"github.com/slotferry/slotferry/internal/sandbox"
)

// TestRotation changes the passwords of both sides twice while an import runs,
// and cuts all its connections: once when the password file is new already, and
// once before it is. The checkpoint is in the target, so that besides the lanes
// a client for the whole cluster has to come in again.
func TestRotation(t *testing.T) {
	src, dst, dir := source(t, 4000), emptyCluster(t), t.TempDir()
	from := &rotation{filepath.Join(dir, "source"), []*sandbox.Server{src}}
	to := &rotation{filepath.Join(dir, "target"), dst.Nodes}
	sides := []*rotation{to, from}
	for _, r := range sides {
		r.accept(t, "first-secret")
		r.write(t, "first-secret")
		t.Cleanup(r.forget)
	}
	errorsFile := filepath.Join(dir, "stderr")
	stderr, err := os.Create(errorsFile)
	if err != nil {
		t.Fatal(err)
	}
	defer stderr.Close()
	cmd := command(t, dir, "import", "--source", "redis://ferry@"+src.Addr, "--target", strings.Replace(dst.url, "redis://", "redis://ferry@", 1),
		"--source-password-file", from.file, "--target-password-file", to.file,
		"--checkpoint", "target", "--scan-count", "100", "--rate-keys", "2000", "--output", "json")
	var stdout strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := func(text string) int {
		data, err := os.ReadFile(errorsFile)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Count(string(data), text)
	}

	waitFor(t, "keys", func() bool { return dst.keys(t) > 200 })
	for _, r := range sides {
		r.accept(t, "second-secret")
		r.write(t, "second-secret")
		r.cut(t)
	}
	waitFor(t, "keys after the first change", func() bool { return dst.keys(t) > 800 })
	if n := said("WRONGPASS"); n > 0 {
		t.Errorf("%d refusals although the files were changed in time", n)
	}
	for _, r := range sides {
		r.accept(t, "third-secret")
		r.cut(t)
		addr := r.servers[0].Addr
		waitFor(t, "a refusal by "+addr, func() bool { return said("redis://"+addr+": AUTH: WRONGPASS") > 0 })
		r.write(t, "third-secret")
	}
	err = cmd.Wait()
	r := result{stdout.String(), "", cmd.ProcessState.ExitCode()}
	if err != nil {
		data, _ := os.ReadFile(errorsFile)
		t.Errorf("%v\n%s", err, data)
	}
	if s := r.last(t); s.Runs > 1 || s.Read != s.Written || !s.balanced() {
		t.Errorf("summary %+v", s)
	}
	if said("-secret") > 0 {
		t.Error("a password is in the log")
	}
	dst.wantEqual(t, src, dataset.CompareOptions{})
}

// rotation is one side's user, whose password changes.
type rotation struct {
	file    string
	servers []*sandbox.Server
}

// accept makes a password the only one that the user has.
func (r *rotation) accept(t *testing.T, password string) {
	t.Helper()
	for _, s := range r.servers {
		if err := s.Client().Do(t.Context(), "ACL", "SETUSER", "ferry", "on", "resetpass", ">"+password, "~*", "+@all").Err(); err != nil {
			t.Fatal(err)
		}
	}
}

// write puts a password into the file as a careful program does.
func (r *rotation) write(t *testing.T, password string) {
	t.Helper()
	if err := errors.Join(os.WriteFile(r.file+".new", []byte(password+"\n"), 0o600), os.Rename(r.file+".new", r.file)); err != nil {
		t.Fatal(err)
	}
}

// cut ends the user's connections.
func (r *rotation) cut(t *testing.T) {
	t.Helper()
	for _, s := range r.servers {
		if err := s.Client().ClientKillByFilter(t.Context(), "USER", "ferry").Err(); err != nil {
			t.Fatal(err)
		}
	}
}

func (r *rotation) forget() {
	for _, s := range r.servers {
		_ = s.Client().ACLDelUser(context.Background(), "ferry").Err()
	}
}
