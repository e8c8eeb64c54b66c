package web

import (
	"context"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/slotferry/slotferry/service"
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

// tab is a page in a browser, and what it has logged.
type tab struct {
	t   *testing.T
	ctx context.Context

	mu     sync.Mutex
	logged []string
}

// open starts a browser of its own, so that nothing is left of other tests.
func open(t *testing.T) *tab {
	t.Helper()
	path, dir := browser(t), t.TempDir()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(filepath.Join(dir, "profile")),
		chromedp.Env("HOME="+dir, "XDG_CONFIG_HOME="+dir, "XDG_CACHE_HOME="+dir), chromedp.WindowSize(1200, 1000))...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	b := &tab{t: t, ctx: ctx}
	messages := chromedp.Console(ctx)
	go func() {
		for m, err := range messages {
			if err != nil {
				return
			}
			b.mu.Lock()
			b.logged = append(b.logged, m.String())
			b.mu.Unlock()
		}
	}()
	return b
}

func (b *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, actions...); err != nil {
		b.t.Fatalf("%v; the page logged %q", err, b.log())
	}
}

// value evaluates an expression.
func value[T any](b *tab, expression string) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		b.t.Fatalf("%s: %v; the page logged %q", expression, err, b.log())
	}
	return v
}

func (b *tab) log() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.logged)
}

// until waits for an expression to be true.
func (b *tab) until(expression string) {
	b.t.Helper()
	await(b.t, expression, func() bool {
		return value[bool](b, "Boolean("+expression+")")
	})
}

// tabTo goes by the Tab key to what an expression is true for.
func (b *tab) tabTo(expression string) {
	b.t.Helper()
	for range 60 {
		b.do(chromedp.KeyEvent(kb.Tab))
		if value[bool](b, "(e => Boolean("+expression+"))(document.activeElement)") {
			return
		}
	}
	b.t.Fatalf("no Tab leads to %s", expression)
}

func (b *tab) dark() {
	b.t.Helper()
	if _, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}},
	}); err != nil {
		b.t.Fatal(err)
	}
}

// at looks for an element.
func at(selector string) string { return "document.querySelector('" + selector + "')" }

func TestInBrowser(t *testing.T) {
	browser(t)
	nightly, other := newRunner(), newRunner()
	svc := running(t, job("nightly", nightly), job("other", other))
	server := httptest.NewServer(newSite(t, Options{Service: svc, Loopback: true, Version: "v1.2.3"}))
	t.Cleanup(server.Close)
	nightly.report(t, svc, "nightly", progress(200_000))
	b := open(t)

	b.do(chromedp.Navigate(server.URL + "/?job=nightly"))
	b.until(at("#link") + "?.dataset.link === 'on'")
	for _, want := range []string{"20 %: 200,000 of 1,000,000 keys", "431,234", "1 min 15 s", "10.0.0.3:7000", "pausing: OOM"} {
		if page := value[string](b, "document.body.innerText"); !strings.Contains(page, want) {
			t.Errorf("%q is not in %q", want, page)
		}
	}

	// Changes arrive by themselves.
	b.until(at("#heat-some") + ".checkVisibility()")
	nightly.report(t, svc, "nightly", progress(400_000))
	b.until(at("#job-nightly .far") + ".innerText.includes('40 %: 400,000')")
	b.until("document.querySelectorAll('#masters progress').length === 3 && " + at("#masters progress") + ".value === 1000")
	if got := value[string](b, `(() => {
		const c = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
		c.drawImage(document.querySelector('#map'), 0, 0);
		return [0, 96].map(slot => c.getImageData(slot % 128, Math.floor(slot / 128), 1, 1).data.join(' ')).join(', ');
	})()`); got != "0 0 0 0, 8 56 111 255" {
		t.Errorf("slots 0 and 96 of the map are %s", got)
	}
	b.do(chromedp.SendKeys(chromedp.CSS("#slot"), "96"))
	if got := value[string](b, at("#slot-info")+".textContent"); !strings.HasSuffix(got, " keys written") {
		t.Errorf("slot 96 is told as %q", got)
	}

	// By keyboard alone: a question comes first, and Escape is a no.
	pause := "[data-order=pause]"
	b.do(chromedp.Focus(chromedp.CSS("h1 a")))
	b.tabTo("e.matches('" + pause + "')")
	b.do(chromedp.KeyEvent(kb.Enter))
	b.until(at("#confirm") + ".open && " + at("#confirm") + ".contains(document.activeElement)")
	if got := value[string](b, at("#confirm-title")+".textContent"); got != "Pause nightly?" {
		t.Errorf("the question is %q", got)
	}
	b.do(chromedp.KeyEvent(kb.Escape))
	b.until("!" + at("#confirm") + ".open && document.activeElement === " + at(pause))
	if j, _ := svc.Job("nightly"); j.State != service.Running {
		t.Fatalf("it is %s after a no", j.State)
	}
	b.do(chromedp.KeyEvent(kb.Enter))
	b.until(at("#confirm") + ".open")
	b.tabTo("e.value === 'yes'")
	if got := value[string](b, "getComputedStyle(document.activeElement).outlineStyle"); got != "solid" {
		t.Errorf("the focus is shown by an outline that is %q", got)
	}
	b.do(chromedp.KeyEvent(kb.Enter))
	awaitState(t, svc, "nightly", service.Paused)
	b.until(at("#said") + ".textContent === 'nightly is paused'")
	b.until(at(pause) + ".ariaDisabled === 'true' && document.activeElement === " + at(pause))
	b.until(at("#runs tbody") + "?.innerText.includes('interrupted')")

	// What can't be done now does nothing, not even ask.
	b.do(chromedp.Click(chromedp.CSS(pause)))
	if got := value[string](b, "String("+at("#confirm")+".open)"); got != "false" {
		t.Error("a button that is off asks")
	}
	b.do(chromedp.Click(chromedp.CSS("[data-order=resume]")))
	b.until(at("#confirm") + ".open")
	b.do(chromedp.Click(chromedp.CSS("#confirm [value=yes]")))
	awaitState(t, svc, "nightly", service.Running)
	b.until(at("#job-nightly") + ".innerText.includes('running')")

	// Another job, and the dark.
	b.do(chromedp.Click(chromedp.CSS("#job-other a")))
	b.until("document.readyState === 'complete' && " + at("#job-title") + ".textContent === 'other'")
	const ground = "getComputedStyle(document.body).backgroundColor"
	light := value[string](b, ground)
	b.dark()
	if dark := value[string](b, ground); light == dark {
		t.Errorf("light and dark are both %s", light)
	}
	if logged := b.log(); len(logged) > 0 {
		t.Errorf("the page logged %q", logged)
	}

	// A connection that is cut is made again.
	b.until(at("#link") + "?.dataset.link === 'on'")
	value[bool](b, "window.seen = [], new MutationObserver(() => seen.push("+at("#link")+".dataset.link)).observe("+at("#link")+", {attributes: true}), true")
	server.CloseClientConnections()
	b.until("seen.includes('lost') && seen.at(-1) === 'on'")
	other.report(t, svc, "other", progress(500_000))
	b.until(at("#job-other .far") + ".innerText.includes('50 %')")
}

func TestTokenInBrowser(t *testing.T) {
	browser(t)
	nightly := newRunner()
	svc := running(t, job("nightly", nightly))
	server := httptest.NewServer(newSite(t, Options{Service: svc, Token: secret}))
	t.Cleanup(server.Close)
	b := open(t)
	b.do(chromedp.Navigate(server.URL))
	b.until(at("#ask") + ".open && document.activeElement === " + at("#token"))
	if page := value[string](b, "document.body.innerHTML"); strings.Contains(page, "nightly") {
		t.Error("the page names a job before the token was given")
	}
	if logged := b.log(); len(logged) > 0 {
		t.Errorf("the page logged %q", logged)
	}
	b.do(chromedp.SendKeys(chromedp.CSS("#token"), "wrong"+kb.Enter))
	b.until(at("#ask-wrong") + ".textContent !== '' && " + at("#ask") + ".open")
	b.do(chromedp.SendKeys(chromedp.CSS("#token"), secret+kb.Enter))
	b.until(at("#job-nightly"))

	// It is kept for the next page, and goes with orders.
	b.do(chromedp.Click(chromedp.CSS("#job-nightly a")))
	b.until(at("#link") + "?.dataset.link === 'on' && location.search === '?job=nightly' && " + at("[data-order=stop]"))
	b.do(chromedp.Click(chromedp.CSS("[data-order=stop]")), chromedp.Click(chromedp.CSS("#confirm [value=yes]")))
	awaitState(t, svc, "nightly", service.Idle)
	for _, line := range b.log() {
		if !strings.Contains(line, "status of 401") {
			t.Errorf("the page logged %q", line)
		}
	}
	if got := value[string](b, "JSON.stringify([document.cookie, Object.keys(localStorage).length])"); got != `["",0]` {
		t.Errorf("cookies and what is kept for good: %s", got)
	}
}
