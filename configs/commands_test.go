package configs

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

// loadAs loads flags and variables ("NAME=value") for a command.
func loadAs[C any](t *testing.T, command Command, load func(*pflag.FlagSet, Environment) (*C, error), variables []string, args ...string) (*C, error) {
	t.Helper()
	fs := pflag.NewFlagSet("command", pflag.ContinueOnError)
	Flags(fs, command)
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	return load(fs, Environment{
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

func TestPlan(t *testing.T) {
	file := write(t, "c.yaml", "target: redis://h:1\nrounds: 9\n")
	for _, tc := range []struct {
		name      string
		variables []string
		args      []string
		masters   int
		target    string
		format    string
		wrong     string
	}{
		{"neither", nil, nil, 3, "", "text", ""},
		{"masters", nil, []string{"--masters=7", "--format=html", "--out=x.html"}, 7, "", "html", ""},
		{"a target", nil, []string{anyTarget}, 0, "redis://127.0.0.1:7000", "text", ""},
		{"both", nil, []string{anyTarget, "--masters=7"}, 0, "", "", "leave one of them out"},
		{"masters before the file's target", nil, []string{"--masters=7", "--config=" + file}, 7, "", "text", ""},
		{"the file's target", nil, []string{"--config=" + file}, 0, "redis://h:1", "text", ""},
		{"a target before masters from outside", []string{"SLOTFERRY_MASTERS=5"}, []string{anyTarget}, 0, "redis://127.0.0.1:7000", "text", ""},
		{"no masters", nil, []string{"--masters=0"}, 0, "", "", "from 1 to 16384"},
		{"too many", nil, []string{"--masters=16385"}, 0, "", "", "from 1 to 16384"},
		{"json by output", nil, []string{"--output=json"}, 3, "", "json", ""},
		{"format first", nil, []string{"--output=json", "--format=text"}, 3, "", "text", ""},
		{"no such format", nil, []string{"--format=pdf"}, 0, "", "", "text, json or html"},
		{"long separator", nil, []string{"--separator=123456789"}, 0, "", "", "longer than 8 bytes"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, err := loadAs(t, PlanCommand, LoadPlan, tc.variables, append(tc.args, anySource)...)
			if tc.wrong != "" {
				if err == nil || !strings.Contains(err.Error(), tc.wrong) {
					t.Errorf("%v, want %q", err, tc.wrong)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if c.Masters != tc.masters || c.Target.Text != tc.target || c.Format != tc.format {
				t.Errorf("%d masters, target %q, format %q", c.Masters, c.Target.Text, c.Format)
			}
		})
	}
}

func TestVerify(t *testing.T) {
	c, err := loadAs(t, VerifyCommand, LoadVerify, nil, anySource, anyTarget)
	if err != nil {
		t.Fatal(err)
	}
	if c.Count != 3 || c.Pause != 5*time.Second || c.Extra || c.Repair || c.Choice.Sample != 1 || c.Format != "text" ||
		!strings.HasSuffix(c.Job, "-verify") || !strings.Contains(c.Checkpoint, c.Job) {
		t.Errorf("%+v", c)
	}
	c, err = loadAs(t, VerifyCommand, LoadVerify, nil, anySource, anyTarget, "--sample=0.01", "--seed=7", "--rounds=1", "--pause=0s", "--extra", "--repair", "--format=json")
	if err != nil {
		t.Fatal(err)
	}
	if c.Choice.Sample != 0.01 || c.Choice.Seed != 7 || c.Checkpoint != "none" || c.Count != 1 || c.Pause != 0 || !c.Extra || !c.Repair || c.Format != "json" {
		t.Errorf("%+v", c)
	}
	c, err = loadAs(t, VerifyCommand, LoadVerify, nil, anySource, anyTarget, "--sample=0.5", "--checkpoint=kept")
	if err != nil || c.Checkpoint != "kept" {
		t.Errorf("%+v, %v", c, err)
	}
	for flag, says := range map[string]string{
		"--source=-": "read only once", "--sample=0": "above 0", "--sample=1.5": "above 0", "--sample=x": "above 0", "--seed=-1": "no seed",
		"--rounds=0": "from 1 to", "--format=html": "text or json",
	} {
		if _, err := loadAs(t, VerifyCommand, LoadVerify, nil, anyTarget, "--source=redis://h", flag); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", flag, err, says)
		}
	}
}

func TestImportVerifies(t *testing.T) {
	c, err := loadAs(t, ImportCommand, LoadImport, nil, anySource, anyTarget, "--verify", "--pause=1s")
	if err != nil || c.Verify != (Rounds{3, time.Second}) {
		t.Errorf("%+v, %v", c, err)
	}
	if c := mustLoad(t); c.Verify.Count != 0 || c.DryRun {
		t.Errorf("%+v", c)
	}
	if _, err := loadAs(t, ImportCommand, LoadImport, nil, "--source=-", anyTarget, "--verify"); err == nil || !strings.Contains(err.Error(), "read only once") {
		t.Error(err)
	}
}
