package deploy

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// program builds slotferry once and returns its path.
func program(t *testing.T) string {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

var built string // folder of the program

func TestMain(m *testing.M) {
	code := m.Run()
	if built != "" {
		_ = os.RemoveAll(built)
	}
	os.Exit(code)
}

var build = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "slotferry-deploy")
	if err != nil {
		return "", err
	}
	built = dir
	path := filepath.Join(dir, "slotferry")
	cmd := exec.Command("go", "build", "-o", path, "./cmd/slotferry")
	cmd.Dir = ".."
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", errors.New("build slotferry: " + string(out))
	}
	return path, nil
})

// place puts files where the program may read them, and text that names others
// to those.
type place struct{ dir string }

func newPlace(t *testing.T) place {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"source", "target", "token"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("a secret of some length\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return place{dir}
}

var elsewhere = regexp.MustCompile(`/(run/secrets/[a-z]+|run/credentials/[a-z@%.-]+|var/lib/slotferry[-a-z]*)(/%i)?`)

// here replaces the folders of a pod or unit by the place.
func (p place) here(text string) string { return elsewhere.ReplaceAllString(text, p.dir) }

// settings copies a file of settings to the place.
func (p place) settings(t *testing.T, path string) string {
	t.Helper()
	out := filepath.Join(p.dir, filepath.Base(path))
	if err := os.WriteFile(out, []byte(p.here(string(read(t, path)))), 0o600); err != nil {
		t.Fatal(err)
	}
	return out
}

func run(t *testing.T, args ...string) (string, int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program(t), args...)
	cmd.Dir = t.TempDir()
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// wantStarts runs a command line of a manifest with everything as it would be
// there, but for one flag that is wrong: all that is wrong is told at once,
// before anything is done.
func wantStarts(t *testing.T, where string, args []string) {
	t.Helper()
	if args[0] == "serve" {
		out, code := run(t, append(slices.Clone(args), "--check")...)
		if code != 0 {
			t.Errorf("%s: %q ends with %d:\n%s", where, args, code, out)
		}
		return
	}
	out, code := run(t, append(slices.Clone(args), "--memory=1")...)
	if code != 2 || !strings.HasPrefix(strings.TrimPrefix(out, "slotferry: "), "--memory: ") || strings.Count(strings.TrimSpace(out), "\n") > 0 && !strings.Contains(args[len(args)-1], "json") {
		t.Errorf("%s: %q ends with %d:\n%s", where, args, code, out)
	}
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, "--") && !strings.HasPrefix(line, "--memory") {
			t.Errorf("%s: %s", where, line)
		}
	}
}

// TestCommandLines runs the command line of every pod with its settings.
func TestCommandLines(t *testing.T) {
	n := 0
	for _, path := range files(t, "kubernetes", ".yaml") {
		if settings(path) {
			continue
		}
		for _, object := range decode(t, path, read(t, path)) {
			spec, _, _ := pod(object)
			if spec == nil {
				continue
			}
			n++
			p := newPlace(t)
			var args []string
			for _, arg := range spec.Containers[0].Args {
				if file, ok := strings.CutPrefix(arg, "--config=/etc/slotferry/"); ok {
					arg = "--config=" + p.settings(t, filepath.Join(filepath.Dir(path), file))
				}
				args = append(args, strings.ReplaceAll(arg, "$(JOB_COMPLETION_INDEX)", "3"))
			}
			wantStarts(t, path, args)
		}
	}
	if n != 5 {
		t.Errorf("looked at %d pods", n)
	}
}

// TestSettings reads every file of settings with an import or a service.
func TestSettings(t *testing.T) {
	n := 0
	for _, path := range files(t, "kubernetes", ".yaml") {
		if !settings(path) {
			continue
		}
		n++
		command := "import"
		if filepath.Base(path) == "slotferry.yaml" {
			command = "serve"
		}
		wantStarts(t, path, []string{command, "--config=" + newPlace(t).settings(t, path)})
	}
	if n != 6 {
		t.Errorf("looked at %d files", n)
	}
}

// TestUnits runs the command lines of the units, and has systemd look at them
// where it is.
func TestUnits(t *testing.T) {
	dir := t.TempDir()
	const installed = "/usr/local/bin/slotferry"
	p := newPlace(t)
	config := p.settings(t, "kubernetes/base/import/import.yaml")
	service := p.settings(t, "kubernetes/base/serve/slotferry.yaml")
	var units []string
	for _, path := range files(t, "systemd", "") {
		text := string(read(t, path))
		for line := range strings.Lines(text) {
			_, command, ok := strings.Cut(strings.TrimSpace(line), "="+installed+" ")
			if !ok {
				continue
			}
			command = strings.NewReplacer("/etc/slotferry/slotferry.yaml", service, "/etc/slotferry/%i.yaml", config).Replace(command)
			args := strings.Fields(p.here(command))
			wantStarts(t, path, slices.DeleteFunc(args, func(a string) bool { return a == "--check" }))
		}
		unit := filepath.Join(dir, strings.Replace(filepath.Base(path), "@.", "@nightly.", 1))
		if err := os.WriteFile(unit, []byte(strings.ReplaceAll(text, installed, program(t))), 0o600); err != nil {
			t.Fatal(err)
		}
		units = append(units, unit)
	}
	if len(units) != 3 {
		t.Errorf("looked at %q", units)
	}
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("there is no systemd-analyze")
	}
	if out, err := exec.CommandContext(t.Context(), analyze, append([]string{"verify", "--man=no"}, units...)...).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	for _, unit := range units {
		if strings.HasSuffix(unit, ".timer") {
			continue
		}
		const most = "20" // tenths of the scale to 10, on which 0 is best
		if out, err := exec.CommandContext(t.Context(), analyze, "security", "--offline=true", "--threshold="+most, unit).CombinedOutput(); err != nil {
			t.Errorf("systemd-analyze security %s: %v\n%s", unit, err, out)
		}
	}
}
