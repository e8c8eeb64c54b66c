package configs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

func TestPasswordPrecedence(t *testing.T) {
	secret := write(t, "password", "from file\n")
	inURL := "--source=redis://u:from-url@h"
	bare := "--source=redis://h"
	config := write(t, "c.yaml", "source_username: cu\nsource_password: from config\n")
	both := []string{"SLOTFERRY_SOURCE_USERNAME=eu", "SLOTFERRY_SOURCE_PASSWORD=from env"}
	for _, tc := range []struct {
		name               string
		env                []string
		args               []string
		username, password string
	}{
		{"none", nil, []string{bare}, "", ""},
		{"config file", nil, []string{bare, "--config=" + config}, "cu", "from config"},
		{"env beats config file", both, []string{bare, "--config=" + config}, "eu", "from env"},
		{"address beats env", both, []string{inURL}, "u", "from-url"},
		{"password file beats address", both, []string{inURL, "--source-password-file=" + secret}, "u", "from file"},
		{"typed beats address", both, []string{inURL, "--source-askpass"}, "u", "typed"},
		{"stronger way beats weaker", []string{"SLOTFERRY_SOURCE_PASSWORD_FILE=" + secret}, []string{bare, "--source-askpass"}, "", "typed"},
		{"weaker way loses", []string{"SLOTFERRY_SOURCE_ASKPASS=true"}, []string{bare, "--source-password-file=" + secret}, "", "from file"},
		{"not asked after all", []string{"SLOTFERRY_SOURCE_ASKPASS=true"}, []string{bare, "--source-askpass=false"}, "", ""},
		{"username of address, password of env", both[1:], []string{"--source=redis://u@h"}, "u", "from env"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			fs := pflag.NewFlagSet("import", pflag.ContinueOnError)
			Flags(fs, ImportCommand)
			if err := fs.Parse(append(tc.args, anyTarget)); err != nil {
				t.Fatal(err)
			}
			c, err := LoadImport(fs, Environment{
				Lookup: func(name string) (string, bool) {
					for _, v := range tc.env {
						if value, ok := strings.CutPrefix(v, name+"="); ok {
							return value, true
						}
					}
					return "", false
				},
				Prompt: func(question string) (string, error) {
					if question != "Password of the source redis://h:6379: " {
						t.Errorf("asked %q", question)
					}
					return "typed", nil
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			if e := c.Source.Endpoint; e.Username != tc.username || e.Password != tc.password {
				t.Errorf("credentials are %q, %q", e.Username, e.Password)
			}
			if e := c.Target.Endpoint; e.Username != "" || e.Password != "" {
				t.Errorf("target's credentials are %q, %q", e.Username, e.Password)
			}
		})
	}
}

func TestPasswordFile(t *testing.T) {
	for content, want := range map[string]string{"x": "x", "x\n": "x", "x\r\n": "x", " x y \n\n": " x y \n"} {
		c := mustLoad(t, "--target-password-file="+write(t, "password", content))
		if got := c.Target.Endpoint.Password; got != want {
			t.Errorf("%q gives %q, want %q", content, got, want)
		}
		if len(c.Warnings) > 0 {
			t.Errorf("warnings are %q", c.Warnings)
		}
	}
	for _, tc := range []struct{ path, says string }{
		{"MARKER-no-such-file", "no such file"},
		{"-", "not read from standard input"},
		{write(t, "empty", "\n"), "is empty"},
		{write(t, "long", strings.Repeat("x", maxPasswordBytes+1)), "more than"},
		{t.TempDir(), "cannot be read"},
	} {
		_, err := load(t, nil, anySource, anyTarget, "--target-password-file="+tc.path)
		wantOneError(t, err, "--target-password-file", tc.says)
		if strings.Contains(err.Error(), "MARKER") {
			t.Errorf("error shows the argument: %v", err)
		}
	}
	_, err := load(t, nil, anySource, anyTarget, "--target-password-file=x", "--target-askpass")
	wantOneError(t, err, "--target-askpass", "keep one")
}

func TestAskpassFails(t *testing.T) {
	_, err := load(t, nil, anySource, anyTarget, "--source-askpass")
	wantOneError(t, err, "--source-askpass", "nobody is there; use --source-password-file or SLOTFERRY_SOURCE_PASSWORD")
	// Nobody is asked when something else is wrong.
	_, err = load(t, nil, anySource, anyTarget, "--source-askpass", "--memory=1")
	wantOneError(t, err, "--memory", "at least")
}

func TestAskWithoutTerminal(t *testing.T) {
	if tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0); err == nil {
		_ = tty.Close()
		t.Skip("there is a terminal, which would be asked")
	}
	if _, err := askTerminal("?"); !errors.Is(err, errNoTerminal) {
		t.Errorf("error is %v", err)
	}
}

func TestWarnings(t *testing.T) {
	open := func(name, content string) string {
		path := write(t, name, content)
		if err := os.Chmod(path, 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	password := open("password", "MARKER")
	withPassword := open("with.yaml", "source_password: MARKER\n")
	withAddress := open("address.yaml", "source: redis://:MARKER@h\n")
	harmless := open("harmless.yaml", "source_password_file: "+write(t, "own", "MARKER"))
	for _, tc := range []struct {
		name string
		env  []string
		args []string
		want []string
	}{
		{"address as a flag", nil, []string{"--source=redis://:MARKER@h"}, []string{"(ps)"}},
		{"address in the environment", []string{"SLOTFERRY_SOURCE=redis://:MARKER@h"}, nil, []string{"SLOTFERRY_SOURCE: the address holds a password"}},
		{"readable password file", nil, []string{"--source=redis://h", "--source-password-file=" + password}, []string{"chmod 600"}},
		{"password in a readable file", nil, []string{"--source=redis://h", "--config=" + withPassword}, []string{"source_password is in it"}},
		{"address in a readable file", nil, []string{"--config=" + withAddress}, []string{"better use", "the address of the source in it"}},
		{"readable file without secrets", nil, []string{"--source=redis://h", "--config=" + harmless}, nil},
		{"password in the environment", []string{"SLOTFERRY_SOURCE_PASSWORD=MARKER"}, []string{"--source=redis://h"}, nil},
		{"insecure", nil, []string{"--source=rediss://h", "--source-tls-insecure"}, []string{"is not checked"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, err := load(t, tc.env, append(tc.args, anyTarget)...)
			if err != nil {
				t.Fatal(err)
			}
			all := strings.Join(c.Warnings, "\n")
			if strings.Contains(all, "MARKER") || strings.Contains(fmt.Sprintf("%+v %#v", c, *c), "MARKER") {
				t.Error("the password shows")
			}
			if runtime.GOOS == "windows" && strings.Contains(tc.name, "readable") {
				return
			}
			if len(c.Warnings) != len(tc.want) {
				t.Fatalf("warnings are\n%s", all)
			}
			for i, w := range tc.want {
				if !strings.Contains(c.Warnings[i], w) {
					t.Errorf("warning %q does not say %q", c.Warnings[i], w)
				}
			}
		})
	}
}

// keyPair writes a self-signed certificate and its key.
func keyPair(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	certDER, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return write(t, "cert.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certDER}))),
		write(t, "key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})))
}

func TestTLS(t *testing.T) {
	cert, key := keyPair(t)
	secure := "--target=rediss://h:7000"
	c, err := load(t, nil, anySource, secure, "--target-tls-ca="+cert, "--target-tls-cert="+cert, "--target-tls-key="+key, "--target-tls-server-name=n")
	if err != nil {
		t.Fatal(err)
	}
	config := c.Target.Endpoint.TLS
	if config == nil || config.RootCAs == nil || len(config.Certificates) != 1 || config.ServerName != "n" || config.InsecureSkipVerify {
		t.Errorf("TLS is %+v", config)
	}
	if c.Source.Endpoint.TLS != nil {
		t.Error("the source has TLS")
	}
	for _, tc := range []struct {
		args        []string
		where, says string
	}{
		{[]string{anyTarget, "--target-tls-ca=" + cert}, "--target-tls-ca", "write rediss:// instead of redis://"},
		{[]string{anyTarget, "--target-tls-insecure"}, "--target-tls-insecure", "write rediss:// instead of redis://"},
		{[]string{secure, "--target-tls-cert=" + cert}, "--target-tls-cert", "needs --target-tls-key"},
		{[]string{secure, "--target-tls-key=" + key}, "--target-tls-key", "needs --target-tls-cert"},
		{[]string{secure, "--target-tls-cert=" + key, "--target-tls-key=" + cert}, "--target-tls-cert", "cannot be used"},
		{[]string{secure, "--target-tls-ca=" + key}, "--target-tls-ca", "no certificate in PEM form"},
		{[]string{secure, "--target-tls-ca=" + filepath.Join(t.TempDir(), "x")}, "--target-tls-ca", "no such file"},
		{[]string{secure, "--source=unix:///s", "--source-tls-ca=" + cert}, "--source-tls-ca", "has no TLS"},
	} {
		_, err := load(t, nil, append([]string{anySource}, tc.args...)...)
		wantOneError(t, err, tc.where, tc.says)
	}
}
