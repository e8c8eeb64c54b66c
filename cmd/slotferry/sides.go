package main

import (
	"cmp"
	"context"
	"errors"
	"io"
	"time"

	"go.uber.org/zap"

	"github.com/slotferry/slotferry/checkpoint"
	"github.com/slotferry/slotferry/configs"
	"github.com/slotferry/slotferry/importer"
	"github.com/slotferry/slotferry/importer/choice"
	"github.com/slotferry/slotferry/importer/pulse"
	"github.com/slotferry/slotferry/importer/source/rdb"
	"github.com/slotferry/slotferry/importer/source/scan"
	"github.com/slotferry/slotferry/importer/target"
)

// budgetShare is the part of --memory for records on their way. More would only
// let queues grow: what is on its way to a master is far less.
func budgetShare(memory int64) int64 { return memory * 5 / 32 }

// largeShare is the part of --memory for them while large values of a live
// source are among them, and so for the largest.
func largeShare(memory int64) int64 { return memory * 5 / 8 }

// streamShare is the part of --memory for the longest value of a stream, which
// takes half as much again while it is gathered.
func streamShare(memory int64) int64 { return memory / 2 }

// targetOptions says how the cluster of a command is reached.
func targetOptions(c *configs.Common, log *zap.Logger) target.Options {
	o := target.Options{
		Seeds: c.Target.Seeds, Endpoint: c.Target.Endpoint, AddressMap: c.AddressMap,
		RetryFor: c.RetryFor, Log: log, Memory: budgetShare(c.Memory), MaxCommand: c.MaxCommand,
	}
	// A node that is silent for RetryFor has had its time, if that is not too
	// short for a slow command.
	o.ReplyTimeout = min(20*time.Second, max(c.RetryFor, 5*time.Second))
	if c.Source.Kind == configs.KindRedis {
		o.LargeMemory = largeShare(c.Memory)
	}
	if c.RetryFor == 0 { // not at all, which Options has no zero for
		o.RetryFor = time.Nanosecond
	}
	return o
}

// withPolicy adds what an import does when.
func withPolicy(o target.Options, p configs.Policy) target.Options {
	o.Skip, o.SkipUnsupported, o.FailFast = p.OnExists == string(importer.Skip), p.OnUnsupported == "skip", p.FailFast
	o.Functions = functionsOf(p)
	return o
}

func functionsOf(p configs.Policy) target.Functions {
	return map[string]target.Functions{
		"replace": target.ReplaceFunctions, "skip": target.SkipFunctions, "fail": target.FailFunctions,
	}[p.Functions]
}

// reading is a source as the commands use it.
type reading struct {
	importer.Source
	names func(ctx context.Context, visit func(db int, key []byte) error) error
	live  *scan.Source // nil for a file
	close func()
	done  func() // of a job that has ended well: what it kept for its next run may go; nil: nothing
}

// Pulse tells whether the source moves.
func (r reading) Pulse() *pulse.Pulse {
	if s, ok := r.Source.(interface{ Pulse() *pulse.Pulse }); ok {
		return s.Pulse()
	}
	return &pulse.Pulse{}
}

// use is what a source is read for.
type use struct {
	measure bool   // a plan
	replays bool   // commands can be taken, too
	filled  bool   // the target may hold keys
	work    string // folder of an append-only file's work; "": a temporary one
	longest int64  // value of a live source in bytes, if not that of an import
	room    func(ctx context.Context, bytes int64) error
	stdin   io.Reader
	log     *zap.Logger
}

// newSource makes the source that the configuration names, to be read whole.
func newSource(c *configs.Common, keys *choice.Choice, u use) reading {
	switch c.Source.Kind {
	case configs.KindRedis:
		s := newScan(c, keys, u)
		return reading{Source: s, names: s.Names, live: s, close: func() { _ = s.Close() }}
	case configs.KindAOF:
		return newFiles(c, keys, u)
	}
	o := rdb.Options{Path: c.Source.Path, Choice: keys, Measure: u.measure, Log: u.log}
	if c.Source.Kind == configs.KindStdin {
		o.Stream, o.MaxValue, o.Room = u.stdin, longestValue(c), u.room
	}
	s := rdb.New(o)
	return reading{Source: s, names: s.Names, close: func() { _ = s.Close() }}
}

// newScan is a live source as SCAN reads it.
func newScan(c *configs.Common, keys *choice.Choice, u use) *scan.Source {
	return scan.New(scan.Options{
		Endpoint: c.Source.Endpoint, Choice: keys, Count: c.ScanCount, MaxValue: cmp.Or(u.longest, longestValue(c)), Measure: u.measure,
		MaxLatency: c.MaxLatency, Room: u.room, RetryFor: max(c.RetryFor, time.Nanosecond), Log: u.log,
	})
}

// longestValue is how long a value of this source may be in an import, in bytes;
// 0 for any length.
func longestValue(c *configs.Common) int64 {
	switch c.Source.Kind {
	case configs.KindRedis:
		return largeShare(c.Memory)
	case configs.KindStdin:
		return streamShare(c.Memory)
	}
	return 0
}

// lease is that of checkpoints in the target; tests have no time for it.
var lease = checkpoint.Lease

// openStore returns how the checkpoint is opened, nil for none.
func openStore(c configs.Resume, cluster *target.Cluster) func(context.Context) (importer.Store, error) {
	switch c.Checkpoint {
	case "none":
		return nil
	case "target":
		return func(ctx context.Context) (importer.Store, error) {
			client := cluster.Client()
			store, err := checkpoint.OpenClusterFor(ctx, client, c.Job, lease)
			if err != nil {
				return nil, errors.Join(err, client.Close())
			}
			return store, nil
		}
	}
	return func(context.Context) (importer.Store, error) { return checkpoint.OpenFile(c.Checkpoint) }
}

// savePatience is how long saving the checkpoint may fail: as long as the
// target may, when it is there.
func savePatience(c configs.Resume, retryFor time.Duration) time.Duration {
	if c.Checkpoint == "target" {
		return max(retryFor, time.Second)
	}
	return 0
}
