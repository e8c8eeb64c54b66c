package sandbox

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// Ports are drawn from 11000-20999, so that a cluster bus port (10000 above)
// stays below the ephemeral ports of common systems (from 32768) and never
// meets another server's port.
const (
	firstPort = 11000
	ports     = 10000
	busOffset = 10000
)

var taken = struct {
	sync.Mutex
	ports map[int]bool
}{ports: map[int]bool{}}

// reservePort draws a port that is free now, with its bus port. Another process
// may still be quicker: the caller tries again when its server can't bind.
func reservePort() (int, error) {
	for range 200 {
		port := firstPort + rand.IntN(ports)
		if claimPort(port) {
			if listens(port) && listens(port+busOffset) {
				return port, nil
			}
			releasePort(port)
		}
	}
	return 0, errors.New("no free loopback port between 11000 and 20999")
}

func claimPort(port int) bool {
	taken.Lock()
	defer taken.Unlock()
	if taken.ports[port] {
		return false
	}
	taken.ports[port] = true
	return true
}

func releasePort(port int) {
	taken.Lock()
	defer taken.Unlock()
	delete(taken.ports, port)
}

func listens(port int) bool {
	l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return false
	}
	return l.Close() == nil
}
