package configs

import (
	"os"
	"runtime"
	"strconv"
	"testing"
)

// TestRotating tells that a password is read again where that is possible. A
// pipe, as of <(command) in a shell, gives it once.
func TestRotating(t *testing.T) {
	for _, args := range [][]string{{}, {"--source=redis://:x@h"}} {
		if c := mustLoad(t, args...); c.Source.Endpoint.Rotating != nil || c.Target.Endpoint.Rotating != nil {
			t.Errorf("%q: without a file there is nothing to read again", args)
		}
	}
	file := write(t, "password", "x\n")
	if c := mustLoad(t, "--target-password-file="+file); c.Target.Endpoint.Rotating == nil || c.Source.Endpoint.Rotating != nil {
		t.Error("the target's file is not read again, or the source's is")
	}
	if runtime.GOOS == "windows" {
		return
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := w.WriteString("piped\n"); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	c := mustLoad(t, "--target-password-file=/dev/fd/"+strconv.Itoa(int(r.Fd())))
	if e := c.Target.Endpoint; e.Password != "piped" || e.Rotating != nil {
		t.Errorf("password %q, read again: %v", e.Password, e.Rotating != nil)
	}
}
