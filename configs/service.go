package configs

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Service is all that slotferry serve needs to know.
type Service struct {
	Folder   string // of history, checkpoints and what mirrors remember
	HTTP     HTTP
	Keep     time.Duration // of runs in the history
	Alerts   Alerts
	Jobs     []ServiceJob
	Warnings []string // what the operator should know; without secrets
}

// HTTP says how the service is reached.
type HTTP struct {
	Listen   string // host:port
	Loopback bool   // only from this machine
	Token    string // "": none
	TLSCert  string // files; "": no TLS
	TLSKey   string
	Pprof    bool
}

// Alerts says who is told of what.
type Alerts struct {
	Webhook string // a URL; "": none
	Token   string // for it; "": none
	Command string // for the shell; "": none
	On      []string
	Lag     time.Duration
}

const (
	leastToken  = 16 // letters; shorter ones can be guessed
	leastKeep   = time.Hour
	defaultHTTP = "127.0.0.1:8474"
)

var alertEvents = []string{"failure", "recovery", "lag"}

// LoadService reads the configuration of a service from a YAML file. The error
// joins everything that is wrong, each part a *UsageError.
func LoadService(path string, env Environment) (*Service, error) {
	content, err := readLimited(path, maxFileBytes)
	if err != nil {
		return nil, &UsageError{Where: "--config", Message: err.Error() + "; name a YAML file"}
	}
	return readService(path, content, env)
}

// readService is LoadService with the file's content.
func readService(path string, content []byte, env Environment) (*Service, error) {
	f := &serviceFile{path: path, d: &decoder{}, env: env}
	c := f.service(content)
	for _, p := range f.d.problems {
		where := path
		if p.key != "" {
			where = p.key + " in " + path
		}
		f.errs = append(f.errs, &UsageError{Where: Masked(where), Message: Masked(p.message)})
	}
	if len(f.errs) > 0 {
		return nil, errors.Join(f.errs...)
	}
	c.Warnings = f.warnings
	return c, nil
}

// serviceFile is a file that is being read.
type serviceFile struct {
	path     string
	d        *decoder
	env      Environment
	errs     []error // of the settings of imports
	warnings []string
}

func (f *serviceFile) service(content []byte) *Service {
	c := &Service{}
	root := f.root(content)
	if root == nil {
		return c
	}
	b := newBlock(f.d, "", root, "folder", "http", "history", "alerts", "jobs")
	if c.Folder = b.text("folder", ""); c.Folder == "" {
		b.wrong("folder", "it is missing; name a folder for history and checkpoints")
	}
	c.HTTP = f.http(b.nodes["http"])
	c.Keep = newBlock(f.d, "history.", b.nodes["history"], "keep").duration("keep", "90d", leastKeep)
	c.Alerts = f.alerts(b.nodes["alerts"])
	c.Jobs = f.jobs(c.Folder, b)
	f.apart(c.Jobs)
	return c
}

// root returns the map that the file is, nil if it is none.
func (f *serviceFile) root(content []byte) *yaml.Node {
	var document yaml.Node
	documents := yaml.NewDecoder(bytes.NewReader(content))
	err := documents.Decode(&document)
	switch {
	case errors.Is(err, io.EOF):
		f.d.wrong("", "it is empty; configs/serve.example.yaml shows what it takes")
	case err != nil:
		f.d.wrong("", "%s", syntaxError(err))
	case !errors.Is(documents.Decode(new(yaml.Node)), io.EOF):
		f.d.wrong("", "it holds more than one document; keep one and remove the line \"---\" between them")
	case document.Content[0].Kind != yaml.MappingNode:
		f.d.wrong("", "it is no list of settings; configs/serve.example.yaml shows what it takes")
	default:
		return document.Content[0]
	}
	return nil
}

func (f *serviceFile) http(n *yaml.Node) HTTP {
	b := newBlock(f.d, "http.", n, "listen", "token_file", "tls_cert", "tls_key", "pprof")
	c := HTTP{
		Listen: b.text("listen", defaultHTTP), TLSCert: b.text("tls_cert", ""), TLSKey: b.text("tls_key", ""),
		Pprof: b.boolean("pprof", false),
	}
	host, port, err := net.SplitHostPort(c.Listen)
	if err != nil || port == "" {
		b.wrong("listen", "%q is not of the form host:port", c.Listen)
		return c
	}
	ip, err := netip.ParseAddr(host)
	c.Loopback = host == "localhost" || err == nil && ip.IsLoopback()
	c.Token = f.secret(b, "token_file")
	switch {
	case c.Token != "" && len(c.Token) < leastToken:
		b.wrong("token_file", "the token has less than %d letters, and could be guessed", leastToken)
	case !c.Loopback && !b.has("token_file"):
		b.wrong("listen", "%q is reached from other machines, and there is no token; name a token_file, or listen on 127.0.0.1", c.Listen)
	case c.Pprof && !c.Loopback:
		b.wrong("pprof", "it tells too much of the process for an address that is reached from other machines; listen on 127.0.0.1")
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		b.wrong("tls_cert", "tls_cert and tls_key belong together")
	}
	if !c.Loopback && c.TLSCert == "" {
		f.warnings = append(f.warnings, "http: the token travels in clear; give tls_cert and tls_key, unless TLS ends in front of this service")
	}
	return c
}

// secret reads a secret's file. Its errors do not show the path: it may be the
// secret itself, given by mistake.
func (f *serviceFile) secret(b *block, name string) string {
	path := b.text(name, "")
	if path == "" {
		return ""
	}
	secret, err := readPassword(path)
	switch {
	case err != nil:
		b.wrong(name, "the file cannot be read: %v", withoutPath(err))
	case secret == "":
		b.wrong(name, "the file is empty")
	}
	v := values{}
	v.warnReadable(path, name+" is a secret")
	f.warnings = append(f.warnings, v.warnings...)
	return secret
}

func (f *serviceFile) alerts(n *yaml.Node) Alerts {
	b := newBlock(f.d, "alerts.", n, "webhook", "webhook_token_file", "command", "on", "lag")
	c := Alerts{
		Webhook: b.text("webhook", ""), Token: f.secret(b, "webhook_token_file"), Command: b.text("command", ""),
		On: b.words("on", alertEvents, alertEvents...), Lag: b.duration("lag", "30s", time.Second),
	}
	if c.Webhook != "" {
		u, err := url.Parse(c.Webhook)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			b.wrong("webhook", "it is no address; write https://host/path") // not quoted: there may be a secret in it
		}
	}
	if c.Token != "" && !strings.HasPrefix(strings.ToLower(c.Webhook), "https:") {
		f.warnings = append(f.warnings, "alerts: the webhook's token travels in clear; write https://")
	}
	return c
}
