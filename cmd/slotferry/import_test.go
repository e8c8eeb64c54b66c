package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slotferry/slotferry/internal/dataset"
)

func TestImportFile(t *testing.T) {
	src, dst, dir := source(t, 5000), emptyCluster(t), t.TempDir()
	r := slotferry(t, dir, "import", "--source", save(t, src), "--target", dst.url)
	r.want(t, 0, "done after", "read  5,000", "= written  5,000", "the source was not changed")
	dst.wantEqual(t, src, dataset.CompareOptions{})
	wantNoSecrets(t, dir)
	if left, err := filepath.Glob(filepath.Join(dir, ".slotferry", "*", "checkpoint.json")); err != nil || len(left) != 1 {
		t.Errorf("checkpoints %v, want one (%v)", left, err)
	}

	t.Run("again", func(t *testing.T) {
		r := slotferry(t, dir, "import", "--source", save(t, src), "--target", dst.url)
		r.want(t, 4, "target_not_empty", "5000 keys already", "--on-exists replace")
	})
	t.Run("again with replace", func(t *testing.T) {
		r := slotferry(t, dir, "import", "--source", save(t, src), "--target", dst.url, "--on-exists", "replace", "--output", "json")
		r.want(t, 0)
		if s := r.last(t); s.Written != 5000 || !s.balanced() || s.Resumed {
			t.Errorf("summary %+v", s)
		}
		dst.wantEqual(t, src, dataset.CompareOptions{})
	})
	t.Run("again with skip", func(t *testing.T) {
		set(t, dst.Client(), "str:000000000", "mine")
		r := slotferry(t, dir, "import", "--source", save(t, src), "--target", dst.url, "--on-exists", "skip", "--output", "json")
		r.want(t, 0)
		if s := r.last(t); s.Skipped != 5000 || s.Written != 0 || !s.balanced() {
			t.Errorf("summary %+v", s)
		}
	})
}

func TestImportLive(t *testing.T) {
	src, dst, dir := source(t, 5000), emptyCluster(t), t.TempDir()
	second := dataset.Options{Keys: 300, Seed: 3, DB: 1, BinaryKeys: true}
	if _, err := dataset.Fill(t.Context(), src.Client(), second); err != nil {
		t.Fatal(err)
	}
	url := "redis://" + src.Addr
	r := slotferry(t, dir, "import", "--source", url, "--target", dst.url)
	r.want(t, 4, "databases", "db 0: 5000 keys", "db 1: 300 keys", "--db-map 1=db1:")
	if n := dst.keys(t); n != 0 {
		t.Fatalf("%d keys were written in spite of the blocker", n)
	}
	r = slotferry(t, dir, "import", "--source", url, "--target", dst.url, "--db-map", "1=one:", "--output", "json")
	r.want(t, 0)
	if s := r.last(t); s.Read != 5300 || s.Written != 5300 || len(s.Masters) != 3 {
		t.Errorf("summary %+v", s)
	}
	dst.wantEqual(t, src, dataset.CompareOptions{Name: func(db int, key string) (string, bool) {
		if db == 1 {
			key = "one:" + key
		}
		return key, true
	}})
	for _, n := range dst.Nodes {
		libs, err := n.Client().FunctionDump(t.Context()).Result()
		want, err2 := src.Client().FunctionDump(t.Context()).Result()
		if err != nil || err2 != nil || libs != want {
			t.Errorf("%s: function libraries differ from the source's (%v, %v)", n.Addr, err, err2)
		}
	}
}

func TestImportStdin(t *testing.T) {
	src, dst := source(t, 3000), emptyCluster(t)
	file, err := os.Open(save(t, src))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	r := finish(t, command(t, t.TempDir(), "import", "--source", "-", "--target", dst.url), file)
	r.want(t, 0, "read  3,000", "= written  3,000")
	dst.wantEqual(t, src, dataset.CompareOptions{})
}

func TestCheckpointInTarget(t *testing.T) {
	src, dst, dir := source(t, 3000), emptyCluster(t), t.TempDir()
	r := slotferry(t, dir, "import", "--source", save(t, src), "--target", dst.url, "--checkpoint", "target")
	r.want(t, 0, "= written  3,000")
	dst.wantEqual(t, src, dataset.CompareOptions{}) // nothing extra: the checkpoint is gone
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("files were left: %v", left)
	}
}

func TestJSONEvents(t *testing.T) {
	src, dst := source(t, 2000), emptyCluster(t)
	r := slotferry(t, t.TempDir(), "import", "--source", "redis://"+src.Addr, "--target", dst.url, "--output", "json", "--rate-keys", "1000")
	r.want(t, 0)
	seen := map[string]int{}
	for line := range strings.Lines(r.stdout) {
		var e struct{ Event string }
		if err := json.Unmarshal([]byte(line), &e); err != nil || e.Event == "" {
			t.Errorf("not an event: %q", line)
		}
		seen[e.Event]++
	}
	if seen["summary"] != 1 || seen["plan"] != 1 || seen["progress"] == 0 {
		t.Errorf("events %v", seen)
	}
	for line := range strings.Lines(r.stderr) {
		if !json.Valid([]byte(line)) {
			t.Errorf("not JSON on standard error: %q", line)
		}
	}
}

func TestFilters(t *testing.T) {
	src, dst := source(t, 2000), emptyCluster(t)
	r := slotferry(t, t.TempDir(), "import", "--source", save(t, src), "--target", dst.url,
		"--type", "hash,zset", "--slots", "0-8191", "--rename-prefix", "hash:=h:", "--output", "json")
	r.want(t, 0)
	s := r.last(t)
	if s.Read != 2000 || s.Written == 0 || s.Filtered == 0 || !s.balanced() || s.Written != dst.keys(t) {
		t.Errorf("summary %+v, %d keys in the target", s, dst.keys(t))
	}
}

func TestConfigFile(t *testing.T) {
	src, dst, dir := source(t, 500), emptyCluster(t), t.TempDir()
	config := filepath.Join(dir, "import.yaml")
	text := "source: " + save(t, src) + "\ntarget: " + dst.url + "\noutput: json\ncheckpoint: none\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r := slotferry(t, dir, "import", "--config", config)
	r.want(t, 0)
	if s := r.last(t); s.Written != 500 {
		t.Errorf("summary %+v", s)
	}
	if err := os.WriteFile(config, []byte(text+"on_exist: skip\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	slotferry(t, dir, "import", "--config", config).want(t, 2, "on_exist", "on_exists")
}
