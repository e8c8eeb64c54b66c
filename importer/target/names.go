package target

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/slotferry/slotferry/importer/wait"
)

// namesAsked is how many names a master is asked for at a time.
const namesAsked = 10_000

// Names visits the names of all keys that the masters hold, some twice maybe:
// it begins anew when slots move or a master is restarted meanwhile. It gives up
// when a master gives no good answer for RetryFor.
func (c *Cluster) Names(ctx context.Context, visit func(name []byte) error) error {
	for begun, attempt := time.Now(), 1; ; attempt++ {
		division := c.Table().Division()
		lives, _ := c.Lives(ctx)
		failed, err := c.visitNames(ctx, visit)
		if err != nil {
			return err
		}
		now, _ := c.Lives(ctx) // which reads the topology again
		if failed == nil && len(now) > 0 && maps.Equal(lives, now) && c.Table().Division() == division {
			return nil
		}
		if waited := time.Since(begun); waited > c.opts.RetryFor {
			if failed == nil {
				failed = fmt.Errorf("masters keep restarting or changing their slots")
			}
			return &PatienceError{Addr: "the target", Waited: waited, Err: failed}
		}
		if err := wait.For(ctx, wait.Backoff(attempt)); err != nil {
			return err
		}
	}
}

// visitNames goes through all masters once. failed is what a master did not answer,
// err what visit returned or why the context ended.
func (c *Cluster) visitNames(ctx context.Context, visit func(name []byte) error) (failed, err error) {
	table := c.Table()
	counts := table.Counts()
	for i, m := range table.Masters() {
		if counts[i] == 0 {
			continue
		}
		for cursor := uint64(0); ; {
			page, next, err := c.Node(m.Addr).Scan(ctx, cursor, "", namesAsked).Result()
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", m.Addr, err), nil
			}
			for _, name := range page {
				if err := visit([]byte(name)); err != nil {
					return nil, err
				}
			}
			if cursor = next; cursor == 0 {
				break
			}
		}
	}
	return nil, nil
}
