package configs

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/slotferry/slotferry/service"
)

// serviceText is a file with one job; what is given goes into it, or replaces
// its settings.
func serviceText(job, rest string) string {
	if !strings.Contains(job, "import:") {
		job += "\n    import: {source: 'redis://s', target: 'redis://t'}"
	}
	if !strings.Contains(rest, "folder:") {
		rest += "\nfolder: /var/lib/x"
	}
	return rest + "\njobs:\n  - name: a\n    " + job + "\n"
}

func readText(text string) (*Service, error) {
	return readService("s.yaml", []byte(text), Environment{Lookup: func(name string) (string, bool) {
		if name == "SLOTFERRY_TARGET_PASSWORD" {
			return "env-secret", true
		}
		return "redis://never.from.here", name == "SLOTFERRY_SOURCE" || name == "SLOTFERRY_TARGET"
	}})
}

func TestService(t *testing.T) {
	c, err := readText(serviceText(`schedule: {cron: "*/5 1 * * *", zone: Europe/Berlin, jitter: 10s, catch_up: once}
    retries: {count: 0, pause: 10s}
    import: {source: 'redis://s/2', target: 'redis://t', memory: 64MiB, source_password: file-secret, on_exists: replace}
    mirror: {check_target: true, max_delete: 5}`, "history: {keep: 30d}"))
	if err != nil {
		t.Fatal(err)
	}
	j := c.Jobs[0]
	if j.Kind != service.Cron || j.Schedule.Jitter != 10*time.Second || !j.CatchUp || j.Retries != (service.Retries{Count: 0, Pause: 10 * time.Second}) {
		t.Errorf("%+v", j)
	}
	if i := j.Import; i.Source.DB != 2 || i.Memory != 64<<20 || i.Job != "a" || i.Checkpoint != filepath.Join("/var/lib/x", "checkpoints", "a") ||
		i.Source.Endpoint.Password != "file-secret" || i.Target.Endpoint.Password != "env-secret" {
		t.Errorf("%+v", i)
	}
	if m := j.Mirror; m == nil || !m.CheckTarget || !m.Repair || m.Dir != filepath.Join("/var/lib/x", "mirrors", "a") {
		t.Errorf("%+v", m)
	}
	if c.Keep != 30*24*time.Hour || c.HTTP.Listen != defaultHTTP || !c.HTTP.Loopback || c.Alerts.Lag != 30*time.Second || len(c.Alerts.On) != 3 {
		t.Errorf("%+v", c)
	}
	other, err := readText(serviceText("once: true", ""))
	if err != nil || other.Jobs[0].Mirror != nil || other.Jobs[0].Retries.Count != 3 || other.Jobs[0].Settings == j.Settings {
		t.Errorf("%+v, %v", other, err)
	}
	same, err := readText("# a comment\n" + serviceText("once:   true", "http: {}"))
	if err != nil || same.Jobs[0].Settings != other.Jobs[0].Settings {
		t.Errorf("a comment and spaces make it another job: %v", err)
	}
}

func TestServiceExample(t *testing.T) {
	content, err := os.ReadFile("serve.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, name := range []string{"dump.rdb", "secret"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("a-secret-of-some-length"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := readText(string(content)); err != nil {
		t.Errorf("as it is: %v", err)
	}
	// With everything that is commented out.
	lines := strings.Split(string(content), "\n")
	for i, line := range lines {
		trimmed := strings.TrimLeft(line, " ")
		rest, ok := strings.CutPrefix(trimmed, "# ")
		if ok && (strings.HasPrefix(rest, "- name") || strings.Contains(rest, ": ") && rest[0] >= 'a' && rest[0] <= 'z' && !strings.Contains(strings.SplitN(rest, ":", 2)[0], " ") || strings.HasPrefix(rest, "  ")) && i > 12 {
			lines[i] = line[:len(line)-len(trimmed)] + rest
		}
	}
	all := strings.Join(lines, "\n")
	for _, name := range []string{"/etc/slotferry/token", "/etc/slotferry/webhook.token", "/etc/slotferry/source.password", "/etc/slotferry/target.password"} {
		all = strings.ReplaceAll(all, name+"\n", filepath.Join(dir, "secret")+"\n")
		all = strings.ReplaceAll(all, name+" ", filepath.Join(dir, "secret")+" ")
	}
	all = strings.ReplaceAll(all, "/var/lib/redis/dump.rdb", filepath.Join(dir, "dump.rdb"))
	all = strings.ReplaceAll(all, "FOLDER/", dir+"/")
	c, err := readText(all)
	if err != nil || len(c.Jobs) != 3 || c.HTTP.Token == "" || c.Alerts.Token == "" || c.Alerts.Command == "" {
		t.Errorf("with all that is commented out: %v\n%s", err, all)
	}
}

func TestServiceErrors(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, content := range map[string]string{"short": "abc", "empty": ""} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct{ name, job, rest, where, says string }{
		{"unknown key", "once: true", "fodler: x", "fodler in s.yaml", "line 1: there is no such key; is it folder?"},
		{"unknown key of a part", "once: true", "http: {port: 1}", "http.port in s.yaml", "known here: listen"},
		{"unknown key of a job", "once: true\n    retris: 1", "", "jobs.a.retris in s.yaml", "is it retries?"},
		{"unknown key of an import", "once: true\n    import: {source: 'redis://s', target: 'redis://t', memroy: 1}", "", "jobs.a.import.memroy in s.yaml", "is it memory?"},
		{"twice", "once: true\n    once: true", "", "jobs.a.once in s.yaml", "twice"},
		{"not a map", "once: true", "http: 8474", "http in s.yaml", "settings of its own"},
		{"a wrong value of an import", "once: true\n    import:\n      source: 'redis://s'\n      target: 'redis://t'\n      memory: 1", "", "jobs.a.import.memory in s.yaml", "line 9: \"1\" is too small"},
		{"a missing one", "once: true\n    import: {source: 'redis://s'}", "", "jobs.a.import.target in s.yaml", "missing"},
		{"standard input", "once: true\n    import: {source: '-', target: 'redis://t'}", "", "jobs.a.import.source in s.yaml", "no standard input"},
		{"one of a run", "once: true\n    import: {source: 'redis://s', target: 'redis://t', restart: true}", "", "jobs.a.import.restart in s.yaml", "not for jobs"},
		{"a prompt", "once: true\n    import: {source: 'redis://s', target: 'redis://t', source_askpass: true}", "", "jobs.a.import.source_askpass in s.yaml", "nobody is there"},
		{"no kind", "retries: {count: 1}", "", "jobs.a.name in s.yaml", "has 0"},
		{"two kinds", "once: true\n    live: true", "", "jobs.a.name in s.yaml", "has 2"},
		{"a wrong expression", "schedule: {cron: '0 25 * * *'}", "", "jobs.a.schedule.cron in s.yaml", "line 5: field 2 (hour) \"25\", at column 3"},
		{"no expression", "schedule: {zone: UTC}", "", "jobs.a.schedule.cron in s.yaml", "empty"},
		{"a wrong zone", "schedule: {cron: '@daily', zone: Mars}", "", "jobs.a.schedule.zone in s.yaml", "no time zone"},
		{"too much jitter", "schedule: {cron: '*/5 * * * *', jitter: 5m}", "", "jobs.a.schedule.jitter in s.yaml", "no less"},
		{"wrong catch_up", "schedule: {cron: '@daily', catch_up: all}", "", "jobs.a.schedule.catch_up in s.yaml", "once or none"},
		{"a mirror of a single copy", "once: true\n    mirror: {repair: true}", "", "jobs.a.mirror in s.yaml", "with a schedule"},
		{"a wrong share", "schedule: {cron: '@daily'}\n    mirror: {max_delete: 200%}", "", "jobs.a.mirror.max_delete in s.yaml", "share"},
		{"a scheduled copy that can't run twice", "schedule: {cron: '@daily'}\n    mirror: false", "", "jobs.a.mirror in s.yaml", "on_exists: replace"},
		{"a mirror that skips", "schedule: {cron: '@daily'}\n    import: {source: 'redis://s', target: 'redis://t', on_exists: skip}", "", "jobs.a.mirror in s.yaml", "on_exists: skip"},
		{"live without following", "live: true", "", "jobs.a.live in s.yaml", "ends by itself"},
		{"no folder", "once: true", "folder: ''", "folder in s.yaml", "missing"},
		{"a short token", "once: true", "http: {token_file: short}", "http.token_file in s.yaml", "guessed"},
		{"an empty token", "once: true", "http: {token_file: empty}", "http.token_file in s.yaml", "empty"},
		{"no token for all the world", "once: true", "http: {listen: '0.0.0.0:8474'}", "http.listen in s.yaml", "no token"},
		{"no token for a host's name", "once: true", "http: {listen: 'box:8474'}", "http.listen in s.yaml", "no token"},
		{"no port", "once: true", "http: {listen: localhost}", "http.listen in s.yaml", "host:port"},
		{"half of TLS", "once: true", "http: {tls_key: x}", "http.tls_cert in s.yaml", "together"},
		{"a wrong webhook", "once: true", "alerts: {webhook: 'ftp://secret.example/x'}", "alerts.webhook in s.yaml", "no address"},
		{"an unknown event", "once: true", "alerts: {on: [success]}", "alerts.on in s.yaml", "failure, recovery or lag"},
		{"a wrong time", "once: true", "history: {keep: 3 weeks}", "history.keep in s.yaml", "90d"},
		{"no name", "once: true\n    import: {source: 'redis://s', target: 'redis://t'}\n  - once: true\n    import: {source: 'redis://s', target: 'redis://u'}", "", "jobs.2.name in s.yaml", "missing"},
		{"a name for no file", "once: true\n    import: {source: 'redis://s', target: 'redis://t'}\n  - name: '../x'\n    once: true\n    import: {source: 'redis://s', target: 'redis://u'}", "", "jobs.2.name in s.yaml", "letters"},
		{"two of one name", "once: true\n    import: {source: 'redis://s', target: 'redis://t'}\n  - name: a\n    once: true\n    import: {source: 'redis://s', target: 'redis://u'}", "", "jobs.a in s.yaml", "already"},
		{"two that meet", "once: true\n    import: {source: 'redis://s', target: 'redis://t'}\n  - name: b\n    once: true\n    import: {source: 'redis://s2', target: 'redis://t'}", "", "jobs.b in s.yaml", "shared_target"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := readText(serviceText(tc.job, tc.rest))
			wantOneError(t, err, tc.where, tc.says)
			if err != nil && strings.Contains(err.Error(), "secret.example") {
				t.Errorf("it is quoted: %v", err)
			}
		})
	}
	// All at once.
	_, err := readText(serviceText("once: true\n    import: {source: 'redis://s', target: 'redis://t', memory: 1, nope: 2}", "http: {x: 1}\nalerts: {lag: x}"))
	if got := len(parts(t, err)); got != 4 {
		t.Errorf("%d of 4 errors: %v", got, err)
	}
	var u *UsageError
	if _, err := LoadService("nowhere.yaml", Environment{}); !errors.As(err, &u) || u.ExitCode() != 2 {
		t.Errorf("a file that is not there: %v", err)
	}
}

func TestJobsThatMeet(t *testing.T) {
	for _, tc := range []struct {
		name, a, b string
		meet       bool
	}{
		{"all of both", "", "", true},
		{"another target", "", "target: 'redis://u'", false},
		{"one node in common", "target: 'redis://t,u'", "target: 'redis://u,v'", true},
		{"other slots", "slots: 0-99", "slots: 100-200", false},
		{"a slot in common", "slots: 0-100", "slots: 100-200", true},
		{"other prefixes", "db: 0, db_map: {0: 'a:'}", "db: 0, db_map: {0: 'b:'}", false},
		{"a prefix of a prefix", "db: 0, db_map: {0: 'a'}", "db: 0, db_map: {0: 'ab'}", true},
		{"a prefix for one of all databases", "db_map: {0: 'a:'}", "db: 0, db_map: {0: 'b:'}", true},
		{"other names", "include: ['user:*']", "include: ['job:*', 'task:*']", false},
		{"names that may be the same", "include: ['user:*']", "include: ['job:*', '*:1']", true},
		{"renamed apart", "include: ['user:*'], rename_prefix: ['user:=a:']", "include: ['user:*']", false},
		{"renamed in part", "include: ['u*'], rename_prefix: ['user:=job:']", "include: ['job:*']", true},
		{"meant so", "", "shared_target: true", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			job := func(name, more string) string {
				out := "\n  - name: " + name + "\n    once: true\n"
				settings := "source: 'redis://s'"
				if !strings.Contains(more, "target: 'redis") {
					settings += ", target: 'redis://t'"
				}
				if strings.Contains(more, "shared") {
					out += "    " + more + "\n"
				} else if more != "" {
					settings += ", " + more
				}
				return out + "    import: {" + settings + "}"
			}
			_, err := readText("folder: x\njobs:" + job("a", tc.a) + job("b", tc.b))
			if (err != nil) != tc.meet || err != nil && !strings.Contains(err.Error(), "shared_target") {
				t.Errorf("%v", err)
			}
		})
	}
}

// FuzzService reads any file: it is taken or refused with an error a line of
// which names the place, and what is taken holds together.
func FuzzService(f *testing.F) {
	example, err := os.ReadFile("serve.example.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, text := range []string{
		string(example), serviceText("once: true", ""), serviceText("live: true\n    import: {source: 'redis://s', target: 'redis://t', via: sync}", "http: {listen: '[::1]:1'}"),
		"", "a", "- a", "jobs: {a: b}", "jobs: [1, [2], {3: 4}]", "folder: &x y\nhttp: *x", "jobs:\n- name: [a]\n  once: {}\n  import: {source: {a: b}}\n", "{", "---\n---\n", "? [a]\n: b",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "_file") || strings.Contains(text, "_tls_") { // names of files are not for chance
			return
		}
		c, err := readText(text)
		if err != nil {
			parts(t, err)
			return
		}
		if c.Folder == "" || len(c.Jobs) == 0 || c.HTTP.Token == "" && !c.HTTP.Loopback || c.Keep < leastKeep {
			t.Errorf("taken: %+v", c)
		}
		for _, j := range c.Jobs {
			if j.Import == nil || j.Name == "" || (j.Kind == service.Cron) != (j.Schedule != nil) || j.Import.Restart || j.Import.DryRun {
				t.Errorf("taken: %+v", j)
			}
		}
	})
}
