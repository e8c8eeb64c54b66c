package endpoint

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/slotferry/slotferry/internal/sandbox"
	"github.com/slotferry/slotferry/internal/sandbox/sandboxtest"
	"github.com/slotferry/slotferry/resp"
)

const secret = "s3cr3t \"pässword\" %"

// start starts a server and returns the way in.
func start(t *testing.T, o sandbox.Options) Endpoint {
	t.Helper()
	return Endpoint{Addr: sandboxtest.Server(t, o).Addr, Password: o.Password}
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// answering serves each connection with one fixed reply to whatever comes first.
func answering(t *testing.T, reply string) Endpoint {
	t.Helper()
	l := listen(t)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 1000))
			_, _ = conn.Write([]byte(reply))
			_ = conn.Close()
		}
	}()
	return Endpoint{Addr: l.Addr().String(), Password: secret}
}

// ask sends a command over a fresh raw connection and returns the first line of
// the answer.
func ask(t *testing.T, e Endpoint, words ...string) string {
	t.Helper()
	conn, err := e.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write(resp.AppendCommand(nil, words...)); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimRight(line, "\r\n")
}

// reachable tells that both ways in work.
func reachable(t *testing.T, e Endpoint) {
	t.Helper()
	if got := ask(t, e, "PING"); got != "+PONG" {
		t.Errorf("a raw connection answers %q", got)
	}
	client := e.Client()
	defer client.Close()
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Errorf("a client says %v", err)
	}
}

// refused tells that both ways in give an *AuthError with the server's words
// and without the password.
func refused(t *testing.T, e Endpoint, words string) {
	t.Helper()
	client := e.Client()
	defer client.Close()
	_, raw := e.Dial(t.Context())
	for way, err := range map[string]error{"raw": raw, "client": client.Ping(t.Context()).Err()} {
		var refusal *AuthError
		if !errors.Is(err, ErrAuth) || !errors.As(err, &refusal) {
			t.Errorf("%s: no AuthError: %v", way, err)
			continue
		}
		if !strings.HasPrefix(refusal.Reply, words) || !strings.Contains(err.Error(), words) || !strings.Contains(err.Error(), e.Addr) {
			t.Errorf("%s: error %q does not say %q and where", way, err, words)
		}
		if e.Password != "" && strings.Contains(err.Error(), e.Password) {
			t.Errorf("%s: error %q shows the password", way, err)
		}
	}
}

func TestDialOpen(t *testing.T) {
	e := start(t, sandbox.Options{})
	reachable(t, e)
	t.Run("needless password", func(t *testing.T) {
		e.Password = secret
		refused(t, e, "ERR AUTH <password> called without any password configured")
	})
}

func TestDialPassword(t *testing.T) {
	e := start(t, sandbox.Options{Password: secret})
	addr := e.Addr
	reachable(t, e)
	reachable(t, Endpoint{Addr: addr, Username: "default", Password: secret})
	if got := ask(t, Endpoint{Addr: addr}, "PING"); !strings.HasPrefix(got, "-NOAUTH") {
		t.Errorf("without a password: %q", got)
	}
	refused(t, Endpoint{Addr: addr, Password: "wr0ng"}, "WRONGPASS")
	refused(t, Endpoint{Addr: addr, Username: "nobody", Password: secret}, "WRONGPASS")
}

func TestDialUser(t *testing.T) {
	server := sandboxtest.Server(t, sandbox.Options{})
	for _, user := range [][]any{
		{"ferry", "on", ">" + secret, "~*", "+@all"},
		{"open", "on", "nopass", "~*", "+@all"},
		{"shut", "off", ">" + secret},
		{"default", "resetpass"},
	} {
		if err := server.Client().Do(t.Context(), append([]any{"ACL", "SETUSER"}, user...)...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	ferry := Endpoint{Addr: server.Addr, Username: "ferry", Password: secret}
	reachable(t, ferry)
	if got := ask(t, ferry, "ACL", "WHOAMI"); got != "$5" {
		t.Errorf("ACL WHOAMI answers %q", got)
	}
	reachable(t, Endpoint{Addr: "127.0.0.1:1", Username: "ferry", Password: secret}.With(server.Addr))
	reachable(t, Endpoint{Addr: server.Addr, Username: "open"})
	refused(t, Endpoint{Addr: server.Addr, Username: "ferry"}, "WRONGPASS")
	refused(t, Endpoint{Addr: server.Addr, Username: "shut", Password: secret}, "WRONGPASS")
}

func TestDialTLS(t *testing.T) {
	server := sandboxtest.Server(t, sandbox.Options{TLS: true, Password: secret})
	e := Endpoint{Addr: server.Addr, Password: secret, TLS: server.TLSConfig()}
	reachable(t, e)
	if e.TLS.ServerName != "" {
		t.Error("the caller's configuration was changed")
	}
	// Each changes one thing; says is "" where the way in still works.
	for _, tc := range []struct {
		name   string
		change func(e *Endpoint)
		as     any
		says   string
	}{
		{"server name", func(e *Endpoint) { e.TLS.ServerName = "localhost" }, nil, ""},
		{"another server name", func(e *Endpoint) { e.TLS.ServerName = "redis.example" }, new(x509.HostnameError), "set the server name"},
		{"not verified", func(e *Endpoint) { e.TLS.RootCAs, e.TLS.InsecureSkipVerify = nil, true }, nil, ""},
		{"unknown authority", func(e *Endpoint) { e.TLS.RootCAs = x509.NewCertPool() }, new(x509.UnknownAuthorityError), "certificate authority"},
		{"plain text", func(e *Endpoint) { e.TLS = nil }, nil, "AUTH"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e := e
			e.TLS = e.TLS.Clone()
			tc.change(&e)
			if tc.says == "" {
				reachable(t, e)
				return
			}
			_, err := e.Dial(t.Context())
			if err == nil || errors.Is(err, ErrAuth) || !strings.Contains(err.Error(), tc.says) || !strings.Contains(err.Error(), e.String()) {
				t.Fatalf("error is %v", err)
			}
			if tc.as != nil && !errors.As(err, tc.as) {
				t.Errorf("error wraps no %T: %v", tc.as, err)
			}
		})
	}
}

func TestDialTLSToPlainText(t *testing.T) {
	e := answering(t, "-ERR unknown command\r\n")
	e.TLS = &tls.Config{}
	if _, err := e.Dial(t.Context()); err == nil || !strings.Contains(err.Error(), "does the server speak TLS") {
		t.Errorf("error is %v", err)
	}
}

func TestDialUnix(t *testing.T) {
	server := sandboxtest.Server(t, sandbox.Options{UnixSocket: true, Password: secret})
	e := Endpoint{Network: "unix", Addr: server.Socket, Password: secret}
	reachable(t, e)
	e.Password = "wr0ng"
	refused(t, e, "WRONGPASS")
}

func TestDialNobody(t *testing.T) {
	l := listen(t)
	e := Endpoint{Addr: l.Addr().String(), Password: secret}
	_ = l.Close()
	_, err := e.Dial(t.Context())
	if !errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, ErrAuth) || !strings.Contains(err.Error(), "redis://"+e.Addr) {
		t.Errorf("error is %v", err)
	}
	client := e.Client()
	defer client.Close()
	if err := client.Ping(t.Context()).Err(); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("client's error is %v", err)
	}
}

// silent accepts connections (the kernel does) and never answers.
func silent(t *testing.T) Endpoint {
	return Endpoint{Addr: listen(t).Addr().String(), Password: secret}
}

func TestDialSilent(t *testing.T) {
	for name, config := range map[string]*tls.Config{"AUTH": nil, "TLS handshake": {InsecureSkipVerify: true}} {
		t.Run(name, func(t *testing.T) {
			e := silent(t)
			e.TLS, e.DialTimeout = config, 500*time.Millisecond
			_, err := e.Dial(t.Context())
			if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), name) || strings.Contains(err.Error(), secret) {
				t.Errorf("error is %v", err)
			}

			e.DialTimeout = time.Hour
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(50*time.Millisecond, cancel)
			if _, err := e.Dial(ctx); !errors.Is(err, context.Canceled) {
				t.Errorf("error is %v, want it cancelled", err)
			}
		})
	}
}

func TestDialOddAnswers(t *testing.T) {
	for _, tc := range []struct {
		name, reply string
		is          error // nil: none of ErrAuth and resp.ErrProtocol
		says        string
	}{
		{"too many clients", "-ERR max number of clients reached\r\n", nil, "max number of clients"},
		{"protected mode", "-DENIED Redis is running in protected mode\r\n", ErrAuth, "DENIED"},
		{"before 6.0, no password", "-ERR Client sent AUTH, but no password is set\r\n", ErrAuth, "leave it out"},
		{"before 6.0, username", "-ERR wrong number of arguments for 'auth' command\r\n", ErrAuth, "leave the username out"},
		{"not Redis", "HTTP/1.1 400 Bad Request\r\n\r\n", resp.ErrProtocol, "is this a Redis server"},
		{"endless line", strings.Repeat("x", maxReply), resp.ErrProtocol, "a line of more than"},
		{"closed", "", io.EOF, "does it want TLS?"},
		{"cut", "+OK", io.EOF, "AUTH"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e := answering(t, tc.reply)
			_, err := e.Dial(t.Context())
			if err == nil || !strings.Contains(err.Error(), tc.says) || !strings.Contains(err.Error(), e.Addr) {
				t.Errorf("error %v does not say %q and where", err, tc.says)
			}
			for _, sentinel := range []error{ErrAuth, resp.ErrProtocol, io.EOF} {
				if errors.Is(err, sentinel) != (sentinel == tc.is) {
					t.Errorf("error is %v", err)
				}
			}
		})
	}
}

// What the server sends right behind its answer to AUTH is the caller's, and
// the end of the context given to Dial does not touch the connection.
func TestDialLeavesConnectionClean(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	conn, err := answering(t, "+OK\r\n+more\r\n").Dial(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	cancel()
	if got, err := io.ReadAll(conn); err != nil || string(got) != "+more\r\n" {
		t.Errorf("read %q, %v", got, err)
	}
}

// Without credentials nothing is sent.
func TestDialSaysNothing(t *testing.T) {
	l := listen(t)
	got := make(chan string, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		all, _ := io.ReadAll(conn)
		got <- string(all)
	}()
	conn, err := Endpoint{Addr: l.Addr().(*net.TCPAddr).String()}.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	if said := <-got; said != "" {
		t.Errorf("said %q", said)
	}
}
