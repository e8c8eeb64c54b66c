package main

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"testing"
)

// echo answers every connection with what it sends.
func echo(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			}()
		}
	}()
	return l.Addr().String()
}

// exchange sends n bytes through a proxy and returns how many came back.
func exchange(t *testing.T, addr string, n int) int {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	sent := bytes.Repeat([]byte("slotferry"), n/9+1)[:n]
	go func() { _, _ = c.Write(sent) }()
	got := make([]byte, n)
	had, _ := io.ReadFull(c, got)
	if !bytes.Equal(got[:had], sent[:had]) {
		t.Errorf("other bytes came back than were sent")
	}
	return had
}

func TestCutter(t *testing.T) {
	const n, limit = 100_000, 50_000
	for name, l := range map[string]limits{"what is sent": {up: limit}, "what is received": {down: limit}} {
		t.Run(name, func(t *testing.T) {
			c, err := newCutter([]string{echo(t)}, l, rand.New(rand.NewPCG(1, 1)))
			if err != nil {
				t.Fatal(err)
			}
			defer c.close()
			addr := c.proxies[0].addr
			if got := exchange(t, addr, n); got != n || c.cuts.Load() != 0 {
				t.Errorf("%d of %d bytes came back, %d cuts, before it was armed", got, n, c.cuts.Load())
			}
			c.armed.Store(true)
			const tries = 10
			for range tries {
				if got := exchange(t, addr, n); got > limit {
					t.Errorf("%d bytes came back, want at most %d", got, limit)
				}
			}
			if c.cuts.Load() != tries {
				t.Errorf("%d cuts, want %d", c.cuts.Load(), tries)
			}
			c.armed.Store(false)
			if got := exchange(t, addr, n); got != n {
				t.Errorf("%d of %d bytes came back when it was not armed any more", got, n)
			}
		})
	}
}

func TestCutterCutsSoOften(t *testing.T) {
	const n = 100_000
	c, err := newCutter([]string{echo(t)}, limits{down: n / 2, cuts: 2}, rand.New(rand.NewPCG(1, 1)))
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	c.armed.Store(true)
	for try := range 4 {
		if got := exchange(t, c.proxies[0].addr, n); (got == n) != (try >= 2) {
			t.Errorf("%d of %d bytes came back at try %d", got, n, try)
		}
	}
}
