package tail

import (
	"context"

	"github.com/slotferry/slotferry/checkpoint"
	"github.com/slotferry/slotferry/importer/pulse"
	"github.com/slotferry/slotferry/importer/record"
)

// Applier applies commands to a cluster. Begin, Command, Later, Idle, Drain,
// Clear and Finish are one goroutine's; everything else may be called from any.
type Applier struct {
	opts  Options
	count counters
}

// New returns an Applier that has not begun.
func New(o Options) *Applier {
	o.setDefaults()
	return &Applier{opts: o}
}

// Run works the connections until Finish was called and all is answered, or
// until it has to give up. An Applier whose Run has ended is done with.
func (a *Applier) Run(ctx context.Context) error { return nil }

// Begin reads the marks, or with fresh removes them, and says from where the
// commands come. It goes before everything else but Run.
func (a *Applier) Begin(ctx context.Context, from record.Position, fresh bool) error { return nil }

// Command takes the next command. It waits while Memory is used up.
func (a *Applier) Command(c *record.Command) error { return nil }

// Idle lets nothing wait for more.
func (a *Applier) Idle() error { return nil }

// Later has a key read again from the source.
func (a *Applier) Later(db int, key []byte) error { return nil }

// Drain waits until all keys are read again that have to be, and everything is
// answered.
func (a *Applier) Drain(ctx context.Context) error { return nil }

// Safe returns the position below which everything is answered.
func (a *Applier) Safe() record.Position { return record.Position{} }

// Failures returns the keys that are not as in the source, by name.
func (a *Applier) Failures() []checkpoint.Failure { return nil }

// Clear removes all marks.
func (a *Applier) Clear(ctx context.Context) error { return nil }

// Finish says that there are no more commands.
func (a *Applier) Finish() {}

// Waits returns whom the Applier waits for.
func (a *Applier) Waits() []pulse.Wait { return nil }

// Behind returns the bytes of commands that were taken and are not answered.
func (a *Applier) Behind() int64 { return 0 }
