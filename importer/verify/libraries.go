package verify

import (
	"context"
	"errors"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/importer/target"
	"github.com/slotferry/slotferry/importer/wait"
)

// Load sees whether every master holds a program. A difference is counted and
// said in the log.
func (c *Comparer) Load(ctx context.Context, p record.Program) error {
	name, _, _ := strings.Cut(p.Code, "\n")
	program := zap.String("program", name[:min(len(name), 100)])
	var lacking []string
	v, err := c.patiently(ctx, anyNode, func() (verdict, error) {
		addrs, err := c.opts.Target.Lacking(ctx, p)
		lacking = addrs
		return c.reply(err)
	})
	switch {
	case errors.Is(err, target.ErrDenied):
		c.log.Warn("the target does not say whether it has a function library or script", program, zap.Error(err))
		return nil
	case err != nil:
		return err
	}
	if v.outcome != same {
		c.log.Warn("the target does not say whether it has a function library or script", program, zap.String("reason", v.detail))
	}
	if len(lacking) > 0 {
		c.account.programs.Add(1)
		c.log.Warn("a function library or script is not on every master as it is in the source", program, zap.Strings("lacking", lacking))
	}
	return nil
}

// patiently calls a node until there is an answer, for RetryFor at most.
func (c *Comparer) patiently(ctx context.Context, node string, call func() (verdict, error)) (verdict, error) {
	defer c.pulse.End(c.pulse.Begin(target.Owes(node, "an answer")))
	begun := time.Now()
	for failures := 1; ; failures++ {
		v, err := call()
		switch {
		case ctx.Err() != nil:
			return v, context.Cause(ctx)
		case err == nil, final(err):
			c.pulse.Move(1)
			return v, err
		case time.Since(begun) > c.opts.RetryFor:
			return v, &target.PatienceError{Addr: node, Waited: time.Since(begun), Err: err}
		}
		if err := wait.For(ctx, wait.Backoff(failures)); err != nil {
			return v, err
		}
		c.opts.Target.Refresh(ctx)
	}
}
