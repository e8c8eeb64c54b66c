package configs

import (
	"crypto/tls"
	"crypto/x509"

	"github.com/slotferry/slotferry/importer/endpoint"
)

// maxPEMBytes is the largest file of certificates that is read.
const maxPEMBytes = 8 << 20

func tlsSettings(side string) []string {
	return []string{side + "-tls-ca", side + "-tls-cert", side + "-tls-key", side + "-tls-server-name", side + "-tls-insecure"}
}

// isSet tells whether a setting was given and is not empty or false.
func (v *values) isSet(name string) bool {
	if s, _ := settingByKey(key(name)); s.kind == kindBool {
		return v.boolean(name)
	}
	return v.given(name) && v.text(name) != ""
}

// tls sets an endpoint's TLS configuration: secure is what its address says.
func (v *values) tls(side string, secure bool, e *endpoint.Endpoint) {
	ca, cert, certKey, serverName, insecure := side+"-tls-ca", side+"-tls-cert", side+"-tls-key", side+"-tls-server-name", side+"-tls-insecure"
	if !secure {
		for _, name := range tlsSettings(side) {
			if !v.isSet(name) {
				continue
			}
			if e.Network == "unix" {
				v.wrong(name, "a connection by a socket has no TLS; leave it out")
			} else {
				v.wrong(name, "the address of the %s says plain text; write rediss:// instead of redis:// for TLS", side)
			}
		}
		return
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: v.text(serverName)}
	if v.isSet(ca) {
		config.RootCAs = v.authorities(ca)
	}
	switch hasCert, hasKey := v.isSet(cert), v.isSet(certKey); {
	case hasCert && hasKey:
		pair, err := tls.LoadX509KeyPair(v.text(cert), v.text(certKey))
		if err != nil {
			v.wrong(cert, "certificate and private key cannot be used: %v", err)
		}
		config.Certificates = []tls.Certificate{pair}
	case hasCert:
		v.wrong(cert, "it needs --%s as well", certKey)
	case hasKey:
		v.wrong(certKey, "it needs --%s as well", cert)
	}
	if v.boolean(insecure) {
		config.InsecureSkipVerify = true
		v.warn("%s: the certificate of the %s is not checked; whoever is in between can read and change everything, passwords too", v.origins[insecure].where, side)
	}
	e.TLS = config
}

func (v *values) authorities(name string) *x509.CertPool {
	content, err := readLimited(v.text(name), maxPEMBytes)
	if err != nil {
		v.wrong(name, "%v; name a file of certificates in PEM form", err)
		return nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(content) {
		v.wrong(name, "%s holds no certificate in PEM form", v.text(name))
	}
	return pool
}
