package main

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// limits are the most bytes after which a connection is cut, by what the tool
// sends or receives; 0: that direction does not count.
type limits struct {
	up, down int64
	cuts     int64 // at most; 0: any number
}

// cutter stands before some addresses and cuts connections while it is armed.
type cutter struct {
	limits  limits
	proxies []*proxy
	armed   atomic.Bool
	cuts    atomic.Int64

	mu sync.Mutex
	r  *rand.Rand
}

func newCutter(to []string, l limits, r *rand.Rand) (*cutter, error) {
	// Connections come and go as they like: they draw from choices of their own.
	c := &cutter{limits: l, r: rand.New(rand.NewPCG(r.Uint64(), 0))}
	for _, addr := range to {
		p, err := c.listen(addr)
		if err != nil {
			c.close()
			return nil, err
		}
		c.proxies = append(c.proxies, p)
	}
	return c, nil
}

func (c *cutter) close() {
	for _, p := range c.proxies {
		p.close()
	}
}

// draw returns after how many bytes to cut, from 1 on, and whether the other
// side is to see a reset or an orderly end.
func (c *cutter) draw(limit int64) (after int64, reset bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return 1 + c.r.Int64N(limit), c.r.IntN(2) == 0
}

// proxy passes connections on to one address.
type proxy struct {
	addr, to string
	cutter   *cutter
	listener net.Listener
	running  sync.WaitGroup

	mu     sync.Mutex
	closed bool
	conns  map[net.Conn]bool
}

func (c *cutter) listen(to string) (*proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("starting a proxy: %w", err)
	}
	p := &proxy{addr: l.Addr().String(), to: to, cutter: c, listener: l, conns: map[net.Conn]bool{}}
	p.running.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			p.running.Go(func() { p.serve(near) })
		}
	})
	return p, nil
}

// close cuts all connections and waits until they are gone.
func (p *proxy) close() {
	p.mu.Lock()
	p.closed = true
	_ = p.listener.Close()
	for c := range p.conns {
		_ = c.Close()
	}
	p.mu.Unlock()
	p.running.Wait()
}

// keep remembers a connection for close; false if that has been.
func (p *proxy) keep(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns[c] = true
	return !p.closed
}

func (p *proxy) drop(c net.Conn) {
	_ = c.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

func (p *proxy) serve(near net.Conn) {
	defer p.drop(near)
	if !p.keep(near) {
		return
	}
	far, err := net.DialTimeout("tcp", p.to, 5*time.Second)
	if err != nil {
		return
	}
	defer p.drop(far)
	if !p.keep(far) {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { p.pass(far, near, p.cutter.limits.up) })
	both.Go(func() { p.pass(near, far, p.cutter.limits.down) })
	both.Wait()
}

// pass carries one direction until its end, or until it is cut.
func (p *proxy) pass(to, from net.Conn, limit int64) {
	defer func() { // one end is the end of both
		_ = to.Close()
		_ = from.Close()
	}()
	buf := make([]byte, 16<<10)
	left, reset := int64(-1), false
	for {
		n, err := from.Read(buf)
		if limit > 0 && left < 0 && p.cutter.armed.Load() {
			left, reset = p.cutter.draw(limit)
		}
		cut := left >= 0 && int64(n) > left
		if cut && p.cutter.limits.cuts > 0 && p.cutter.cuts.Load() >= p.cutter.limits.cuts {
			cut, left, limit = false, -1, 0
		}
		if cut {
			n = int(left)
		}
		if _, writeErr := to.Write(buf[:n]); writeErr != nil || err != nil {
			return
		}
		if cut {
			p.cutter.cuts.Add(1)
			for _, c := range []net.Conn{to, from} {
				if tcp, ok := c.(*net.TCPConn); ok && reset {
					_ = tcp.SetLinger(0)
				}
			}
			return
		}
		if left >= 0 {
			left -= int64(n)
		}
	}
}
