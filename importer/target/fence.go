package target

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/slotferry/slotferry/checkpoint"
	"github.com/slotferry/slotferry/importer/record"
)

// Fence has every write to a node ask held first, and fail with its error.
// checkpoint.ErrLost ends the job; others are setbacks like a lost connection.
// It is called before Run.
func (c *Cluster) Fence(held func() error) { c.held = held }

// dial connects to a node for what may write there.
func (c *Cluster) dial(ctx context.Context, addr string) (net.Conn, error) {
	conn, err := c.node(addr).Dial(ctx)
	if err != nil || c.held == nil {
		return conn, err
	}
	return &fenced{conn, c.held}, nil
}

// fenced is a connection of a job that may lose its lock to another run while
// it is stopped. What it was about to write then may be older than what the
// other has written.
type fenced struct {
	net.Conn
	held func() error
}

func (f *fenced) Write(p []byte) (int, error) {
	err := f.held()
	switch {
	case errors.Is(err, checkpoint.ErrLost):
		return 0, fmt.Errorf("%w: %w", record.ErrPatience, err)
	case err != nil:
		return 0, err
	}
	return f.Conn.Write(p)
}
