package aof

import (
	"context"
	"errors"

	"github.com/slotferry/slotferry/importer/preflight"
)

// choosing is what Survey decided.
type choosing struct {
	plan
	start int64
}

// Survey looks at every command once and chooses the way.
func (s *Source) Survey(ctx context.Context, facts *preflight.Source) (found preflight.Findings) {
	return found
}

func (s *Source) decide(ctx context.Context) error { return errors.ErrUnsupported }

// reopen opens the RDB that the scratch server wrote in an earlier run.
func (s *Source) reopen(ctx context.Context, p plan) error { return errors.ErrUnsupported }

// Discard removes what was made for the job in WorkDir; its end is the time for
// it.
func (s *Source) Discard() error { return nil }
