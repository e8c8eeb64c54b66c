package endpoint

import (
	"crypto/tls"
	"strings"
	"testing"

	"github.com/slotferry/slotferry/internal/sandbox"
	"github.com/slotferry/slotferry/internal/sandbox/sandboxtest"
)

// TestDialTLSVersions talks to servers that know one version of TLS only. The
// configuration has no least version of its own.
func TestDialTLSVersions(t *testing.T) {
	t.Setenv("GODEBUG", "tls10default=1")
	pair := sandboxtest.Server(t, sandbox.Options{TLS: true}).TLSConfig().Certificates
	for version, want := range map[uint16]bool{tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			l := tls.NewListener(listen(t), &tls.Config{Certificates: pair, MinVersion: version, MaxVersion: version})
			go func() {
				for {
					conn, err := l.Accept()
					if err != nil {
						return
					}
					_ = conn.(*tls.Conn).Handshake()
					_ = conn.Close()
				}
			}()
			e := Endpoint{Addr: l.Addr().String(), TLS: &tls.Config{InsecureSkipVerify: true}}
			conn, err := e.Dial(t.Context())
			if err == nil {
				_ = conn.Close()
			}
			if (err == nil) != want || err != nil && !strings.Contains(err.Error(), "1.2 is the oldest") {
				t.Errorf("connected: %v, want %v (%v)", err == nil, want, err)
			}
		})
	}
}

// TestClientCertificate talks to a server that lets in only who shows a
// certificate of its authority.
func TestClientCertificate(t *testing.T) {
	for _, protocol := range []string{"TLSv1.2", "TLSv1.3"} {
		t.Run(protocol, func(t *testing.T) {
			server := sandboxtest.Server(t, sandbox.Options{TLS: true, Password: secret})
			for name, value := range map[string]string{"tls-auth-clients": "yes", "tls-protocols": protocol} {
				if err := server.Client().ConfigSet(t.Context(), name, value).Err(); err != nil {
					t.Fatal(err)
				}
			}
			e := Endpoint{Addr: server.Addr, Password: secret, TLS: server.TLSConfig()}
			reachable(t, e)
			e.TLS = e.TLS.Clone()
			e.TLS.Certificates = nil
			client := e.Client()
			defer client.Close()
			_, raw := e.Dial(t.Context())
			for way, err := range map[string]error{"raw": raw, "client": client.Ping(t.Context()).Err()} {
				if err == nil || !strings.Contains(err.Error(), "want a client certificate?") {
					t.Errorf("%s: without a certificate it says %v", way, err)
				}
			}
		})
	}
}
