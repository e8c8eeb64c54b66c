package importer_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/slotferry/slotferry/checkpoint"
	"github.com/slotferry/slotferry/importer"
	"github.com/slotferry/slotferry/importer/choice"
	"github.com/slotferry/slotferry/importer/endpoint"
	"github.com/slotferry/slotferry/importer/source/rdb"
	"github.com/slotferry/slotferry/importer/source/scan"
	"github.com/slotferry/slotferry/importer/target"
	"github.com/slotferry/slotferry/internal/dataset"
)

// childEnv tells this test binary to be an importing process, with an errand.
const childEnv = "SLOTFERRY_TEST_IMPORT"

// errand is what the importing process is told.
type errand struct {
	Dir, File, Server string // Server if File is empty
	Seeds             []string
	Rate              float64
}

// child imports as the errand says and writes its summary to standard output.
func child() int {
	var e errand
	if err := json.Unmarshal([]byte(os.Getenv(childEnv)), &e); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	keys, err := choice.New(choice.Options{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	cluster := target.New(target.Options{Seeds: e.Seeds, Endpoint: endpoint.Endpoint{Password: targetSecret}})
	defer cluster.Close()
	var src importer.Source = rdb.New(rdb.Options{Path: e.File, Choice: keys})
	if e.File == "" {
		src = scan.New(scan.Options{Endpoint: endpoint.Endpoint{Addr: e.Server, Password: sourceSecret}, Choice: keys, Count: 100})
	}
	summary, err := importer.New(importer.Options{
		Job: "killed", Source: src, Target: cluster, Choice: keys, RateKeys: e.Rate, SaveEvery: 10 * time.Millisecond,
		OpenStore: func(context.Context) (importer.Store, error) { return checkpoint.OpenFile(e.Dir) },
	}).Run(context.Background())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if err := json.NewEncoder(os.Stdout).Encode(summary); err != nil {
		return 1
	}
	return 0
}

// TestKill kills the importing process with SIGKILL in the middle, again and
// again, and then lets it finish.
func TestKill(t *testing.T) {
	const keys, kills = 30_000, 5
	c := emptyCluster(t)
	src, path := mixed(t, keys)
	self, err := os.Executable()
	must(t, err)
	r := rand.New(rand.NewPCG(3, uint64(time.Now().UnixNano())))
	for name, e := range map[string]errand{"rdb": {File: path}, "scan": {Server: src.Addr}} {
		t.Run(name, func(t *testing.T) {
			empty(t, c)
			e.Dir, e.Seeds, e.Rate = t.TempDir(), c.Seeds(), 8000
			start := func() *exec.Cmd {
				data, err := json.Marshal(e)
				must(t, err)
				cmd := exec.CommandContext(t.Context(), self)
				cmd.Env = append(os.Environ(), childEnv+"="+string(data))
				cmd.Stderr = os.Stderr
				return cmd
			}
			for kill := 0; kill < kills; kill++ {
				cmd := start()
				before := held(t)
				must(t, cmd.Start())
				ended := make(chan error, 1)
				go func() { ended <- cmd.Wait() }()
				for held(t) == before && len(ended) == 0 { // until it is in the middle
					time.Sleep(5 * time.Millisecond)
				}
				time.Sleep(time.Duration(r.Int64N(int64(200 * time.Millisecond))))
				if err := cmd.Process.Kill(); err != nil {
					t.Fatalf("it ended before it was killed for the %d. time: %v, %v", kill+1, err, <-ended)
				}
				if err := <-ended; err == nil || cmd.ProcessState.Exited() {
					t.Fatalf("it ended before it was killed for the %d. time: %v", kill+1, err)
				}
				t.Logf("killed with %d keys on the target", held(t))
			}
			e.Rate = 0
			out, err := start().Output()
			must(t, err)
			var s importer.Summary
			must(t, json.Unmarshal(out, &s))
			if !s.Resumed || s.Runs != kills+1 || s.Failed != 0 || s.Skipped != 0 || !s.Balanced() {
				t.Errorf("summary %+v", s)
			}
			if name == "rdb" && (s.Read != keys || s.Written != keys) {
				t.Errorf("%d keys read, %d written, want %d", s.Read, s.Written, keys)
			}
			if name == "scan" && (s.Read < keys || s.UniqueAtLeast != keys || s.UniqueAtLeast > s.Written) {
				t.Errorf("%d keys read, %d written, %d at least of them unique, want %d", s.Read, s.Written, s.UniqueAtLeast, keys)
			}
			wantSame(t, src, dataset.CompareOptions{})
		})
	}
}
