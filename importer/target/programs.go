package target

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/slotferry/slotferry/importer/endpoint"
	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/importer/wait"
)

// Functions is what becomes of a function library whose name the target has.
type Functions uint8

// The policies for function libraries.
const (
	ReplaceFunctions Functions = iota // load it over the one that is there
	SkipFunctions                     // leave the one that is there
	FailFunctions                     // stop
)

// ErrProgram means that a master did not take a function library or a script.
var ErrProgram = errors.New("a function library or script could not be loaded")

// Load brings a function library or a Lua script to every master
// (https://redis.io/docs/latest/commands/function-load/). It tries again, like
// a lane, while a master can't be reached.
func (c *Cluster) Load(ctx context.Context, p record.Program) error {
	begun := time.Now()
	for attempt := 1; ; attempt++ {
		err := c.each(ctx, func(client *redis.Client) error { return c.loadOn(ctx, client, p) })
		var reply redis.Error
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, endpoint.ErrAuth):
			return fmt.Errorf("%w: %w", ErrDenied, err)
		case errors.As(err, &reply) && classify([]byte(reply.Error())) != pause:
			if c.opts.SkipUnsupported && unknownCommand(reply) {
				c.log.Warn("the target knows no functions; library left out", zap.String("library", libraryName(p.Code)))
				return nil
			}
			return fmt.Errorf("%w: %s: %w", ErrProgram, libraryName(p.Code), err)
		case time.Since(begun) > c.opts.RetryFor:
			return &PatienceError{Addr: "the target", Waited: time.Since(begun), Err: err}
		}
		c.log.Warn("a master does not take functions now; trying again", zap.Error(err))
		if err := wait.For(ctx, wait.Backoff(attempt)); err != nil {
			return err
		}
		c.refresh(ctx)
	}
}

func (c *Cluster) loadOn(ctx context.Context, client *redis.Client, p record.Program) error {
	if !p.Function {
		return client.ScriptLoad(ctx, p.Code).Err()
	}
	if c.opts.Functions == ReplaceFunctions {
		return client.FunctionLoadReplace(ctx, p.Code).Err()
	}
	err := client.FunctionLoad(ctx, p.Code).Err()
	if err == nil || !strings.Contains(err.Error(), "already exists") {
		return err
	}
	if c.opts.Functions == SkipFunctions {
		return nil
	}
	same, listErr := sameLibrary(ctx, client, p.Code)
	if listErr == nil && same { // this job's own, from before an interruption
		return nil
	}
	return err
}

func sameLibrary(ctx context.Context, client *redis.Client, code string) (bool, error) {
	libs, err := client.FunctionList(ctx, redis.FunctionListQuery{LibraryNamePattern: libraryName(code), WithCode: true}).Result()
	if err != nil {
		return false, err
	}
	for _, l := range libs {
		if l.Code == code {
			return true, nil
		}
	}
	return false, nil
}

func unknownCommand(err error) bool { return strings.HasPrefix(err.Error(), "ERR unknown command") }

// libraryName reads the name from a library's first line, "#!lua name=…".
func libraryName(code string) string {
	line, _, _ := strings.Cut(code, "\n")
	if _, name, ok := strings.Cut(line, "name="); ok && strings.HasPrefix(line, "#!") {
		return strings.TrimSpace(name)
	}
	return "script"
}
