package endpoint

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/slotferry/slotferry/resp"
)

// maxReply is the longest reply to AUTH that is read, in bytes.
const maxReply = 4 << 10

// ErrAuth means that the server refused the credentials; trying again with the
// same ones is of no use. The error is then an *AuthError.
var ErrAuth = errors.New("credentials refused")

// AuthError is a server's refusal of AUTH.
type AuthError struct {
	Server string // Endpoint.String
	Reply  string // the server's words, without the leading "-"
}

func (e *AuthError) Error() string {
	return fmt.Sprintf("authenticating at %s: %s: %s", e.Server, e.Reply, e.advice())
}

// Is makes errors.Is(err, ErrAuth) true.
func (e *AuthError) Is(target error) bool { return target == ErrAuth }

func (e *AuthError) advice() string {
	switch {
	case strings.HasPrefix(e.Reply, "ERR AUTH <password> called without"),
		strings.HasPrefix(e.Reply, "ERR Client sent AUTH, but no password is set"):
		return "the server wants no password: leave it out"
	case strings.HasPrefix(e.Reply, "ERR wrong number of arguments"):
		return "a server older than 6.0 knows no usernames: leave the username out"
	case strings.HasPrefix(e.Reply, "DENIED"):
		return "the server takes connections from its own machine only"
	default:
		return "check username and password"
	}
}

// Dial connects, makes the TLS handshake and authenticates, all within ctx and
// DialTimeout. Nothing else is sent: no HELLO, no CLIENT SETINFO, and without
// credentials nothing at all, so that a server which wants some says NOAUTH to
// the first command only. A refusal is an *AuthError; other errors wrap the
// network's or the context's own. With a Rotating password a refusal by a
// server that has taken one before is such another error: it will pass.
func (e Endpoint) Dial(ctx context.Context) (net.Conn, error) {
	conn, err := e.dial(ctx)
	if err == nil {
		return conn, nil
	}
	if errors.Is(err, ErrAuth) {
		return nil, err
	}
	if ctx.Err() != nil {
		// The network's own words for it ("i/o timeout") hide who stopped.
		err = context.Cause(ctx)
	}
	return nil, fmt.Errorf("connecting to %s: %w", e, err)
}

func (e Endpoint) dial(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, e.dialTimeout())
	defer cancel()
	network := e.Network
	if network == "" {
		network = "tcp"
	}
	conn, err := new(net.Dialer).DialContext(ctx, network, e.Addr)
	if err != nil {
		return nil, err
	}
	if e.TLS != nil {
		secure := tls.Client(conn, e.config())
		if err := secure.HandshakeContext(ctx); err != nil {
			_ = conn.Close()
			return nil, fmt.Errorf("TLS handshake: %w%s", err, e.tlsAdvice(err))
		}
		conn = secure
	}
	if err := e.auth(ctx, conn); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

// auth sends AUTH if there are credentials and reads the reply.
func (e Endpoint) auth(ctx context.Context, conn net.Conn) error {
	if e.Rotating != nil {
		e.Password = e.Rotating.now()
	}
	if e.Username == "" && e.Password == "" {
		return nil
	}
	words := []string{"AUTH", e.Username, e.Password}
	if e.Username == "" {
		words = []string{"AUTH", e.Password}
	}
	// A deadline in the past wakes whatever waits on the connection.
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()

	if _, err := conn.Write(resp.AppendCommand(nil, words...)); err != nil {
		return e.authFailed(ctx, err)
	}
	line, err := readLine(conn)
	if err != nil {
		return e.authFailed(ctx, err)
	}
	if !stop() {
		return e.authFailed(ctx, context.Cause(ctx))
	}
	switch {
	case line == "+OK":
		if e.Rotating != nil {
			e.Rotating.taken(e.Addr)
		}
		return nil
	case wrongPassword(line) && e.Rotating != nil && e.Rotating.between(e.Addr):
		return fmt.Errorf("AUTH: %s: this server has taken the password before; waiting until the password file has the new one", line[1:])
	case strings.HasPrefix(line, "-") && transient(line[1:]):
		return fmt.Errorf("AUTH: %s", line[1:])
	case strings.HasPrefix(line, "-"):
		return &AuthError{Server: e.String(), Reply: line[1:]}
	default:
		return fmt.Errorf("AUTH: %w: is this a Redis server, and does it speak plain text or TLS?", resp.ErrProtocol)
	}
}

// authFailed explains an error of the connection during AUTH.
func (e Endpoint) authFailed(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("no answer to AUTH: %w", context.Cause(ctx))
	case errors.Is(err, io.EOF) && e.TLS == nil && e.Network != "unix":
		return fmt.Errorf("AUTH: the server closed the connection (does it want TLS?): %w", err)
	case e.TLS != nil: // with TLS 1.3 the server looks at certificates after the handshake
		return fmt.Errorf("AUTH: %w%s", err, e.tlsAdvice(err))
	default:
		return fmt.Errorf("AUTH: %w", err)
	}
}

// wrongPassword tells whether a reply refuses the password; the second form is
// that of servers before 6.0.
func wrongPassword(reply string) bool {
	return strings.HasPrefix(reply, "-WRONGPASS") || strings.HasPrefix(reply, "-ERR invalid password")
}

// transient tells whether an error reply is about the server's state and not
// about the credentials.
func transient(reply string) bool {
	for _, p := range []string{"ERR max number of clients", "LOADING", "BUSY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN"} {
		if strings.HasPrefix(reply, p) {
			return true
		}
	}
	return false
}

// readLine reads up to the line end and not a byte more: what follows is the
// caller's.
func readLine(r io.Reader) (string, error) {
	line := make([]byte, 0, 128)
	var b [1]byte
	for len(line) < maxReply {
		if _, err := io.ReadFull(r, b[:]); err != nil {
			return "", err
		}
		if b[0] == '\n' {
			return strings.TrimSuffix(string(line), "\r"), nil
		}
		line = append(line, b[0])
	}
	return "", fmt.Errorf("%w: a line of more than %d bytes", resp.ErrProtocol, maxReply)
}

func (e Endpoint) tlsAdvice(err error) string {
	var (
		remote    *net.OpError
		header    tls.RecordHeaderError
		authority x509.UnknownAuthorityError
		hostname  x509.HostnameError
	)
	switch {
	case errors.As(err, &header):
		return " (does the server speak TLS on this port? plain text is redis://)"
	case errors.As(err, &authority):
		return " (name the certificate authority of the server)"
	case errors.As(err, &hostname):
		return " (set the server name that its certificate bears)"
	case strings.Contains(err.Error(), "protocol version"):
		return " (TLS 1.2 is the oldest that is spoken here)"
	case len(e.TLS.Certificates) == 0 && (errors.As(err, &remote) || errors.Is(err, io.EOF)):
		return " (does the server want a client certificate? none is given)"
	}
	return ""
}

// dialer is Dial in the form of go-redis.
func (e Endpoint) dialer() func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, _, _ string) (net.Conn, error) { return e.Dial(ctx) }
}
