package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

const (
	chunkBytes = 64 << 10
	inFlight   = 1024 // chunks on their way, each direction of a connection
)

// chunk is what one read gave, and when the other side may see it.
type chunk struct {
	due  time.Time
	n    int
	data [chunkBytes]byte
}

var chunks = sync.Pool{New: func() any { return new(chunk) }}

// proxy passes connections on to one address. It holds every byte back for half
// of its delay, both ways, and lets as many follow meanwhile as a fast line of
// that length holds: latency without a limit of bandwidth.
type proxy struct {
	addr, to string
	delay    time.Duration
	listener net.Listener
	running  sync.WaitGroup

	mu     sync.Mutex
	closed bool
	conns  map[net.Conn]bool
}

// startProxy listens on a free port until Close.
func startProxy(to string, delay time.Duration) (*proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("starting a proxy: %w", err)
	}
	p := &proxy{addr: l.Addr().String(), to: to, delay: delay, listener: l, conns: map[net.Conn]bool{}}
	p.running.Go(p.accept)
	return p, nil
}

// Close cuts all connections and waits until they are gone.
func (p *proxy) Close() {
	p.mu.Lock()
	p.closed = true
	_ = p.listener.Close()
	for c := range p.conns {
		_ = c.Close()
	}
	p.mu.Unlock()
	p.running.Wait()
}

func (p *proxy) accept() {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.running.Go(func() { p.serve(c) })
	}
}

// keep remembers a connection for Close; false if that has been.
func (p *proxy) keep(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns[c] = true
	return !p.closed
}

func (p *proxy) end(c net.Conn) {
	_ = c.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

func (p *proxy) serve(near net.Conn) {
	defer p.end(near)
	if !p.keep(near) {
		return
	}
	far, err := net.DialTimeout("tcp", p.to, 5*time.Second)
	if err != nil {
		return
	}
	defer p.end(far)
	if !p.keep(far) {
		return
	}
	// The system has shaken hands already, without delay: one round trip.
	if p.delay > 0 {
		time.Sleep(p.delay)
	}
	var both sync.WaitGroup
	both.Go(func() { pass(far, near, p.delay/2) })
	both.Go(func() { pass(near, far, p.delay/2) })
	both.Wait()
}

// pass carries one direction until its end, and ends it on the other side.
func pass(to, from net.Conn, delay time.Duration) {
	queue := make(chan *chunk, inFlight)
	var reader sync.WaitGroup
	defer reader.Wait()
	reader.Go(func() {
		defer close(queue)
		for {
			c := chunks.Get().(*chunk)
			n, err := from.Read(c.data[:])
			if n > 0 {
				c.n, c.due = n, time.Now().Add(delay)
				queue <- c // deliver takes all, also when it can't write
			}
			if err != nil {
				return
			}
		}
	})
	if err := deliver(to, queue, delay); err != nil {
		_ = from.Close()
	}
	if half, ok := to.(*net.TCPConn); ok {
		_ = half.CloseWrite()
	}
}

// deliver writes each chunk when it is due. After an error it only empties the
// queue.
func deliver(to net.Conn, queue <-chan *chunk, delay time.Duration) (err error) {
	clock := &alarm{}
	defer clock.Close()
	for c := range queue {
		if delay > 0 && err == nil {
			err = clock.Wait(time.Until(c.due))
		}
		if err == nil {
			_, err = to.Write(c.data[:c.n])
		}
		chunks.Put(c)
	}
	return err
}

// proxies stand before some addresses.
type proxies []*proxy

func startProxies(to []string, delay time.Duration) (proxies, error) {
	var all proxies
	for _, addr := range to {
		p, err := startProxy(addr, delay)
		if err != nil {
			all.Close()
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

func (all proxies) Close() {
	for _, p := range all {
		p.Close()
	}
}

func (all proxies) addrs() []string {
	addrs := make([]string, len(all))
	for i, p := range all {
		addrs[i] = p.addr
	}
	return addrs
}

// roundTrip measures how long a server takes to answer the shortest question,
// which it does whoever asks: the median of several.
func roundTrip(ctx context.Context, addr string) (time.Duration, error) {
	c, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return 0, err
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	const asked = 21
	reply := make([]byte, 512)
	var took []time.Duration
	for range asked {
		begun := time.Now()
		_, err := c.Write([]byte("PING\r\n"))
		n := 0
		for err == nil && (n == 0 || reply[n-1] != '\n') {
			if n == len(reply) {
				return 0, errors.New("the answer to PING has no end")
			}
			var more int
			more, err = c.Read(reply[n:])
			n += more
		}
		if err != nil {
			return 0, fmt.Errorf("asking %s: %w", addr, err)
		}
		took = append(took, time.Since(begun))
	}
	return median(took), nil
}
