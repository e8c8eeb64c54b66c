package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"

	"github.com/slotferry/slotferry/internal/sandbox"
)

// sight is what was done to one key.
type sight struct {
	restored int  // number of RESTOREs, refused ones too
	written  bool // by another command than RESTORE, or renamed to this name
}

// watch sees every command that a cluster's masters carry out: how a value came
// over is not left to the tool's own word.
// (https://redis.io/docs/latest/commands/monitor/)
type watch struct {
	nodes   []*sandbox.Server
	conns   []net.Conn
	readers sync.WaitGroup

	mu    sync.Mutex
	seen  map[string]*sight
	ended error
	marks chan struct{} // one for each master's own mark, or its end
	n     int           // of the mark
}

const markPrefix = "slotferry-matrix-mark-"

func startWatch(ctx context.Context, nodes []*sandbox.Server) (*watch, error) {
	w := &watch{nodes: nodes, seen: map[string]*sight{}, marks: make(chan struct{}, 2*len(nodes))}
	for _, n := range nodes {
		if err := w.add(ctx, n.Addr); err != nil {
			w.stop()
			return nil, fmt.Errorf("watching %s: %w", n.Addr, err)
		}
	}
	return w, nil
}

// add watches one master from the moment that it has agreed.
func (w *watch) add(ctx context.Context, addr string) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	w.conns = append(w.conns, conn)
	if _, err := io.WriteString(conn, "MONITOR\r\n"); err != nil {
		return err
	}
	r := bufio.NewReaderSize(conn, 1<<20)
	answer, err := r.ReadString('\n')
	if err == nil && answer != "+OK\r\n" {
		err = fmt.Errorf("MONITOR was answered %q", answer)
	}
	if err != nil {
		return err
	}
	w.readers.Go(func() { w.read(addr, r) })
	return nil
}

func (w *watch) stop() {
	for _, c := range w.conns {
		_ = c.Close()
	}
	w.readers.Wait()
}

func (w *watch) read(addr string, r *bufio.Reader) {
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			w.mu.Lock()
			w.ended = fmt.Errorf("watching %s: %w", addr, err)
			w.mu.Unlock()
			w.marks <- struct{}{}
			return
		}
		words := parseMonitor(line)
		w.mu.Lock()
		mark := len(words) == 2 && words[1] == markPrefix+strconv.Itoa(w.n)
		if !mark {
			w.note(words)
		}
		w.mu.Unlock()
		if mark {
			w.marks <- struct{}{}
		}
	}
}

// headWords is how many words of a command count here. Those behind them may
// hold anything, and Valkey 8.1 does not escape quotes.
const headWords = 3

// parseMonitor reads the first words of a command from a line of MONITOR:
// +1339518083.107412 [0 127.0.0.1:60866] "get" "key\x00"
func parseMonitor(line string) (words []string) {
	_, rest, _ := strings.Cut(line, "] ")
	for len(words) < headWords {
		quoted, err := strconv.QuotedPrefix(rest)
		if err != nil || quoted[0] != '"' {
			break
		}
		word, err := strconv.Unquote(quoted)
		if err != nil {
			break
		}
		words = append(words, word)
		rest = strings.TrimPrefix(rest[len(quoted):], " ")
	}
	return words
}

// writes are the commands that put something into a key, which is their second
// word.
var writes = map[string]bool{
	"SET": true, "APPEND": true, "SETRANGE": true, "RPUSH": true, "LPUSH": true, "SADD": true, "ZADD": true,
	"HSET": true, "HMSET": true, "HSETEX": true, "XADD": true, "VADD": true,
}

// note keeps what a command does to keys.
func (w *watch) note(words []string) {
	if len(words) < 2 {
		return
	}
	of := func(key string) *sight {
		if w.seen[key] == nil {
			w.seen[key] = &sight{}
		}
		return w.seen[key]
	}
	switch name := strings.ToUpper(words[0]); {
	case name == "RESTORE":
		of(words[1]).restored++
	case (name == "RENAME" || name == "RENAMENX") && len(words) > 2:
		of(words[2]).written = true
	case name == "XGROUP" && len(words) > 2:
		of(words[2]).written = true
	case writes[name]:
		of(words[1]).written = true
	}
}

// take returns what was seen since the last call, after all masters have shown
// that they have nothing more to tell.
func (w *watch) take(ctx context.Context) (map[string]*sight, error) {
	w.mu.Lock()
	w.n++
	mark := markPrefix + strconv.Itoa(w.n)
	w.mu.Unlock()
	for _, n := range w.nodes {
		if err := n.Client().Echo(ctx, mark).Err(); err != nil {
			return nil, err
		}
	}
	for range w.nodes {
		select {
		case <-w.marks:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended != nil {
		return nil, w.ended
	}
	seen := w.seen
	w.seen = map[string]*sight{}
	return seen, nil
}
