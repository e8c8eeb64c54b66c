package web

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/slotferry/slotferry/service"
)

// served starts a server and returns its address, and what ends it.
func served(t *testing.T, o ServeOptions) (addr string, end func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	at, ended := make(chan net.Addr, 1), make(chan error, 1)
	o.Listening = func(a net.Addr) { at <- a }
	go func() { ended <- Serve(ctx, o) }()
	t.Cleanup(cancel)
	select {
	case a := <-at:
		return a.String(), func() error {
			cancel()
			return <-ended
		}
	case err := <-ended:
		t.Fatal(err)
		return "", nil
	}
}

func TestServe(t *testing.T) {
	svc := running(t, job("nightly", newRunner()))
	addr, end := served(t, ServeOptions{Options: Options{Service: svc}, Listen: "127.0.0.1:0"})
	// A stream doesn't keep the server from ending.
	stream, err := http.Get("http://" + addr + "/api/v1/events")
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Body.Close()

	err = Serve(t.Context(), ServeOptions{Options: Options{Service: svc}, Listen: addr})
	if err == nil || !strings.Contains(err.Error(), "in use") || !strings.Contains(err.Error(), addr) {
		t.Errorf("a port that is in use: %v", err)
	}
	if err := end(); err != nil {
		t.Error(err)
	}
	if !strings.Contains(body(t, stream), "event: jobs") {
		t.Error("the stream had no event")
	}
	if _, err := http.Get("http://" + addr + "/healthz"); err == nil {
		t.Error("it still listens")
	}
}

func TestServeRefuses(t *testing.T) {
	svc := running(t)
	for _, c := range []struct {
		name string
		o    ServeOptions
		want string
	}{
		{"everybody", ServeOptions{Listen: "0.0.0.0:0"}, "needs a token"},
		{"no address", ServeOptions{Listen: "127.0.0.1"}, "missing port"},
		{"half a pair", ServeOptions{Listen: "127.0.0.1:0", TLSCert: "a"}, "both"},
		{"no such files", ServeOptions{Listen: "127.0.0.1:0", TLSCert: "a", TLSKey: "b"}, "certificate"},
	} {
		c.o.Service = svc
		if err := Serve(t.Context(), c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// TestServeTLS renews the certificate while the server runs.
func TestServeTLS(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert"), filepath.Join(dir, "key")
	first := writePair(t, cert, key, 1)
	addr, end := served(t, ServeOptions{Options: Options{Service: running(t)}, Listen: "127.0.0.1:0", TLSCert: cert, TLSKey: key})
	get := func(trusted *x509.CertPool) (*http.Response, error) {
		c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted}, DisableKeepAlives: true}}
		return c.Get("https://" + addr + "/healthz")
	}
	serial := func(trusted *x509.CertPool) int64 {
		t.Helper()
		r, err := get(trusted)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		return r.TLS.PeerCertificates[0].SerialNumber.Int64()
	}
	if got := serial(first); got != 1 {
		t.Errorf("certificate %d", got)
	}
	// While only one of both is new, the old pair is good.
	second := writePair(t, cert, filepath.Join(dir, "new key"), 2)
	if got := serial(first); got != 1 {
		t.Errorf("certificate %d, of half a pair", got)
	}
	if err := os.Rename(filepath.Join(dir, "new key"), key); err != nil {
		t.Fatal(err)
	}
	if got := serial(second); got != 2 {
		t.Errorf("certificate %d after it was renewed", got)
	}
	if err := end(); err != nil {
		t.Error(err)
	}
}

// writePair writes a certificate for 127.0.0.1 that signs itself.
func writePair(t *testing.T, cert, key string, serial int64) *x509.CertPool {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	about := &x509.Certificate{
		SerialNumber: big.NewInt(serial), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, about, about, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	// Written anew, the file may have the time of the old one; its serial says
	// which of the two was written later.
	when := time.Now().Add(time.Duration(serial) * time.Second)
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := errors.Join(os.WriteFile(path, pem.EncodeToMemory(block), 0o600), os.Chtimes(path, when, when)); err != nil {
			t.Fatal(err)
		}
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return pool
}

func TestProbes(t *testing.T) {
	still, err := service.New(service.Options{History: brokenHistory{}})
	if err != nil {
		t.Fatal(err)
	}
	well := running(t)
	for _, c := range []struct {
		name    string
		svc     *service.Service
		healthz int
		readyz  int
	}{{"well", well, 200, 200}, {"not running", still, 200, 503}} {
		s := newSite(t, Options{Service: c.svc, Token: secret})
		if got := ask(s, "GET", "/healthz").StatusCode; got != c.healthz {
			t.Errorf("%s: alive %d", c.name, got)
		}
		if got := ask(s, "GET", "/readyz").StatusCode; got != c.readyz {
			t.Errorf("%s: ready %d", c.name, got)
		}
	}
}

func TestPprof(t *testing.T) {
	svc := running(t)
	for _, c := range []struct {
		name string
		o    Options
		want int
	}{
		{"not asked for", Options{Loopback: true}, 404},
		{"asked for", Options{Loopback: true, Pprof: true}, 200},
		{"beyond loopback", Options{Token: secret, Pprof: true}, 404},
	} {
		c.o.Service = svc
		s := newSite(t, c.o)
		for _, path := range []string{"", "heap", "cmdline"} {
			if got := ask(s, "GET", "/debug/pprof/"+path, "Authorization", "Bearer "+secret).StatusCode; got != c.want {
				t.Errorf("%s: /debug/pprof/%s %d, want %d", c.name, path, got, c.want)
			}
		}
	}
	s := newSite(t, Options{Service: svc, Loopback: true, Pprof: true})
	if got := ask(s, "GET", "/debug/pprof/", "Host", "evil.example").StatusCode; got != 403 {
		t.Errorf("under another name: %d", got)
	}
}
