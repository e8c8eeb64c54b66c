package configs

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/slotferry/slotferry/importer/choice"
)

func TestFileKeepsWhatIsWritten(t *testing.T) {
	file := write(t, "c.yaml", `source: redis://h
target: redis://h
source_password: 0012
target_password: '*& #x'
job: 1e3
db: 1,2
include: user:*
type: [Hash, set]
db_map: {1: 'A.B:', 2: ''}
rename_prefix:
  'User.X=': 'y=z'
  User: u
address_map: ['Node.A:1=b:2']
fail_fast: yes
restart: off
rate_keys: 10
`)
	c, err := load(t, nil, "--config="+file)
	if err != nil {
		t.Fatal(err)
	}
	if c.Source.Endpoint.Password != "0012" || c.Target.Endpoint.Password != "*& #x" || c.Job != "1e3" {
		t.Errorf("%q, %q, %q", c.Source.Endpoint.Password, c.Target.Endpoint.Password, c.Job)
	}
	if !c.FailFast || c.Restart || c.RateKeys != 10 || c.AddressMap["Node.A:1"] != "b:2" {
		t.Errorf("%+v", c)
	}
	ch, err := choice.New(c.Choice)
	if err != nil {
		t.Fatal(err)
	}
	want := `--include user:* --type hash --type set --db 1,2 --db-map 1=A.B: --db-map 2= --rename-prefix User=u --rename-prefix "User.X="="y=z"`
	if got := ch.Identity(); got != want {
		t.Errorf("choice is\n%s, want\n%s", got, want)
	}
}

func TestWrongFile(t *testing.T) {
	for _, tc := range []struct{ name, content, key, says string }{
		{"misspelt key", "retry_four: 5m", "retry_four", "is it retry_for?"},
		{"dashes", "source-password-file: x", "source-password-file", "is it source_password_file?"},
		{"capitals", "Memory: 1GiB", "Memory", "is it memory?"},
		{"unlike any", "frobnicate: 1", "frobnicate", "example.yaml lists all keys"},
		{"config in a file", "config: x", "config", "no such key"},
		{"merge key", "<<: {memory: 1GiB}", "<<", "no such key"},
		{"twice", "job: a\njob: b", "job", "line 2: it is there twice"},
		{"no value", "job: # x", "job", "has no value"},
		{"list for a value", "job: [a]", "job", "one value, not several"},
		{"map for a list", "include: {a: b}", "include", "one value, not several"},
		{"list in a list", "include: [[a]]", "include", "one value, not several"},
		{"empty entry", "include: [a, ]\nexclude:\n  -\n", "exclude", "has no value"},
		{"pair without =", "db_map: [a]", "db_map", `no "="`},
		{"anchor", "job: &a b", "job", "single quotes"},
		{"tag", "job: !a b", "job", "single quotes"},
		{"alias", "job: *a", "", "single quotes"},
		{"key that is a list", "? [a]\n: b", "", "no plain word"},
		{"no map", "- a", "", "no list of settings"},
		{"a word", "hello", "", "no list of settings"},
		{"two documents", "job: a\n---\njob: b", "", "more than one document"},
		{"tab", "job:\n\t- a", "", "not valid YAML"},
		{"not closed", "job: 'a", "", "not valid YAML"},
		{"too large", "# " + strings.Repeat("x", maxFileBytes), "", "more than"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			file := write(t, "c.yaml", tc.content)
			_, err := load(t, nil, "--config="+file, anySource, anyTarget)
			where := file
			if tc.key != "" {
				where = tc.key + " in " + file
			}
			wantOneError(t, err, where, tc.says)
		})
	}
	t.Run("missing", func(t *testing.T) {
		// That source and target are missing as well is the file's fault.
		_, err := load(t, nil, "--config=/nowhere.yaml")
		wantOneError(t, err, "/nowhere.yaml", "no such file")
	})
	t.Run("a folder", func(t *testing.T) {
		dir := t.TempDir()
		_, err := load(t, nil, "--config="+dir)
		wantOneError(t, err, dir, "name a YAML file")
	})
	t.Run("nothing but comments", func(t *testing.T) {
		if _, err := load(t, nil, "--config="+write(t, "c.yaml", "# x\n"), anySource, anyTarget); err != nil {
			t.Error(err)
		}
	})
}

func TestExample(t *testing.T) {
	if _, err := load(t, nil, "--config=example.yaml"); err != nil {
		t.Error(err)
	}
	content, err := os.ReadFile("example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range settings {
		if s.name != "config" && !regexp.MustCompile(`(?m)^(# )?`+key(s.name)+`:`).Match(content) {
			t.Errorf("%s is missing", key(s.name))
		}
	}
	// With every key in use: a comment that is no prose begins with a key, or
	// with an entry of one.
	used := regexp.MustCompile(`(?m)^# ([a-z_]+:(?: |$)|  +- |  +\S+: )`).ReplaceAll(content, []byte("$1"))
	v, problems := readYAML(used)
	for _, p := range problems {
		t.Errorf("with all keys: %s: %s", p.key, p.message)
	}
	for _, s := range settings {
		if s.name != "config" && !v.InConfig(key(s.name)) {
			t.Errorf("with all keys: %s has no value", key(s.name))
		}
	}
	// What a commented key shows is its default, where it has one.
	for _, s := range settings {
		if s.preset != "" && v.GetString(key(s.name)) != s.preset {
			t.Errorf("%s is shown as %q, its default is %q", key(s.name), v.GetString(key(s.name)), s.preset)
		}
	}
}
