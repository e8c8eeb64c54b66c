package web

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// guard decides who may look and who may change something.
//
// Beyond loopback a token is needed for both. On loopback everybody on the
// machine may look; but pages of other sites, opened in a browser there, may
// not: a page whose own name was made to lead here is told by that name in the
// Host header, any other gets no answer that it could read. To change something
// takes the token, or, where there is none, a request that no page of another
// site can make.
type guard struct {
	token    *[sha256.Size]byte // nil: none is set
	loopback bool
	failures *failures
	origin   *http.CrossOriginProtection
}

func newGuard(token string, loopback bool) *guard {
	g := &guard{loopback: loopback, failures: newFailures(), origin: http.NewCrossOriginProtection()}
	if token != "" {
		sum := sha256.Sum256([]byte(token))
		g.token = &sum
	}
	return g
}

// Limits of a request.
const (
	maxBody   = 4 << 10 // bytes; no request needs one
	maxHeader = 16 << 10
	maxURL    = 2 << 10
)

// The page has no part from elsewhere and no script or style in itself.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'none'; base-uri 'none'; frame-ancestors 'none'"

// answerFor is how long an answer may take to be taken.
const answerFor = 30 * time.Second

// protect wraps every answer.
func (g *guard) protect(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		// Not every writer has deadlines: one of a test has none.
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(answerFor))
		if len(r.RequestURI) > maxURL {
			refuse(w, http.StatusRequestURITooLong, "too_long", "the address is too long")
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		next.ServeHTTP(w, r)
	})
}

// refusal is why a request is not answered.
type refusal struct {
	status  int
	code    string
	message string
}

// look lets those in who may look.
func (g *guard) look(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if no := g.mayLook(r); no != nil {
			no.write(w)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// act lets those in who may change something.
func (g *guard) act(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if no := g.mayAct(r); no != nil {
			no.write(w)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (g *guard) mayLook(r *http.Request) *refusal {
	if !g.loopback || r.Header.Get("Authorization") != "" && g.token != nil {
		return g.checkToken(r)
	}
	return g.checkHost(r)
}

func (g *guard) mayAct(r *http.Request) *refusal {
	if g.token != nil {
		// A page of another site doesn't know it.
		return g.checkToken(r)
	}
	if no := g.checkHost(r); no != nil {
		return no
	}
	if err := g.origin.Check(r); err != nil {
		return &refusal{http.StatusForbidden, "other_site", "the request comes from a page of another site"}
	}
	// Browsers send this to another site only after asking there first.
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return &refusal{http.StatusUnsupportedMediaType, "not_json", "send the header Content-Type: application/json"}
	}
	return nil
}

func (g *guard) checkToken(r *http.Request) *refusal {
	sent := r.Header.Get("Authorization")
	if sent == "" {
		return &refusal{http.StatusUnauthorized, "no_token", "send the header Authorization: Bearer TOKEN"}
	}
	who := client(r)
	if !g.failures.mayTry(who) {
		return &refusal{http.StatusTooManyRequests, "too_many_tokens", "too many wrong tokens came from your address; wait a minute"}
	}
	scheme, token, _ := strings.Cut(sent, " ")
	sum := sha256.Sum256([]byte(strings.TrimSpace(token)))
	if !strings.EqualFold(scheme, "Bearer") || subtle.ConstantTimeCompare(sum[:], g.token[:]) != 1 {
		g.failures.add(who)
		return &refusal{http.StatusUnauthorized, "wrong_token", "the token is wrong"}
	}
	return nil
}

// checkHost wants a name of this machine that no name server can give.
func (g *guard) checkHost(r *http.Request) *refusal {
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if ip, err := netip.ParseAddr(host); err == nil && ip.Unmap().IsLoopback() || strings.EqualFold(host, "localhost") {
		return nil
	}
	message := fmt.Sprintf("the service is asked for as %q, which is no name of this machine; use localhost or 127.0.0.1", host)
	if g.token != nil {
		message += ", or send the token"
	}
	return &refusal{http.StatusForbidden, "other_host", message}
}

// client is who sends: an IPv4 address, or the network of an IPv6 one, as one
// subscriber has all of that.
func client(r *http.Request) netip.Prefix {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Prefix{}
	}
	ip, bits := at.Addr().Unmap().WithZone(""), 64
	if ip.Is4() {
		bits = 32
	}
	p, err := ip.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

func (no *refusal) write(w http.ResponseWriter) {
	switch no.status {
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", `Bearer realm="slotferry"`)
	case http.StatusTooManyRequests:
		w.Header().Set("Retry-After", strconv.Itoa(int(retryAfter.Seconds())))
	}
	refuse(w, no.status, no.code, no.message)
}
