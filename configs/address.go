package configs

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

const defaultPort = "6379"

// address is a redis://, rediss:// or unix:// URL taken apart. url.Parse is not
// used: it knows no lists of hosts, and its errors show the whole URL with the
// password.
type address struct {
	scheme             string // "redis", "rediss" or "unix"
	username, password string
	hosts              []string // host:port each
	path               string   // after the host, with "/"
	query              string
}

// The errors below never quote a URL: what looks like a host may be a password.
var (
	errScheme   = errors.New("the address begins with no scheme that is known; write redis://, rediss:// or unix://")
	errAt       = errors.New("the address has an @ at the wrong place; in a username, password or path write / as %2F, ? as %3F, # as %23 and @ as %40, or leave the password out and use a password file")
	errEscape   = errors.New("the address has a % that two hexadecimal digits do not follow; in a username or password write % as %25")
	errFragment = errors.New("the address has a #; in a password write it as %23")
)

// isURL tells whether a source or target is written as an address.
func isURL(text string) bool { return strings.Contains(text, "://") }

// parseAddress takes a URL apart.
func parseAddress(text string) (address, error) {
	scheme, rest, _ := strings.Cut(text, "://")
	a := address{scheme: strings.ToLower(scheme)}
	if a.scheme != "redis" && a.scheme != "rediss" && a.scheme != "unix" {
		return a, errScheme
	}
	if strings.Contains(rest, "#") {
		return a, errFragment
	}
	authority := rest
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		authority, a.path = rest[:i], rest[i:]
	}
	a.path, a.query, _ = strings.Cut(a.path, "?")
	hosts := authority
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		hosts = authority[at+1:]
		if err := a.credentials(authority[:at]); err != nil {
			return a, err
		}
	}
	if a.scheme == "unix" {
		return a, a.socket(hosts)
	}
	if strings.Contains(a.path+a.query, "@") {
		return a, errAt
	}
	if strings.Contains(rest, "://") {
		return a, errors.New("the address has a second scheme; write it once and separate hosts by commas: redis://host:port,host:port")
	}
	for i, text := range strings.Split(hosts, ",") {
		host, err := parseHost(text)
		if err != nil && strings.Contains(hosts, ",") {
			return a, fmt.Errorf("host %d: %w", i+1, err)
		} else if err != nil {
			return a, err
		}
		a.hosts = append(a.hosts, host)
	}
	return a, nil
}

func (a *address) credentials(text string) error {
	username, password, _ := strings.Cut(text, ":")
	if strings.Contains(text, "@") {
		return errAt
	}
	var err error
	if a.username, err = url.PathUnescape(username); err != nil {
		return errEscape
	}
	if a.password, err = url.PathUnescape(password); err != nil {
		return errEscape
	}
	return nil
}

// socket checks a unix:// address.
func (a *address) socket(host string) error {
	if host != "" {
		return errors.New("the path of a socket is absolute and has three slashes: unix:///run/redis.sock")
	}
	if strings.Contains(a.path+a.query, "@") {
		return errAt // rather a password than a path, such as unix:///:password@/run/redis.sock
	}
	path, err := url.PathUnescape(a.path)
	if err != nil {
		return errEscape
	}
	if len(path) < 2 || strings.ContainsRune(path, 0) {
		return errors.New("the path of the socket is missing: unix:///run/redis.sock")
	}
	a.path = path
	return nil
}

// parseHost completes host, host:port, [IPv6] or [IPv6]:port with the default
// port.
func parseHost(text string) (string, error) {
	host, port := text, defaultPort
	switch {
	case strings.HasPrefix(text, "["):
		end := strings.IndexByte(text, ']')
		if end < 0 {
			return "", errors.New("the bracket of an IPv6 address is not closed")
		}
		rest := text[end+1:]
		if rest != "" && rest[0] != ':' {
			return "", errors.New("only a port may follow the bracket of an IPv6 address")
		}
		if rest != "" {
			port = rest[1:]
		}
		unescaped, err := url.PathUnescape(text[1:end])
		if err != nil {
			return "", errors.New("what stands in brackets is no IPv6 address")
		}
		if ip, err := netip.ParseAddr(unescaped); err != nil || !ip.Is6() {
			return "", errors.New("what stands in brackets is no IPv6 address")
		}
		host = unescaped
	case strings.Count(text, ":") > 1:
		return "", errors.New("there is more than one colon in the host; write an IPv6 address in brackets, as in redis://[::1]:6379")
	default:
		if before, after, ok := strings.Cut(text, ":"); ok {
			host, port = before, after
		}
		if host == "" {
			return "", errors.New("the host is missing; write redis://host:port")
		}
		if strings.ContainsFunc(host, noHostLetter) {
			return "", errors.New("the host has a letter that no host name has; write redis://host:port")
		}
	}
	// Digits only: ParseUint takes no sign.
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return "", errors.New("the port is no number from 1 to 65535")
	}
	return net.JoinHostPort(strings.ToLower(host), strconv.FormatUint(n, 10)), nil
}

func noHostLetter(r rune) bool {
	return r != '-' && r != '.' && r != '_' &&
		(r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && r < 0x80
}

// database reads the number of a database.
func database(text string) (int, error) {
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return 0, errors.New("the database is no number; write it as in redis://host:port/1")
	}
	return int(n), nil
}
