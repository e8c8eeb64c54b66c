package report

import (
	"bytes"
	"context"
	"fmt"
	"html"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf16"
)

// browser finds a Chromium. Where SLOTFERRY_BROWSER is "required", none is a
// failure.
func browser(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	const missing = "no chromium, chromium-browser or google-chrome in PATH: run scripts/need-chromium.sh"
	if os.Getenv("SLOTFERRY_BROWSER") == "required" {
		t.Fatal(missing)
	}
	t.Skip(missing)
	return ""
}

// open shows a page at an address fragment and returns the document as it is
// after its scripts, and what the browser logged to its console.
func open(t *testing.T, page, fragment string) (dom string, console []string) {
	t.Helper()
	path := browser(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "plan.html")
	if err := os.WriteFile(file, []byte(page), 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
		"--user-data-dir="+filepath.Join(dir, "profile"), "--enable-logging=stderr", "--v=0",
		"--virtual-time-budget=10000", "--dump-dom", "file://"+file+fragment)
	cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_CONFIG_HOME="+dir, "XDG_CACHE_HOME="+dir)
	cmd.WaitDelay = 5 * time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s", path, err, stderr.Bytes())
	}
	for line := range strings.Lines(stderr.String()) {
		if strings.Contains(line, "CONSOLE") {
			console = append(console, line)
		}
	}
	return stdout.String(), console
}

var (
	ready    = regexp.MustCompile(`<html[^>]* data-ready="yes"`)
	rowsOf   = regexp.MustCompile(`(?s)<tr[^>]*>(.*?)</tr>`)
	cellsOf  = regexp.MustCompile(`(?s)<td([^>]*)>(.*?)</td>`)
	valueOf  = regexp.MustCompile(` data-v="([^"]*)"`)
	headOf   = regexp.MustCompile(`<th[^>]*data-sort="key"[^>]*aria-sort="ascending"`)
	slotInfo = regexp.MustCompile(`<output[^>]*id="slot-info"[^>]*>([^<]*)</output>`)
)

// table returns the cells of a table's body: their value where they have one,
// else their text.
func table(t *testing.T, dom, id string) (rows [][]string) {
	t.Helper()
	m := regexp.MustCompile(`(?s)<table id="` + id + `">.*?<tbody>(.*?)</tbody>`).FindStringSubmatch(dom)
	if m == nil {
		t.Fatalf("no table %s", id)
	}
	for _, row := range rowsOf.FindAllStringSubmatch(m[1], -1) {
		var cells []string
		for _, cell := range cellsOf.FindAllStringSubmatch(row[1], -1) {
			text := html.UnescapeString(cell[2])
			if v := valueOf.FindStringSubmatch(cell[1]); v != nil {
				text = v[1]
			}
			cells = append(cells, text)
		}
		rows = append(rows, cells)
	}
	return rows
}

func TestInBrowser(t *testing.T) {
	browser(t)
	p := unevenPlan()
	page := pageOf(t, p)

	t.Run("page", func(t *testing.T) {
		t.Parallel()
		dom, console := open(t, page, "#sort=big-keys.key&slot=8132")
		if len(console) > 0 {
			t.Errorf("the console says %q", console)
		}
		if !ready.MatchString(dom) {
			t.Fatal("the script did not run to its end")
		}
		for id, want := range map[string]int64{"total-keys": p.Keys, "total-bytes": p.Bytes} {
			if !strings.Contains(dom, fmt.Sprintf(`<b id="%s" data-v="%d">`, id, want)) {
				t.Errorf("%s is not %d", id, want)
			}
		}
		n := func(v int64) string { return strconv.FormatInt(v, 10) }
		var masters, prefixes, tags, keys [][]string
		for _, m := range p.Masters {
			masters = append(masters, []string{m.Addr, n(int64(m.Slots)), n(m.Keys), n(m.Bytes), n(m.Bytes), n(m.Needs), n(m.Free)})
		}
		for _, x := range p.Prefixes {
			prefixes = append(prefixes, []string{x.label(), n(x.Keys), n(x.Bytes), n(x.Bytes)})
		}
		for _, x := range p.HashTags {
			tags = append(tags, []string{quoted(x.Tag), n(int64(x.Slot)), n(x.Keys), n(x.Bytes), n(x.Bytes)})
		}
		v := &view{Plan: p}
		for _, k := range p.BigKeys {
			keys = append(keys, []string{fit(quoted(k.Key), nameColumns), n(k.Bytes), k.Type, n(int64(k.DB)), n(int64(k.Slot)), k.Master, v.Mark(k)})
		}
		// The address asks for these to be sorted by name, and JavaScript sorts by
		// UTF-16 units.
		unsorted := slices.Clone(keys)
		slices.SortStableFunc(keys, func(a, b []string) int {
			return slices.Compare(utf16.Encode([]rune(a[0])), utf16.Encode([]rune(b[0])))
		})
		if equal(keys, unsorted) {
			t.Error("the keys were sorted before; the test tells nothing")
		}
		if !headOf.MatchString(dom) {
			t.Error("the head does not say that it is sorted by")
		}
		for id, want := range map[string][][]string{"masters": masters, "prefixes": prefixes, "tags": tags, "big-keys": keys} {
			if got := table(t, dom, id); !equal(got, want) {
				t.Errorf("%s:\n%q\nwant\n%q", id, got, want)
			}
		}
		at := slices.IndexFunc(p.Slots, func(s Slot) bool { return s.Slot == 8132 })
		want := fmt.Sprintf("slot 8132: %d keys, %s, on 10.0.0.2:7000", p.Slots[at].Keys, iec(p.Slots[at].Bytes))
		if got := slotInfo.FindStringSubmatch(dom); got == nil || got[1] != want {
			t.Errorf("slot 8132 is shown as %q, want %q", got, want)
		}
	})

	// What has no slots, no keys, nothing must not stop the script.
	t.Run("nothing", func(t *testing.T) {
		t.Parallel()
		dom, console := open(t, pageOf(t, &Plan{}), "#sort=big-keys.key&slot=1")
		if len(console) > 0 || !ready.MatchString(dom) {
			t.Errorf("ready %v, console %q", ready.MatchString(dom), console)
		}
	})

	// A page with something foreign in it shows that the checks above can fail:
	// the policy refuses it, and the console tells.
	t.Run("foreign script", func(t *testing.T) {
		t.Parallel()
		foreign := strings.Replace(page, "<main>", `<main><script>document.title = "foreign ran"</script><img src="https://127.0.0.1:1/x.png">`, 1)
		dom, console := open(t, foreign, "")
		if strings.Contains(dom, "<title>foreign ran") {
			t.Error("the foreign script ran")
		}
		for _, refused := range []string{"script", "img-src"} {
			if !slices.ContainsFunc(console, func(l string) bool {
				return strings.Contains(l, "Content Security Policy") && strings.Contains(l, refused)
			}) {
				t.Errorf("no violation of the policy for %s in %q", refused, console)
			}
		}
	})
}

func equal(a, b [][]string) bool {
	return slices.EqualFunc(a, b, func(x, y []string) bool { return slices.Equal(x, y) })
}
