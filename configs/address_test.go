package configs

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestSource(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for _, name := range []string{"dump.rdb", "backup.bin", "a@b.rdb"} {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		text                               string
		kind, addr, username, password, as string
		db                                 int
		secure                             bool
	}{
		{"redis://h", KindRedis, "h:6379", "", "", "redis://h:6379", -1, false},
		{"REDIS://H.Example:1/", KindRedis, "h.example:1", "", "", "redis://h.example:1", -1, false},
		{"rediss://u:p@h:6380/2", KindRedis, "h:6380", "u", "p", "rediss://h:6380/2", 2, true},
		{"redis://u@h/0", KindRedis, "h:6379", "u", "", "redis://h:6379/0", 0, false},
		{"redis://:p%40%2F%3a%25+:x@h", KindRedis, "h:6379", "", "p@/:%+:x", "redis://h:6379", -1, false},
		{"redis://u%3A1:p@[::1]", KindRedis, "[::1]:6379", "u:1", "p", "redis://[::1]:6379", -1, false},
		{"redis://[FE80::1%25eth0]:7", KindRedis, "[fe80::1%eth0]:7", "", "", "redis://[fe80::1%eth0]:7", -1, false},
		{"unix:///run/r%20d.sock", KindRedis, "/run/r d.sock", "", "", "unix:///run/r%20d.sock", -1, false},
		{"unix://u:p@/run/a%40b.sock?db=1", KindRedis, "/run/a@b.sock", "u", "p", "unix:///run/a%40b.sock?db=1", 1, false},
		{"-", KindStdin, "", "", "", "-", -1, false},
		{"./dump.rdb", KindRDB, "", "", "", "dump.rdb", -1, false},
		{"backup.bin", KindRDB, "", "", "", "backup.bin", -1, false},
		{"a@b.rdb", KindRDB, "", "", "", "a@b.rdb", -1, false},
	} {
		s, secure, err := parseSource(tc.text)
		if err != nil {
			t.Errorf("%s: %v", tc.text, err)
			continue
		}
		e := s.Endpoint
		if s.Kind != tc.kind || e.Addr != tc.addr || e.Username != tc.username || e.Password != tc.password || s.Text != tc.as || s.DB != tc.db || secure != tc.secure {
			t.Errorf("%s gives %+v (%q, %q, %q), secure %v", tc.text, s, e.Addr, e.Username, e.Password, secure)
		}
	}
}

func TestWrongSource(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, name := range []string{"appendonlydir", "aof", "folder"} {
		if err := os.Mkdir(name, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"x.aof", filepath.Join("aof", "my.aof.manifest")} {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct{ text, says string }{
		{"", "it is missing"},
		{"http://h", "redis://, rediss:// or unix://"},
		{"redis://", "host is missing"},
		{"redis://:6379", "host is missing"},
		{"redis://h:0", "from 1 to 65535"},
		{"redis://h:65536", "from 1 to 65535"},
		{"redis://h:+1", "from 1 to 65535"},
		{"redis://h:", "from 1 to 65535"},
		{"redis://h:1:2", "more than one colon"},
		{"redis://::1", "more than one colon"},
		{"redis://[::1", "not closed"},
		{"redis://[::1]x", "only a port"},
		{"redis://[1.2.3.4]", "no IPv6 address"},
		{"redis://[%zz]", "no IPv6 address"},
		{"redis://h h", "no host name has"},
		{"redis://h/x", "database is no number"},
		{"redis://h/-1", "database is no number"},
		{"redis://h/1/2", "database is no number"},
		{"redis://h/99999999999", "database is no number"},
		{"redis://h?db=1", "as in redis://host:port/1"},
		{"redis://h1,h2", "one server"},
		{"redis://:a/b@h", "%2F"},
		{"redis://:a@b@h", "%40"},
		{"redis://:a#b@h", "%23"},
		{"redis://:a%zz@h", "%25"},
		{"redis://a%zz:b@h", "%25"},
		{"unix://run/redis.sock", "three slashes"},
		{"unix:///:p@/run/redis.sock", "%40"},
		{"unix://", "path of the socket is missing"},
		{"unix:///a%zz", "%25"},
		{"unix:///a?x=1", "only db=N"},
		{"unix:///a?db=x", "no number"},
		{"localhost:6379", "write redis://localhost:6379"},
		{"u:p@localhost:6379", "begins with redis://"},
		{"nothing.rdb", `no file "nothing.rdb"`},
		{"x.aof/y", "cannot be looked at"},
		{"appendonlydir", "is a folder"},
		{"folder", "is a folder"},
		{os.DevNull, "no regular file"},
	} {
		_, err := load(t, nil, "--source="+tc.text, anyTarget)
		wantOneError(t, err, "--source", tc.says)
	}
}

func TestTarget(t *testing.T) {
	for _, tc := range []struct {
		text, username, password, as string
		seeds                        []string
		secure                       bool
	}{
		{"redis://h", "", "", "redis://h:6379", []string{"h:6379"}, false},
		{"rediss://u:p@a:1,b,a:1,[::1]:2/0", "u", "p", "rediss://a:1,b:6379,[::1]:2", []string{"a:1", "b:6379", "[::1]:2"}, true},
		{"redis://:a%2Cb@h:1/", "", "a,b", "redis://h:1", []string{"h:1"}, false},
	} {
		got, secure, err := parseTarget(tc.text)
		if err != nil {
			t.Errorf("%s: %v", tc.text, err)
			continue
		}
		e := got.Endpoint
		if !slices.Equal(got.Seeds, tc.seeds) || e.Addr != tc.seeds[0] || e.Username != tc.username || e.Password != tc.password || got.Text != tc.as || secure != tc.secure {
			t.Errorf("%s gives %+v, secure %v", tc.text, got, secure)
		}
	}
}

func TestWrongTarget(t *testing.T) {
	for _, tc := range []struct{ text, says string }{
		{"", "it is missing"},
		{"h:7000", "it is no address"},
		{"unix:///run/x", "not reached by a socket"},
		{"redis://h/1", "database 0 only"},
		{"redis://h/x", "no number"},
		{"redis://h?db=0", "after a ?"},
		{"redis://a:1,", "host 2: the host is missing"},
		{"redis://a:1,redis://b:2", "write it once"},
		{"redis://a:x,b", "host 1: the port"},
	} {
		_, err := load(t, nil, anySource, "--target="+tc.text)
		wantOneError(t, err, "--target", tc.says)
	}
}

func TestSourceDatabase(t *testing.T) {
	one := func(args ...string) (*Import, error) {
		return load(t, nil, append(args, anyTarget)...)
	}
	c, err := one("--source=redis://h/3")
	if err != nil || !slices.Equal(c.Choice.DBs, []int{3}) {
		t.Errorf("databases are %v, %v", c, err)
	}
	c, err = one("--source=redis://h/3", "--db=3")
	if err != nil || c.Source.DB != 3 || !slices.Equal(c.Choice.DBs, []int{3}) {
		t.Errorf("databases are %v, %v", c, err)
	}
	_, err = one("--source=redis://h/3", "--db=3,4")
	wantOneError(t, err, "--db", "names database 3 already")
}

func TestFileNeedsNoServerSettings(t *testing.T) {
	rdb := write(t, "dump.rdb", "")
	for _, flag := range []string{"--via=scan", "--source-askpass", "--source-password-file=x", "--source-tls-ca=x", "--source-tls-insecure"} {
		_, err := load(t, nil, "--source="+rdb, anyTarget, flag)
		name, _, _ := strings.Cut(flag, "=")
		wantOneError(t, err, name, "the source is a file")
	}
	// Meant for the source in the file, which the flag replaces.
	file := write(t, "c.yaml", "source: rediss://h\nsource_tls_ca: /nowhere\nsource_password: x\nvia: scan\n")
	c, err := load(t, []string{"SLOTFERRY_SOURCE_PASSWORD=x"}, "--config="+file, "--source="+rdb, anyTarget)
	if err != nil || c.Source.Via != "" || c.Source.Endpoint.Password != "" {
		t.Errorf("%+v, %v", c, err)
	}
}
