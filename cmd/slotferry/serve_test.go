package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/slotferry/slotferry/internal/dataset"
	"github.com/slotferry/slotferry/service"
)

const serveToken = "t0ken-secret-4b1e-aa"

// serving is a slotferry serve that runs.
type serving struct {
	t   *testing.T
	cmd *exec.Cmd
	url string

	mu  sync.Mutex
	log bytes.Buffer
}

func (s *serving) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.Write(p)
}

func (s *serving) logged() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.String()
}

var listening = regexp.MustCompile(`listening\s+{"address": "([^"]+)"}`)

// startServing starts a service on a free port.
func startServing(t *testing.T, dir string) *serving {
	t.Helper()
	s := &serving{t: t, cmd: command(t, dir, "serve", "--config", "slotferry.yaml")}
	s.cmd.Stdout, s.cmd.Stderr = s, s
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if s.cmd.ProcessState == nil {
			_ = s.cmd.Process.Kill()
			_ = s.cmd.Wait()
		}
	})
	waitFor(t, "the service to listen", func() bool { return listening.MatchString(s.logged()) })
	s.url = "http://" + listening.FindStringSubmatch(s.logged())[1]
	return s
}

// stop ends it as a system would, with an exit code of 0.
func (s *serving) stop() {
	s.t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Fatal(err)
	}
	if err := s.cmd.Wait(); err != nil {
		s.t.Errorf("%v\n%s", err, s.logged())
	}
	for _, secret := range []string{sourcePassword, targetPassword, serveToken} {
		if strings.Contains(s.logged(), secret) {
			s.t.Errorf("a secret is logged:\n%s", s.logged())
		}
	}
}

// jobs are what the API tells of all of them.
func (s *serving) jobs() map[string]service.JobView {
	s.t.Helper()
	list, err := jobsOfServer(s.t.Context(), s.url, filepath.Join(s.cmd.Dir, "token"))
	if err != nil {
		s.t.Fatalf("%v\n%s", err, s.logged())
	}
	out := map[string]service.JobView{}
	for _, j := range list {
		out[j.Name] = j
	}
	return out
}

// jobsOf asks by slotferry status.
func jobsOf(t *testing.T, dir string, args ...string) map[string]service.JobView {
	t.Helper()
	r := slotferry(t, dir, append([]string{"status", "--output", "json"}, args...)...)
	var list struct{ Jobs []service.JobView }
	if err := json.Unmarshal([]byte(r.stdout), &list); err != nil || r.code != 0 {
		t.Fatalf("%v\n%s%s", err, r.stdout, r.stderr)
	}
	out := map[string]service.JobView{}
	for _, j := range list.Jobs {
		out[j.Name] = j
	}
	return out
}

func (s *serving) post(path string) int {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.url+"/api/v1/jobs/"+path, strings.NewReader("{}"))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+serveToken)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

// ended waits until a run of a job has ended after another one, and returns it.
func (s *serving) ended(job string, after uint64) *service.Run {
	s.t.Helper()
	var last *service.Run
	waitFor(s.t, "a run of "+job+" to end", func() bool {
		last = s.jobs()[job].Last
		return last != nil && last.ID > after && s.jobs()[job].Current == nil
	})
	return last
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestServe copies, mirrors, is stopped and started again, reads its settings
// again, and tells about all of it.
func TestServe(t *testing.T) {
	const n = 2000
	to := emptyCluster(t)
	src := source(t, n)
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "token"), serveToken+"\n")
	config := func(jobs string) {
		writeFile(t, filepath.Join(dir, "slotferry.yaml"), fmt.Sprintf(`
folder: %s/state
http: {listen: '127.0.0.1:0', token_file: %s/token}
alerts: {command: 'echo $SLOTFERRY_ALERT_EVENT $SLOTFERRY_ALERT_JOB $SLOTFERRY_ALERT_STATUS >> %s/alerts'}
jobs:
  - name: nightly
    schedule: {cron: '0 0 1 1 *'}
    import: {source: 'redis://%s', target: '%s', verify: true, pause: 50ms}
    mirror: {check_target: true}
    retries: {count: 0}
%s`, dir, dir, dir, src.Addr, to.url, jobs))
	}
	config(fmt.Sprintf(`
  - name: blocked
    once: true
    shared_target: true
    import: {source: 'redis://127.0.0.1:1', target: '%s'}
    retries: {count: 0}
`, to.url))
	if r := slotferry(t, dir, "serve", "--config", "slotferry.yaml", "--check"); r.code != 0 {
		t.Errorf("--check: %s%s", r.stdout, r.stderr)
	}
	s := startServing(t, dir)
	if last := s.ended("blocked", 0); last.Status != service.Blocked || last.Remedy == "" || last.Error == "" {
		t.Errorf("a source that is not there: %+v", last)
	}

	if code := s.post("nightly/start"); code >= 300 {
		t.Errorf("start: %d", code)
	}
	first := s.ended("nightly", 0)
	if first.Status != service.Done || first.Written < n || first.Trigger != service.ByHand || len(first.Masters) != 3 || len(first.Stages) == 0 {
		t.Fatalf("%+v\n%s", first, s.logged())
	}
	to.wantEqual(t, src, dataset.CompareOptions{})

	// What changes is written, what goes is removed, what another one wrote over
	// is put right.
	victims, err := src.Client().Keys(t.Context(), "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(victims)
	set(t, src.Client(), "changed:1", "new")
	if err := src.Client().Del(t.Context(), victims[:20]...).Err(); err != nil {
		t.Fatal(err)
	}
	set(t, to.Client(), victims[30], "written by somebody else")
	s.post("nightly/start")
	second := s.ended("nightly", first.ID)
	if second.Status != service.Done || second.Deleted != 20 || second.Written > 5 || second.Unchanged < n-100 {
		t.Errorf("%+v\n%s", second, s.logged())
	}
	to.wantEqual(t, src, dataset.CompareOptions{})

	// A source that lost nearly everything is not believed.
	if err := src.Client().FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	set(t, src.Client(), "only", "one")
	s.post("nightly/start")
	if third := s.ended("nightly", second.ID); third.Status != service.Refused || third.Deleted != 0 || !strings.Contains(third.Error, "max_delete") {
		t.Errorf("%+v", third)
	}
	if keys := to.keys(t); keys < n-100 {
		t.Errorf("the target has %d keys left", keys)
	}

	// A wrong file changes nothing; a right one takes a job away.
	config("  - name: x\n")
	hangup := func(says string) {
		t.Helper()
		if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		waitFor(t, says, func() bool { return strings.Contains(s.logged(), says) })
	}
	hangup("nothing is changed")
	if len(s.jobs()) != 2 {
		t.Error("a wrong file changed something")
	}
	config("")
	hangup(`"jobs": 1`)
	if jobs := s.jobs(); len(jobs) != 1 || jobs["nightly"].Failures != 1 {
		t.Errorf("%+v", jobs)
	}

	if j := jobsOf(t, dir, "--server", s.url, "--token-file", "token")["nightly"]; j.Last == nil || j.Last.Status != service.Refused {
		t.Errorf("%+v", j)
	}
	// The folder tells the same, while it runs and after.
	if j := jobsOf(t, dir, "--folder", "state")["nightly"]; j.Last == nil || j.Last.Status != service.Refused || j.State != service.Waiting {
		t.Errorf("%+v", j)
	}
	if r := slotferry(t, dir, "serve", "--config", "slotferry.yaml"); r.code != 1 || !strings.Contains(r.stderr, "another slotferry serve") {
		t.Errorf("a second one: %d %s", r.code, r.stderr)
	}
	s.stop()
	if r := slotferry(t, dir, "status", "--folder", "state"); r.code != 0 || !strings.Contains(r.stdout, "refused") || !strings.Contains(r.stdout, "nightly") {
		t.Errorf("%s%s", r.stdout, r.stderr)
	}
	if r := slotferry(t, dir, "status", "--checkpoint", "state/checkpoints/nightly"); r.code != 0 || !strings.Contains(r.stdout, src.Addr) {
		t.Errorf("%s%s", r.stdout, r.stderr)
	}
	alerts, _ := os.ReadFile(filepath.Join(dir, "alerts"))
	for _, want := range []string{"failure blocked blocked\n", "failure nightly refused\n"} {
		if !strings.Contains(string(alerts), want) {
			t.Errorf("nobody was told %q: %q", want, alerts)
		}
	}
	if err := os.Remove(filepath.Join(dir, "token")); err != nil {
		t.Fatal(err)
	}
	wantNoSecrets(t, dir)
	_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			if data, _ := os.ReadFile(path); bytes.Contains(data, []byte(serveToken)) {
				t.Errorf("%s holds the token", path)
			}
		}
		return nil
	})
}

// TestServeGoesOn is stopped in the middle of a copy, and killed in the middle of
// the next try: the third goes on.
func TestServeGoesOn(t *testing.T) {
	to := emptyCluster(t)
	src := source(t, 6000)
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "token"), serveToken)
	config := func(rate int) {
		writeFile(t, filepath.Join(dir, "slotferry.yaml"), fmt.Sprintf(`
folder: state
http: {listen: '127.0.0.1:0', token_file: token}
jobs:
  - name: move
    once: true
    import: {source: 'redis://%s', target: '%s', scan_count: 100, rate_keys: %d}
`, src.Addr, to.url, rate))
	}
	halfway := func(s *serving, beyond int64) {
		t.Helper()
		waitFor(t, "some keys to be written", func() bool {
			p := s.jobs()["move"].Current
			return p != nil && p.Written > beyond
		})
	}
	config(300)
	s := startServing(t, dir)
	halfway(s, 200)
	s.stop()
	if j := jobsOf(t, dir, "--folder", "state")["move"]; j.Last == nil || j.Last.Status != service.Interrupted || !j.Resumable || j.Last.Written == 0 {
		t.Fatalf("%+v", j.Last)
	}

	s = startServing(t, dir)
	halfway(s, 600)
	if err := s.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = s.cmd.Wait()
	if j := jobsOf(t, dir, "--folder", "state")["move"]; j.State != service.Idle || j.Last.Status != service.Interrupted || j.Last.ID != 2 {
		t.Errorf("after a kill: %+v", j)
	}

	config(0)
	s = startServing(t, dir)
	last := s.ended("move", 2)
	if last.Status != service.Done || !last.Resumed || last.Trigger != service.ByStart {
		t.Errorf("%+v", last)
	}
	if code := s.post("move/pause"); code >= 300 {
		t.Errorf("pause: %d", code)
	}
	s.stop()
	to.wantEqual(t, src, dataset.CompareOptions{})
}

func TestServeErrors(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "wrong.yaml"), "folder: x\nhttp: {listen: ':1'}\njobs:\n  - name: a\n    cron: daily\n")
	for _, tc := range []struct {
		args []string
		code int
		says []string
	}{
		{[]string{"serve"}, exitUsage, []string{"--config", "missing"}},
		{[]string{"serve", "--config", "nowhere.yaml"}, exitUsage, []string{"nowhere.yaml"}},
		{[]string{"serve", "--config", "wrong.yaml", "--check"}, exitUsage, []string{"http.listen in wrong.yaml", "jobs.a.cron in wrong.yaml", "jobs.a.import in wrong.yaml"}},
		{[]string{"serve", "--config", "wrong.yaml", "--output", "xml"}, exitUsage, []string{"--output"}},
		{[]string{"status", "--server", "127.0.0.1"}, exitUsage, []string{"--server"}},
		{[]string{"status", "--server", "http://127.0.0.1:1"}, exitFailed, []string{"--folder"}},
		{[]string{"status", "--folder", "nowhere"}, exitFailed, []string{"no history"}},
		{[]string{"status", "--checkpoint", "nowhere"}, exitFailed, []string{"no checkpoint"}},
		{[]string{"status", "--folder", "a", "--token-file", "b"}, exitUsage, []string{"--token-file"}},
		{[]string{"status", "--folder", "a", "--checkpoint", "b"}, exitUsage, []string{"folder"}},
	} {
		slotferry(t, dir, tc.args...).want(t, tc.code, tc.says...)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "x*")); len(left) != 0 {
		t.Errorf("a check has made %v", left)
	}
}

// TestServeFollows keeps a cluster like a running source, is stopped, and goes on
// with what was written meanwhile.
func TestServeFollows(t *testing.T) {
	to := emptyCluster(t)
	src := source(t, 500)
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "token"), serveToken)
	writeFile(t, filepath.Join(dir, "slotferry.yaml"), fmt.Sprintf(`
folder: state
http: {listen: '127.0.0.1:0', token_file: token}
jobs:
  - name: follow
    live: true
    import: {source: 'redis://%s', target: '%s', via: sync}
`, src.Addr, to.url))
	arrives := func(s *serving, key string) {
		t.Helper()
		set(t, src.Client(), key, "here")
		waitFor(t, key, func() bool { return to.Client().Get(t.Context(), key).Val() == "here" })
		waitFor(t, "a lag to be told", func() bool {
			p := s.jobs()["follow"].Current
			return p != nil && p.Lag != nil && p.Lag.Bytes == 0
		})
	}
	s := startServing(t, dir)
	arrives(s, "first")
	if code := s.post("follow/pause"); code >= 300 {
		t.Errorf("pause: %d", code)
	}
	waitFor(t, "the pause", func() bool { return s.jobs()["follow"].State == service.Paused })
	s.stop()

	set(t, src.Client(), "meanwhile", "here")
	s = startServing(t, dir)
	if j := s.jobs()["follow"]; j.State != service.Paused || !j.Resumable {
		t.Errorf("a restart ends the pause: %+v", j)
	}
	if code := s.post("follow/resume"); code >= 300 {
		t.Errorf("resume: %d", code)
	}
	arrives(s, "last")
	if got := to.Client().Get(t.Context(), "meanwhile").Val(); got != "here" {
		t.Errorf("what was written meanwhile is %q", got)
	}
	s.stop()
	if j := jobsOf(t, dir, "--folder", "state")["follow"]; j.Last == nil || j.Last.Status != service.Interrupted || !j.Last.Resumed || j.Failures != 0 {
		t.Errorf("%+v", j.Last)
	}
}
