// Package tail applies the commands that follow a full copy to a Redis Cluster,
// each exactly once. Commands of one slot go as they are, many in a transaction
// with a mark of the same slot that says how far that slot is; keys that a
// command of several slots touched are read again from the source. It reads no
// stream itself, and what cannot be done exactly it refuses.
package tail

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/slotferry/slotferry/importer/choice"
	"github.com/slotferry/slotferry/importer/record"
	"github.com/slotferry/slotferry/importer/target"
)

// Options is what an Applier works with. Zero fields take the defaults noted.
type Options struct {
	Cluster *target.Cluster // inspected; it runs, for values that are read again
	Choice  *choice.Choice  // names, and which keys travel; types are not asked for
	Job     string          // names the marks

	// Reread yields keys of one database as they stand in the source, each once and
	// in order, with the place in the stream of the very instant at which it was
	// read (scan.Source.At). nil: there is no live source, and keys of commands that
	// can't be split fail.
	Reread func(ctx context.Context, db int, keys [][]byte, each func(i int, serial int64, r *record.Record) error) error
	// Learn says where the keys of a command stand that no table knows, such as a
	// module's; nil: nobody knows.
	Learn func(ctx context.Context, name string) (first, last, step int, ok bool)
	// Database says with an error that keys of a database can't go under the names
	// that they would have; nil: any can.
	Database func(db int) error
	// OnFlush is what FLUSHALL, FLUSHDB and SWAPDB of the source do: Stop, or Apply
	// as far as it can be told what that means for the target.
	OnFlush OnFlush
	// Alone says that the target holds nothing but what this job wrote.
	Alone bool
	// Functions is what becomes of the source's FUNCTION DELETE and FLUSH: they are
	// only followed with ReplaceFunctions.
	Functions target.Functions

	Memory       int64                // bytes of commands on their way; 32 MiB
	RetryFor     time.Duration        // without a good answer for a slot or from a node; 5 min
	ReplyTimeout time.Duration        // without a byte moving on a connection that owes answers; 20 s
	Lag          func() time.Duration // how far the stream is behind the source; nil: not at all
	Log          *zap.Logger          // none
}

// OnFlush is a policy for commands that empty or swap databases.
type OnFlush string

// The policies.
const (
	Stop  OnFlush = "stop" // the default
	Apply OnFlush = "apply"
)

func (o *Options) setDefaults() {
	if o.OnFlush == "" {
		o.OnFlush = Stop
	}
	if o.Memory == 0 {
		o.Memory = 32 << 20
	}
	if o.RetryFor == 0 {
		o.RetryFor = 5 * time.Minute
	}
	if o.ReplyTimeout == 0 {
		o.ReplyTimeout = 20 * time.Second
	}
	if o.Database == nil {
		o.Database = func(int) error { return nil }
	}
	if o.Lag == nil {
		o.Lag = func() time.Duration { return 0 }
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
}
