package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/slotferry/slotferry/internal/dataset"
	"github.com/slotferry/slotferry/internal/sandbox"
	"github.com/slotferry/slotferry/internal/sandbox/sandboxtest"
)

// liveRights are what is run with each pair of users while the source is written
// to.
var liveRights = []struct {
	name, source, target string // headings of the document
	args                 []string
	rarely               string // a right that is needed after a loss only
}{
	{"sync", "import --via sync", "import --via sync", []string{"--via=sync", "--once"}, ""},
	{"sync and cutover", "import --via sync --cutover", "import --via sync --cutover", []string{"--via=sync", "--cutover"}, ""},
	{"follow", "import --via scan --follow", "import --via scan --follow", []string{"--follow", "--once"}, "scan"},
	{"follow and cutover", "import --via scan --follow --cutover", "import --via scan --follow --cutover", []string{"--follow", "--cutover"}, ""},
}

// TestLiveRights is TestRights for the live copy.
func TestLiveRights(t *testing.T) {
	lines := documented(t)
	for _, name := range []string{"redis-7.0", "redis-6.0"} {
		t.Run(name, func(t *testing.T) {
			o := sandbox.Options{Args: []string{"--repl-backlog-size", "64mb", "--repl-diskless-sync-delay", "0"}, Password: sourcePassword}
			var dst *sandbox.Cluster
			if name == "redis-7.0" {
				dst = emptyCluster(t).Cluster
			} else {
				o.Binary = filepath.Join(os.Getenv("SLOTFERRY_SERVERS"), name, "bin", "redis-server")
				if _, err := os.Stat(o.Binary); err != nil {
					t.Skip("SLOTFERRY_SERVERS names no folder with it")
				}
				dst = sandboxtest.Cluster(t, sandbox.ClusterOptions{Options: sandbox.Options{Binary: o.Binary, Password: targetPassword}, Masters: 3})
			}
			src := sandboxtest.Server(t, o)
			if _, err := dataset.Fill(t.Context(), src.Client(), dataset.Mixed(500)); err != nil {
				t.Fatal(err)
			}
			defer writing(t, src)()
			rights{lines, src, dst}.runLive(t)
		})
	}
}

// writing writes to a server until the returned function is called.
func writing(t *testing.T, s *sandbox.Server) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var beside sync.WaitGroup
	beside.Go(func() {
		if _, err := dataset.Churn(ctx, s.Client(), dataset.ChurnOptions{Seed: 9, Rate: 1000, Keys: 50}, nil); err != nil {
			t.Errorf("the writer: %v", err)
		}
	})
	return func() { cancel(); beside.Wait() }
}

func (r rights) runLive(t *testing.T) {
	for _, tc := range liveRights {
		if len(r.lines["source"+r.age()+tc.source]) == 0 {
			continue // the document leaves it out
		}
		t.Run(tc.name, func(t *testing.T) {
			empty(t, r.target)
			from := r.grant(t, sourcePassword, "source", tc.source, r.source)
			to := r.grant(t, targetPassword, "target", tc.target, r.target.Nodes...)
			for _, s := range append([]*sandbox.Server{r.source}, r.target.Nodes...) {
				if err := s.Client().ConfigResetStat(t.Context()).Err(); err != nil {
					t.Fatal(err)
				}
			}
			args := append([]string{"import", "--checkpoint=none", "--source=redis://" + r.source.Addr, "--target=redis://" + strings.Join(r.target.Seeds(), ",")}, tc.args...)
			cmd := command(t, t.TempDir(), args...)
			cmd.Env = append(cmd.Env, "SLOTFERRY_SOURCE_USERNAME="+from.name, "SLOTFERRY_TARGET_USERNAME="+to.name)
			result := finish(t, cmd, nil)
			paused := r.source.Client().Do(t.Context(), "CLIENT", "UNPAUSE").Err()
			if err := ignoreUnknown(paused); err != nil && r.source.Version.AtLeast(6, 2) {
				t.Fatal(err)
			}
			result.want(t, 0)
			if strings.Contains(result.stdout+result.stderr, "ACL SETUSER") || strings.Contains(result.stderr, "WARN") || strings.Contains(result.stdout+result.stderr, "NOPERM") {
				t.Errorf("something was missed:\n%s%s", result.stdout, result.stderr)
			}
			from.wantUsed(t, r.source)
			to.granted = slices.DeleteFunc(to.granted, func(right string) bool { return right == tc.rarely })
			to.wantUsed(t, r.target.Nodes...)
		})
	}
}
