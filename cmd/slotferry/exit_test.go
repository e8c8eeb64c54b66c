package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/slotferry/slotferry/internal/sandbox"
	"github.com/slotferry/slotferry/internal/sandbox/sandboxtest"
)

// ending is a command line and how it must end.
type ending struct {
	name   string
	args   []string
	env    []string
	stage  func() (undo func()) // before it
	code   int
	says   []string // on standard error: what is wrong, and where
	remedy string   // and there as well: what to do next
	writes bool     // keys stay in the target
}

// check runs the command for people, and again for programs if it has events:
// those end with a summary, whatever happens.
func (e ending) check(t *testing.T, dir string) {
	t.Helper()
	dst := emptyCluster(t)
	if e.stage != nil {
		defer e.stage()()
	}
	e.judge(t, e.run(t, dir))
	if left := dst.keys(t); (left > 0) != e.writes {
		t.Errorf("%d keys are in the target", left)
	}
	if len(e.args) == 0 || e.args[0] != "import" && e.args[0] != "verify" {
		return
	}
	more := []string{"--output", "json"}
	if e.writes && e.code < 4 && e.args[0] == "import" { // they are there from the first time
		more = append(more, "--on-exists", "replace")
	}
	r := e.run(t, dir, more...)
	e.judge(t, r)
	r.last(t)
}

func (e ending) run(t *testing.T, dir string, more ...string) result {
	t.Helper()
	args := slices.Clone(e.args)
	if len(more) > 0 {
		args = slices.Insert(args, 1, more...)
	}
	cmd := command(t, dir, args...)
	cmd.Env = append(cmd.Env, e.env...)
	return finish(t, cmd, nil)
}

func (e ending) judge(t *testing.T, r result) {
	t.Helper()
	if r.code != e.code {
		t.Errorf("exit code %d, want %d\n%s%s", r.code, e.code, r.stdout, r.stderr)
	}
	if e.code != 0 && e.remedy == "" {
		t.Error("the test names no remedy")
	}
	said := strings.ReplaceAll(r.stderr, `\"`, `"`) // in JSON
	for _, text := range append(e.says, e.remedy) {
		if !strings.Contains(said, text) {
			t.Errorf("%q is not on standard error:\n%s", text, r.stderr)
		}
	}
}

// TestExitCodes ends in all ways but those that need a signal (see TestSignals).
func TestExitCodes(t *testing.T) {
	src, dst, dir := source(t, 3000), emptyCluster(t), t.TempDir()
	sound := save(t, src)
	good, err := os.ReadFile(sound)
	if err != nil {
		t.Fatal(err)
	}
	file := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	imports := func(from, to string, more ...string) []string {
		return append([]string{"import", "--source", from, "--target", to, "--checkpoint", "none"}, more...)
	}
	usage := func(more ...string) []string {
		return append([]string{"import", "--source", sound, "--target", "redis://127.0.0.1:7000"}, more...)
	}
	live := "redis://" + src.Addr
	lone := "redis://" + sandboxtest.Server(t, sandbox.Options{Password: targetPassword}).Addr
	broken := sandboxtest.Cluster(t, sandbox.ClusterOptions{
		Options: sandbox.Options{Password: targetPassword}, Masters: 3,
		Slots: [][]sandbox.SlotRange{{{First: 0, Last: 5000}}, {{First: 5461, Last: 10922}}, {{First: 10923, Last: 16383}}},
	})
	for _, n := range append(slices.Clone(dst.Nodes), src) {
		err := errors.Join(
			n.Client().Do(t.Context(), "ACL", "SETUSER", "unable", "on", ">"+targetPassword, "~*", "+@all", "-restore").Err(),
			n.Client().Do(t.Context(), "ACL", "SETUSER", "mute", "on", ">"+sourcePassword, "~*", "+@all", "-dump").Err())
		if err != nil {
			t.Fatal(err)
		}
	}
	flipped := bytes.Clone(good)
	flipped[len(flipped)-3] ^= 1 // in the checksum, so that all values stay readable
	const noSum = "\xff\x00\x00\x00\x00\x00\x00\x00\x00"
	foreign := append(slices.Clone(good[:len(good)-9]), "\x63\x03foo\x03bar"+noSum...)
	plain := "REDIS0010\xfe\x00\x00\x05plain\x05value" + noSum
	module := "REDIS0010\xfe\x00\x00\x05plain\x05value\x07\x03mod\x81AAAAAAA\x01\x02\x05\x00" + noSum
	config := func(text string) string {
		return file("import.yaml", []byte("source: "+sound+"\ntarget: "+dst.url+"\n"+text))
	}
	full := func() func() {
		limit := func(bytes string) {
			for _, n := range dst.Nodes {
				if err := n.Client().ConfigSet(t.Context(), "maxmemory", bytes).Err(); err != nil {
					t.Fatal(err)
				}
			}
		}
		limit("1")
		return func() { limit("0") }
	}
	filled := func() func() {
		set(t, dst.Client(), "there", "already")
		return func() {}
	}
	copied := func() func() {
		slotferry(t, dir, imports(sound, dst.url)...).want(t, 0)
		if err := dst.Client().Del(t.Context(), "key:00000100").Err(); err != nil {
			t.Fatal(err)
		}
		return func() {}
	}

	for _, e := range []ending{
		{name: "done", args: imports(sound, dst.url), writes: true},
		{name: "done live", args: imports(live, dst.url), writes: true},

		{name: "a key fails", args: imports(file("module.rdb", []byte(module)), dst.url), code: 1, writes: true,
			says: []string{`key "mod" (db 0, slot `, ", node 127.0.0.1:"}, remedy: "Remove the cause, then copy them again"},
		{name: "truncated", args: imports(file("short.rdb", good[:len(good)/2]), dst.url), code: 1, writes: true,
			says: []string{"short.rdb at ", "end too early"}, remedy: "Remove the cause"},
		{name: "flipped byte", args: imports(file("flipped.rdb", flipped), dst.url), code: 1, writes: true,
			says: []string{"flipped.rdb at ", "checksum mismatch"}, remedy: "Remove the cause"},
		{name: "unknown type", args: imports(file("foreign.rdb", foreign), dst.url), code: 1, writes: true,
			says: []string{"foreign.rdb at ", "unknown type", "99", `"foo"`}, remedy: "Remove the cause"},

		{name: "unknown command", args: []string{"imprt"}, code: 2, says: []string{`"imprt"`}, remedy: "--help"},
		{name: "unknown flag", args: usage("--on-exist", "skip"), code: 2, says: []string{"--on-exist"}, remedy: "import --help"},
		{name: "a word too many", args: usage("now"), code: 2, says: []string{"a word of 3 letters"}, remedy: "import --help"},
		{name: "an address for a command", args: []string{"redis://me:secret@host"}, code: 2, says: []string{`"redis://…@host"`}, remedy: "--help"},
		{name: "nothing", args: []string{"import"}, code: 2, says: []string{"--source", "--target"}, remedy: "name nodes of the cluster"},
		{name: "rate-bytes nonsense", args: usage("--rate-bytes", "fast"), code: 2, says: []string{"--rate-bytes"}, remedy: "such as"},
		{name: "rate-bytes negative", args: usage("--rate-bytes", "-5MiB"), code: 2, says: []string{"--rate-bytes"}, remedy: "such as"},
		{name: "memory too small", args: usage("--memory", "1MiB"), code: 2, says: []string{"--memory"}, remedy: "32"},
		{name: "policy", args: usage("--on-exists", "ignore"), code: 2, says: []string{"--on-exists"}, remedy: "choose fail, replace"},
		{name: "slots", args: usage("--slots", "16384"), code: 2, says: []string{"--slots"}, remedy: "16383"},
		{name: "db-map", args: usage("--db-map", "one=x"), code: 2, says: []string{"--db-map", "one"}, remedy: "1=prefix:"},
		{name: "no such file", args: imports("nowhere.rdb", dst.url), code: 2, says: []string{"--source"}, remedy: "there is no file"},
		{name: "scheme", args: imports("http://h:1", dst.url), code: 2, says: []string{"--source", "scheme"}, remedy: "redis://"},
		{name: "target database", args: imports(sound, "redis://127.0.0.1:7000/1"), code: 2, says: []string{"--target"}, remedy: "leave the database out"},
		{name: "no config file", args: usage("--config", "none.yaml"), code: 2, says: []string{"none.yaml"}, remedy: "no such file"},
		{name: "unknown config key", args: []string{"import", "--config", config("on_exist: skip\n")}, code: 2,
			says: []string{"on_exist in ", "import.yaml"}, remedy: "is it on_exists?"},
		{name: "demo of no keys", args: []string{"demo", "--keys", "0"}, code: 2, says: []string{"--keys 0"}, remedy: "1 at least"},
		{name: "comparing what is read once", args: []string{"verify", "--source", "-", "--target", dst.url}, code: 2,
			says: []string{"--source", "read only once"}, remedy: "save it to a file first"},

		{name: "differences", args: []string{"verify", "--source", sound, "--target", dst.url, "--checkpoint", "none"}, stage: copied, code: 3, writes: true,
			says: []string{"1 key differs"}, remedy: "--repair"},

		{name: "empty file", args: imports(file("empty.rdb", nil), dst.url), code: 4, says: []string{"source_not_rdb", "empty.rdb"}, remedy: "was the copy cut short"},
		{name: "no RDB", args: imports(file("text.rdb", []byte("hello, this is not an RDB")), dst.url), code: 4,
			says: []string{"source_not_rdb", "text.rdb"}, remedy: "name an RDB file"},
		{name: "target not empty", args: imports(sound, dst.url), stage: filled, code: 4, writes: true,
			says: []string{"target_not_empty", "1 keys already"}, remedy: "--on-exists replace"},
		{name: "wrong target password", args: imports(sound, dst.url), env: []string{"SLOTFERRY_TARGET_PASSWORD=wrong"}, code: 4,
			says: []string{"target_auth", "WRONGPASS"}, remedy: "--target-password-file"},
		{name: "no target password", args: imports(sound, dst.url), env: []string{"SLOTFERRY_TARGET_PASSWORD="}, code: 4,
			says: []string{"target_auth"}, remedy: "--target-password-file"},
		{name: "target user without rights", args: imports(sound, dst.url), env: []string{"SLOTFERRY_TARGET_USERNAME=unable"}, code: 4,
			says: []string{"target_rights", "RESTORE"}, remedy: "ACL SETUSER"},
		{name: "target no cluster", args: imports(sound, lone), code: 4, says: []string{"target_not_cluster"}, remedy: "name a node of a Redis Cluster"},
		{name: "no target", args: imports(sound, "redis://"+nobody(t)), code: 4, says: []string{"target_unreachable", "refused"}, remedy: "see that"},
		{name: "slots uncovered", args: imports(sound, "redis://"+broken.Seeds()[0]), code: 4,
			says: []string{"slots_uncovered", "5001-5460", "cluster_down", "cluster_state:fail"}, remedy: "redis-cli --cluster fix"},
		{name: "wrong source password", args: imports(live, dst.url), env: []string{"SLOTFERRY_SOURCE_PASSWORD=wrong"}, code: 4,
			says: []string{"source_auth", "WRONGPASS", src.Addr}, remedy: "--source-password-file"},
		{name: "source user without rights", args: imports(live, dst.url), env: []string{"SLOTFERRY_SOURCE_USERNAME=mute"}, code: 4,
			says: []string{"source_rights", "DUMP"}, remedy: "ACL SETUSER"},
		{name: "source is a cluster", args: imports("redis://"+dst.Seeds()[0], dst.url), env: []string{"SLOTFERRY_SOURCE_PASSWORD=" + targetPassword}, code: 4,
			says: []string{"source_is_cluster", "not supported yet"}, remedy: "name a standalone server"},
		{name: "both sides wrong", args: imports("redis://"+nobody(t), lone), code: 4,
			says: []string{"2 blockers", "source_unreachable", "target_not_cluster"}, remedy: "redis-cli -h"},
		{name: "plan of a target not empty", args: []string{"plan", "--source", sound, "--target", dst.url, "--format", "json"}, stage: filled, code: 4, writes: true,
			says: []string{"target_not_empty"}, remedy: "--on-exists replace"},
		{name: "comparing with nobody", args: []string{"verify", "--source", sound, "--target", "redis://" + nobody(t), "--checkpoint", "none"}, code: 4,
			says: []string{"nothing was compared", "target_unreachable"}, remedy: "see that"},

		{name: "out of patience", args: imports(file("plain.rdb", []byte(plain)), dst.url, "--retry-for", "200ms"), stage: full, code: 75,
			says: []string{"127.0.0.1:", " gave no good answer for", "OOM"}, remedy: "add --on-exists replace"},
	} {
		t.Run(e.name, func(t *testing.T) { e.check(t, dir) })
	}
	wantNoSecrets(t, dir)
}
