package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"
)

// echo answers every connection with what it sends, and then ends it.
func echo(t *testing.T) string {
	t.Helper()
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

func proxied(t *testing.T, to string, delay time.Duration) *net.TCPConn {
	t.Helper()
	p, err := startProxy(to, delay)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	c, err := net.Dial("tcp", p.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c.(*net.TCPConn)
}

// patience ends a test that hangs.
const patience = 30 * time.Second

// Bytes arrive whole and in order, also those after which the sender says no
// more; and many of them are on their way at a time: held back one chunk after
// the other, the last case would take longer than patience lasts.
func TestProxyPassesAll(t *testing.T) {
	for _, delay := range []time.Duration{0, time.Millisecond, 20 * time.Millisecond, 400 * time.Millisecond} {
		t.Run(delay.String(), func(t *testing.T) {
			c := proxied(t, echo(t), delay)
			sent := make([]byte, 16<<20)
			r := rand.New(rand.NewPCG(1, 2))
			for i := range sent {
				sent[i] = byte(r.Uint32())
			}
			go func() {
				for rest := sent; len(rest) > 0; {
					n := min(len(rest), 1+r.IntN(200_000))
					if _, err := c.Write(rest[:n]); err != nil {
						return
					}
					rest = rest[n:]
				}
				_ = c.CloseWrite()
			}()
			got, err := io.ReadAll(c)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, sent) {
				t.Errorf("%d bytes came back, not the same %d that were sent", len(got), len(sent))
			}
		})
	}
}

// A reply can't be earlier than its delay, however busy the machine is.
func TestProxyDelays(t *testing.T) {
	const delay = 20 * time.Millisecond
	c := proxied(t, echo(t), delay)
	for range 3 {
		begun := time.Now()
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begun); took < delay {
			t.Errorf("the answer came after %s, before %s", took, delay)
		}
	}
}

// Close ends what runs and takes no more.
func TestProxyCloseCuts(t *testing.T) {
	p, err := startProxy(echo(t), 0)
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", p.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	p.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	var late net.Error
	if n, err := c.Read(make([]byte, 1)); err == nil || errors.As(err, &late) && late.Timeout() {
		t.Errorf("after Close came %d bytes, %v", n, err)
	}
	if c, err := net.Dial("tcp", p.addr); err == nil {
		_ = c.Close()
		t.Error("a closed proxy takes connections")
	}
}

// A client whose server can't be reached is told so by the end of its connection.
func TestProxyToNobody(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := l.Addr().String()
	_ = l.Close()
	c := proxied(t, nobody, 0)
	if n, err := c.Read(make([]byte, 1)); err == nil {
		t.Errorf("%d bytes came from nobody", n)
	}
}

func TestRoundTrip(t *testing.T) {
	p, err := startProxy(echo(t), time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	if took, err := roundTrip(context.Background(), p.addr); err != nil || took < time.Millisecond {
		t.Errorf("roundTrip = %s, %v, want at least 1 ms", took, err)
	}
}
