package tail

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/slotferry/slotferry/importer/effect"
	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/importer/target"
	"github.com/slotferry/slotferry/importer/wait"
)

// empty does what a command asks for that empties or swaps databases.
func (a *Applier) empty(c *record.Command, e *effect.Effect) error {
	c1 := a.opts.Choice
	ours := func(db int) bool { return c1.DB(db) && a.database(db) == nil }
	db := e.DB
	if e.Kind == effect.Flush && db != effect.AllDBs {
		db = c.DB
	}
	if db != effect.AllDBs && !ours(db) && !(e.Kind == effect.Swap && ours(e.DB2)) {
		a.count.filtered.Add(1)
		return nil
	}
	if a.opts.OnFlush != Apply {
		return fmt.Errorf("%w: it ran %s; decide what becomes of the target: copy again, or let it be emptied as well (--on-flush apply)", ErrFlush, e.Name)
	}
	if e.Kind == effect.Swap {
		return fmt.Errorf("%w: the source ran SWAPDB %d %d", ErrResync, e.DB, e.DB2)
	}
	if !a.opts.Alone || db != effect.AllDBs && c1.Renames() {
		return fmt.Errorf("%w: the source ran %s, and the target holds more than what that emptied", ErrResync, e.Name)
	}
	return a.flush(e.Name)
}

// flush empties the target. A run that goes on from before it finds no marks,
// applies what led up to it once more, and comes here again.
func (a *Applier) flush(name string) error {
	if a.tx.open {
		a.tx.torn = true
	}
	if a.group >= 0 { // what came before it in its transaction has to be in
		a.group = len(a.staged)
	}
	a.publish()
	if err := a.quiet(a.ctx, func() bool { return a.unanswered == 0 }); err != nil {
		return err
	}
	a.log.Warn("the source was emptied, and so is the target", zap.String("command", name))
	err := a.everywhere(func(ctx context.Context, client *redis.Client) error { return client.FlushAll(ctx).Err() })
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range a.slots {
		s := &a.slots[i]
		s.known, s.past, s.unsure, s.wipe, s.serial, s.blocks, s.before = false, false, false, false, 0, 0, 0
		a.base[i] = 0
	}
	clear(a.stale)
	clear(a.ahead)
	a.aheadOf, a.highest = nil, 0
	return a.markPending()
}

// markPending notes once more which keys are still to be read. The caller holds
// mu.
func (a *Applier) markPending() error {
	order := a.order
	a.mu.Unlock()
	defer a.mu.Lock()
	for _, w := range order {
		if _, err := a.note(w, unread); err != nil {
			return err
		}
	}
	return nil
}

// everywhere does something on every master, again and again where it fails
// until RetryFor has passed.
func (a *Applier) everywhere(do func(context.Context, *redis.Client) error) error {
	done := map[string]bool{}
	for begun, attempt := time.Now(), 1; ; attempt++ {
		var failed error
		for _, m := range a.opts.Cluster.Table().Masters() {
			if done[m.Addr] {
				continue
			}
			err := do(a.ctx, a.opts.Cluster.Node(m.Addr))
			var reply redis.Error
			switch {
			case err == nil:
				done[m.Addr] = true
			case errors.As(err, &reply) && !target.Passing([]byte(reply.Error())):
				return fmt.Errorf("%s: %w", m.Addr, err)
			default:
				failed = fmt.Errorf("%s: %w", m.Addr, err)
			}
		}
		switch {
		case failed == nil:
			return nil
		case a.ctx.Err() != nil:
			return context.Cause(a.ctx)
		case time.Since(begun) > a.opts.RetryFor:
			return &target.PatienceError{Addr: "the target", Waited: time.Since(begun), Err: failed}
		}
		if err := wait.For(a.ctx, wait.Backoff(attempt)); err != nil {
			return err
		}
		a.opts.Cluster.Refresh(a.ctx)
	}
}

// program brings a change of functions or scripts to every master.
func (a *Applier) program(c *record.Command, e *effect.Effect) error {
	function, verb := e.Name == "FUNCTION", strings.ToUpper(string(c.Words[1]))
	if verb == "LOAD" {
		return a.opts.Cluster.Load(a.ctx, record.Program{Function: function, Code: string(c.Words[len(c.Words)-1])})
	}
	if function && a.opts.Functions != target.ReplaceFunctions {
		a.log.Info("the source changed its functions, and the target keeps those that it has", zap.String("command", e.Name+" "+verb))
		return nil
	}
	args := make([]any, len(c.Words))
	for i, w := range c.Words {
		args[i] = w
	}
	return a.everywhere(func(ctx context.Context, client *redis.Client) error {
		err := client.Do(ctx, args...).Err()
		if err != nil && verb == "DELETE" && strings.Contains(err.Error(), "not found") {
			return nil // it is what was wanted
		}
		return err
	})
}
