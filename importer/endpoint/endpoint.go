// Package endpoint says how one Redis server is reached: address, credentials,
// TLS. It opens raw connections for the hot path and go-redis clients for
// everything else. It never says HELLO on a raw connection, and it never shows
// a password.
package endpoint

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// defaultDialTimeout bounds connecting, TLS handshake and AUTH together.
const defaultDialTimeout = 5 * time.Second

// Endpoint is one server and the way in. Whatever prints it (fmt with any verb,
// log/slog, zap, encoding/json) gets String's text. One thing fmt cannot be
// kept from is a struct that holds an Endpoint in an unexported field: do not
// print such a struct whole.
type Endpoint struct {
	Network string // "tcp" or "unix"; "" is tcp
	Addr    string // host:port, or the path of a socket

	// Username and Password are sent by AUTH. Without a username AUTH has the
	// password alone, which is the default user's; with neither, no AUTH is
	// sent. A username without a password is sent with an empty one, as a user
	// with "nopass" wants it.
	Username, Password string

	// Rotating stands for a password that may change during the run; nil: it is
	// Password all the time.
	Rotating *Rotating

	TLS         *tls.Config   // nil: plain text; never changed
	DialTimeout time.Duration // for the connection, TLS and AUTH together; 5 s
}

// With returns the same way in (credentials, TLS, timeout) to another node at
// host:port.
func (e Endpoint) With(addr string) Endpoint {
	e.Network, e.Addr = "tcp", addr
	return e
}

// String is the endpoint as a URL without any credentials, such as
// redis://127.0.0.1:6379, rediss://cache.example:6380 or unix:///run/redis.sock.
func (e Endpoint) String() string {
	switch {
	case e.Network == "unix":
		return "unix://" + e.Addr
	case e.TLS != nil:
		return "rediss://" + e.Addr
	default:
		return "redis://" + e.Addr
	}
}

// Format prints String's text for every verb: with verbs that are not for
// strings fmt would print the fields.
func (e Endpoint) Format(s fmt.State, verb rune) {
	if verb == 'q' || verb == 'v' && s.Flag('#') {
		fmt.Fprintf(s, "%q", e.String())
		return
	}
	_, _ = io.WriteString(s, e.String()) // fmt.State never fails
}

// MarshalText is String's text, for encoding/json and whatever logs by it.
func (e Endpoint) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

func (e Endpoint) dialTimeout() time.Duration {
	if e.DialTimeout > 0 {
		return e.DialTimeout
	}
	return defaultDialTimeout
}

// config is the TLS configuration for a handshake with this very server. Older
// versions than 1.2 are broken, whatever the environment (GODEBUG) allows.
func (e Endpoint) config() *tls.Config {
	c := e.TLS.Clone()
	c.MinVersion = max(c.MinVersion, tls.VersionTLS12)
	if c.ServerName != "" {
		return c
	}
	if host, _, err := net.SplitHostPort(e.Addr); err == nil {
		c.ServerName = host
	}
	return c
}

// Client returns a go-redis client for this server and database 0, with few
// connections and RESP2. It dials through Dial, so that credentials and errors
// (ErrAuth) are the same; it holds no password itself. Close it.
func (e Endpoint) Client() *redis.Client {
	network := e.Network
	if network == "" {
		network = "tcp"
	}
	return redis.NewClient(&redis.Options{
		Network:               network,
		Addr:                  e.Addr,
		Dialer:                e.dialer(),
		DialTimeout:           e.dialTimeout(),
		DialerRetries:         1, // the caller decides on patience
		Protocol:              2,
		DisableIdentity:       true,
		MaxRetries:            1,
		PoolSize:              4,
		PipelinePoolSize:      -1, // pipelines share the small pool
		ContextTimeoutEnabled: true,
		MaintNotificationsConfig: &maintnotifications.Config{
			Mode: maintnotifications.ModeDisabled,
		},
	})
}
