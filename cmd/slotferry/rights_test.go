package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/slotferry/slotferry/internal/dataset"
	"github.com/slotferry/slotferry/internal/sandbox"
	"github.com/slotferry/slotferry/internal/sandbox/sandboxtest"
)

const rightsDocument = "../../docs/passwords-and-tls.md"

// documented reads the ACL lines of the document, by their headings: "source,
// from 7.0: plan".
func documented(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile(rightsDocument)
	if err != nil {
		t.Fatal(err)
	}
	lines, heading := map[string][]string{}, ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if h, ok := strings.CutPrefix(line, "# "); ok {
			heading = h
		} else if strings.HasPrefix(line, "ACL SETUSER ") {
			side, about, ok := strings.Cut(heading, ": ")
			if !ok {
				t.Fatalf("%q stands under no heading", line)
			}
			for _, command := range strings.Split(about, ", ") {
				lines[side+": "+command] = append(lines[side+": "+command], line)
			}
		}
	}
	return lines
}

// rightsCases are what is run with each pair of users. They stand in an order in
// which each finds the target as it needs it.
var rightsCases = []struct {
	name, source, target string // source and target are headings of the document
	args                 []string
	before               func(t *testing.T, c *sandbox.Cluster)
}{
	{"plan", "plan", "plan", []string{"plan"}, empty},
	{"import", "import", "import", []string{"import", "--checkpoint=none"}, empty},
	{"verify", "verify", "verify", []string{"verify", "--checkpoint=none", "--extra", "--pause=10ms"}, nil},
	{"repair", "verify", "verify --repair", []string{"verify", "--checkpoint=none", "--extra", "--repair", "--pause=10ms"}, func(t *testing.T, c *sandbox.Cluster) {
		if err := errors.Join(c.Client().Del(t.Context(), "str:000000000").Err(), c.Client().Set(t.Context(), "more", "x", 0).Err()); err != nil {
			t.Fatal(err)
		}
	}},
	{"checkpoint in the target", "import", "import with --checkpoint target", []string{"import", "--checkpoint=target"}, func(t *testing.T, c *sandbox.Cluster) {
		empty(t, c)
		set(t, c.Client(), "slotferry:{another}:checkpoint", "which is no data")
	}},
}

func empty(t *testing.T, c *sandbox.Cluster) {
	t.Helper()
	for _, n := range c.Nodes {
		if err := errors.Join(n.Client().FlushAll(t.Context()).Err(), n.Client().ScriptFlush(t.Context()).Err(), ignoreUnknown(n.Client().FunctionFlush(t.Context()).Err())); err != nil {
			t.Fatal(err)
		}
	}
}

// needed only now and then: while slots move, for a file with scripts, for what a
// master holds besides data, when a connection was lost, once a minute of a live
// copy, and for keys that are gone.
var seldom = []string{"asking", "script|load", "script|exists", "client|kill", "sort", "client|list", "unlink"}

// TestRights runs the command as users that may do what the document says and
// nothing else. It also sees that nothing is said to be needed that is not.
func TestRights(t *testing.T) {
	lines := documented(t)
	dst := emptyCluster(t)
	rights{lines, source(t, 500), dst.Cluster}.run(t)
	for _, name := range []string{"redis-6.0", "redis-8.6", "valkey-9.1"} {
		t.Run(name, func(t *testing.T) {
			o := sandbox.Options{Binary: filepath.Join(os.Getenv("SLOTFERRY_SERVERS"), name, "bin", "redis-server")}
			if _, err := os.Stat(o.Binary); err != nil {
				t.Skip("SLOTFERRY_SERVERS names no folder with it")
			}
			o.Password = sourcePassword
			src := sandboxtest.Server(t, o)
			if _, err := dataset.Fill(t.Context(), src.Client(), dataset.Mixed(500)); err != nil {
				t.Fatal(err)
			}
			o.Password = targetPassword
			rights{lines, src, sandboxtest.Cluster(t, sandbox.ClusterOptions{Options: o, Masters: 3})}.run(t)
		})
	}
}

// rights are the document's, with two sides to try them on.
type rights struct {
	lines  map[string][]string
	source *sandbox.Server
	target *sandbox.Cluster
}

func (r rights) run(t *testing.T) {
	for _, tc := range rightsCases {
		t.Run(tc.name, func(t *testing.T) {
			nodes := r.target.Nodes
			servers := append([]*sandbox.Server{r.source}, nodes...)
			if tc.before != nil {
				tc.before(t, r.target)
			}
			from := r.grant(t, sourcePassword, "source", tc.source, r.source)
			to := r.grant(t, targetPassword, "target", tc.target, nodes...)
			for _, s := range servers {
				if err := s.Client().ConfigResetStat(t.Context()).Err(); err != nil {
					t.Fatal(err)
				}
			}
			cmd := command(t, t.TempDir(), append(tc.args, "--source=redis://"+r.source.Addr, "--target=redis://"+strings.Join(r.target.Seeds(), ","))...)
			cmd.Env = append(cmd.Env, "SLOTFERRY_SOURCE_USERNAME="+from.name, "SLOTFERRY_TARGET_USERNAME="+to.name)
			result := finish(t, cmd, nil)
			result.want(t, 0)
			if strings.Contains(result.stdout+result.stderr, "ACL SETUSER") || strings.Contains(result.stderr, "WARN") {
				t.Errorf("something was missed:\n%s%s", result.stdout, result.stderr)
			}
			from.wantUsed(t, r.source)
			to.wantUsed(t, nodes...)
		})
	}
}

// user is one that the document describes.
type user struct {
	name    string
	granted []string // commands, as INFO commandstats names them
}

// age is the part of a heading that says for which servers its lines are.
func (r rights) age() string {
	if r.source.Version.AtLeast(7, 0) {
		return ", from 7.0: "
	}
	return ", before 7.0: "
}

var granted = regexp.MustCompile(`\+([a-z|-]+)`)

// grant makes the user of a heading on servers, with nothing that it had before.
func (r rights) grant(t *testing.T, password, side, heading string, servers ...*sandbox.Server) (u user) {
	t.Helper()
	lines := r.lines[side+r.age()+heading]
	if len(lines) == 0 {
		t.Fatalf("%s says nothing of %q", rightsDocument, side+r.age()+heading)
	}
	u.name = strings.Fields(lines[0])[2]
	for _, s := range servers {
		if err := s.Client().ACLDelUser(t.Context(), u.name).Err(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Client().ACLDelUser(context.WithoutCancel(t.Context()), u.name).Err() })
		for _, line := range lines {
			if err := s.Client().Do(t.Context(), words(strings.ReplaceAll(line, "…", password))...).Err(); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
		}
	}
	for _, line := range lines {
		for _, m := range granted.FindAllStringSubmatch(line, -1) {
			u.granted = append(u.granted, m[1])
		}
	}
	return u
}

// words splits a command where redis-cli would; a selector in brackets is one
// word to the server as well as many.
func words(line string) (out []any) {
	for _, w := range strings.Fields(line) {
		out = append(out, w)
	}
	return out
}

// wantUsed tells that every right was made use of on one of the servers.
func (u user) wantUsed(t *testing.T, servers ...*sandbox.Server) {
	t.Helper()
	used := ""
	for _, s := range servers {
		stats, err := s.Client().Info(t.Context(), "commandstats").Result()
		if err != nil {
			t.Fatal(err)
		}
		used += stats
	}
	for _, right := range u.granted {
		name := right
		if !servers[0].Version.AtLeast(7, 0) { // they count no subcommands
			name, _, _ = strings.Cut(right, "|")
		}
		if !strings.Contains(used, "cmdstat_"+name+":") && !slices.Contains(seldom, right) {
			t.Errorf("%s is given +%s and has no use for it", u.name, right)
		}
	}
}

// ignoreUnknown leaves out that a server is too old for a command.
func ignoreUnknown(err error) error {
	if reply := redis.Error(nil); errors.As(err, &reply) && strings.HasPrefix(reply.Error(), "ERR unknown command") {
		return nil
	}
	return err
}
