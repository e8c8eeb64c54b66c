package configs

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/slotferry/slotferry/importer/choice"
)

const (
	anySource = "--source=redis://127.0.0.1"
	anyTarget = "--target=redis://127.0.0.1:7000"
)

// load loads the given flags with an environment of "NAME=value" only.
func load(t testing.TB, variables []string, args ...string) (*Import, error) {
	t.Helper()
	fs := pflag.NewFlagSet("import", pflag.ContinueOnError)
	Flags(fs, ImportCommand)
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	return LoadImport(fs, Environment{
		Lookup: func(name string) (string, bool) {
			for _, v := range variables {
				if n, value, _ := strings.Cut(v, "="); n == name {
					return value, true
				}
			}
			return "", false
		},
		Prompt: func(string) (string, error) { return "", errors.New("nobody is there") },
	})
}

// mustLoad adds a source and a target to the flags.
func mustLoad(t testing.TB, args ...string) *Import {
	t.Helper()
	c, err := load(t, nil, append([]string{anySource, anyTarget}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func write(t testing.TB, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// parts are the errors in a joined one; all must be UsageErrors.
func parts(t testing.TB, err error) []*UsageError {
	t.Helper()
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		t.Fatalf("errors are not joined: %v", err)
	}
	var out []*UsageError
	for _, e := range joined.Unwrap() {
		u, ok := e.(*UsageError)
		if !ok || u.ExitCode() != 2 || u.Where == "" || u.Message == "" {
			t.Fatalf("no UsageError: %#v", e)
		}
		out = append(out, u)
	}
	return out
}

// wantOneError wants a single error from where that says something.
func wantOneError(t testing.TB, err error, where, says string) {
	t.Helper()
	all := parts(t, err)
	if len(all) != 1 || all[0].Where != where || !strings.Contains(all[0].Message, says) {
		t.Errorf("errors are\n%v\nwant one of %s that says %q", err, where, says)
	}
}

func TestDefaults(t *testing.T) {
	c := mustLoad(t)
	if c.OnExists != "fail" || c.OnUnsupported != "fail" || c.Functions != "replace" || c.FailFast || c.Restart ||
		c.RetryFor != 5*time.Minute || c.RateKeys != 0 || c.RateBytes != 0 || c.Memory != 256<<20 || c.MaxCommand != 64<<20 ||
		c.ScanCount != 1000 || c.Output != "auto" || c.AddressMap != nil || len(c.Warnings) != 0 {
		t.Errorf("defaults are %+v", c)
	}
	if c.Checkpoint != filepath.Join(".slotferry", c.Job) {
		t.Errorf("checkpoint is %q for job %q", c.Checkpoint, c.Job)
	}
	if got, err := choice.New(c.Choice); err != nil || got.Identity() != "all keys" {
		t.Errorf("choice is %+v, %v", c.Choice, err)
	}
	if c.Source.Via != "scan" || c.Source.Kind != KindRedis || c.Source.DB != -1 {
		t.Errorf("source is %+v", c.Source)
	}
}

func TestFollow(t *testing.T) {
	c := mustLoad(t, "--via=sync", "--cutover", "--pause-timeout=5s", "--on-cutover=echo x", "--on-flush=apply", "--spool-dir=/x", "--spool-max=64MiB")
	want := Live{Follow: true, OnFlush: "apply", Cutover: true, LagThreshold: 1 << 20, PauseTimeout: 5 * time.Second, OnCutover: "echo x"}
	if c.Source.Via != "sync" || c.Live != want || c.Spool != (Spool{Dir: "/x", Max: 64 << 20}) {
		t.Errorf("got %+v, %+v, want %+v", c.Live, c.Spool, want)
	}
	if c := mustLoad(t); c.Follow {
		t.Error("a plain scan follows its source")
	}
	for _, tc := range []struct {
		flags []string
		at    string
		says  string
	}{
		{[]string{"--via=sync", "--type=hash"}, "--type", "written to later"},
		{[]string{"--via=sync", "--once", "--cutover"}, "--once", "ends by itself"},
		{[]string{"--follow", "--cutover", "--pause-timeout=10ms"}, "--pause-timeout", "too short"},
	} {
		_, err := load(t, nil, append([]string{anySource, anyTarget}, tc.flags...)...)
		wantOneError(t, err, tc.at, tc.says)
	}
	aof := write(t, "x.aof", "")
	_, err := load(t, nil, "--source="+aof, anyTarget, "--follow")
	wantOneError(t, err, "--follow", "running source")
	a, err := load(t, nil, "--source="+aof, anyTarget, "--until=2026-03-01T14:30:00+01:00", "--aof-via=scratch", "--scratch-server=/x")
	if err != nil || a.Source.Kind != KindAOF || a.AOF.Via != "scratch" || a.AOF.ScratchServer != "/x" || a.AOF.Until.Unix() != 1772371800 {
		t.Errorf("got %+v, %v", a, err)
	}
	_, err = load(t, nil, "--source="+aof, anyTarget, "--until=yesterday")
	wantOneError(t, err, "--until", "with its zone")
}

func TestPrecedence(t *testing.T) {
	file := write(t, "c.yaml", "on_exists: skip\nfunctions: skip\noutput: json\ninclude: [a, b]\nsource: redis://file\ntarget: redis://file\n")
	variables := []string{"SLOTFERRY_CONFIG=" + file, "SLOTFERRY_ON_EXISTS=replace", "SLOTFERRY_FUNCTIONS=fail", "SLOTFERRY_EXCLUDE=x,y\nz\n", "SLOTFERRY_TYPE=hash,set", "SLOTFERRY_OUTPUT="}
	c, err := load(t, variables, "--on-exists=fail", "--source=redis://flag")
	if err != nil {
		t.Fatal(err)
	}
	if c.OnExists != "fail" || c.Functions != "fail" || c.Output != "json" {
		t.Errorf("on-exists %s, functions %s, output %s", c.OnExists, c.Functions, c.Output)
	}
	if c.Source.Text != "redis://flag:6379" || c.Target.Text != "redis://file:6379" {
		t.Errorf("source %s, target %s", c.Source.Text, c.Target.Text)
	}
	ch, err := choice.New(c.Choice)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := ch.Identity(), "--include a --include b --exclude x,y --exclude z --type hash --type set"; got != want {
		t.Errorf("choice is %s, want %s", got, want)
	}
}

func TestLists(t *testing.T) {
	c := mustLoad(t, "--include=a,b", "--include=c", "--type=hash,set", "--type=list", "--db=0, 2", "--db=1", "--slots=1-5",
		"--db-map=1=a=b", "--db-map=2=", "--rename-prefix=User:=u:", "--rename-prefix=x=",
		"--address-map=10.0.0.1=h.example", "--address-map=Node:7000=[::1]:17000", "--address-map=[::2]=::3")
	ch, err := choice.New(c.Choice)
	if err != nil {
		t.Fatal(err)
	}
	want := `--include a,b --include c --type hash --type list --type set --db 0,1,2 --slots 1-5 --db-map 1="a=b" --db-map 2= --rename-prefix User:=u: --rename-prefix x=`
	if got := ch.Identity(); got != want {
		t.Errorf("choice is\n%s, want\n%s", got, want)
	}
	if m := c.AddressMap; len(m) != 3 || m["10.0.0.1"] != "h.example" || m["Node:7000"] != "[::1]:17000" || m["::2"] != "::3" {
		t.Errorf("address map is %v", c.AddressMap)
	}
}

func TestAmounts(t *testing.T) {
	for _, tc := range []struct {
		flag string
		want int64 // of the setting, whichever
		get  func(c *Import) int64
	}{
		{"--memory=32MiB", 32 << 20, func(c *Import) int64 { return c.Memory }},
		{"--max-command=64kB", 64_000, func(c *Import) int64 { return c.MaxCommand }},
		{"--memory=1GB", 1e9, func(c *Import) int64 { return c.Memory }},
		{"--memory=67108864", 64 << 20, func(c *Import) int64 { return c.Memory }},
		{"--rate-bytes=1.5kb", 1500, func(c *Import) int64 { return c.RateBytes }},
		{"--rate-bytes=0", 0, func(c *Import) int64 { return c.RateBytes }},
		{"--rate-keys=2.5e3", 2500, func(c *Import) int64 { return int64(c.RateKeys) }},
		{"--retry-for=0", 0, func(c *Import) int64 { return int64(c.RetryFor) }},
		{"--retry-for=1h30m", int64(90 * time.Minute), func(c *Import) int64 { return int64(c.RetryFor) }},
		{"--wait-replicas=0", 0, func(c *Import) int64 { return int64(c.WaitReplicas) }},
		{"--wait-replicas=2", 2, func(c *Import) int64 { return int64(c.WaitReplicas) }},
		{"--scan-count=7", 7, func(c *Import) int64 { return int64(c.ScanCount) }},
	} {
		if got := tc.get(mustLoad(t, tc.flag)); got != tc.want {
			t.Errorf("%s gives %d, want %d", tc.flag, got, tc.want)
		}
	}
}

func TestWrongValues(t *testing.T) {
	for _, tc := range []struct{ flag, says string }{
		{"--memory=31MiB", "at least 32 MiB"},
		{"--memory=0", "at least 32 MiB"},
		{"--max-command=16383", "at least 16 KiB"},
		{"--memory=-1", "negative"},
		{"--memory=much", "is no size"},
		{"--memory=NaN", "is no size"},
		{"--memory=", "is no size"},
		{"--memory=1,5GiB", "comma"},
		{"--memory=9EiB", "more than any machine has"},
		{"--memory=100EiB", "more than any machine has"},
		{"--memory=" + strings.Repeat("9", 400), "more than any machine has"},
		{"--rate-bytes=5MiB/s", "is no size"},
		{"--rate-keys=-1", "is no rate"},
		{"--rate-keys=NaN", "is no rate"},
		{"--rate-keys=Inf", "is no rate"},
		{"--rate-keys=1e999", "is no rate"},
		{"--rate-keys=many", "is no rate"},
		{"--wait-replicas=-1", "from 1 to"},
		{"--wait-replicas=101", "from 1 to"},
		{"--scan-count=0", "from 1 to"},
		{"--scan-count=1.5", "from 1 to"},
		{"--scan-count=99999999999999999999", "from 1 to"},
		{"--retry-for=300", "with a unit"},
		{"--retry-for=-1s", "negative"},
		{"--on-exists=overwrite", "choose fail, replace or skip"},
		{"--on-unsupported=replace", "choose fail or skip"},
		{"--functions=", "choose replace, skip or fail"},
		{"--output=xml", "choose auto, text or json"},
		{"--via=psync", "choose scan or sync"},
		{"--once", "is followed"},
		{"--cutover", "is followed"},
		{"--on-cutover=true", "not given"},
		{"--lag-threshold=1s", "no size"},
		{"--on-flush=ignore", "choose stop or apply"},
		{"--spool-max=1MiB", "too small"},
		{"--aof-via=load", "choose auto, replay or scratch"},
		{"--until=2026-03-01T13:30:00Z", "append-only file"},
		{"--type=hash,", "a type is empty"},
		{"--include=", "a pattern is empty"},
		{"--slots=5-1", "reversed"},
		{"--db=one", `"one" is no number`},
		{"--db=-1", "numbered from 0"},
		{"--db-map=x=a", `"x" is no number`},
		{"--db-map=1", `has no "="`},
		{"--rename-prefix==new", "old prefix is empty"},
		{"--address-map=a", `has no "="`},
		{"--address-map=a=", "internal=external"},
		{"--address-map=a:x=b", "internal=external"},
		{"--address-map=::1:1:[=b", "internal=external"},
		{"--address-map=a b=c", "internal=external"},
		{"--job=a/b", "letters that a file name"},
		{`--job=a\b`, "letters that a file name"},
		{"--job=..", "may not begin with a dot"},
		{"--job=a..b", "two dots"},
		{"--job=-x", "may not begin"},
		{"--job=" + strings.Repeat("a", 200), "more than 120"},
		{"--config=", "name a YAML file"},
		{"--config=/nowhere/c.yaml", "no such file"},
		{"--checkpoint=" + os.Args[0], "is a file"},
	} {
		t.Run(tc.flag[:min(len(tc.flag), 40)], func(t *testing.T) {
			_, err := load(t, nil, anySource, anyTarget, tc.flag)
			name, value, _ := strings.Cut(tc.flag, "=")
			if name == "--config" && value != "" {
				name = value
			}
			wantOneError(t, err, name, tc.says)
		})
	}
	t.Run("twice", func(t *testing.T) {
		_, err := load(t, nil, anySource, anyTarget, "--db-map=1=a", "--db-map=1=b")
		wantOneError(t, err, "--db-map", "two prefixes")
		_, err = load(t, nil, anySource, anyTarget, "--address-map=a=b", "--address-map=a=c")
		wantOneError(t, err, "--address-map", "mapped twice")
	})
}

func TestErrorsAllAtOnce(t *testing.T) {
	file := write(t, "c.yaml", "memory: 1\nnonsense: 1\nretry_for: x\nfail_fast: perhaps\n")
	_, err := load(t, []string{"SLOTFERRY_SCAN_COUNT=0", "SLOTFERRY_RETRY_FOR=5"}, "--config", file, "--slots=9-1,x")
	var where []string
	for _, e := range parts(t, err) {
		where = append(where, e.Where)
	}
	want := []string{"nonsense in " + file, "--source", "--target", "--slots", "SLOTFERRY_RETRY_FOR", "memory in " + file, "SLOTFERRY_SCAN_COUNT", "fail_fast in " + file}
	if strings.Join(where, "|") != strings.Join(want, "|") {
		t.Errorf("errors come from\n%q, want\n%q\n%v", where, want, err)
	}
}

func TestJob(t *testing.T) {
	rdb := write(t, "dump file.rdb", "")
	job := func(args ...string) string {
		t.Helper()
		c, err := load(t, nil, args...)
		if err != nil {
			t.Fatal(err)
		}
		return c.Job
	}
	a := job("--source="+rdb, "--target=redis://u:p@127.0.0.1:7000,127.0.0.1:7001")
	if !regexp.MustCompile(`^dump-file\.rdb-to-127\.0\.0\.1-7000-[0-9a-f]{8}$`).MatchString(a) {
		t.Errorf("job is %q", a)
	}
	if b := job("--source="+rdb, "--target=redis://127.0.0.1:7001,127.0.0.1:7000"); a != b {
		t.Errorf("another order and credentials give another job: %q and %q", a, b)
	}
	for _, args := range [][]string{
		{"--source=" + rdb, "--target=redis://127.0.0.1:7000"},
		{"--source=" + rdb, "--target=rediss://127.0.0.1:7000,127.0.0.1:7001"},
		{"--source=-", "--target=redis://127.0.0.1:7000,127.0.0.1:7001"},
	} {
		if b := job(args...); a == b {
			t.Errorf("%q gives the same job", args)
		}
	}
	if got := job("--source=unix:///run/my.sock?db=3", "--target=redis://[::1]:7000"); !strings.HasPrefix(got, "my.sock-db3-to-1-7000-") {
		t.Errorf("job is %q", got)
	}
	if got := job("--source=redis://h/1", anyTarget); got == job("--source=redis://h/2", anyTarget) {
		t.Error("another database gives the same job")
	}
	if c := mustLoad(t, "--job=nightly_1.2", "--checkpoint=none"); c.Job != "nightly_1.2" || c.Checkpoint != "none" {
		t.Errorf("job %q, checkpoint %q", c.Job, c.Checkpoint)
	}
}

func TestUsage(t *testing.T) {
	for name, c := range map[string]Command{"import": ImportCommand, "plan": PlanCommand, "verify": VerifyCommand} {
		t.Run(name, func(t *testing.T) {
			fs := pflag.NewFlagSet(name, pflag.ContinueOnError)
			Flags(fs, c)
			fs.Bool("verbose", false, "say more")
			text := Usage(fs, 100)
			has := map[string]bool{"Others": true}
			for _, s := range settings {
				f := fs.Lookup(s.name)
				has[s.group] = has[s.group] || f != nil
				if f != nil && !strings.Contains(text, "--"+f.Name+" ") {
					t.Errorf("--%s is missing", f.Name)
				}
				if mine := s.usage != "" && (s.of == 0 || s.of&c != 0); mine != (f != nil) {
					t.Errorf("--%s: registered %t, want %t", s.name, f != nil, mine)
				}
			}
			last := -1
			for _, g := range append(groups[:len(groups):len(groups)], "Others") {
				at := strings.Index(text, g+":\n")
				if has[g] && at <= last || !has[g] && at >= 0 {
					t.Errorf("group %q is missing, out of order, or of another command", g)
				}
				last = max(last, at)
			}
			if strings.Contains(text, "stringArray") {
				t.Error("a value has no name")
			}
			for _, secret := range []string{"source-password", "target-password"} {
				if fs.Lookup(secret) != nil {
					t.Errorf("--%s would show in ps", secret)
				}
			}
		})
	}
}
