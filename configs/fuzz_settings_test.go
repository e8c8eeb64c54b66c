package configs

import (
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"github.com/spf13/pflag"

	"github.com/slotferry/slotferry/importer/choice"
	"github.com/slotferry/slotferry/importer/route"
)

// fuzzedSettings are those whose text is not the path of a file to be read.
func fuzzedSettings() (list []setting) {
	for _, s := range settings {
		if s.name != "config" && s.kind != kindBool && !strings.HasSuffix(s.name, "-file") && !strings.Contains(s.name, "-tls-") &&
			(s.of == 0 || s.of&ImportCommand != 0) {
			list = append(list, s)
		}
	}
	return list
}

// loaded is what one way of giving a setting leads to: the configuration, or
// what is wrong without the place that differs.
func loaded(t *testing.T, variables []string, args ...string) (string, *Import) {
	t.Helper()
	fs := pflag.NewFlagSet("import", pflag.ContinueOnError)
	Flags(fs, ImportCommand)
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	c, err := LoadImport(fs, Environment{
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
	if err == nil {
		c.Warnings = nil // of a password they depend on where it stands
		return fmt.Sprintf("%+v %s %s", *c, c.Source.Endpoint.Password, c.Target.Endpoint.Password), c
	}
	text := ""
	for _, e := range parts(t, err) {
		text += e.Message + "\n"
	}
	return text, nil
}

// FuzzSetting gives one setting any text as a flag, as a variable and in a
// file. It must mean the same everywhere, and what is taken must be in bounds.
func FuzzSetting(f *testing.F) {
	list := fuzzedSettings()
	texts := []string{
		"", " ", "0", "-1", "1", "1e9", "007", "NaN", "inf", "50MiB", "1.5 GB", "1,5GB", "99999999999999999999EB", "9EiB", "8EiB", "5m", "-5m", "1h30m", "9999999h",
		"a=b", "1=x", "1=", "=", "a,b", "0-5460,9000", "*", "fail", "SKIP", "json", "h:1=[::1]:2", "::1=h", "a\x00b", "'", "ö", "none", "../x", "redis://u:p@h/1", "-", ".",
	}
	for i := range list {
		for j, text := range texts {
			if (i+j)%3 == 0 { // enough for a start
				f.Add(uint8(i), text)
			}
		}
	}
	file := filepath.Join(f.TempDir(), "c.yaml")
	f.Fuzz(func(t *testing.T, which uint8, text string) {
		s := list[int(which)%len(list)]
		base := []string{anySource, anyTarget}
		switch s.name {
		case "source":
			base = base[1:]
		case "target":
			base = base[:1]
		}
		ways := map[string]string{}
		if s.usage != "" {
			var c *Import
			ways["flag"], c = loaded(t, nil, append(base, "--"+s.name+"="+text)...)
			if c != nil {
				inBounds(t, c)
			}
		}
		// A variable that is empty is none, and one a line for lists.
		if text != "" && (s.kind == kindText || !strings.ContainsAny(text, "\r\n")) {
			ways["variable"], _ = loaded(t, []string{variable(s.name) + "=" + text}, base...)
		}
		if !strings.ContainsFunc(text, func(r rune) bool { return r == unicode.ReplacementChar || !unicode.IsPrint(r) }) {
			content := key(s.name) + ": '" + strings.ReplaceAll(text, "'", "''") + "'\n"
			if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			ways["file"], _ = loaded(t, nil, append(base, "--config="+file)...)
		}
		first, by := "", ""
		for how, got := range ways {
			switch {
			case strings.Contains(got, " is no number of a database"), strings.Contains(got, "has no \"=\""), strings.Contains(got, "an entry has no"):
				continue // said with or without the line of the file
			case by == "":
				first, by = got, how
			case got != first:
				t.Errorf("%s %q as a %s:\n%s\nas a %s:\n%s", s.name, text, by, first, how, got)
			}
		}
	})
}

// inBounds looks at what was taken.
func inBounds(t *testing.T, c *Import) {
	t.Helper()
	if c.Memory < minMemory || c.RateBytes < 0 || !(c.RateKeys >= 0) || math.IsInf(c.RateKeys, 0) || c.ScanCount < 1 || c.ScanCount > maxScanCount ||
		c.RetryFor < 0 || c.MaxLatency < 0 || c.Verify.Pause < 0 || c.Checkpoint == "" || c.Job == "" {
		t.Errorf("out of bounds: %+v", c)
	}
	if _, err := choice.New(c.Choice); err != nil {
		t.Errorf("%+v: %v", c.Choice, err)
	}
	for internal, external := range c.AddressMap {
		for _, side := range []string{internal, external} {
			if again, ok := mapSide(side); !ok || again != side {
				t.Errorf("%q is read back as %q", side, again)
			}
		}
		if host, port, err := net.SplitHostPort(route.AddressMap(c.AddressMap).Dial(net.JoinHostPort(internal, "1"))); err != nil || host == "" || port == "" {
			t.Errorf("%q=%q can't be dialled: %v", internal, external, err)
		}
	}
}
