package configs

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/slotferry/slotferry/importer/endpoint"
)

// target returns the cluster, with credentials and TLS.
func (v *values) target() Target {
	text := strings.TrimSpace(v.text("target"))
	t, secure, err := parseTarget(text)
	if err != nil {
		if text != "" || !v.unread {
			v.wrong("target", "%v", err)
		}
		return t
	}
	v.credentials("target", &t.Endpoint)
	v.tls("target", secure, &t.Endpoint)
	return t
}

// parseTarget reads a target. secure tells whether it is reached by TLS.
func parseTarget(text string) (t Target, secure bool, err error) {
	switch {
	case text == "":
		return t, false, errors.New("it is missing; name nodes of the cluster: redis://host:port[,host:port…]")
	case !isURL(text):
		return t, false, errors.New("it is no address; write redis://host:port[,host:port…], or rediss:// for TLS")
	}
	a, err := parseAddress(text)
	switch {
	case err != nil:
		return t, false, err
	case a.scheme == "unix":
		return t, false, errors.New("a cluster is not reached by a socket; write redis://host:port")
	case a.query != "":
		return t, false, errors.New("nothing is known after a ? here; write redis://host:port[,host:port…]")
	}
	if number := strings.TrimPrefix(a.path, "/"); number != "" {
		if n, err := database(number); err != nil {
			return t, false, err
		} else if n != 0 {
			return t, false, errors.New("a cluster has database 0 only; leave the database out (--db-map tells keys of several databases apart)")
		}
	}
	for _, host := range a.hosts {
		if !slices.Contains(t.Seeds, host) {
			t.Seeds = append(t.Seeds, host)
		}
	}
	t.Endpoint = endpoint.Endpoint{Network: "tcp", Addr: t.Seeds[0], Username: a.username, Password: a.password}
	t.Text = a.scheme + "://" + strings.Join(t.Seeds, ",")
	return t, a.scheme == "rediss", nil
}

// addressMap returns the map of announced addresses.
func (v *values) addressMap() map[string]string {
	out := map[string]string{}
	for _, p := range v.pairs("address-map") {
		internal, okInternal := mapSide(p.from)
		external, okExternal := mapSide(p.to)
		_, twice := out[internal]
		switch {
		case !okInternal || !okExternal:
			v.wrong("address-map", "%q is not of the form internal=external, each a host or host:port (an IPv6 address with a port in brackets)", p.from+"="+p.to)
		case twice:
			v.wrong("address-map", "%q is mapped twice; keep one", internal)
		default:
			out[internal] = external
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// mapSide brings host or host:port into the form that a cluster's announced
// addresses are compared with.
func mapSide(text string) (string, bool) {
	text = strings.TrimSpace(text)
	if ip, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil {
		return ip.String(), true
	}
	host, port, isPort := text, "", false
	if strings.Contains(text, ":") {
		var err error
		if host, port, err = net.SplitHostPort(text); err != nil {
			return "", false
		}
		isPort = true
	}
	if !isPort {
		return host, host != "" && !strings.ContainsFunc(host, noHostLetter)
	}
	bracketed := host
	if strings.Contains(host, ":") {
		bracketed = "[" + host + "]"
	}
	if _, err := parseHost(bracketed + ":" + port); err != nil {
		return "", false
	}
	return net.JoinHostPort(host, port), true
}
