package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

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

func TestBadUsage(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "dump.rdb")
	if err := os.WriteFile(file, []byte("REDIS0010"), 0o600); err != nil {
		t.Fatal(err)
	}
	fine := []string{"import", "--source", file, "--target", "redis://127.0.0.1:7000"}
	for name, tc := range map[string]struct {
		args []string
		want []string
	}{
		"unknown command":     {[]string{"imprt"}, []string{`"imprt"`}},
		"unknown flag":        {append(fine, "--on-exist", "skip"), []string{"--on-exist", "--help"}},
		"a word too many":     {append(fine, "now"), []string{`"now"`}},
		"nothing":             {[]string{"import"}, []string{"--source", "--target"}},
		"rate-bytes nonsense": {append(fine, "--rate-bytes", "fast"), []string{"--rate-bytes", "fast"}},
		"rate-bytes negative": {append(fine, "--rate-bytes", "-5MiB"), []string{"--rate-bytes", "-5MiB"}},
		"memory too small":    {append(fine, "--memory", "1MiB"), []string{"--memory", "32"}},
		"policy":              {append(fine, "--on-exists", "ignore"), []string{"--on-exists", "fail, replace"}},
		"slots":               {append(fine, "--slots", "16384"), []string{"--slots", "16384"}},
		"db-map":              {append(fine, "--db-map", "one=x"), []string{"--db-map", "one"}},
		"no such file":        {[]string{"import", "--source", "nowhere.rdb", "--target", "redis://127.0.0.1:7000"}, []string{"nowhere.rdb"}},
		"scheme":              {[]string{"import", "--source", "http://h:1", "--target", "redis://127.0.0.1:7000"}, []string{"--source", "scheme", "redis://"}},
		"target database":     {[]string{"import", "--source", file, "--target", "redis://127.0.0.1:7000/1"}, []string{"--target"}},
		"config file missing": {append(fine, "--config", "none.yaml"), []string{"none.yaml"}},
		"demo of no keys":     {[]string{"demo", "--keys", "0"}, []string{"--keys"}},
	} {
		t.Run(name, func(t *testing.T) { slotferry(t, dir, tc.args...).want(t, 2, tc.want...) })
	}
}

func TestBadFiles(t *testing.T) {
	src, dst, dir := source(t, 3000), emptyCluster(t), t.TempDir()
	good, err := os.ReadFile(save(t, src))
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(good)
	flipped[len(flipped)-3] ^= 1 // in the checksum, so that all values stay readable
	for name, tc := range map[string]struct {
		data    []byte
		code    int
		want    []string
		written bool // something is
	}{
		"empty":        {nil, 4, []string{"source_not_rdb", "empty"}, false},
		"text":         {[]byte("hello, this is not an RDB"), 4, []string{"source_not_rdb", "not an RDB file"}, false},
		"truncated":    {good[:len(good)/2], 1, []string{"source_damaged", " at ", "end too early", "What was written before stays"}, true},
		"flipped byte": {flipped, 1, []string{"checksum mismatch", " at "}, true},
		"unknown type": {append(append([]byte(nil), good[:len(good)-9]...), "\x63\x03foo\x03bar\xff\x00\x00\x00\x00\x00\x00\x00\x00"...), 1,
			[]string{"unknown type", "99", `"foo"`, " at "}, true},
	} {
		t.Run(name, func(t *testing.T) {
			dst = emptyCluster(t)
			path := filepath.Join(dir, "bad.rdb")
			if err := os.WriteFile(path, tc.data, 0o600); err != nil {
				t.Fatal(err)
			}
			r := slotferry(t, dir, "import", "--source", path, "--target", dst.url, "--checkpoint", "none")
			r.want(t, tc.code, append(tc.want, "bad.rdb")...)
			if n := dst.keys(t); (n > 0) != tc.written {
				t.Errorf("%d keys were written", n)
			}
		})
	}
}

func TestBadTargets(t *testing.T) {
	src, dst, dir := source(t, 200), emptyCluster(t), t.TempDir()
	from := save(t, src)
	admin := func(c *redis.Client, args ...any) {
		t.Helper()
		if err := c.Do(t.Context(), args...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range dst.Nodes {
		admin(n.Client(), "ACL", "SETUSER", "weak", "on", ">"+targetPassword, "~*", "+@all", "-restore")
	}
	lone := sandboxtest.Server(t, sandbox.Options{Password: targetPassword})
	half := fmt.Sprintf("redis://%s,%s,%s", nobody(t), dst.Seeds()[0], nobody(t))
	with := func(url string) []string {
		return []string{"import", "--source", from, "--target", url, "--checkpoint", "none"}
	}
	t.Run("wrong password", func(t *testing.T) {
		cmd := command(t, dir, with(dst.url)...)
		cmd.Env = append(cmd.Env, "SLOTFERRY_TARGET_PASSWORD=wrong")
		finish(t, cmd, nil).want(t, 4, "target_auth", "WRONGPASS", "--target-password-file")
	})
	t.Run("no password", func(t *testing.T) {
		cmd := command(t, dir, with(dst.url)...)
		cmd.Env = append(cmd.Env, "SLOTFERRY_TARGET_PASSWORD=")
		finish(t, cmd, nil).want(t, 4, "target_auth", "--target-password-file")
	})
	t.Run("user without rights", func(t *testing.T) {
		cmd := command(t, dir, with(dst.url)...)
		cmd.Env = append(cmd.Env, "SLOTFERRY_TARGET_USERNAME=weak")
		finish(t, cmd, nil).want(t, 4, "target_rights", "RESTORE", "ACL SETUSER")
	})
	t.Run("not a cluster", func(t *testing.T) {
		slotferry(t, dir, with("redis://"+lone.Addr)...).want(t, 4, "target_not_cluster")
	})
	t.Run("nobody there", func(t *testing.T) {
		slotferry(t, dir, with("redis://"+nobody(t))...).want(t, 4, "target_unreachable", "refused")
	})
	t.Run("both sides wrong", func(t *testing.T) {
		args := []string{"import", "--source", "redis://" + nobody(t), "--target", "redis://" + lone.Addr}
		slotferry(t, dir, args...).want(t, 4, "2 blockers", "source_unreachable", "target_not_cluster")
	})
	t.Run("half of the seeds", func(t *testing.T) {
		slotferry(t, dir, with(half)...).want(t, 0, "= written  200")
		dst.wantEqual(t, src, dataset.CompareOptions{})
	})
	t.Run("slots uncovered", func(t *testing.T) {
		broken := sandboxtest.Cluster(t, sandbox.ClusterOptions{
			Options: sandbox.Options{Password: targetPassword}, Masters: 3,
			Slots: [][]sandbox.SlotRange{{{First: 0, Last: 5000}}, {{First: 5461, Last: 10922}}, {{First: 10923, Last: 16383}}},
		})
		r := slotferry(t, dir, with("redis://"+broken.Seeds()[0])...)
		r.want(t, 4, "slots_uncovered", "5001-5460", "cluster_down", "cluster_state:fail")
	})
}

func TestBadSources(t *testing.T) {
	src, dst, dir := source(t, 200), emptyCluster(t), t.TempDir()
	if err := src.Client().Do(t.Context(), "ACL", "SETUSER", "weak", "on", ">"+sourcePassword, "~*", "+@all", "-dump").Err(); err != nil {
		t.Fatal(err)
	}
	args := []string{"import", "--source", "redis://" + src.Addr, "--target", dst.url, "--checkpoint", "none"}
	t.Run("wrong password", func(t *testing.T) {
		cmd := command(t, dir, args...)
		cmd.Env = append(cmd.Env, "SLOTFERRY_SOURCE_PASSWORD=wrong")
		finish(t, cmd, nil).want(t, 4, "source_auth", "WRONGPASS", "--source-password-file")
	})
	t.Run("user without rights", func(t *testing.T) {
		cmd := command(t, dir, args...)
		cmd.Env = append(cmd.Env, "SLOTFERRY_SOURCE_USERNAME=weak")
		finish(t, cmd, nil).want(t, 4, "source_rights", "DUMP", "ACL SETUSER")
	})
	t.Run("itself a cluster", func(t *testing.T) {
		cmd := command(t, dir, "import", "--source", "redis://"+dst.Seeds()[0], "--target", dst.url, "--checkpoint", "none")
		cmd.Env = append(cmd.Env, "SLOTFERRY_SOURCE_PASSWORD="+targetPassword)
		finish(t, cmd, nil).want(t, 4, "source_is_cluster", "not supported yet")
	})
	if n := dst.keys(t); n != 0 {
		t.Errorf("%d keys were written", n)
	}
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
