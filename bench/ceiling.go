package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/slotferry/slotferry/resp"
)

const (
	writeBytes = 256 << 10
	sendLimit  = 30 * time.Minute // for all commands of one run
)

// ceiling sends baked commands to all masters at once, over one connection
// each, and returns how long it took until the last reply. Every reply must be
// +OK.
func ceiling(ctx context.Context, all []*baked) (time.Duration, error) {
	g, gctx := errgroup.WithContext(ctx)
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			_ = c.Close()
		}
	}()
	for _, b := range all {
		c, err := dial(ctx, b.addr, targetPassword)
		if err != nil {
			return 0, fmt.Errorf("ceiling: %s: %w", b.addr, err)
		}
		conns = append(conns, c)
	}
	begun := time.Now()
	for i, b := range all {
		c := conns[i]
		defer context.AfterFunc(gctx, func() { _ = c.Close() })()
		g.Go(func() error { return b.send(c) })
		g.Go(func() error { return b.receive(c) })
	}
	err := g.Wait()
	took := time.Since(begun)
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	return took, err
}

// dial connects and authenticates.
func dial(ctx context.Context, addr, password string) (net.Conn, error) {
	c, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	_ = c.SetDeadline(time.Now().Add(sendLimit))
	_, err = c.Write(resp.AppendCommand(nil, "AUTH", password))
	var reply [5]byte
	if err == nil {
		_, err = io.ReadFull(c, reply[:])
	}
	if err == nil && string(reply[:]) != "+OK\r\n" {
		err = fmt.Errorf("the answer to AUTH begins with %q", reply)
	}
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

func (b *baked) send(c net.Conn) error {
	buffer := make([]byte, writeBytes)
	in := io.NewSectionReader(b.file, 0, b.bytes)
	for {
		n, err := io.ReadFull(in, buffer)
		if n > 0 {
			if _, err := c.Write(buffer[:n]); err != nil {
				return fmt.Errorf("ceiling: sending to %s: %w", b.addr, err)
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("ceiling: reading what was baked: %w", err)
		}
	}
}

func (b *baked) receive(c net.Conn) error {
	r := resp.NewReader(c, writeBytes, nil)
	for left := b.commands; left > 0; {
		left -= r.SkipOK(left)
		if left == 0 {
			break
		}
		h, err := r.Head()
		if err != nil {
			return fmt.Errorf("ceiling: %s: %w", b.addr, err)
		}
		if h.Kind != '+' || string(h.Line) != "OK" {
			return fmt.Errorf("ceiling: %s answered %c%s to command %d", b.addr, h.Kind, h.Line, b.commands-left+1)
		}
		left--
	}
	return nil
}
