package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/slotferry/slotferry/configs"
	"github.com/slotferry/slotferry/importer"
	"github.com/slotferry/slotferry/importer/choice"
	"github.com/slotferry/slotferry/importer/preflight"
	"github.com/slotferry/slotferry/importer/source/aof"
	"github.com/slotferry/slotferry/importer/source/notify"
	"github.com/slotferry/slotferry/importer/source/psync"
	"github.com/slotferry/slotferry/importer/source/scan"
	"github.com/slotferry/slotferry/importer/tail"
)

// newFollowed makes the source of an import, and says how it goes on behind its
// copy; nil: it does not.
func newFollowed(c *configs.Import, keys *choice.Choice, u use, out *output) followed {
	switch {
	case c.Source.Kind == configs.KindAOF:
		u.replays, u.filled, u.work = true, c.OnExists != string(importer.Fail), spoolDir(c)
		return followed{
			reading: newSource(&c.Common, keys, u),
			live:    &importer.Live{Tail: tail.Options{OnFlush: tail.OnFlush(c.OnFlush), Functions: functionsOf(c.Policy), Memory: tailShare(c.Memory)}},
		}
	case c.Source.Via == "sync":
		return newSync(c, keys, u, out)
	case c.Follow:
		return newNotified(c, keys, u, out)
	}
	return followed{reading: newSource(&c.Common, keys, u)}
}

// followed is a source and how it goes on.
type followed struct {
	reading
	live     *importer.Live
	notified *importer.Followed
}

// exists asks the source which keys it has; nil for a file.
func (f followed) exists() func(ctx context.Context, db int, keys [][]byte) ([]bool, error) {
	if f.reading.live == nil {
		return nil
	}
	return f.reading.live.Exists
}

// newNotified is a live source that is scanned and then followed by what it
// notifies.
func newNotified(c *configs.Import, keys *choice.Choice, u use, out *output) followed {
	s := newScan(&c.Common, keys, u)
	l := notify.New(notify.Options{
		Endpoint: c.Source.Endpoint, Choice: keys, Enable: true, Memory: c.Memory / 8, RetryFor: max(c.RetryFor, time.Nanosecond), Log: u.log,
	})
	return followed{
		reading:  reading{Source: notifying{s, l}, names: s.Names, live: s, close: func() { _ = l.Close(); _ = s.Close() }},
		notified: &importer.Followed{Listener: l, Read: s.Records, Once: c.Once, Cutover: newCutover(c, out)},
	}
}

// notifying is a scan whose source is also asked whether it can be followed.
type notifying struct {
	*scan.Source
	listener *notify.Listener
}

func (n notifying) Inspect(ctx context.Context) (preflight.Source, preflight.Findings) {
	facts, found := n.Source.Inspect(ctx)
	if len(found.Blockers()) == 0 {
		found = append(found, n.listener.Inspect(ctx)...)
	}
	return facts, found
}

// newSync is a live source that is followed as by a replica. Single keys are
// read again as SCAN's are.
func newSync(c *configs.Import, keys *choice.Choice, u use, out *output) followed {
	again := newScan(&c.Common, keys, u)
	s := psync.New(psync.Options{
		Endpoint: c.Source.Endpoint, Choice: keys, SpoolDir: spoolDir(c), SpoolMax: c.Spool.Max,
		MaxValue: streamShare(c.Memory), Room: u.room, RetryFor: max(c.RetryFor, time.Nanosecond), Log: u.log,
	})
	live := &importer.Live{
		Tail:   tail.Options{Reread: again.At, Learn: learn(c), OnFlush: tail.OnFlush(c.OnFlush), Functions: functionsOf(c.Policy), Memory: tailShare(c.Memory)},
		Offset: s.Offset, Received: s.Received, Once: c.Once, Cutover: newCutover(c, out),
	}
	return followed{reading: reading{Source: syncing{s, again, live, spoolDir(c)}, names: again.Names, live: again, close: func() {
		_ = s.Close()
		_ = again.Close()
		_ = os.Remove(spoolDir(c)) // if it is empty
	}}, live: live}
}

// syncing is a source that is followed as by a replica, which is also asked
// whether single keys can be read again.
type syncing struct {
	*psync.Source
	again *scan.Source
	live  *importer.Live
	spool string
}

// tryFolder reports why files can't be made in a folder.
func tryFolder(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, "try-")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

func (s syncing) Inspect(ctx context.Context) (preflight.Source, preflight.Findings) {
	facts, found := s.Source.Inspect(ctx)
	if err := tryFolder(s.spool); err != nil {
		found.Block("spool_unusable", "name a folder that can be written, with room: --spool-dir DIR", "what does not fit into memory can't be kept: %v", err)
	}
	if len(found.Blockers()) > 0 {
		return facts, found
	}
	_, lacking := s.again.Inspect(ctx)
	if len(lacking.Blockers()) == 0 {
		lacking = s.again.AtRights(ctx)
	}
	if b := lacking.Blockers(); len(b) > 0 {
		s.live.Tail.Reread, s.live.Tail.Learn = nil, nil
		found.Warn("no_rereading", b[0].Remedy, "%s: keys that a command over several slots touches, such as RENAME, can't be read again, and fail by name", b[0].Message)
	}
	return facts, found
}

// learn asks the source where the keys of a command stand that nobody else knows
// (https://redis.io/docs/latest/commands/command-info/).
func learn(c *configs.Import) func(ctx context.Context, name string) (first, last, step int, ok bool) {
	return func(ctx context.Context, name string) (first, last, step int, ok bool) {
		client := c.Source.Endpoint.Client()
		defer func() { _ = client.Close() }()
		said, err := client.Do(ctx, "COMMAND", "INFO", name).Slice()
		if err != nil || len(said) != 1 {
			return 0, 0, 0, false
		}
		about, isList := said[0].([]any)
		const flags, places, most = 2, 3, 6
		if !isList || len(about) < most {
			return 0, 0, 0, false
		}
		if kinds, _ := about[flags].([]any); slices.Contains(kinds, any("movablekeys")) {
			return 0, 0, 0, false
		}
		at := [3]int{}
		for i := range at {
			n, isNumber := about[places+i].(int64)
			if !isNumber {
				return 0, 0, 0, false
			}
			at[i] = int(n)
		}
		return at[0], at[1], at[2], true
	}
}

// tailShare is the part of --memory for commands on their way.
func tailShare(memory int64) int64 { return memory / 8 }

// newAOF is an append-only file.
func newAOF(c *configs.Common, keys *choice.Choice, u use) *aof.Source {
	return aof.New(aof.Options{
		Path: c.Source.Path, Choice: keys, Via: aof.Via(c.AOF.Via), ScratchServer: c.AOF.ScratchServer, Until: c.AOF.Until,
		WorkDir: u.work, Filled: u.filled, Measure: u.measure, Values: !u.replays, Log: u.log,
	})
}

// spoolDir is where what does not fit into memory waits.
func spoolDir(c *configs.Import) string {
	switch {
	case c.Spool.Dir != "":
		return filepath.Join(c.Spool.Dir, c.Job)
	case c.Checkpoint == "target" || c.Checkpoint == "none":
		return filepath.Join(os.TempDir(), "slotferry-"+c.Job)
	}
	return filepath.Join(c.Checkpoint, "spool")
}

// newFiles reads an append-only file for its values or its commands. Without a
// folder of a job's own it works in one that lasts as long as it does.
func newFiles(c *configs.Common, keys *choice.Choice, u use) reading {
	remove := func() {}
	if u.work == "" {
		dir, err := os.MkdirTemp(c.Spool.Dir, "slotferry-aof-")
		if err == nil {
			u.work, remove = dir, func() { _ = os.RemoveAll(dir) }
		}
	}
	s := newAOF(c, keys, u)
	return reading{Source: s, names: s.Names, close: func() {
		_ = s.Close()
		_ = os.Remove(u.work) // if it is empty
		remove()
	}, done: func() { _ = s.Discard() }}
}
