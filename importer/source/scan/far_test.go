package scan_test

import (
	"net"
	"sync"
	"testing"
	"time"
)

// far puts a server at a distance: what passes through the address it returns
// arrives half of rtt later, in order, and as much as wants to at once.
func far(t testing.TB, addr string, rtt time.Duration) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	t.Cleanup(func() {
		_ = l.Close()
		running.Wait()
	})
	running.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", addr)
			if err != nil {
				_ = near.Close()
				continue
			}
			running.Go(func() { carry(server, near, rtt/2) })
			running.Go(func() { carry(near, server, rtt/2) })
		}
	})
	return l.Addr().String()
}

type parcel struct {
	due  time.Time
	data []byte
}

// carry takes bytes from one connection to another, each after a delay, and
// closes both at the end.
func carry(to, from net.Conn, delay time.Duration) {
	const parcels = 4096
	way := make(chan parcel, parcels)
	var arrival sync.WaitGroup
	arrival.Go(func() {
		for p := range way {
			time.Sleep(time.Until(p.due))
			if _, err := to.Write(p.data); err != nil {
				_ = from.Close()
			}
		}
		_ = to.Close()
	})
	for {
		b := make([]byte, 64<<10)
		n, err := from.Read(b)
		if n > 0 {
			way <- parcel{time.Now().Add(delay), b[:n]}
		}
		if err != nil {
			break
		}
	}
	close(way)
	arrival.Wait()
	_ = from.Close()
}
