//go:build unix

package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/slotferry/slotferry/internal/sandbox"
)

// oddSecret has letters that URLs, JSON, YAML and Go's %q write differently.
const oddSecret = `7/x+9=%"\é:s3cret`

// forms are the ways in which a secret could come out.
func forms(secret string) [][]byte {
	quoted, _ := json.Marshal(secret)
	out := [][]byte{
		[]byte(secret), []byte(url.PathEscape(secret)), []byte(url.QueryEscape(secret)), bytes.Trim(quoted, `"`),
		[]byte(strings.Trim(strconv.Quote(secret), `"`)), []byte(strings.Trim(strconv.QuoteToASCII(secret), `"`)), []byte(hex.EncodeToString([]byte(secret))),
		[]byte(strings.Trim(fmt.Sprint([]byte(secret)), "[]")), // %v of bytes
	}
	// In base64 it looks different after 0, 1 or 2 other letters; its ends hang
	// together with what stands around it.
	for before := range 3 {
		text := base64.StdEncoding.EncodeToString([]byte("..."[:before] + secret))
		inside := text[(before+2)/3*4 : len(secret)/3*4-4]
		out = append(out, []byte(inside), []byte(strings.NewReplacer("+", "-", "/", "_").Replace(inside)))
	}
	return out
}

// outputs are all that runs have left, by what it is.
type outputs map[string][]byte

// run runs a command to its end.
func (o outputs) run(t *testing.T, code int, env []string, dir string, args ...string) {
	t.Helper()
	cmd := command(t, dir, args...)
	cmd.Env = append(cmd.Env, env...)
	r := finish(t, cmd, nil)
	if r.code != code {
		t.Errorf("%s: exit code %d, want %d\n%s%s", args, r.code, code, r.stdout, r.stderr)
	}
	o[strings.Join(args, " ")] = []byte(r.stdout + r.stderr)
}

// stop runs an import and sends it a signal in the middle.
func (o outputs) stop(t *testing.T, dst stage, signal syscall.Signal, env []string, dir string, args ...string) {
	t.Helper()
	cmd := command(t, dir, append(args, "--rate-keys=500", "--scan-count=10")...)
	cmd.Env = append(cmd.Env, env...)
	var printed bytes.Buffer
	cmd.Stdout, cmd.Stderr = &printed, &printed
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	empty := dst.keys(t)
	waitFor(t, "keys", func() bool { return dst.keys(t) > empty })
	if err := cmd.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Errorf("it did not stop at %s:\n%s", signal, printed.Bytes())
	}
	o[signal.String()] = printed.Bytes()
}

// TestSecrets runs every command, well and badly, with credentials from
// everywhere, and looks for them in all that is printed and in every file.
func TestSecrets(t *testing.T) {
	src, dst, dir := source(t, 600), emptyCluster(t), t.TempDir()
	for _, s := range append([]*sandbox.Server{src}, dst.Nodes...) {
		if err := s.Client().Do(t.Context(), "ACL", "SETUSER", "ferry", "on", ">"+oddSecret, "~*", "+@all").Err(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup((&rotation{"", []*sandbox.Server{s}}).forget)
	}
	own := t.TempDir() // what the operator has written
	file := func(name, text string) string {
		path := filepath.Join(own, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	address := func(hosts, secret string) string { return "redis://ferry:" + url.PathEscape(secret) + "@" + hosts }
	hosts := strings.TrimPrefix(dst.url, "redis://")
	bare := []string{"--source=redis://ferry@" + src.Addr, "--target=redis://ferry@" + hosts}
	full := []string{"--source=" + address(src.Addr, oddSecret), "--target=" + address(hosts, oddSecret)}
	env := []string{"SLOTFERRY_SOURCE_PASSWORD=" + oddSecret, "SLOTFERRY_TARGET_PASSWORD=" + oddSecret}
	wrong := []string{"SLOTFERRY_SOURCE_PASSWORD=" + oddSecret + "1", "SLOTFERRY_TARGET_PASSWORD=" + oddSecret + "2"}
	secretFile := file("password", oddSecret+"\n")
	files := []string{"--source-password-file=" + secretFile, "--target-password-file=" + secretFile}
	quoted, err := json.Marshal(full[0][len("--source="):])
	if err != nil {
		t.Fatal(err)
	}
	config := file("job.yaml", "source: "+string(quoted)+"\ntarget: "+bare[1][len("--target="):]+"\ntarget_password: '"+oddSecret+"'\n")
	with := func(command string, lists ...[]string) (args []string) {
		args = strings.Fields(command)
		for _, l := range lists {
			args = append(args, l...)
		}
		return args
	}

	o := outputs{}
	o.run(t, 0, env, dir, with("plan", bare)...)
	o.run(t, 0, env, dir, with("plan --format=json --output=json", bare)...)
	o.run(t, 0, nil, dir, with("plan --format=html --out=plan.html", full)...)
	o.run(t, 4, wrong, dir, with("import", bare)...)
	o.run(t, 4, wrong, dir, with("import --output=json", bare)...)
	o.run(t, 4, wrong, dir, with("verify --format=json", bare)...)
	o.stop(t, dst, syscall.SIGINT, nil, dir, with("import", bare, files)...)
	o.stop(t, dst, syscall.SIGQUIT, nil, dir, with("import", bare, files)...)
	if !bytes.Contains(o[syscall.SIGQUIT.String()], []byte("goroutine ")) {
		t.Error("SIGQUIT gave no goroutines")
	}
	o.run(t, 0, nil, dir, with("import --output=json", bare, files)...)
	o.run(t, 0, nil, dir, with("import --job=again --on-exists=replace", full)...)
	o.run(t, 0, []string{"SLOTFERRY_TARGET_PASSWORD="}, dir, with("import --job=third --on-exists=replace --config="+config)...)
	set(t, dst.Client(), "more", "x")
	o.run(t, 3, env, dir, with("verify --extra --pause=10ms", bare)...)
	o.run(t, 0, env, dir, with("verify --extra --repair --pause=10ms --format=json", bare)...)
	o.run(t, 2, nil, dir, with("import --targt=x", full)...)
	o.run(t, 2, nil, dir, with("import --on-exists="+full[0], full)...)
	o.run(t, 2, nil, dir, "import", full[0]+"/database", full[1])
	o.run(t, 2, nil, dir, with("import --restart --config="+file("bad.yaml", "sorce: "+string(quoted)+"\ntarget: ["+string(quoted)+"\n"))...)

	kept := 0
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		kept++
		o[path], err = os.ReadFile(path)
		return err
	})
	if err != nil || kept < 5 { // a page, checkpoints and their locks
		t.Errorf("only %d files are left (%v)", kept, err)
	}
	for _, form := range forms(oddSecret) {
		for what, text := range o {
			if bytes.Contains(text, form) {
				t.Errorf("%s shows a password as %q:\n%.4000s", what, form, text)
			}
		}
	}
}

// TestForms tells that TestSecrets can fail.
func TestForms(t *testing.T) {
	for what, text := range map[string]string{
		"plain": oddSecret, "URL": "redis://u:" + url.PathEscape(oddSecret) + "@h", "query": url.QueryEscape(oddSecret),
		"%q": strconv.Quote(oddSecret), "%x": fmt.Sprintf("%x", oddSecret), "%v": fmt.Sprint([]byte("a" + oddSecret)),
		"base64": base64.StdEncoding.EncodeToString([]byte(oddSecret)), "base64 of JSON": base64.URLEncoding.EncodeToString([]byte(`{"p":["` + oddSecret + `"]}`)),
		"basic auth": base64.StdEncoding.EncodeToString([]byte("ferry:" + oddSecret)), "after two": base64.RawStdEncoding.EncodeToString([]byte("12" + oddSecret + "more")),
	} {
		found := false
		for _, form := range forms(oddSecret) {
			found = found || strings.Contains(text, string(form))
		}
		if !found {
			t.Errorf("%s: not found in %q", what, text)
		}
	}
}
