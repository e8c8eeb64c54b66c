package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/slotferry/slotferry/internal/sandbox"
)

// difference is one line of verify --format json.
type difference struct {
	Event     string
	DB        int
	Key       string
	KeyBase64 []byte `json:"key_base64"`
	Kind      string
	Detail    string
	Repaired  bool

	Compared, Differences, Missing, Extra, Type, Value, TTL, Repairs int64
	Exit                                                             int
	Seed                                                             uint64
	Resumed                                                          bool
}

// lines decodes what verify --format json prints: the differences by kind and
// key, and the summary.
func (r result) lines(t *testing.T) (found []string, summary difference) {
	t.Helper()
	for line := range strings.Lines(r.stdout) {
		var d difference
		if err := json.Unmarshal([]byte(line), &d); err != nil {
			t.Fatalf("%v\n%s\n%s", err, r.stdout, r.stderr)
		}
		switch d.Event {
		case "":
			if d.Key == "" {
				d.Key = string(d.KeyBase64)
			}
			text := d.Kind + " " + d.Key
			if d.Repaired {
				text += " repaired"
			}
			found = append(found, text)
		case "summary":
			summary = d
		}
	}
	if summary.Event == "" || summary.Exit != r.code {
		t.Errorf("exit code %d, summary %+v\n%s", r.code, summary, r.stderr)
	}
	slices.Sort(found)
	return found, summary
}

// TestVerify goes through an operator's evening: import, verify, a fault of each
// kind, repair.
func TestVerify(t *testing.T) {
	c := emptyCluster(t)
	src := source(t, 2000)
	dir, live := t.TempDir(), "redis://"+src.Addr
	set(t, src.Client(), "plain", "value")
	set(t, src.Client(), "\xff\xfe", "not UTF-8")
	file := save(t, src)
	slotferry(t, dir, "import", "--source", live, "--target", c.url, "--verify", "--pause=10ms").want(t, 0, "no difference", "2,002")

	verify := func(from string, args ...string) result {
		return slotferry(t, dir, append([]string{"verify", "--source", from, "--target", c.url, "--extra", "--pause=10ms"}, args...)...)
	}
	for _, from := range []string{live, file} {
		verify(from).want(t, 0, "compared 2,002 keys", "no difference", "hold the same")
		r := verify(from, "--format=json")
		if found, sum := r.lines(t); len(found) != 0 || sum.Compared != 2002 || sum.Differences != 0 {
			t.Errorf("%q, %+v", found, sum)
		}
	}

	ctx, client := t.Context(), c.Client()
	for _, err := range []error{
		client.Del(ctx, "\xff\xfe").Err(), client.Set(ctx, "more", "x", 0).Err(),
		client.Set(ctx, "plain", "other", 0).Err(), client.RPush(ctx, "list only here", "x").Err(),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"extra list only here", "extra more", "missing \xff\xfe", "value plain"}
	for _, from := range []string{live, file} {
		r := verify(from, "--format=json")
		r.want(t, 3)
		if found, sum := r.lines(t); !slices.Equal(found, want) || sum.Differences != 4 || sum.Extra != 2 || sum.Missing != 1 || sum.Value != 1 {
			t.Errorf("%q, %+v", found, sum)
		}
	}
	verify(file).want(t, 3, "4 keys differ", `value    db 0  "plain"`, `missing  db 0  "\xff\xfe"`, `extra    db 0  "more"`, "--repair")
	slotferry(t, dir, "import", "--source", live, "--target", c.url, "--verify", "--rounds=1", "--pause=0s", "--include=more", "--on-exists=replace").want(t, 0)
	r := slotferry(t, dir, "verify", "--source", live, "--target", c.url, "--include=plai?", "--format=json", "--pause=10ms")
	if found, sum := r.lines(t); r.code != 3 || !slices.Equal(found, []string{"value plain"}) || sum.Compared != 1 {
		t.Errorf("%q, %+v", found, sum)
	}

	r = verify(live, "--repair", "--format=json")
	r.want(t, 0)
	for i := range want {
		want[i] += " repaired"
	}
	if found, sum := r.lines(t); !slices.Equal(found, want) || sum.Differences != 0 {
		t.Errorf("%q, %+v", found, sum)
	}
	verify(file).want(t, 0, "no difference")

	// The same seed picks the same keys.
	if err := client.FlushDB(ctx).Err(); err != nil {
		t.Fatal(err)
	}
	for _, n := range c.Nodes {
		if err := n.Client().FlushAll(ctx).Err(); err != nil {
			t.Fatal(err)
		}
	}
	r = verify(file, "--sample=0.1", "--format=json")
	first, sum := r.lines(t)
	if len(first) < 120 || len(first) > 290 || sum.Seed == 0 {
		t.Errorf("a tenth of 2002 keys is %d, seed %d", len(first), sum.Seed)
	}
	r = verify(live, "--sample=0.1", "--format=json", fmt.Sprintf("--seed=%d", sum.Seed))
	if again, _ := r.lines(t); !slices.Equal(first, again) {
		t.Errorf("%d keys, then %d others", len(first), len(again))
	}
	wantNoSecrets(t, dir)

	slotferry(t, dir, "verify", "--source", "-", "--target", c.url).want(t, 2, "read only once")
	slotferry(t, dir, "verify", "--source", file, "--target", "redis://127.0.0.1:1").want(t, 4, "nothing was compared", "target_unreachable")
	slotferry(t, dir, "verify", "--source", file, "--target", c.url, "--extra", "--type=hash").want(t, 2, "--extra")
}

// TestVerifyResumes interrupts and kills comparisons that have found something,
// and goes on, once after a master was restarted.
func TestVerifyResumes(t *testing.T) {
	c := emptyCluster(t)
	src := source(t, 4000)
	dir, file := t.TempDir(), save(t, src)
	slotferry(t, dir, "import", "--source", file, "--target", c.url).want(t, 0)
	var want []string
	for i := range 40 {
		key := fmt.Sprintf("key:%08d", 100*i)
		n, err := c.Client().Del(t.Context(), key).Result()
		if err != nil {
			t.Fatal(err)
		}
		if n == 1 {
			want = append(want, "missing "+key)
		}
	}
	if len(want) < 20 {
		t.Fatalf("only %d keys are missing", len(want))
	}
	for i, tc := range []struct {
		name, from    string
		kill, restart bool
	}{
		{"a file, interrupted", file, false, false},
		{"live, interrupted", "redis://" + src.Addr, false, false},
		{"a file, killed", file, true, false},
		{"live, killed", "redis://" + src.Addr, true, false},
		{"a file, and a master restarted", file, false, true},
		{"live, and a master restarted", "redis://" + src.Addr, false, true},
	} {
		kept := fmt.Sprintf("kept-%d", i)
		args := []string{"verify", "--source", tc.from, "--target", c.url, "--format=json", "--pause=10ms", "--checkpoint=" + kept}
		cmd := command(t, dir, append(args, "--rate-keys=3000")...)
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		found := regexp.MustCompile(`"done":false.*"failed":[1-9]`)
		waitFor(t, "a checkpoint with differences", func() bool {
			saved, _ := os.ReadFile(filepath.Join(dir, kept, "checkpoint.json"))
			return found.Match(saved)
		})
		if tc.kill {
			_ = cmd.Process.Kill()
		} else {
			_ = cmd.Process.Signal(os.Interrupt)
		}
		_ = cmd.Wait() // the exit code says it
		if first := ended(t, cmd, &stdout, &stderr); !tc.kill {
			first.want(t, 75, "interrupted")
		}
		if tc.restart {
			if _, err := c.Nodes[1].Save(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := c.Nodes[1].Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
			waitFor(t, "the cluster", func() bool {
				return !slices.ContainsFunc(c.Nodes, func(n *sandbox.Server) bool {
					info, err := n.Client().ClusterInfo(t.Context()).Result()
					return err != nil || !strings.Contains(info, "cluster_state:ok")
				})
			})
		}
		r := slotferry(t, dir, args...)
		got, sum := r.lines(t)
		if r.code != 3 || !slices.Equal(got, want) || sum.Differences != int64(len(want)) || !sum.Resumed || sum.Compared < 4000 {
			t.Errorf("%s: %d differences by name, want %d; %+v\n%.300q\n%s", tc.name, len(got), len(want), sum, got, r.stderr)
		}
	}
}
