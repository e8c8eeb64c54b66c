package configs

import (
	"fmt"
	"net/url"
	"os"
	"strings"
	"testing"
)

// marker stands for a password; no error or warning may hold it, in whatever
// encoding it was given.
const marker = "hunter2MARKER"

func wantNoMarker(t *testing.T, what any) {
	t.Helper()
	if text := fmt.Sprintf("%v", what); strings.Contains(text, "MARKER") {
		t.Errorf("the password shows: %s", text)
	}
}

var addressSeeds = []string{
	"h", "h:1", "h:1/2", "[::1]:1", "h:x", "h:1,h2:2", "", "/run/x.sock?db=1", "h/#", "h?x", "h/a@b", "%zz", ":1:2", "[", "h:1/0", "a b",
}

// FuzzSourceURL puts a password into addresses in several ways, with odd text
// around it.
func FuzzSourceURL(f *testing.F) {
	for _, s := range addressSeeds {
		f.Add("user:", s)
		f.Add("", s)
		f.Add("%zz:a@", s)
		f.Add("u:a/", s)
	}
	f.Fuzz(func(t *testing.T, before, after string) {
		for _, scheme := range []string{"redis://", "rediss://", "unix://", "http://", "redis:/", ""} {
			text := scheme + before + ":" + marker + "@" + after
			if _, err := os.Stat(text); err == nil {
				continue
			}
			s, _, err := parseSource(text)
			wantNoMarker(t, err)
			wantNoMarker(t, s.Endpoint)
			if err != nil {
				continue
			}
			if s.Kind != KindRedis || s.Endpoint.Addr == "" {
				t.Errorf("%q gives %+v", text, s)
			}
			wantNoMarker(t, s.Text)
			again, _, err := parseSource(s.Text)
			if err != nil || again.Endpoint.Addr != s.Endpoint.Addr || again.DB != s.DB || again.Text != s.Text {
				t.Errorf("%q is not read back: %+v, %v", s.Text, again, err)
			}
		}
	})
}

func FuzzTargetURL(f *testing.F) {
	for _, s := range addressSeeds {
		f.Add("user:", s)
		f.Add("", s)
	}
	f.Fuzz(func(t *testing.T, before, after string) {
		for _, scheme := range []string{"redis://", "rediss://", "unix://", ""} {
			got, _, err := parseTarget(scheme + before + ":" + marker + "@" + after)
			wantNoMarker(t, err)
			wantNoMarker(t, got.Endpoint)
			if err != nil {
				continue
			}
			if len(got.Seeds) == 0 || got.Endpoint.Addr != got.Seeds[0] {
				t.Errorf("%q gives %+v", after, got)
			}
			again, _, err := parseTarget(got.Text)
			if err != nil || strings.Join(again.Seeds, ",") != strings.Join(got.Seeds, ",") {
				t.Errorf("%q is not read back: %+v, %v", got.Text, again, err)
			}
			wantNoMarker(t, got.Text)
		}
	})
}

// FuzzConfigFile reads any file, with a password in it.
func FuzzConfigFile(f *testing.F) {
	example, err := os.ReadFile("example.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add("", string(example))
	f.Add("", "source: redis://h\ntarget: redis://h:1")
	for _, style := range []string{"", "'", "\"", "*", "&", "!", "!!int ", "|\n ", "[", "{", "%", "@", "\\", "\"\\z"} {
		f.Add(style, "")
		f.Add("'"+style, "job: a\nmemory: 1")
	}
	f.Add("a", "include: [a\n")
	f.Add("", "db_map: {1: a, 1: b}\naddress_map: [a]")
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, style, rest string) {
		file := dir + "/c.yaml"
		content := "source_password: " + style + marker + "\n" + rest
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := load(t, nil, "--config="+file)
		if err != nil {
			wantNoMarker(t, err)
			parts(t, err)
			return
		}
		wantNoMarker(t, c.Warnings)
		if c.Job == "" || strings.ContainsAny(c.Job, `/\`) || c.Memory < minMemory || url.PathEscape(c.Job) != c.Job {
			t.Errorf("%+v", c)
		}
	})
}
