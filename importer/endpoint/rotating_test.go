package endpoint

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/slotferry/slotferry/internal/sandbox"
	"github.com/slotferry/slotferry/internal/sandbox/sandboxtest"
)

// TestRotating changes a password on a server and where it is kept, one after
// the other, in both orders.
func TestRotating(t *testing.T) {
	server := sandboxtest.Server(t, sandbox.Options{})
	rules := func(rules ...any) {
		t.Helper()
		if err := server.Client().Do(t.Context(), append([]any{"ACL", "SETUSER", "ferry"}, rules...)...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	rules("on", ">old", "~*", "+@all")
	kept, fails := "old", error(nil)
	fresh := func() Endpoint {
		return Endpoint{Addr: "127.0.0.1:1", Username: "ferry", Password: "never used",
			Rotating: NewRotating("old", func() (string, error) { return kept, fails })}.With(server.Addr)
	}
	e := fresh()
	reachable(t, e)

	rules("<old", ">new")
	refused(t, fresh(), "WRONGPASS") // which never worked: not a matter of patience
	client := e.Client()
	defer client.Close()
	_, raw := e.Dial(t.Context())
	for way, err := range map[string]error{"raw": raw, "client": client.Ping(t.Context()).Err()} {
		if err == nil || errors.Is(err, ErrAuth) || !strings.Contains(err.Error(), "WRONGPASS") || !strings.Contains(err.Error(), server.Addr) {
			t.Errorf("%s: in between it says %v", way, err)
		}
	}
	kept = "new"
	reachable(t, e)

	// What can't be read, or is nothing, is a file in the middle of its change.
	for _, fault := range []error{nil, errors.New("no such file")} {
		kept, fails = "", fault
		reachable(t, e)
	}
	kept, fails = "newest", nil
	if _, err := e.Dial(t.Context()); err == nil || errors.Is(err, ErrAuth) {
		t.Errorf("with a password that the server does not have yet: %v", err)
	}
	rules(">newest")
	reachable(t, e)
}

func TestRotatingIsNeverPrinted(t *testing.T) {
	r := NewRotating("marker", func() (string, error) { return "marker", nil })
	e := Endpoint{Addr: "h:1", Rotating: r}
	for _, v := range []any{r, e, &e, []any{r}, struct{ R *Rotating }{r}, struct{ e Endpoint }{e}} {
		text, err := json.Marshal(v)
		if printed := fmt.Sprintf("%v %+v %#v %s", v, v, v, text); err != nil || strings.Contains(printed, "marker") {
			t.Errorf("it is shown: %s (%v)", printed, err)
		}
	}
}
