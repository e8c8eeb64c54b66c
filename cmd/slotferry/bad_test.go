package main

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/slotferry/slotferry/internal/dataset"
	"github.com/slotferry/slotferry/internal/sandbox"
	"github.com/slotferry/slotferry/internal/sandbox/sandboxtest"
)

// sandboxCluster starts another cluster and returns its URL.
func sandboxCluster(t *testing.T) string {
	t.Helper()
	c := sandboxtest.Cluster(t, sandbox.ClusterOptions{Options: sandbox.Options{Password: targetPassword}, Masters: 3})
	return "redis://" + c.Seeds()[0]
}

// nobody returns an address where nothing listens.
func nobody(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	return addr
}

// TestHalfOfTheSeeds names nodes of which only one answers.
func TestHalfOfTheSeeds(t *testing.T) {
	src, dst := source(t, 200), emptyCluster(t)
	seeds := fmt.Sprintf("redis://%s,%s,%s", nobody(t), dst.Seeds()[0], nobody(t))
	slotferry(t, t.TempDir(), "import", "--source", save(t, src), "--target", seeds, "--checkpoint", "none").want(t, 0, "= written  200")
	dst.wantEqual(t, src, dataset.CompareOptions{})
}

func TestStrangeKeys(t *testing.T) {
	src, dst, dir := sandboxtest.Server(t, sandbox.Options{Password: sourcePassword}), emptyCluster(t), t.TempDir()
	for _, key := range []string{"", "100%", "%s%n", "with space", "nul\x00nul", "line\r\nend", "\xff\xfe", "{}", "{", "}{a}", strings.Repeat("long", 10<<20/4)} {
		set(t, src.Client(), key, "value of "+key[:min(10, len(key))])
	}
	for _, from := range []string{save(t, src), "redis://" + src.Addr} {
		dst = emptyCluster(t)
		slotferry(t, dir, "import", "--source", from, "--target", dst.url).want(t, 0, "= written  11")
		dst.wantEqual(t, src, dataset.CompareOptions{})
	}
}

func TestVersionAndCompletion(t *testing.T) {
	slotferry(t, t.TempDir(), "version").want(t, 0, "slotferry ", "go1.")
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		slotferry(t, t.TempDir(), "completion", shell).want(t, 0, "slotferry")
	}
	slotferry(t, t.TempDir(), "import", "--help").want(t, 0, "--source", "--on-exists", "Exit codes", "75")
	slotferry(t, t.TempDir(), "--help").want(t, 0, "import", "demo", "completion")
}

func TestDemo(t *testing.T) {
	dir := t.TempDir()
	cmd := command(t, dir, "demo", "--keys", "3000")
	cmd.Env = append(cmd.Env, "TMPDIR="+dir)
	finish(t, cmd, nil).want(t, 0, "no difference", "hold the same", "3 masters and 3 replicas", "READY", "compared 3,060 keys", "by DBSIZE")
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("the demo left %v", left)
	}
}
