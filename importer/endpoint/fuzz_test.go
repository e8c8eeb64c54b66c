package endpoint

import (
	"errors"
	"io"
	"net"
	"regexp"
	"strings"
	"testing"
)

var authenticated = regexp.MustCompile(`^\+OK\r?\n`)

// FuzzAuth answers AUTH with any bytes: only OK is a success, what follows the
// answer is left for the caller, and no error shows the password.
func FuzzAuth(f *testing.F) {
	for _, s := range []string{
		"+OK\r\n", "+OK\n", "+OK\r\n+PONG\r\n", "+OKAY\r\n", "-WRONGPASS invalid\r\n", "-NOAUTH\n", "-LOADING wait\r\n", "-ERR max number of clients reached\r\n",
		"", "\n", "+OK", "HTTP/1.1 400 Bad Request\r\n", "\x15\x03\x03\x00\x02", "-" + strings.Repeat("x", maxReply) + "\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, reply []byte) {
		here, there := net.Pipe()
		defer here.Close()
		go func() {
			defer there.Close()
			if _, err := io.ReadFull(there, make([]byte, len("*2\r\n$4\r\nAUTH\r\n$22\r\n")+len(secret)+2)); err == nil {
				_, _ = there.Write(reply)
			}
		}()
		err := Endpoint{Addr: "h:1", Password: secret}.auth(t.Context(), here)
		if ok := authenticated.Match(reply); ok != (err == nil) {
			t.Fatalf("%q: %v", reply, err)
		}
		if err != nil {
			if !strings.Contains(string(reply), secret) && strings.Contains(err.Error(), secret) || len(err.Error()) > 2*maxReply {
				t.Errorf("%q: %v", reply, err)
			}
			if errors.Is(err, ErrAuth) && reply[0] != '-' {
				t.Errorf("%q is taken for a refusal: %v", reply, err)
			}
			return
		}
		rest, err := io.ReadAll(here)
		if want := reply[len(authenticated.Find(reply)):]; err != nil || string(rest) != string(want) {
			t.Errorf("behind %q the caller reads %q, %v", reply, rest, err)
		}
	})
}
