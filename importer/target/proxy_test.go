package target

import (
	"io"
	"net"
	"sync"
	"testing"
)

// proxy passes connections on to a node, and cuts them after as many bytes in
// each direction as limits says for each new one; a negative number is no limit.
// It returns its address.
func proxy(t *testing.T, node string, limits func() (up, down int64)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	keep := func(c net.Conn) {
		mu.Lock()
		defer mu.Unlock()
		open[c] = true
	}
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for c := range open {
			_ = c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	serve := func(near net.Conn) {
		far, err := net.Dial("tcp", node)
		if err != nil {
			_ = near.Close()
			return
		}
		keep(near)
		keep(far)
		up, down := limits()
		pass := func(to, from net.Conn, limit int64) {
			if limit < 0 {
				limit = 1 << 60
			}
			_, _ = io.CopyN(to, from, limit)
			_ = to.Close()
			_ = from.Close()
		}
		wg.Go(func() { pass(far, near, up) })
		wg.Go(func() { pass(near, far, down) })
	}
	wg.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			serve(near)
		}
	})
	return l.Addr().String()
}
