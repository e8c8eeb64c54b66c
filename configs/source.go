package configs

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/slotferry/slotferry/importer/choice"
	"github.com/slotferry/slotferry/importer/endpoint"
)

// hostPort is an address that lacks its scheme.
var hostPort = regexp.MustCompile(`^(?:[\w.-]+|\[[0-9a-fA-F:]+\]):\d{1,5}(?:/\d*)?$`)

var (
	errStdinTwice = errors.New("standard input can be read only once, and comparing takes more; save it to a file first")
)

// source returns where keys come from, with credentials and TLS.
func (v *values) source() Source {
	text := strings.TrimSpace(v.text("source"))
	s, secure, err := parseSource(text)
	if err != nil && !(text == "" && v.unread) {
		v.wrong("source", "%v", err)
	}
	via := strings.ToLower(strings.TrimSpace(v.text("via")))
	if via != "" && via != "scan" && via != "sync" {
		v.wrong("via", "%q is not known; choose scan or sync", v.text("via"))
	}
	switch {
	case err != nil:
	case s.Kind == KindRedis:
		s.Via = cmp.Or(via, "scan")
		v.credentials("source", &s.Endpoint)
		v.tls("source", secure, &s.Endpoint)
	default:
		v.needless()
	}
	return s
}

// needless refuses what only a live source has use for. What comes from a
// weaker origin than the source itself was meant for another source.
func (v *values) needless() {
	for _, name := range append([]string{"via", "source-password-file", "source-askpass"}, tlsSettings("source")...) {
		from := v.origins[name]
		if v.isSet(name) && from.rank != byVariable && from.rank >= v.origins["source"].rank {
			v.wrong(name, "it is for a running server, but the source is a file; leave it out")
		}
	}
}

// parseSource reads a source. secure tells whether it is reached by TLS.
func parseSource(text string) (s Source, secure bool, err error) {
	s.DB = -1
	switch {
	case text == "":
		return s, false, errors.New("it is missing; name a server (redis://host:port), an RDB file, or - for an RDB on standard input")
	case text == "-":
		s.Kind, s.Text = KindStdin, "-"
		return s, false, nil
	case isURL(text):
		return parseServer(text)
	}
	s.Kind, s.Path, s.Text = KindRDB, text, filepath.Clean(text)
	if isAppendOnly(text) {
		s.Kind = KindAOF
	}
	return s, false, checkFile(text)
}

// parseServer reads the address of one live server.
func parseServer(text string) (Source, bool, error) {
	s := Source{Kind: KindRedis, DB: -1}
	a, err := parseAddress(text)
	if err != nil {
		return s, false, err
	}
	number := strings.TrimPrefix(a.path, "/")
	s.Endpoint = endpoint.Endpoint{Network: "tcp", Username: a.username, Password: a.password}
	if a.scheme == "unix" {
		s.Endpoint.Network, s.Endpoint.Addr = "unix", a.path
		number = ""
		if a.query != "" {
			var ok bool
			if number, ok = strings.CutPrefix(a.query, "db="); !ok {
				return s, false, errors.New("after the ? of a socket only db=N is known")
			}
		}
		s.Text = strings.ReplaceAll((&url.URL{Scheme: "unix", Path: a.path}).String(), "@", "%40")
	} else {
		if len(a.hosts) > 1 {
			return s, false, errors.New("a source is one server; to copy several, run one import for each")
		}
		if a.query != "" {
			return s, false, errors.New("nothing is known after a ? here; the database is written as in redis://host:port/1")
		}
		s.Endpoint.Addr = a.hosts[0]
		s.Text = a.scheme + "://" + a.hosts[0]
	}
	if number == "" {
		return s, a.scheme == "rediss", nil
	}
	if s.DB, err = database(number); err != nil {
		return s, false, err
	}
	if a.scheme == "unix" {
		s.Text += "?db=" + strconv.Itoa(s.DB)
	} else {
		s.Text += "/" + strconv.Itoa(s.DB)
	}
	return s, a.scheme == "rediss", nil
}

// checkFile tells why a source that is no URL is no RDB file either. It shows
// nothing of what may be an address with a password.
func checkFile(path string) error {
	info, err := os.Stat(path)
	switch {
	case err != nil && strings.Contains(path, "@"):
		return errors.New("there is no such file; the address of a server begins with redis:// or rediss://")
	case err != nil && hostPort.MatchString(path):
		return fmt.Errorf("there is no such file; for a server write redis://%s", path)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no file %q; for a server write redis://host:port", path)
	case err != nil:
		return fmt.Errorf("the file cannot be looked at: %w", withoutPath(err))
	case info.IsDir() && isAppendOnly(path):
		return nil
	case info.IsDir():
		return fmt.Errorf("%q is a folder; name the RDB file in it", path)
	case !info.Mode().IsRegular():
		return fmt.Errorf("%q is no regular file; to read from a pipe, write - and connect it to standard input", path)
	}
	return nil
}

// isAppendOnly tells whether a path is an append-only file, its manifest, or a
// folder with some.
func isAppendOnly(path string) bool {
	switch lower := strings.ToLower(path); {
	case strings.HasSuffix(lower, ".aof"), strings.HasSuffix(lower, ".aof.manifest"):
		return true
	}
	found, err := filepath.Glob(filepath.Join(path, "*.aof*"))
	return err == nil && len(found) > 0
}

// withoutPath leaves the path out of an error about a file.
func withoutPath(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// choice returns which keys travel. A database in the source's address is a
// choice as well.
func (v *values) choice(s *Source) choice.Options {
	o := choice.Options{
		Include: v.list("include"),
		Exclude: v.list("exclude"),
		Types:   v.list("type"),
		Slots:   v.shardOf(v.text("slots")),
	}
	for _, text := range v.list("db") {
		n, err := strconv.Atoi(text)
		if err != nil {
			v.wrong("db", "%q is no number of a database", text)
			continue
		}
		o.DBs = append(o.DBs, n)
	}
	if s.DB >= 0 && len(o.DBs) == 0 {
		o.DBs = []int{s.DB}
	}
	if s.DB >= 0 && slices.ContainsFunc(o.DBs, func(n int) bool { return n != s.DB }) {
		v.wrong("db", "the source's address names database %d already; leave it out there or here", s.DB)
	}
	for _, p := range v.pairs("db-map") {
		n, err := strconv.Atoi(strings.TrimSpace(p.from))
		_, twice := o.DBMap[n]
		switch {
		case err != nil:
			v.wrong("db-map", "%q is no number of a database; write it as in 1=prefix:", p.from)
		case twice:
			v.wrong("db-map", "database %d has two prefixes; keep one", n)
		default:
			if o.DBMap == nil {
				o.DBMap = map[int]string{}
			}
			o.DBMap[n] = p.to
		}
	}
	for _, p := range v.pairs("rename-prefix") {
		o.Rename = append(o.Rename, choice.Rename{Old: p.from, New: p.to})
	}
	if _, err := choice.New(o); err != nil {
		v.wrongChoice(err)
	}
	return o
}

// wrongChoice gives each part of choice.New's error the origin of its option.
func (v *values) wrongChoice(err error) {
	parts := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		parts = joined.Unwrap()
	}
	for _, part := range parts {
		var o *choice.OptionError
		if errors.As(part, &o) {
			v.wrong(o.Flag, "%s", o.Message)
		} else {
			v.wrongAt("choice of keys", "%v", part)
		}
	}
}
